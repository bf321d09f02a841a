//! The daemon's sessions.

use crate::control::types::{ControlError, SessionState, Stopped};
use crate::engine::request::RecordRequest;
use crate::engine::{Outcome, Running, Session, plan_for};
use kstrace_ring::{RecorderSlot, Ring, RingReader, ViewerWake};
use kstrace_schema::{Capture, ErrorKind};
use nix::unistd::Uid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many sessions there can be at a time: each holds kernel buffers.
const MOST_SESSIONS: usize = 64;
/// Largest kernel buffer and largest ring a CPU: a slip of the pen must not
/// take the machine's memory.
const MOST_BUFFER_BYTES: u64 = 1 << 30;

/// What a session is doing.
#[derive(Debug)]
enum Stage {
    Created(Box<Session>),
    Running(Box<Running>),
    /// Being started or stopped by somebody: both take a moment without the lock.
    Busy,
    /// With what stopping it gave, for all who ask.
    Stopped(Answer<Stopped>),
}

impl Stage {
    fn word(&self) -> &'static str {
        match self {
            Stage::Created(_) => "created",
            Stage::Running(running) if running.has_ended() => "ended",
            Stage::Running(_) => "running",
            Stage::Busy => "busy",
            Stage::Stopped(_) => "stopped",
        }
    }
}

#[derive(Debug)]
struct Entry {
    stage: Stage,
    ring: Arc<Ring>,
    owner: Uid,
    /// The connection that made it, and whose end is its own unless it is detached.
    client: u64,
    detached: bool,
    /// Kept so long as the session: dropping one lets go of what it holds in the ring.
    recorders: Vec<(u64, RecorderSlot)>,
    viewers: Vec<(u64, ViewerWake)>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    /// The connections there are.
    connected: BTreeSet<u64>,
    /// Sessions that are being opened and have no entry yet.
    opening: usize,
    /// The daemon is about to end.
    closing: bool,
}

/// All sessions, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<State>,
    /// Something that took a moment is done: a stage or [`State::opening`] has changed.
    settled: Condvar,
}

type Answer<T> = Result<T, ControlError>;

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while an entry is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.settled
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has connected.
    pub(super) fn client_here(&self, client: u64) {
        self.lock().connected.insert(client);
    }

    /// Opens a session. Blocks for some tens of milliseconds.
    pub(super) fn create(
        &self,
        request: &RecordRequest,
        capture: Capture,
        owner: Uid,
        client: u64,
        detached: bool,
    ) -> Answer<(String, String, Vec<String>)> {
        check_size(
            "kernel_buffer_bytes_per_cpu",
            request.kernel_buffer_bytes_per_cpu,
        )?;
        check_size("ring_bytes_per_cpu", request.ring_bytes_per_cpu)?;
        let _opening = self.begin_opening()?;
        let plan = plan_for(request).map_err(to_control)?;
        let session = Session::open(&plan, request, capture).map_err(to_control)?;
        let id = session.info().uuid.clone();
        let notes = plan.notes.iter().chain(session.notes()).cloned().collect();
        let entry = Entry {
            ring: Arc::clone(session.ring()),
            stage: Stage::Created(Box::new(session)),
            owner,
            client,
            detached,
            recorders: Vec::new(),
            viewers: Vec::new(),
        };
        let mut state = self.lock();
        // It may have gone while its session was opened: nobody would end that then.
        if state.closing || !(detached || state.connected.contains(&client)) {
            drop(state);
            return Err(ControlError::Refused {
                reason: "the client has gone".to_owned(),
            });
        }
        state.entries.insert(id.clone(), entry);
        Ok((id, plan.to_string(), notes))
    }

    fn begin_opening(&self) -> Answer<Opening<'_>> {
        let mut state = self.lock();
        if state.closing {
            return Err(ControlError::Refused {
                reason: "the daemon is ending".to_owned(),
            });
        }
        if state.entries.len() + state.opening >= MOST_SESSIONS {
            return Err(ControlError::Refused {
                reason: format!("there are {MOST_SESSIONS} sessions already: destroy one first"),
            });
        }
        state.opening += 1;
        Ok(Opening(self))
    }

    /// Takes a session's stage out to work on it, once nobody else does.
    fn settle<'a>(&'a self, id: &'a str) -> Answer<(Stage, Busy<'a>)> {
        let mut state = self.lock();
        loop {
            let entry = find(&mut state, id)?;
            if !matches!(entry.stage, Stage::Busy) {
                let stage = std::mem::replace(&mut entry.stage, Stage::Busy);
                return Ok((
                    stage,
                    Busy {
                        sessions: self,
                        id,
                        next: None,
                    },
                ));
            }
            state = self.wait(state);
        }
    }

    /// Starts a session that was created.
    pub(super) fn start(&self, id: &str) -> Answer<()> {
        let (stage, busy) = self.settle(id)?;
        let session = match stage {
            Stage::Created(session) => session,
            other => return Err(busy.wrong_state(other)),
        };
        match session.start(None) {
            Ok(running) => {
                busy.over(Stage::Running(Box::new(running)));
                Ok(())
            }
            Err(error) => {
                let error = to_control(error);
                busy.over(Stage::Stopped(Err(error.clone())));
                Err(error)
            }
        }
    }

    /// Stops a session that runs, takes in the rest, gives the accounts; gives
    /// them again if it was stopped before.
    pub(super) fn stop(&self, id: &str) -> Answer<Stopped> {
        let (stage, busy) = self.settle(id)?;
        let outcome = match stage {
            Stage::Running(running) => running.stop().map(to_stopped).map_err(to_control),
            Stage::Stopped(outcome) => outcome,
            other => return Err(busy.wrong_state(other)),
        };
        busy.over(Stage::Stopped(outcome.clone()));
        outcome
    }

    /// Closes the open packets of a session that runs, so that readers have all there is.
    pub(super) fn flush(&self, id: &str) -> Answer<()> {
        self.with_running(id, Running::flush)
    }

    /// Running totals.
    pub(super) fn statistics(&self, id: &str) -> Answer<crate::engine::StatsReading> {
        self.with_running(id, Running::stats)
    }

    fn with_running<T>(&self, id: &str, work: impl FnOnce(&Running) -> T) -> Answer<T> {
        let mut state = self.lock();
        match &find(&mut state, id)?.stage {
            Stage::Running(running) => Ok(work(running)),
            other => Err(ControlError::WrongState {
                session: id.to_owned(),
                state: other.word().to_owned(),
            }),
        }
    }

    /// Ends a session, whatever it does. Its ring stays for those who have mapped it.
    pub(super) fn destroy(&self, id: &str) -> Answer<()> {
        let (stage, busy) = self.settle(id)?;
        match stage {
            // By hand: its thread would go on otherwise. Nobody asked how it went.
            Stage::Running(running) => drop(running.stop()),
            other => drop(other),
        }
        let removed = self.lock().entries.remove(id);
        drop(busy);
        removed.map(drop).ok_or_else(|| no_such(id))
    }

    /// The session's ring.
    pub(super) fn ring(&self, id: &str) -> Answer<Arc<Ring>> {
        Ok(Arc::clone(&find(&mut self.lock(), id)?.ring))
    }

    /// The sessions and their rings, for reading.
    pub(super) fn rings(&self) -> Vec<(String, RingReader)> {
        self.lock()
            .entries
            .iter()
            .map(|(id, entry)| (id.clone(), entry.ring.reader()))
            .collect()
    }

    /// Keeps a recorder's slot for the connection `client`.
    pub(super) fn keep_recorder(&self, id: &str, client: u64, slot: RecorderSlot) -> Answer<()> {
        let mut state = self.lock();
        check_connected(&state, client)?;
        find(&mut state, id)?.recorders.push((client, slot));
        Ok(())
    }

    /// Keeps a viewer's wake-up line for the connection `client`.
    pub(super) fn keep_viewer(&self, id: &str, client: u64, wake: ViewerWake) -> Answer<()> {
        let mut state = self.lock();
        check_connected(&state, client)?;
        let viewers = &mut find(&mut state, id)?.viewers;
        if viewers.len() >= MOST_VIEWERS {
            return Err(ControlError::Refused {
                reason: format!("the session has {MOST_VIEWERS} viewers already"),
            });
        }
        viewers.push((client, wake));
        Ok(())
    }

    /// All sessions.
    pub(super) fn list(&self) -> Vec<SessionState> {
        self.lock()
            .entries
            .iter()
            .map(|(id, entry)| SessionState {
                session: id.clone(),
                state: entry.stage.word().to_owned(),
                detached: entry.detached,
                owner: entry.owner.as_raw().into(),
            })
            .collect()
    }

    /// A connection is gone: so are its readers, and the sessions it made, unless detached.
    pub(super) fn client_gone(&self, client: u64) {
        let mut state = self.lock();
        state.connected.remove(&client);
        let mut dead = Vec::new();
        for (id, entry) in &mut state.entries {
            entry.recorders.retain(|(c, _)| *c != client);
            entry.viewers.retain(|(c, _)| *c != client);
            if !entry.detached && entry.client == client {
                dead.push(id.clone());
            }
        }
        drop(state);
        for id in dead {
            // Nobody is left to be told of a failure.
            let _ = self.destroy(&id);
        }
    }

    /// Ends all sessions, those being opened too, and lets no more be made.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        while state.opening > 0 {
            state = self.wait(state);
        }
        let all: Vec<String> = state.entries.keys().cloned().collect();
        drop(state);
        for id in all {
            // It can only fail where somebody else has destroyed it meanwhile.
            let _ = self.destroy(&id);
        }
    }
}

/// How many viewers a session can have: each is a descriptor of the daemon and
/// a wake-up for its engine.
const MOST_VIEWERS: usize = 64;

/// Counts as a session that is being opened.
struct Opening<'a>(&'a Sessions);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.lock().opening -= 1;
        self.0.settled.notify_all();
    }
}

/// The right to say what a session does next.
struct Busy<'a> {
    sessions: &'a Sessions,
    id: &'a str,
    next: Option<Stage>,
}

impl Busy<'_> {
    fn over(mut self, next: Stage) {
        self.next = Some(next);
    }

    /// Puts back the stage that was taken out in vain.
    fn wrong_state(self, stage: Stage) -> ControlError {
        let state = stage.word().to_owned();
        let session = self.id.to_owned();
        self.over(stage);
        ControlError::WrongState { session, state }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let next = self.next.take().unwrap_or_else(|| {
            let reason = "the daemon failed while it worked on the session".to_owned();
            Stage::Stopped(Err(ControlError::Refused { reason }))
        });
        if let Some(entry) = self.sessions.lock().entries.get_mut(self.id) {
            entry.stage = next;
        }
        self.sessions.settled.notify_all();
    }
}

fn find<'a>(state: &'a mut State, id: &str) -> Answer<&'a mut Entry> {
    state.entries.get_mut(id).ok_or_else(|| no_such(id))
}

fn check_connected(state: &State, client: u64) -> Answer<()> {
    let gone = || ControlError::Refused {
        reason: "the client has gone".to_owned(),
    };
    state
        .connected
        .contains(&client)
        .then_some(())
        .ok_or_else(gone)
}

fn check_size(name: &str, bytes: u64) -> Answer<()> {
    if bytes > MOST_BUFFER_BYTES {
        return Err(ControlError::BadRequest {
            reason: format!("{name} is {bytes}; kstraced allows at most {MOST_BUFFER_BYTES}"),
        });
    }
    Ok(())
}

fn no_such(id: &str) -> ControlError {
    ControlError::NoSuchSession {
        session: id.to_owned(),
    }
}

fn to_stopped(outcome: Outcome) -> Stopped {
    Stopped {
        accounts: outcome
            .accounts
            .iter()
            .filter_map(|a| serde_json::to_value(a).ok())
            .collect(),
        problems: outcome
            .problems
            .into_iter()
            .map(|p| format!("{:#}", anyhow::Error::from(p)))
            .collect(),
    }
}

fn to_control(error: kstrace_schema::Error) -> ControlError {
    let kind = error.kind();
    let reason = format!("{:#}", anyhow::Error::from(error));
    match kind {
        ErrorKind::InvalidInput => ControlError::BadRequest { reason },
        _ => ControlError::Refused { reason },
    }
}
