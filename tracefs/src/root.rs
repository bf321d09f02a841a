//! The whole tracefs: where it is, its top-level files, its instances.

use crate::detached::open_detached;
use crate::directory::Directory;
use crate::events::EventCatalog;
use crate::instance::{self, Instance};
use crate::mounts::candidates;
use crate::page_layout::PageLayout;
use crate::top_level::{self, TopLevel};
use crate::trace_array::TraceArray;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{TRACEFS_MAGIC, fstatfs};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How tracefs is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is mounted there.
    Mounted(PathBuf),
    /// It is mounted nowhere; this process holds a private mount that appears
    /// in no mount table and ends with the process.
    Detached,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Mounted(path) => write!(f, "mounted on {}", path.display()),
            Origin::Detached => f.write_str("not mounted; reached by a private detached mount"),
        }
    }
}

/// Access to the kernel's tracefs.
///
/// Cheap to clone, may be used from any thread.
#[derive(Clone, Debug)]
pub struct Tracefs {
    top: TraceArray,
    origin: Origin,
}

/// Upper bound of `printk_formats` and `saved_cmdlines` texts, in bytes.
const TABLE_LIMIT_BYTES: usize = 4 << 20;

impl Tracefs {
    /// Finds tracefs: where it is mounted, else by a private detached mount
    /// (Linux 5.2, needs `CAP_SYS_ADMIN`). The mount table is never changed.
    pub fn discover() -> Result<Self> {
        let mut denied = None;
        for path in candidates(&mount_table()) {
            match Self::at(&path) {
                Ok(found) => return Ok(found),
                Err(e) if e.is_permission() => denied = denied.or(Some(e)),
                // An entry that cannot be used (covered, stale) is no reason to give up.
                Err(_) => {}
            }
        }
        match Self::detached() {
            Ok(found) => Ok(found),
            Err(e) => Err(denied.unwrap_or(e)),
        }
    }

    /// The tracefs that is mounted on `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd =
            open(path, flags, Mode::empty()).map_err(|e| Error::file("open", path, e.into()))?;
        Self::from_descriptor(fd, path.to_owned(), Origin::Mounted(path.to_owned()))
    }

    /// A private detached mount, whether or not tracefs is mounted.
    ///
    /// Minimum kernel version: 5.2.
    pub fn detached() -> Result<Self> {
        let fd = open_detached(c"tracefs").map_err(|e| match e.raw_os_error() {
            Some(libc::ENODEV) => Error::NotBuiltIn {
                reason: "it knows no file system of that name".to_owned(),
            },
            _ => Error::NotMounted { source: e },
        })?;
        Self::from_descriptor(fd, PathBuf::from("tracefs:"), Origin::Detached)
    }

    fn from_descriptor(fd: OwnedFd, shown: PathBuf, origin: Origin) -> Result<Self> {
        let stat = fstatfs(&fd).map_err(|e| Error::file("stat", &shown, e.into()))?;
        if stat.filesystem_type() != TRACEFS_MAGIC {
            let magic = u64::try_from(stat.filesystem_type().0).unwrap_or_default();
            return Err(Error::NotTracefs { path: shown, magic });
        }
        let directory = Directory::new(fd, shown);
        if !directory.has("events") {
            // Readable mode bits on the root only: EACCES; else the kernel traces no events.
            return Err(match directory.subdirectory("events") {
                Err(e) if e.is_permission() => e,
                _ => Error::NotBuiltIn {
                    reason: "tracefs has no events directory".to_owned(),
                },
            });
        }
        Ok(Tracefs {
            top: TraceArray::new(directory),
            origin,
        })
    }

    /// How it is reached.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A path by which other code of this process can open its files: where it
    /// is mounted, or `/proc/self/fd/N`, good as long as `self` lives.
    pub fn path(&self) -> PathBuf {
        match &self.origin {
            Origin::Mounted(path) => path.clone(),
            Origin::Detached => self.top.directory.usable_path(),
        }
    }

    /// The top-level trace array. It belongs to everybody: make an
    /// [instance](Self::create_instance) to change anything.
    pub fn top(&self) -> &TraceArray {
        &self.top
    }

    /// The events that the kernel offers now.
    pub fn events(&self) -> Result<EventCatalog> {
        EventCatalog::read(&self.top.directory)
    }

    /// Makes an instance of one's own, named after `prefix` and this process,
    /// removed when it is dropped. It does not trace until it is told to.
    pub fn create_instance(&self, prefix: &str) -> Result<Instance> {
        instance::create(&self.top.directory, prefix)
    }

    /// Borrows the top-level trace array, for what this kernel's instances
    /// cannot do (the tracer `function_graph` before Linux 6.11). It is given
    /// back when dropped, and after a crash by [`reap_orphans`](Self::reap_orphans).
    ///
    /// # Errors
    /// [`Error::InUse`] if it runs a tracer or records events already.
    pub fn borrow_top(&self, prefix: &str) -> Result<TopLevel> {
        let mark = instance::create(&self.top.directory, &top_level::mark_prefix(prefix))?;
        top_level::borrow(&self.top, mark)
    }

    /// Names of the instances there are, whoever made them.
    pub fn instances(&self) -> Result<Vec<String>> {
        self.top.directory.directories("instances")
    }

    /// Removes instances made with `prefix` by processes that are gone, which
    /// only a crash or `kill -9` leaves behind, and takes the top level back from
    /// them if they had borrowed it. Returns the names removed.
    pub fn reap_orphans(&self, prefix: &str) -> Result<Vec<String>> {
        let mut reaped = instance::reap_orphans(&self.top.directory, prefix, || {})?;
        // The mark goes after what it marks.
        let marks = top_level::mark_prefix(prefix);
        reaped.extend(instance::reap_orphans(&self.top.directory, &marks, || {
            top_level::give_back_for_crashed(&self.top);
        })?);
        Ok(reaped)
    }

    /// `events/header_page`: the layout of a ring page.
    pub fn header_page(&self) -> Result<String> {
        self.top.directory.read("events/header_page")
    }

    /// `events/header_event`: the layout of a ring event's header.
    pub fn header_event(&self) -> Result<String> {
        self.top.directory.read("events/header_event")
    }

    /// The layout of this kernel's ring pages.
    pub fn page_layout(&self) -> Result<PageLayout> {
        let text = self.header_page()?;
        PageLayout::parse(&text).map_err(|e| {
            Error::malformed(
                &self.top.directory.shown("events/header_page"),
                e.to_string(),
            )
        })
    }

    /// `printk_formats`: addresses and texts of the formats of `trace_printk`
    /// and of `%s` arguments. At most 4 MiB of it.
    pub fn printk_formats(&self) -> Result<String> {
        Ok(self
            .top
            .directory
            .read_beginning("printk_formats", TABLE_LIMIT_BYTES)?
            .0)
    }

    /// `saved_cmdlines`: threads' names, by thread id, as the kernel last saw
    /// them while tracing. At most 4 MiB of it.
    pub fn saved_cmdlines(&self) -> Result<String> {
        Ok(self
            .top
            .directory
            .read_beginning("saved_cmdlines", TABLE_LIMIT_BYTES)?
            .0)
    }

    /// `saved_tgids`: thread ids with their process ids, kept while the option
    /// `record-tgid` is on. At most 4 MiB of it.
    pub fn saved_tgids(&self) -> Result<String> {
        Ok(self
            .top
            .directory
            .read_beginning("saved_tgids", TABLE_LIMIT_BYTES)?
            .0)
    }

    /// Sets how many threads' names the kernel remembers.
    pub fn set_saved_cmdlines_size(&self, threads: u32) -> Result<()> {
        self.top
            .directory
            .write("saved_cmdlines_size", &threads.to_string())
    }
}

/// The mount table as this thread sees it; empty without procfs.
fn mount_table() -> String {
    // A thread may have a mount namespace of its own.
    ["/proc/thread-self/mountinfo", "/proc/self/mountinfo"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Whether `errno` may come and go.
pub(crate) fn is_busy(error: &Error) -> bool {
    error.errno() == Some(Errno::EBUSY as i32)
}
