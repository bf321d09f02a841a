//! Finding traces in a tree of directories, and the files of their streams.

use kstrace_schema::{Error, ErrorKind, Result, ResultExt};
use std::path::{Path, PathBuf};

/// Traces lie no deeper than this below the directory that was named.
const DEPTH_MAX: u32 = 16;
/// More traces or files are refused.
const ENTRIES_MAX: usize = 1 << 16;

/// Whether `path` is a directory that has a CTF trace, or several, in it.
///
/// A kstrace trace is one too.
pub fn is_ctf_trace(path: &Path) -> bool {
    traces(path).is_ok_and(|found| !found.is_empty())
}

/// The directories with a `metadata` file, sorted.
pub(super) fn traces(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    search(dir, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn search(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<()> {
    if dir.join("metadata").is_file() {
        found.push(dir.to_owned());
    }
    if depth >= DEPTH_MAX || found.len() > ENTRIES_MAX {
        return Ok(());
    }
    let what = || format!("list {}", dir.display());
    for entry in std::fs::read_dir(dir).context(what)? {
        let entry = entry.context(what)?;
        // Links are not followed: they could lead in circles.
        if entry.file_type().context(what)?.is_dir() {
            search(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

/// The data stream files of a trace, sorted: every visible regular file that is not empty.
pub(super) fn stream_files(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let what = || format!("list {}", dir.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).context(what)? {
        let entry = entry.context(what)?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden || name == "metadata" {
            continue;
        }
        let path = entry.path();
        let Ok(facts) = std::fs::metadata(&path) else {
            continue;
        };
        if facts.is_file() && facts.len() > 0 {
            files.push((path, facts.len()));
        }
        if files.len() > ENTRIES_MAX {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{}: more than {ENTRIES_MAX} files", dir.display()),
            ));
        }
    }
    files.sort();
    Ok(files)
}
