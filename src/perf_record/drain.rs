//! From the sources, merged, into the file, until something ends it.

use super::exec_window::State;
use super::messages::Failure;
use super::session::Session;
use kstrace_schema::Sink;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// While records come: how long to let them gather.
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// While none come.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Records that make it worth to go on without sleeping.
const WORTH_A_ROUND: u64 = 1024;

/// Why recording ended.
pub(super) enum End {
    Command(ExitStatus),
    Signal(i32),
    /// All processes named have ended.
    TargetsGone,
}

/// What is waited for beside records.
pub(super) struct Waiting<'a> {
    pub(super) signals: &'a SignalFd,
    pub(super) child: Option<&'a mut Child>,
    /// Processes whose end is the end, if all have ended.
    pub(super) exits: Vec<OwnedFd>,
    /// When to enable the events, if that is later than the start.
    pub(super) enable_at: Option<Instant>,
}

/// Runs until the end. Counts how often there was something to write.
pub(super) fn run(
    session: &mut Session,
    state: &mut State,
    sink: &mut dyn Sink,
    mut waiting: Waiting<'_>,
    wake_ups: &mut u64,
) -> Result<End, Failure> {
    let has_targets = !waiting.exits.is_empty();
    loop {
        let round = session.merger.round(&mut state.over(sink))?;
        if let Some(at) = waiting.enable_at
            && Instant::now() >= at
        {
            session.perf.enable_all()?;
            eprintln!("Events enabled");
            waiting.enable_at = None;
        }
        let mut wait = match round.emitted {
            0 => IDLE_WAIT,
            _ => BUSY_WAIT,
        };
        if let Some(at) = waiting.enable_at {
            wait = wait.min(at.saturating_duration_since(Instant::now()));
        }
        if round.more && round.emitted >= WORTH_A_ROUND {
            wait = Duration::ZERO;
        }
        if let Some(end) = sleep(session, &mut waiting, wait, wake_ups)? {
            return Ok(end);
        }
        if has_targets && waiting.exits.is_empty() {
            return Ok(End::TargetsGone);
        }
    }
}

fn sleep(
    session: &Session,
    waiting: &mut Waiting<'_>,
    wait: Duration,
    wake_ups: &mut u64,
) -> Result<Option<End>, Failure> {
    let mut fds = vec![PollFd::new(waiting.signals.as_fd(), PollFlags::POLLIN)];
    let exits = waiting.exits.iter();
    fds.extend(exits.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    let first_source = fds.len();
    let sources = session.merger.wakeups();
    fds.extend(sources.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let rounded = if wait.is_zero() {
        wait
    } else {
        wait + Duration::from_millis(1)
    };
    match poll(
        &mut fds,
        PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX),
    ) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Failure::failed(format!("cannot wait for events: {e}\n"))),
    }
    let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
    *wake_ups += u64::from(fds[first_source..].iter().any(is_ready));
    let mut gone = fds[1..first_source]
        .iter()
        .map(is_ready)
        .collect::<Vec<_>>()
        .into_iter();
    waiting.exits.retain(|_| !gone.next().unwrap_or(false));
    let unreadable = |e: Errno| Failure::failed(format!("cannot read signals: {e}\n"));
    while let Some(info) = waiting.signals.read_signal().map_err(unreadable)? {
        if info.ssi_signo != Signal::SIGCHLD as u32 {
            return Ok(Some(End::Signal(
                i32::try_from(info.ssi_signo).unwrap_or(0),
            )));
        }
        if let Some(child) = waiting.child.as_deref_mut()
            && let Some(status) = child
                .try_wait()
                .map_err(|e| Failure::failed(format!("cannot wait for the command: {e}\n")))?
        {
            return Ok(Some(End::Command(status)));
        }
    }
    Ok(None)
}

/// After the sources have stopped: all they still hold, and their loss.
pub(super) fn finish(
    session: &mut Session,
    state: &mut State,
    sink: &mut dyn Sink,
) -> Result<Vec<String>, Failure> {
    let mut window = state.over(sink);
    session.merger.flush(&mut window)?;
    let accounts = session.merger.finish(&mut window)?;
    for account in &accounts {
        window.account(account)?;
    }
    let errors = session.merger.take_errors();
    Ok(errors
        .iter()
        .map(|e| super::messages::chain(&e.error))
        .collect())
}
