//! `/proc/lttng`: is the tracer there, which version is it, what can it record.

use super::abi::{self, AbiVersion, TracerVersion};
use super::session::Session;
use super::{ioctl, list};
use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The tracer's place, where its modules are loaded.
const PATH: &str = "/proc/lttng";

/// Versions of the modules and of their ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the modules: major, minor, patch level.
    pub modules: (u32, u32, u32),
    /// Of the ABI: major, minor.
    pub abi: (u32, u32),
}

impl Version {
    /// Only ABIs of the one major version that is known are spoken.
    fn check(self) -> Result<Self> {
        if self.abi.0 == abi::MAJOR {
            return Ok(self);
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{PATH}: the modules ({self}) have ABI version {}.{}, kstrace speaks {}.*",
                self.abi.0,
                self.abi.1,
                abi::MAJOR
            ),
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.modules;
        write!(f, "lttng-modules {major}.{minor}.{patch}")
    }
}

/// LTTng's kernel tracer.
#[derive(Debug)]
pub struct Tracer {
    file: File,
    version: Version,
}

impl Tracer {
    /// Opens it and checks that its ABI is one that is known.
    ///
    /// # Errors
    /// `NotFound` without the modules, `PermissionDenied` for anybody but root,
    /// `Unsupported` for another major version of the ABI.
    pub fn open() -> Result<Tracer> {
        let file = File::open(PATH).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::new(
                ErrorKind::NotFound,
                format!("{PATH} is not there: LTTng's kernel modules are not loaded (modprobe lttng-tracer)"),
            ),
            io::ErrorKind::PermissionDenied => Error::new(
                ErrorKind::PermissionDenied,
                format!("{PATH} cannot be opened: only root can use LTTng's kernel tracer directly"),
            ),
            _ => Error::io(format!("open {PATH}"), e),
        })?;
        let unlike = |e: io::Error| Error::io(format!("{PATH} does not tell its version"), e);
        let abi: AbiVersion = ioctl::get(file.as_fd(), abi::tracer::ABI_VERSION).map_err(unlike)?;
        let modules: TracerVersion =
            ioctl::get(file.as_fd(), abi::tracer::VERSION).map_err(unlike)?;
        let version = Version {
            modules: (modules.major, modules.minor, modules.patchlevel),
            abi: (abi.major, abi.minor),
        };
        Ok(Tracer {
            file,
            version: version.check()?,
        })
    }

    /// Its versions.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The names of all tracepoints of the probe modules that are loaded, sorted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tracepoints(&self) -> Result<Vec<String>> {
        self.names(abi::tracer::TRACEPOINT_LIST, "tracepoints")
    }

    /// The names of all system calls, sorted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn syscalls(&self) -> Result<Vec<String>> {
        self.names(abi::tracer::SYSCALL_LIST, "system calls")
    }

    fn names(&self, request: abi::Request, what: &str) -> Result<Vec<String>> {
        ioctl::command(self.fd(), request)
            .and_then(ioctl::returned)
            .and_then(list::names)
            .map_err(|e| Error::io(format!("{PATH}: list of {what}"), e))
    }

    /// A new session. It is gone when it and all that was made in it is dropped.
    pub(super) fn session(&self) -> Result<Session> {
        ioctl::command(self.fd(), abi::tracer::SESSION)
            .and_then(ioctl::returned)
            .map(Session::new)
            .map_err(|e| Error::io(format!("{PATH}: new session"), e))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_major_version_is_refused_by_name() {
        let version = |abi| Version {
            modules: (2, 15, 0),
            abi,
        };
        assert!(version((2, 9)).check().is_ok());
        let error = version((3, 0)).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("2.15.0") && text.contains("3.0"), "{text}");
    }
}
