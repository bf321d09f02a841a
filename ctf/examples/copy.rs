//! Reads CTF traces of any tool and writes them again: `copy IN OUT [2]`.

use kstrace_ctf::{CtfOptions, CtfReader, CtfSink, MetadataFormat};
use kstrace_schema::merge::Merger;
use kstrace_schema::{FileInput, FileOutput, Sink, Source};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let [from, to, more @ ..] = args.as_slice() else {
        return Err("usage: copy IN OUT [2]".into());
    };
    let metadata = match more {
        [version] if version == "2" => MetadataFormat::Ctf2,
        _ => MetadataFormat::Ctf1_8,
    };
    let mut reader = CtfReader::open(Path::new(from))?;
    let mut sink = CtfSink::create(Path::new(to), CtfOptions::with_metadata(metadata))?;
    sink.session(reader.session())?;
    let mut merger = Merger::new(reader.streams(&mut sink)?);
    while !merger.round(&mut sink)?.finished() {}
    for account in merger.finish(&mut sink)? {
        sink.account(&account)?;
    }
    sink.finish()?;
    for failed in merger.errors() {
        eprintln!("{:?}", failed.error);
    }
    eprintln!("{:?}", sink.report());
    Ok(())
}
