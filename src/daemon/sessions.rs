//! The daemon's sessions.

use crate::control::types::{ControlError, SessionState};
use crate::engine::request::RecordRequest;
use crate::engine::{Outcome, Running, Session, plan_for};
use kstrace_ring::{RecorderSlot, Ring, ViewerWake};
use kstrace_schema::{Capture, ErrorKind};
use nix::unistd::Uid;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many sessions there can be at a time: each holds kernel buffers.
const MOST_SESSIONS: usize = 64;

/// What a session is doing.
#[derive(Debug)]
enum Stage {
    Created(Session),
    Running(Running),
    /// Being started or stopped by somebody: both take a moment without the lock.
    Busy,
    Stopped,
}

impl Stage {
    fn word(&self) -> &'static str {
        match self {
            Stage::Created(_) => "created",
            Stage::Running(_) => "running",
            Stage::Busy => "busy",
            Stage::Stopped => "stopped",
        }
    }
}

#[derive(Debug)]
struct Entry {
    stage: Stage,
    ring: Arc<Ring>,
    owner: Uid,
    detached: bool,
    /// Kept so long as the session: dropping one lets go of what it holds in the ring.
    recorders: Vec<(u64, RecorderSlot)>,
    viewers: Vec<(u64, ViewerWake)>,
}

/// All sessions, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    entries: Mutex<BTreeMap<String, Entry>>,
}

type Answer<T> = Result<T, ControlError>;

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // No code that can panic runs while an entry is half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session. Blocks for some tens of milliseconds.
    pub(super) fn create(
        &self,
        request: &RecordRequest,
        capture: Capture,
        owner: Uid,
        detached: bool,
    ) -> Answer<(String, String, Vec<String>)> {
        if self.lock().len() >= MOST_SESSIONS {
            return Err(ControlError::Refused {
                reason: format!("there are {MOST_SESSIONS} sessions already: destroy one first"),
            });
        }
        let plan = plan_for(request).map_err(to_control)?;
        let session = Session::open(&plan, request, capture).map_err(to_control)?;
        let id = session.info().uuid.clone();
        let notes = plan.notes.iter().chain(session.notes()).cloned().collect();
        let entry = Entry {
            ring: Arc::clone(session.ring()),
            stage: Stage::Created(session),
            owner,
            detached,
            recorders: Vec::new(),
            viewers: Vec::new(),
        };
        self.lock().insert(id.clone(), entry);
        Ok((id, plan.to_string(), notes))
    }

    /// Starts a session that was created.
    pub(super) fn start(&self, id: &str) -> Answer<()> {
        let session = {
            let mut entries = self.lock();
            let entry = find(&mut entries, id)?;
            match std::mem::replace(&mut entry.stage, Stage::Busy) {
                Stage::Created(session) => session,
                other => return Err(wrong_state(id, entry, other)),
            }
        };
        let outcome = session.start(None);
        let mut entries = self.lock();
        let entry = find(&mut entries, id)?;
        match outcome {
            Ok(running) => {
                entry.stage = Stage::Running(running);
                Ok(())
            }
            Err(error) => {
                entry.stage = Stage::Stopped;
                Err(to_control(error))
            }
        }
    }

    /// Stops a session that runs, takes in the rest, gives the accounts.
    pub(super) fn stop(&self, id: &str) -> Answer<Outcome> {
        let running = {
            let mut entries = self.lock();
            let entry = find(&mut entries, id)?;
            match std::mem::replace(&mut entry.stage, Stage::Busy) {
                Stage::Running(running) => running,
                other => return Err(wrong_state(id, entry, other)),
            }
        };
        let outcome = running.stop();
        if let Some(entry) = self.lock().get_mut(id) {
            entry.stage = Stage::Stopped;
        }
        outcome.map_err(to_control)
    }

    /// Closes the open packets of a session that runs, so that readers have all there is.
    pub(super) fn flush(&self, id: &str) -> Answer<()> {
        let mut entries = self.lock();
        let entry = find(&mut entries, id)?;
        match &entry.stage {
            Stage::Running(running) => {
                running.flush();
                Ok(())
            }
            other => Err(ControlError::WrongState {
                session: id.to_owned(),
                state: other.word().to_owned(),
            }),
        }
    }

    /// Ends a session, whatever it does. Its ring stays for those who have mapped it.
    pub(super) fn destroy(&self, id: &str) -> Answer<()> {
        // A running engine is stopped by hand: its thread would go on otherwise.
        match self.stop(id) {
            Ok(_) | Err(ControlError::WrongState { .. } | ControlError::Refused { .. }) => {}
            Err(other) => return Err(other),
        }
        let removed = self.lock().remove(id);
        removed.map(drop).ok_or_else(|| no_such(id))
    }

    /// Running totals.
    pub(super) fn statistics(&self, id: &str) -> Answer<crate::engine::StatsReading> {
        let mut entries = self.lock();
        match &find(&mut entries, id)?.stage {
            Stage::Running(running) => Ok(running.stats()),
            other => Err(ControlError::WrongState {
                session: id.to_owned(),
                state: other.word().to_owned(),
            }),
        }
    }

    /// The session's ring.
    pub(super) fn ring(&self, id: &str) -> Answer<Arc<Ring>> {
        Ok(Arc::clone(&find(&mut self.lock(), id)?.ring))
    }

    /// Keeps a recorder's slot for the connection `client`.
    pub(super) fn keep_recorder(&self, id: &str, client: u64, slot: RecorderSlot) -> Answer<()> {
        find(&mut self.lock(), id)?.recorders.push((client, slot));
        Ok(())
    }

    /// Keeps a viewer's wake-up line for the connection `client`.
    pub(super) fn keep_viewer(&self, id: &str, client: u64, wake: ViewerWake) -> Answer<()> {
        find(&mut self.lock(), id)?.viewers.push((client, wake));
        Ok(())
    }

    /// All sessions.
    pub(super) fn list(&self) -> Vec<SessionState> {
        self.lock()
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
    pub(super) fn client_gone(&self, client: u64, made: &[String]) {
        let mut dead = Vec::new();
        for (id, entry) in self.lock().iter_mut() {
            entry.recorders.retain(|(c, _)| *c != client);
            entry.viewers.retain(|(c, _)| *c != client);
            if !entry.detached && made.contains(id) {
                dead.push(id.clone());
            }
        }
        for id in dead {
            // Nobody is left to be told of a failure.
            let _ = self.destroy(&id);
        }
    }
}

fn find<'a>(entries: &'a mut BTreeMap<String, Entry>, id: &str) -> Answer<&'a mut Entry> {
    entries.get_mut(id).ok_or_else(|| no_such(id))
}

fn no_such(id: &str) -> ControlError {
    ControlError::NoSuchSession { session: id.to_owned() }
}

/// Puts back the stage that was taken out in vain.
fn wrong_state(id: &str, entry: &mut Entry, stage: Stage) -> ControlError {
    let state = stage.word().to_owned();
    entry.stage = stage;
    ControlError::WrongState { session: id.to_owned(), state }
}

fn to_control(error: kstrace_schema::Error) -> ControlError {
    let kind = error.kind();
    let reason = format!("{:#}", anyhow::Error::from(error));
    match kind {
        ErrorKind::InvalidInput => ControlError::BadRequest { reason },
        _ => ControlError::Refused { reason },
    }
}
