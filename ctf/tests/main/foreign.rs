//! What the tests of other tools' traces share: a writer of bits, and the judge.

use kstrace_ctf::{CtfOptions, CtfReader, CtfSink, MetadataFormat};
use kstrace_schema::merge::Merger;
use kstrace_schema::{ConversionReport, Error, FileInput, FileOutput, Sink, Source};
use std::path::Path;
use std::process::Command;

/// Writes bits in either order, as CTF lays them out.
pub(crate) struct Bits {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: u64,
    pub(crate) big: bool,
}

impl Bits {
    pub(crate) fn new(big: bool) -> Self {
        Bits {
            bytes: Vec::new(),
            at: 0,
            big,
        }
    }

    pub(crate) fn align(&mut self, bits: u64) -> &mut Self {
        self.at = self.at.next_multiple_of(bits);
        self.room();
        self
    }

    fn room(&mut self) {
        let len = self.at.div_ceil(8) as usize;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }

    pub(crate) fn int(&mut self, value: u64, bits: u32) -> &mut Self {
        for index in 0..bits {
            let bit = if self.big { bits - 1 - index } else { index };
            let set = value >> bit & 1;
            self.at += 1;
            self.room();
            let place = (self.at - 1) % 8;
            let place = if self.big { 7 - place } else { place };
            let at = ((self.at - 1) / 8) as usize;
            self.bytes[at] |= (set as u8) << place;
        }
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.align(8);
        self.raw(text.as_bytes()).raw(&[0])
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        assert_eq!(self.at % 8, 0);
        self.bytes.extend_from_slice(bytes);
        self.at += bytes.len() as u64 * 8;
        self
    }
}

/// A trace directory of these files.
pub(crate) fn make(dir: &Path, metadata: &[u8], files: &[(&str, &[u8])]) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("metadata"), metadata).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Reads a trace and writes it again.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    metadata: MetadataFormat,
) -> Result<(ConversionReport, Vec<Error>), Error> {
    let mut reader = CtfReader::open(from)?;
    let mut sink = CtfSink::create(to, CtfOptions::with_metadata(metadata))?;
    sink.session(reader.session())?;
    let mut merger = Merger::new(reader.streams(&mut sink)?);
    let mut rounds = 0;
    while !merger.round(&mut sink)?.finished() {
        rounds += 1;
        assert!(rounds < 100_000, "does not end");
    }
    merger.finish(&mut sink)?;
    sink.finish()?;
    let errors = merger.take_errors().into_iter().map(|e| e.error).collect();
    Ok((sink.report(), errors))
}

/// What babeltrace2 says of a trace by default, and its complaints.
pub(crate) fn babeltrace2(dir: &Path) -> (String, String) {
    let output = Command::new("babeltrace2")
        .arg(dir)
        .output()
        .expect("babeltrace2 is needed for these tests");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// babeltrace2's text of a trace and of our copy of it: they must be the same. Gives it.
pub(crate) fn judged(metadata: &[u8], files: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(&from, metadata, files);
    judged_dir(&from, &to)
}

pub(crate) fn judged_dir(from: &Path, to: &Path) -> String {
    let (expected, complaints) = babeltrace2(from);
    assert!(
        !complaints.contains("CAUSED BY"),
        "the original itself: {complaints}"
    );
    assert!(
        !expected.is_empty(),
        "the original {} has no events: {complaints}",
        String::from_utf8_lossy(&std::fs::read(from.join("metadata")).unwrap_or_default())
    );
    let (report, errors) = copy(from, to, MetadataFormat::Ctf1_8).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(report.not_held.is_empty(), "{report:?}");
    let (found, complaints) = babeltrace2(to);
    assert!(
        expected == found,
        "expected:\n{}\nfound:\n{}\n{complaints}\n{}",
        expected.lines().take(20).collect::<Vec<_>>().join("\n"),
        found.lines().take(20).collect::<Vec<_>>().join("\n"),
        std::fs::read_to_string(to.join("metadata")).unwrap_or_default()
    );
    found
}
