//! A recording, whether this process traces or the daemon does.

use crate::control::client::{CANNOT_CONNECT, Client};
use crate::control::recording::{DaemonRecording, DaemonSession};
use crate::control::socket_path;
use crate::engine::request::{Mode, RecordRequest, default_ring};
use crate::engine::{Outcome, PacketConsumer, Running, Session, StatsReading, plan_for};
use anyhow::Result;
use kstrace_schema::{Capture, Error, ErrorKind, SessionInfo};
use std::os::fd::BorrowedFd;

/// Between two processes a ring must bridge the time until the other runs.
const SHARED_RING_BYTES: u64 = 16 << 20;

/// A daemon that cannot be reached, speaks other versions or does not serve this
/// user: this process may do better.
fn is_only_the_daemon(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::ReceiverGone
    ) || error.to_string().starts_with(CANNOT_CONNECT)
}

/// A session that is open.
pub(super) enum Opened {
    Here(Box<Session>),
    Daemon(Box<DaemonSession>),
}

impl Opened {
    /// Through the daemon if one answers and may be used, else in this process.
    pub(super) fn open(
        request: &RecordRequest,
        capture: Capture,
        use_daemon: bool,
    ) -> Result<Opened> {
        // A recorder keeps a flight recorder's ring from turning: the file would get all of it,
        // and not what there is at the end.
        if use_daemon && request.mode == Mode::Discard {
            match Self::through_daemon(request, capture.clone()) {
                Ok(session) => return Ok(session),
                // No daemon, no word.
                Err(e) if e.kind() == ErrorKind::NotFound && !socket_path().exists() => {}
                Err(e) if is_only_the_daemon(&e) => eprintln!(
                    "kstrace: not through kstraced, but in this process: {:#}",
                    anyhow::Error::from(e)
                ),
                Err(e) => return Err(e.into()),
            }
        }
        let plan = plan_for(request)?;
        for note in &plan.notes {
            eprintln!("kstrace: {note}");
        }
        Ok(Opened::Here(Box::new(Session::open(
            &plan, request, capture,
        )?)))
    }

    fn through_daemon(request: &RecordRequest, capture: Capture) -> Result<Opened, Error> {
        let client = Client::connect()?;
        let mut request = request.clone();
        // What the user chose stays.
        if request.ring_bytes_per_cpu == default_ring() {
            request.ring_bytes_per_cpu = SHARED_RING_BYTES;
        }
        Ok(Opened::Daemon(Box::new(DaemonSession::open(
            client, &request, capture,
        )?)))
    }

    pub(super) fn info(&self) -> &SessionInfo {
        match self {
            Opened::Here(s) => s.info(),
            Opened::Daemon(s) => s.info(),
        }
    }

    pub(super) fn notes(&self) -> &[String] {
        match self {
            Opened::Here(s) => s.notes(),
            Opened::Daemon(s) => s.notes(),
        }
    }

    pub(super) fn start(self, consumer: Box<dyn PacketConsumer>) -> Result<Recording> {
        Ok(match self {
            Opened::Here(s) => Recording::Here(s.start(Some(consumer))?),
            Opened::Daemon(s) => Recording::Daemon(s.start(consumer)?),
        })
    }
}

/// A session that records.
pub(super) enum Recording {
    Here(Running),
    Daemon(DaemonRecording),
}

impl Recording {
    pub(super) fn stats(&self) -> StatsReading {
        match self {
            Recording::Here(r) => r.stats(),
            Recording::Daemon(r) => r.stats(),
        }
    }

    /// Becomes readable when it has ended by itself.
    pub(super) fn ended_fd(&self) -> BorrowedFd<'_> {
        match self {
            Recording::Here(r) => r.ended_fd(),
            Recording::Daemon(r) => r.ended_fd(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        match self {
            Recording::Here(r) => r.has_ended(),
            Recording::Daemon(r) => r.has_ended(),
        }
    }

    /// Gets all there is now onto the disk.
    pub(super) fn flush(&mut self) {
        match self {
            Recording::Here(r) => r.flush(),
            Recording::Daemon(r) => r.flush(),
        }
    }

    pub(super) fn stop(self) -> Result<Outcome> {
        Ok(match self {
            Recording::Here(r) => r.stop()?,
            Recording::Daemon(r) => r.stop()?,
        })
    }
}
