//! Output files that have their name only when they are complete.

use crate::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// For whom a new file is readable, before the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// Its owner, as `perf record` and `trace-cmd record` do it: a trace shows what others do.
    Owner,
    /// Everybody, as any text.
    Everybody,
}

/// A file under a temporary name beside its place. Dropped before
/// [`complete`](Self::complete), it is gone, and what had the name before is
/// as it was.
///
/// A device or a pipe is written in place; a link stays, and what it points to
/// is replaced.
#[derive(Debug)]
pub struct PendingFile {
    path: PathBuf,
    /// `None` for what is written in place, and after the end.
    temporary: Option<TempPath>,
}

impl PendingFile {
    /// Opens what will be `path`; the file is for the one who writes.
    ///
    /// # Errors
    /// For a directory, and when nothing can be made beside `path`.
    pub fn create(path: &Path, access: FileAccess) -> Result<(PendingFile, File)> {
        let failed = |e| Error::io(format!("cannot write '{}'", path.display()), e);
        let refused = |why: &str| {
            let what = format!("cannot write '{}': {why}", path.display());
            Error::new(ErrorKind::InvalidInput, what)
        };
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&place) {
            Ok(meta) if meta.is_dir() => return Err(refused("it is a directory")),
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new()
                    .write(true)
                    .open(&place)
                    .map_err(failed)?;
                let pending = PendingFile {
                    path: place,
                    temporary: None,
                };
                return Ok((pending, file));
            }
            _ => {}
        }
        let (Some(file_name), Some(directory)) = (place.file_name(), place.parent()) else {
            return Err(refused("it is not the name of a file"));
        };
        let mut prefix = OsString::from(".");
        prefix.push(file_name);
        let directory = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(match access {
                FileAccess::Owner => 0o600,
                FileAccess::Everybody => 0o666,
            }))
            .tempfile_in(directory)
            .map_err(failed)?;
        let (file, temporary) = temporary.into_parts();
        let pending = PendingFile {
            path: place,
            temporary: Some(temporary),
        };
        Ok((pending, file))
    }

    /// Where the file will be, links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the bytes go to a device or a pipe, which keeps what it got.
    pub fn is_in_place(&self) -> bool {
        self.temporary.is_none()
    }

    /// Gives the file its name, in place of what had it before.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn complete(&mut self) -> Result<()> {
        let Some(temporary) = self.temporary.take() else {
            return Ok(());
        };
        temporary.persist(&self.path).map_err(|e| {
            Error::io(
                format!("cannot complete '{}'", self.path.display()),
                e.error,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_there_stays_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("perf.data"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        symlink("perf.data", &link).unwrap();
        let (pending, mut file) = PendingFile::create(&link, FileAccess::Owner).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        drop(pending);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let (mut pending, mut file) = PendingFile::create(&link, FileAccess::Owner).unwrap();
        file.write_all(b"new").unwrap();
        pending.complete().unwrap();
        drop(pending);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_is_no_file_is_written_in_place_or_refused() {
        let (pending, mut file) =
            PendingFile::create(Path::new("/dev/full"), FileAccess::Owner).unwrap();
        assert!(pending.is_in_place());
        assert!(file.write_all(b"x").is_err());
        for (path, why) in [("/", "a directory"), ("/tmp/..", "a directory")] {
            let error = PendingFile::create(Path::new(path), FileAccess::Owner).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        let error =
            PendingFile::create(Path::new("/no/such/place"), FileAccess::Everybody).unwrap_err();
        assert!(error.to_string().contains("/no/such/place"), "{error}");
    }
}
