//! Recognising a trace by its content, and opening it.

use super::format::Format;
use super::live::{live_url, open_live};
use kstrace_ctf::{CtfReader, TraceReader, is_kstrace_trace};
use kstrace_ftrace::file::TraceDatReader;
use kstrace_lttng::live::Beginning;
use kstrace_perf::file::{PerfDataReader, ReadOptions};
use kstrace_schema::{Error, ErrorKind, FileInput, Result, ResultExt};
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::Path;

/// `PERFILE2`, and what it is when written in the other byte order.
const PERF_MAGICS: [&[u8; 8]; 2] = [b"PERFILE2", b"2ELIFREP"];
/// How every trace.dat begins.
const TRACE_DAT_MAGIC: &[u8; 10] = b"\x17\x08\x44tracing";
/// How deep a tree is searched for the metadata of a CTF trace.
const MAX_TREE_DEPTH: usize = 8;
/// How many directories are looked into.
const MAX_DIRECTORIES: usize = 4096;

/// What a file or directory holds, by its content.
///
/// # Errors
/// When it cannot be looked at, or is none of the forms that are known.
pub fn recognise(path: &Path) -> Result<Format> {
    let meta = fs::metadata(path).context(|| format!("cannot read {}", path.display()))?;
    if meta.is_dir() {
        if is_kstrace_trace(path) {
            return Ok(Format::Native);
        }
        if path.join("header").is_file() {
            return Ok(Format::PerfData);
        }
        if has_metadata(path) {
            return Ok(Format::Ctf);
        }
        return Err(unknown(
            &path.display().to_string(),
            "a directory without a CTF metadata file or a perf.data header",
        ));
    }
    let mut head = [0u8; 16];
    let mut file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
    let len =
        read_head(&mut file, &mut head).context(|| format!("cannot read {}", path.display()))?;
    of_head(&head[..len], &path.display().to_string())
}

/// Opens a trace of any form that can be read; `-` is standard input, `net://` a session of a
/// relay daemon, from its beginning.
///
/// # Errors
/// When it is none that can be read, or what describes it is damaged.
pub fn open_input(path: &Path) -> Result<Box<dyn FileInput>> {
    if path.as_os_str() == "-" {
        return open_stream(io::stdin(), "standard input");
    }
    if let Some(url) = live_url(path) {
        return open_live(&url?, Beginning::Oldest);
    }
    let special = fs::metadata(path)
        .context(|| format!("cannot read {}", path.display()))
        .map(|m| !m.is_file() && !m.is_dir())?;
    if special {
        // A pipe can be looked at only once.
        let file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
        return open_stream(file, &path.display().to_string());
    }
    Ok(match recognise(path)? {
        Format::Native => Box::new(TraceReader::open(path)?),
        Format::Ctf | Format::Ctf2 => Box::new(CtfReader::open(path)?),
        Format::PerfData => Box::new(PerfDataReader::open(path, ReadOptions::default())?),
        Format::TraceDat => Box::new(TraceDatReader::open(path)?),
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{}: {} can only be written", path.display(), other.word()),
            ));
        }
    })
}

fn open_stream(mut stream: impl Read + Send + 'static, name: &str) -> Result<Box<dyn FileInput>> {
    let mut head = [0u8; 16];
    let len = read_head(&mut stream, &mut head).context(|| format!("cannot read {name}"))?;
    let format = of_head(&head[..len], name)?;
    let whole = Cursor::new(head[..len].to_vec()).chain(stream);
    Ok(match format {
        Format::PerfData => Box::new(PerfDataReader::from_stream(
            name,
            whole,
            ReadOptions::default(),
        )?),
        _ => Box::new(TraceDatReader::from_reader(whole, name)?),
    })
}

fn of_head(head: &[u8], name: &str) -> Result<Format> {
    if PERF_MAGICS.iter().any(|m| head.starts_with(*m)) {
        return Ok(Format::PerfData);
    }
    if head.starts_with(TRACE_DAT_MAGIC) {
        return Ok(Format::TraceDat);
    }
    let what = if head.is_empty() {
        "it is empty"
    } else {
        "it begins like none of them"
    };
    Err(unknown(name, what))
}

fn unknown(name: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{name} is no trace that kstrace reads (perf.data, trace.dat, CTF): {why}"),
    )
}

fn read_head(from: &mut impl Read, head: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < head.len() {
        match from.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// Whether the directory, or one in it, holds a CTF trace.
fn has_metadata(path: &Path) -> bool {
    let mut waiting = vec![(path.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((directory, depth)) = waiting.pop() {
        if directory.join("metadata").is_file() {
            return true;
        }
        looked_at += 1;
        if depth == MAX_TREE_DEPTH || looked_at > MAX_DIRECTORIES {
            continue;
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_shows_at_its_beginning() {
        assert_eq!(of_head(b"PERFILE2\x68\0", "x").unwrap(), Format::PerfData);
        assert_eq!(of_head(b"2ELIFREP", "x").unwrap(), Format::PerfData);
        assert_eq!(
            of_head(b"\x17\x08Dtracing6\0", "x").unwrap(),
            Format::TraceDat
        );
        for (head, says) in [
            (&b""[..], "empty"),
            (b"PERFILE", "none of them"),
            (b"\x7fELF", "none"),
        ] {
            let error = of_head(head, "x").unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("perf.data"),
                "{error}"
            );
        }
    }
}
