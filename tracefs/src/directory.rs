//! A tracefs directory held by a descriptor, and its small text files.
//!
//! Everything goes by `openat`, so that a mount which has no path works as well
//! as one that has, and from every thread.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, read, unlinkat, write};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest text file read, unless a caller sets another limit: format files
/// reach some 100 KiB, `available_events` 60 KiB.
pub(crate) const TEXT_LIMIT_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Directory {
    fd: Arc<OwnedFd>,
    shown: Arc<Path>,
}

impl Directory {
    pub(crate) fn new(fd: OwnedFd, shown: PathBuf) -> Self {
        Directory {
            fd: Arc::new(fd),
            shown: shown.into(),
        }
    }

    /// The path to show to people; it may not be one that can be opened.
    pub(crate) fn shown(&self, relative: &str) -> PathBuf {
        if relative.is_empty() {
            self.shown.to_path_buf()
        } else {
            self.shown.join(relative)
        }
    }

    /// A path that works for this process as long as the directory is held.
    pub(crate) fn usable_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    pub(crate) fn open(&self, relative: &str, flags: OFlag) -> Result<OwnedFd> {
        openat(
            self.fd.as_fd(),
            relative,
            flags | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Error::file("open", &self.shown(relative), e.into()))
    }

    pub(crate) fn subdirectory(&self, relative: &str) -> Result<Directory> {
        let fd = self.open(relative, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(Directory::new(fd, self.shown(relative)))
    }

    pub(crate) fn has(&self, relative: &str) -> bool {
        fstatat(self.fd.as_fd(), relative, AtFlags::empty()).is_ok()
    }

    pub(crate) fn read(&self, relative: &str) -> Result<String> {
        self.read_up_to(relative, TEXT_LIMIT_BYTES)
    }

    /// The text of a file, an error if it is longer than `limit_bytes`.
    pub(crate) fn read_up_to(&self, relative: &str, limit_bytes: usize) -> Result<String> {
        let (text, whole) = self.read_beginning(relative, limit_bytes)?;
        if whole {
            Ok(text)
        } else {
            Err(Error::TooLong {
                path: self.shown(relative),
                limit_bytes,
            })
        }
    }

    /// The beginning of a file, and whether that is all of it.
    pub(crate) fn read_beginning(
        &self,
        relative: &str,
        limit_bytes: usize,
    ) -> Result<(String, bool)> {
        let fd = self.open(relative, OFlag::O_RDONLY)?;
        let mut bytes = Vec::new();
        let mut chunk = vec![0u8; 16 << 10];
        loop {
            match read(fd.as_fd(), &mut chunk) {
                Ok(0) => break,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::file("read", &self.shown(relative), e.into())),
            }
            if bytes.len() > limit_bytes {
                break;
            }
        }
        let whole = bytes.len() <= limit_bytes;
        bytes.truncate(limit_bytes);
        // The kernel writes ASCII; a task's name may hold anything.
        Ok((String::from_utf8_lossy(&bytes).into_owned(), whole))
    }

    /// Puts `text` in place of what the file says.
    pub(crate) fn write(&self, relative: &str, text: &str) -> Result<()> {
        self.write_with(relative, text, OFlag::O_TRUNC)
    }

    /// Adds `text` to what the file says.
    pub(crate) fn append(&self, relative: &str, text: &str) -> Result<()> {
        self.write_with(relative, text, OFlag::O_APPEND)
    }

    fn write_with(&self, relative: &str, text: &str, flags: OFlag) -> Result<()> {
        let fd = self.open(relative, OFlag::O_WRONLY | flags)?;
        let mut rest = text.as_bytes();
        // Files of lists take one word, or a page of words, with each write.
        while !rest.is_empty() {
            match write(fd.as_fd(), rest) {
                Ok(0) => {
                    let e = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(Error::write(&self.shown(relative), text, e));
                }
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::write(&self.shown(relative), text, e.into())),
            }
        }
        Ok(())
    }

    pub(crate) fn make(&self, relative: &str) -> Result<()> {
        mkdirat(self.fd.as_fd(), relative, Mode::from_bits_truncate(0o755))
            .map_err(|e| Error::file("create", &self.shown(relative), e.into()))
    }

    pub(crate) fn remove(&self, relative: &str) -> Result<()> {
        unlinkat(self.fd.as_fd(), relative, UnlinkatFlags::RemoveDir)
            .map_err(|e| Error::file("remove", &self.shown(relative), e.into()))
    }

    /// Names of the directories in a directory, sorted.
    pub(crate) fn directories(&self, relative: &str) -> Result<Vec<String>> {
        let shown = self.shown(relative);
        let failed = |e| Error::file("list", &shown, e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.usable_path().join(relative)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
