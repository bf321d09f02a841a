//! The side files of a trace, read with bounds.

use crate::trace_dir::layout::{
    Accounts, FORMAT, FORMAT_VERSION, METADATA, SessionFile, accounts_path, classes_path,
    session_path,
};
use kstrace_schema::{Error, ErrorKind, EventRecordClass, MODEL_VERSION, Result};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// Larger side files are refused.
const SIDE_FILE_BYTES_MAX: u64 = 256 << 20;
/// Longer lines in `classes.jsonl` are refused.
const CLASS_BYTES_MAX: u64 = 16 << 20;

fn invalid(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{}: {reason}", path.display()),
    )
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let fail = |e| Error::io(format!("read {}", path.display()), e);
    let mut text = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(SIDE_FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > SIDE_FILE_BYTES_MAX {
        return Err(invalid(
            path,
            format!("larger than {SIDE_FILE_BYTES_MAX} bytes"),
        ));
    }
    serde_json::from_slice(&text).map_err(|e| {
        Error::with_source(
            ErrorKind::InvalidData,
            format!("parse {}", path.display()),
            e,
        )
    })
}

/// The session of the trace in `dir`.
pub(super) fn session(dir: &Path) -> Result<SessionFile> {
    let path = session_path(dir);
    match std::fs::symlink_metadata(&path) {
        Ok(_) => {}
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            let what = if dir.join(METADATA).exists() {
                "a CTF trace, but not one that kstrace wrote"
            } else if dir.exists() {
                "not a kstrace trace"
            } else {
                return Err(Error::io(format!("open {}", dir.display()), e));
            };
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} is {what}: it has no {}", dir.display(), path.display()),
            ));
        }
        Err(e) => return Err(Error::io(format!("open {}", path.display()), e)),
    }
    // The versions come first: what another major has besides them is not known.
    #[derive(serde::Deserialize)]
    struct Versions {
        format: String,
        format_version: (u16, u16),
        model_version: (u16, u16),
    }
    let versions: Versions = read_json(&path)?;
    if versions.format != FORMAT {
        return Err(invalid(
            &path,
            format!("format is '{}', not '{FORMAT}'", versions.format),
        ));
    }
    for (what, found, known) in [
        ("format", versions.format_version, FORMAT_VERSION),
        ("model", versions.model_version, MODEL_VERSION),
    ] {
        if found.0 != known.0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{}: {what} version is {}.{}, this program reads {}.x",
                    path.display(),
                    found.0,
                    found.1,
                    known.0
                ),
            ));
        }
    }
    read_json(&path)
}

/// The classes, by id; ids without a class are `None`.
///
/// A line that is no class is skipped: a writer that was killed leaves one half
/// written. Records of a class that is then missing are an error of their own.
pub(super) fn classes(dir: &Path) -> Result<Vec<Option<Arc<EventRecordClass>>>> {
    let path = classes_path(dir);
    let fail = |e| Error::io(format!("read {}", path.display()), e);
    let mut reader = BufReader::new(File::open(&path).map_err(fail)?);
    let mut classes = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader)
            .take(CLASS_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(fail)?;
        if read == 0 {
            return Ok(classes);
        }
        if read as u64 == CLASS_BYTES_MAX {
            return Err(invalid(
                &path,
                format!("a line is longer than {CLASS_BYTES_MAX} bytes"),
            ));
        }
        let Ok(class) = serde_json::from_slice::<EventRecordClass>(&line) else {
            continue;
        };
        let index = usize::from(class.id.0);
        if classes.len() <= index {
            classes.resize(index + 1, None);
        }
        classes[index] = Some(Arc::new(class));
    }
}

/// The accounts, if the trace was completed.
pub(super) fn accounts(dir: &Path) -> Result<Option<Accounts>> {
    match read_json(&accounts_path(dir)) {
        Ok(accounts) => Ok(Some(accounts)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
