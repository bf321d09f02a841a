//! The errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong, with the file it went wrong at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The running kernel has no tracefs.
    #[error(
        "this kernel has no tracefs ({reason}): it needs CONFIG_TRACING and CONFIG_EVENT_TRACING"
    )]
    NotBuiltIn {
        /// What showed it.
        reason: String,
    },
    /// Nothing is mounted, and this process may not open a mount of its own.
    #[error(
        "tracefs is not mounted and this process may not mount it ({source}): \
         run as root, or let root run 'mount -t tracefs nodev /sys/kernel/tracing'"
    )]
    NotMounted {
        /// What the private mount failed with.
        source: io::Error,
    },
    /// Tracefs is there, but not for this user.
    #[error("{}: {source}: {hint}", path.display())]
    Denied {
        /// The file or directory.
        path: PathBuf,
        /// What would help.
        hint: &'static str,
        /// `EACCES` or `EPERM`.
        source: io::Error,
    },
    /// A path is given that is not a tracefs.
    #[error("{} is not a tracefs: file system magic {magic:#x}, expected 0x74726163", path.display())]
    NotTracefs {
        /// The path.
        path: PathBuf,
        /// The magic that `statfs` gave.
        magic: u64,
    },
    /// Something failed on a file, other than writing to it.
    #[error("cannot {action} {}: {source}{}", path.display(), note(hint))]
    File {
        /// `open`, `read`, `create`, `remove`, `list`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What it may mean, empty if that is not known.
        hint: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel did not take what was written to a file.
    #[error("cannot write '{written}' to {}: {source}{}", path.display(), note(hint))]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written, cut if it is long.
        written: String,
        /// What it may mean, empty if that is not known.
        hint: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel refused an event filter, and said why.
    #[error("the kernel refused the filter '{filter}' for {event}:\n{explanation}")]
    Filter {
        /// `system:name`
        event: String,
        /// The filter as written.
        filter: String,
        /// The kernel's own words, with its caret under the place.
        explanation: String,
    },
    /// The top-level trace array, which belongs to everybody, is in use.
    #[error("the top-level trace array is in use by somebody else: {why}")]
    InUse {
        /// What shows it.
        why: String,
    },
    /// No event of that name, or matching that pattern.
    #[error("no event '{wanted}'{}", did_you_mean(nearest))]
    UnknownEvent {
        /// As asked for.
        wanted: String,
        /// Names that are much like it, best first.
        nearest: Vec<String>,
    },
    /// A name of a kind that the kernel does not offer.
    #[error("{what} '{wanted}' is not offered by this kernel: one of {}", offered.join(", "))]
    NotOffered {
        /// `trace clock`, `tracer`, `option`.
        what: &'static str,
        /// As asked for.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// A file goes on past what this crate is willing to read.
    #[error("{} is longer than {limit_bytes} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: usize,
    },
    /// A file does not say what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What would help against a denial.
fn denied_hint() -> &'static str {
    if nix::unistd::geteuid().is_root() {
        "refused even to root: by kernel lockdown, a missing capability, \
         or a policy of the container or virtual machine"
    } else {
        "run as root, or let root give your group access \
         ('mount -o remount,gid=GID /sys/kernel/tracing')"
    }
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Denied {
                path,
                hint: denied_hint(),
                source,
            },
            _ => Error::File {
                action,
                path,
                hint: "",
                source,
            },
        }
    }

    pub(crate) fn write(path: &Path, text: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Error::Denied {
                path,
                hint: denied_hint(),
                source,
            };
        }
        let mut written: String = text.trim_end().chars().take(200).collect();
        if written.len() < text.trim_end().len() {
            written.push_str("...");
        }
        Error::Write {
            path,
            written,
            hint: "",
            source,
        }
    }

    /// The same error with a word about what it may mean, unless it has one.
    pub(crate) fn or_hint(mut self, text: &'static str) -> Self {
        if let Error::File { hint, .. } | Error::Write { hint, .. } = &mut self
            && hint.is_empty()
        {
            *hint = text;
        }
        self
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Error::Malformed {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// The system's error, where there is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Error::NotMounted { source }
            | Error::Denied { source, .. }
            | Error::File { source, .. }
            | Error::Write { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether more rights would help.
    pub fn is_permission(&self) -> bool {
        self.io()
            .is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether the file is not there: the kernel is older, or built without the feature.
    pub fn is_not_found(&self) -> bool {
        self.io()
            .is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn errno(&self) -> Option<i32> {
        self.io().and_then(io::Error::raw_os_error)
    }
}

fn note(hint: &str) -> String {
    if hint.is_empty() {
        String::new()
    } else {
        format!(" ({hint})")
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}
