//! A session of the tracer, its channels and events.

use super::abi::{self, Request};
use super::context::ContextKind;
use super::ioctl;
use super::names::Chosen;
use super::ring::Ring;
use kstrace_schema::{Error, ErrorKind, Result};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::FromZeros;

/// More streams than any machine has CPUs.
const STREAMS_MAX: usize = 1 << 16;

/// A session. The kernel removes it when the last descriptor made in it is closed.
#[derive(Debug)]
pub(super) struct Session {
    fd: OwnedFd,
}

impl Session {
    pub(super) fn new(fd: OwnedFd) -> Session {
        Session { fd }
    }

    /// What the metadata say of it. Modules before ABI 2.4 do not ask, and are not told.
    pub(super) fn set_name(&self, name: &str, creation_time: &str) {
        if let Some(name) = abi::text(name) {
            let _ = ioctl::put(
                self.fd(),
                abi::session::SET_NAME,
                &abi::SessionName { name },
            );
        }
        if let Some(iso8601) = abi::text(creation_time) {
            let time = abi::CreationTime { iso8601 };
            let _ = ioctl::put(self.fd(), abi::session::SET_CREATION_TIME, &time);
        }
    }

    /// The channel of the metadata.
    pub(super) fn metadata_channel(&self, settings: &abi::Channel) -> Result<Channel> {
        self.open(abi::session::METADATA, settings, "metadata channel")
    }

    /// A channel, with a ring a CPU.
    pub(super) fn channel(&self, settings: &abi::Channel) -> Result<Channel> {
        self.open(abi::session::CHANNEL, settings, "channel")
    }

    fn open(&self, request: Request, settings: &abi::Channel, what: &str) -> Result<Channel> {
        ioctl::put(self.fd(), request, settings)
            .and_then(ioctl::returned)
            .map(|fd| Channel { fd })
            .map_err(|e| match e.raw_os_error() {
                Some(libc::EINVAL) => Error::with_source(
                    ErrorKind::Unsupported,
                    format!(
                        "LTTng refuses a {what} of {} sub-buffers of {} bytes a CPU: no memory for it, or its \
                         ring buffer modules are not loaded (modprobe -a lttng-ring-buffer-client-mmap-discard \
                         lttng-ring-buffer-metadata-mmap-client)",
                        { settings.num_subbuf },
                        { settings.subbuf_size_bytes },
                    ),
                    e,
                ),
                _ => Error::io(format!("LTTng {what}"), e),
            })
    }

    /// Records only this process's events, or those of others named before and after.
    pub(super) fn track(&self, pid: i32) -> Result<()> {
        let id = abi::TrackedId {
            kind: abi::TrackedId::PID,
            id: pid,
        };
        ioctl::put(self.fd(), abi::session::TRACK_ID, &id)
            .map(drop)
            .map_err(|e| Error::io(format!("LTTng cannot track process {pid}"), e))
    }

    pub(super) fn start(&self) -> Result<()> {
        self.command(abi::session::START, "cannot be started")
    }

    pub(super) fn stop(&self) -> Result<()> {
        self.command(abi::session::STOP, "cannot be stopped")
    }

    fn command(&self, request: Request, failed: &str) -> Result<()> {
        ioctl::command(self.fd(), request)
            .map(drop)
            .map_err(|e| Error::io(format!("LTTng {failed}"), e))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Now, as the metadata want it: `YYYYmmddTHHMMSS+0000`.
pub(super) fn creation_time() -> String {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second) = (now_s / 86_400, now_s % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}+0000",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month and day of a day since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let in_year = 365 + u64::from(leap(year));
        if days < in_year {
            break;
        }
        days -= in_year;
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for in_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < in_month {
            break;
        }
        days -= in_month;
        month += 1;
    }
    (year, month, days + 1)
}

/// A channel: a ring a CPU, or the one of the metadata.
#[derive(Debug)]
pub(super) struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// Records this beside every event. Before the session is started.
    pub(super) fn add_context(&self, kind: ContextKind) -> Result<()> {
        let mut context = abi::Context::new_zeroed();
        context.kind = kind.number();
        ioctl::put(self.fd.as_fd(), abi::channel::CONTEXT, &context)
            .map(drop)
            .map_err(|e| Error::io(format!("LTTng refuses context '{kind}'"), e))
    }

    /// Records these events. The descriptor must be kept as long as that is to be so.
    pub(super) fn enable(&self, chosen: &Chosen) -> Result<OwnedFd> {
        let refused = |e: io::Error| Error::io(format!("LTTng refuses event '{chosen}'"), e);
        let mut event = abi::Event::new_zeroed();
        let name = match chosen {
            Chosen::Tracepoint(name) => {
                event.instrumentation = abi::Event::TRACEPOINT;
                name
            }
            Chosen::Syscall(name) => {
                event.instrumentation = abi::Event::SYSCALL;
                name
            }
        };
        event.name = abi::text(name).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "event '{chosen}': a name has at most {} bytes",
                    abi::NAME_BYTES - 1
                ),
            )
        })?;
        let fd = ioctl::put(self.fd.as_fd(), abi::channel::EVENT, &event)
            .and_then(ioctl::returned)
            .map_err(refused)?;
        ioctl::command(fd.as_fd(), abi::channel::ENABLE).map_err(refused)?;
        Ok(fd)
    }

    /// Its rings, of all CPUs.
    pub(super) fn rings(&self) -> Result<Vec<Ring>> {
        let mut rings = Vec::new();
        while rings.len() < STREAMS_MAX {
            match ioctl::command(self.fd.as_fd(), abi::channel::STREAM) {
                Ok(fd) => {
                    let ring = ioctl::returned(fd).and_then(Ring::new);
                    rings.push(ring.map_err(|e| Error::io("LTTng ring", e))?);
                }
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => break,
                Err(e) => return Err(Error::io("LTTng stream", e)),
            }
        }
        Ok(rings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_453), (2025, 12, 31));
    }
}
