//! What to do with something that already has the trace's name.

use super::layout::{FORMAT, session_path};
use kstrace_schema::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Whether `dir` is a trace that kstrace wrote.
pub fn is_kstrace_trace(dir: &Path) -> bool {
    let is_dir = fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    is_dir && has_mark(&session_path(dir)).unwrap_or(false)
}

fn has_mark(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(256).read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(&head)
        .split_whitespace()
        .collect::<String>();
    Ok(text.starts_with(&format!("{{\"format\":\"{FORMAT}\"")))
}

/// What stands at the place of a trace to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing, or an empty directory.
    Free,
    /// A trace, which is to be kept under this name.
    Trace {
        /// `NAME.old`.
        backup: PathBuf,
    },
}

/// Looks at the place, and refuses what is not ours to move or remove.
pub(super) fn inspect(target: &Path) -> Result<Place> {
    if is_free(target)? {
        return Ok(Place::Free);
    }
    refuse_unless_ours(target)?;
    let mut backup = target.as_os_str().to_owned();
    backup.push(".old");
    let backup = PathBuf::from(backup);
    if !is_free(&backup)? {
        refuse_unless_ours(&backup)?;
    }
    Ok(Place::Trace { backup })
}

/// Moves an existing trace away. An older one of its new name is removed.
pub(super) fn make_way(target: &Path, place: &Place) -> Result<()> {
    let Place::Trace { backup } = place else {
        return Ok(());
    };
    if is_kstrace_trace(backup) {
        // Hidden first: half removed it would be no trace any more, and in the way.
        let mut name = std::ffi::OsString::from(".");
        name.push(backup.file_name().unwrap_or_default());
        name.push(format!(".removed-{}", std::process::id()));
        let hidden = backup.with_file_name(name);
        fs::rename(backup, &hidden)
            .and_then(|()| fs::remove_dir_all(&hidden))
            .map_err(|e| Error::io(format!("remove the older trace {}", backup.display()), e))?;
    }
    fs::rename(target, backup).map_err(|e| {
        Error::io(
            format!("rename {} to {}", target.display(), backup.display()),
            e,
        )
    })
}

fn is_free(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io(format!("look at {}", path.display()), e)),
        Ok(m) if m.is_dir() => fs::read_dir(path)
            .map(|mut entries| entries.next().is_none())
            .map_err(|e| Error::io(format!("look into {}", path.display()), e)),
        Ok(_) => Ok(false),
    }
}

fn refuse_unless_ours(path: &Path) -> Result<()> {
    if is_kstrace_trace(path) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!(
            "{} exists and is not a kstrace trace: it is left alone, choose another name",
            path.display()
        ),
    ))
}
