//! Waking readers that sleep.

use crate::{Error, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How a reader is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WakeKind {
    /// By an eventfd. For readers in this process: whoever has the descriptor
    /// can take `O_NONBLOCK` off it and fill it up, and so block the writer.
    #[default]
    Eventfd,
    /// By a socket pair, whose two ends share no flags. For readers in another
    /// process. Used alike: poll for input, then read until there is no more.
    Socket,
}

/// A wake-up line from a writer to one reader.
#[derive(Debug)]
pub(crate) struct Wake(Ends);

#[derive(Debug)]
enum Ends {
    Eventfd(EventFd),
    Socket { writer: OwnedFd, reader: OwnedFd },
}

impl Wake {
    pub(crate) fn new(kind: WakeKind) -> Result<Self> {
        Ok(Wake(match kind {
            WakeKind::Eventfd => Ends::Eventfd(
                EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                    .map_err(|e| Error::system("eventfd", e))?,
            ),
            WakeKind::Socket => {
                let (writer, reader) = socketpair(
                    AddressFamily::Unix,
                    SockType::SeqPacket,
                    None,
                    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                )
                .map_err(|e| Error::system("socketpair", e))?;
                Ends::Socket { writer, reader }
            }
        }))
    }

    /// Wakes the reader, or does nothing if it has not taken enough earlier
    /// wake-ups or has closed its end. Never blocks.
    pub(crate) fn signal(&self) {
        // An error means that the line is full, so the reader will wake, or that it is gone.
        match &self.0 {
            Ends::Eventfd(fd) => drop(fd.write(1)),
            Ends::Socket { writer, .. } => drop(send(
                writer.as_raw_fd(),
                &1u64.to_ne_bytes(),
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            )),
        }
    }

    /// The end to poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Ends::Eventfd(fd) => fd.as_fd(),
            Ends::Socket { reader, .. } => reader.as_fd(),
        }
    }

    /// Takes the wake-ups that have come, so that a poll sleeps until the next one.
    pub(crate) fn clear(&self) {
        match &self.0 {
            Ends::Eventfd(fd) => drop(fd.read()),
            Ends::Socket { reader, .. } => {
                let mut word = [0; 8];
                while nix::unistd::read(reader, &mut word).is_ok_and(|n| n > 0) {}
            }
        }
    }
}
