//! Recording through the daemon: it traces, this process writes the file.
//!
//! Packets are copied from the daemon's ring, which this process can only read,
//! so that the output belongs to the caller and a full disk is the caller's alone.

use super::client::Client;
use super::types::Stopped;
use crate::engine::request::RecordRequest;
use crate::engine::{Outcome, PacketConsumer, StatsReading};
use kstrace_ctf::ctf2::{Fragment, parse_fragment};
use kstrace_ring::{MetadataReader, Recorder, RemoteRecorder};
use kstrace_schema::{Capture, Error, ErrorKind, HopAccount, Result, SessionInfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// A session of the daemon that this process will record.
#[derive(Debug)]
pub struct DaemonSession {
    client: Client,
    session: String,
    info: SessionInfo,
    ring: RemoteRecorder,
    notes: Vec<String>,
}

impl DaemonSession {
    /// Has the daemon open a session, and attaches a recorder to its ring.
    ///
    /// # Errors
    /// What the daemon refused.
    pub fn open(mut client: Client, request: &RecordRequest, capture: Capture) -> Result<Self> {
        let created = client.create_session(request, &capture.workload, false)?;
        let ring = client.record(&created.session)?;
        let mut metadata = ring.reader().metadata();
        let mut info = None;
        while let (None, Some(fragment)) = (&info, next(&mut metadata)?) {
            if let Fragment::Session(session) = fragment {
                info = Some(*session);
            }
        }
        let mut info = info.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidData,
                "the daemon's ring does not describe its session",
            )
        })?;
        info.capture = capture;
        Ok(DaemonSession {
            client,
            session: created.session,
            info,
            ring,
            notes: created.notes,
        })
    }

    /// Who and what it is.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Things the user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Starts recording into `consumer`.
    ///
    /// # Errors
    /// What the daemon refused, or when no thread can be made.
    pub fn start(mut self, consumer: Box<dyn PacketConsumer>) -> Result<DaemonRecording> {
        let lanes = (0..self.ring.reader().lanes())
            .map(|lane| self.ring.recorder(lane).map_err(ring_error))
            .collect::<Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            ended: eventfd()?,
            wake: eventfd()?,
            stopping: AtomicBool::new(false),
            over: AtomicBool::new(false),
            records: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
        });
        let (accounts, given) = mpsc::channel();
        let copier = Copier {
            metadata: self.ring.reader().metadata(),
            lost: vec![0; lanes.len()],
            lanes,
            ring: self.ring,
            consumer,
            shared: Arc::clone(&shared),
            packet: Vec::new(),
        };
        self.client.start_session(&self.session)?;
        let thread = std::thread::Builder::new()
            .name("kstrace-copy".into())
            .spawn(move || copier.run(&given))
            .map_err(|e| Error::io("start a thread", e))?;
        Ok(DaemonRecording {
            client: self.client,
            session: self.session,
            shared,
            accounts,
            thread,
        })
    }
}

/// A recording through the daemon that runs.
#[derive(Debug)]
pub struct DaemonRecording {
    client: Client,
    session: String,
    shared: Arc<Shared>,
    accounts: mpsc::Sender<Vec<HopAccount>>,
    thread: JoinHandle<Result<()>>,
}

impl DaemonRecording {
    /// Running totals, of what has arrived here.
    pub fn stats(&self) -> StatsReading {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        StatsReading {
            records: read(&self.shared.records),
            lost: read(&self.shared.lost),
            bytes: read(&self.shared.bytes),
            rounds: read(&self.shared.rounds),
        }
    }

    /// Becomes readable when copying has ended by itself, as it does when the output fails.
    pub fn ended_fd(&self) -> BorrowedFd<'_> {
        self.shared.ended.as_fd()
    }

    /// Whether copying has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.over.load(Ordering::Acquire)
    }

    /// Closes the open packets, so that all there is gets written.
    pub fn flush(&mut self) {
        // Asked for in passing; the end of the recording tells what is wrong.
        let _ = self.client.snapshot(&self.session);
    }

    /// Stops the session, copies the rest, completes the output.
    ///
    /// # Errors
    /// What made copying end, or the loss of the daemon; what was written stays.
    pub fn stop(mut self) -> Result<Outcome> {
        // Somebody else may have stopped it before: the accounts are the same.
        let stopped = self.client.stop_session(&self.session).map(outcome_of);
        let accounts = stopped
            .as_ref()
            .map(|o| o.accounts.clone())
            .unwrap_or_default();
        // The receiver is gone only if it failed, which join tells.
        let _ = self.accounts.send(accounts);
        self.shared.stopping.store(true, Ordering::Release); // pairs with Copier::run
        let _ = self.shared.wake.write(1);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the copying thread panicked")))?;
        let outcome = stopped.map_err(|error| error.context(SESSION_GONE))?;
        // All is written; whether the daemon is still there is no matter any more.
        let _ = self.client.destroy_session(&self.session);
        Ok(outcome)
    }
}

const SESSION_GONE: &str =
    "kstraced has ended, or somebody destroyed the session; what was recorded by then is kept";

fn outcome_of(stopped: Stopped) -> Outcome {
    let mut problems: Vec<Error> = stopped
        .problems
        .into_iter()
        .map(|p| Error::new(ErrorKind::Io, p))
        .collect();
    let mut accounts = Vec::new();
    for account in stopped.accounts {
        match serde_json::from_value::<HopAccount>(account) {
            Ok(account) => accounts.push(account),
            Err(e) => problems.push(Error::with_source(
                ErrorKind::InvalidData,
                "an account that kstraced gave",
                e,
            )),
        }
    }
    Outcome { accounts, problems }
}

#[derive(Debug)]
struct Shared {
    ended: EventFd,
    wake: EventFd,
    stopping: AtomicBool,
    over: AtomicBool,
    records: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
    rounds: AtomicU64,
}

/// The thread that copies packets out of the ring.
struct Copier {
    ring: RemoteRecorder,
    metadata: MetadataReader,
    lanes: Vec<Recorder>,
    /// `events_discarded` of each lane's last packet.
    lost: Vec<u64>,
    consumer: Box<dyn PacketConsumer>,
    shared: Arc<Shared>,
    packet: Vec<u8>,
}

impl Copier {
    fn run(mut self, accounts: &mpsc::Receiver<Vec<HopAccount>>) -> Result<()> {
        let outcome = self.copy_all(accounts);
        self.tell_end();
        outcome
    }

    fn tell_end(&self) {
        self.shared.over.store(true, Ordering::Release); // pairs with has_ended
        let _ = self.shared.ended.write(1);
    }

    fn copy_all(&mut self, accounts: &mpsc::Receiver<Vec<HopAccount>>) -> Result<()> {
        loop {
            // Asked before copying: what comes with the end is then still copied.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            let finished = self.lanes.iter().all(|l| l.lane().is_finished());
            self.copy_what_is_there()?;
            if stopping || finished {
                // Whoever stopped the session: the accounts come with our own stop.
                self.tell_end();
                return self.consumer.finish(&accounts.recv().unwrap_or_default());
            }
            if self.sleep()? == Woken::DaemonGone
                && !self.lanes.iter().all(|l| l.lane().is_finished())
            {
                self.copy_what_is_there()?;
                self.consumer.finish(&[])?;
                return Err(Error::new(ErrorKind::ReceiverGone, SESSION_GONE));
            }
        }
    }

    fn copy_what_is_there(&mut self) -> Result<()> {
        while let Some(fragment) = next(&mut self.metadata)? {
            if let Fragment::EventRecordClass(class) = fragment {
                self.consumer.class(&Arc::from(class))?;
            }
        }
        for (number, lane) in (0u32..).zip(&mut self.lanes) {
            while let Some(packet) = lane.next_packet().map_err(ring_error)? {
                let header = *packet.header();
                self.packet.clear();
                packet.copy_into(&mut self.packet).map_err(ring_error)?;
                packet.release();
                self.consumer.packet(number, &self.packet)?;
                let add = |total: &AtomicU64, n: u64| {
                    total.fetch_add(n, Ordering::Relaxed);
                };
                add(&self.shared.records, header.record_count.into());
                add(&self.shared.bytes, self.packet.len() as u64);
                if let Some(lost) = self.lost.get_mut(number as usize) {
                    add(
                        &self.shared.lost,
                        header.events_discarded.saturating_sub(*lost),
                    );
                    *lost = header.events_discarded;
                }
            }
        }
        self.shared.rounds.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sleep(&self) -> Result<Woken> {
        let mut fds = [
            PollFd::new(self.ring.wake_fd().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.wake.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(Error::io("wait for the daemon's ring", e.into())),
        }
        let flags = fds[0].revents().unwrap_or(PollFlags::empty());
        if flags.contains(PollFlags::POLLIN) {
            let mut taken = [0; 512];
            while nix::unistd::read(self.ring.wake_fd(), &mut taken).is_ok_and(|n| n > 0) {}
        }
        let gone = flags.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
            && !self.shared.stopping.load(Ordering::Acquire);
        Ok(if gone { Woken::DaemonGone } else { Woken::News })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    News,
    DaemonGone,
}

fn next(metadata: &mut MetadataReader) -> Result<Option<Fragment>> {
    let Some(bytes) = metadata.next_fragment().map_err(ring_error)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&bytes)
        .map_err(|e| Error::with_source(ErrorKind::InvalidData, "metadata of the ring", e))?;
    parse_fragment(&value)
        .map(Some)
        .map_err(|e| Error::with_source(ErrorKind::InvalidData, "metadata of the ring", e))
}

fn eventfd() -> Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|e| Error::io("make an eventfd", e.into()))
}

fn ring_error(error: kstrace_ring::Error) -> Error {
    Error::with_source(ErrorKind::InvalidData, "the daemon's ring", error)
}
