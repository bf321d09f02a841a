//! What of a task's ftrace records perf would have recorded.
//!
//! perf's events of a task begin within its `execve` and end when it exits;
//! ftrace goes by the thread's id, from before and until after. perf's own records
//! of `execve`, fork and exit, merged by time with ftrace's, tell the difference.

use kstrace_perf::uapi::{PERF_RECORD_COMM, PERF_RECORD_EXIT, PERF_RECORD_FORK};
use kstrace_schema::{
    ClockPair, EventRecord, EventRecordClass, HopAccount, Loss, NativeDescription, Result, Sink,
    namespace,
};
use std::collections::HashSet;
use std::sync::Arc;

/// `PERF_RECORD_MISC_COMM_EXEC`.
const COMM_EXEC: u16 = 1 << 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Other,
    Sample,
    Ftrace,
    /// `task:task_rename`: within `execve` it comes before the record of that.
    Rename,
    Comm,
    Fork,
    Exit,
}

/// A record kept back.
struct Held {
    class: kstrace_schema::ClassId,
    rest_len_bytes: u16,
    cpu: kstrace_schema::Cpu,
    time: kstrace_schema::SessionTime,
    payload: Vec<u8>,
}

/// Passes on what belongs to the tasks recorded, and counts samples.
pub(super) struct ExecWindow<'s> {
    sink: &'s mut dyn Sink,
    state: &'s mut State,
}

/// What is known from round to round.
#[derive(Default)]
pub(super) struct State {
    kinds: Vec<Kind>,
    /// The tasks recorded; `None` if everything is.
    alive: Option<HashSet<u32>>,
    /// The process that is going to be the command.
    waiting_for: Option<u32>,
    held: Option<Held>,
    last: Option<u32>,
    /// Samples passed on.
    pub(super) samples: u64,
}

impl State {
    /// All that comes is passed on.
    pub(super) fn everything() -> Self {
        State::default()
    }

    /// These threads and what they start.
    pub(super) fn tasks(tids: impl IntoIterator<Item = u32>) -> Self {
        State {
            alive: Some(tids.into_iter().collect()),
            ..State::default()
        }
    }

    /// A process from its `execve` on, and what it starts.
    pub(super) fn command(pid: u32) -> Self {
        State {
            waiting_for: Some(pid),
            ..State::tasks([])
        }
    }

    pub(super) fn over<'s>(&'s mut self, sink: &'s mut dyn Sink) -> ExecWindow<'s> {
        ExecWindow { sink, state: self }
    }

    fn kind(&self, record: &EventRecord<'_>) -> Kind {
        let index = usize::from(record.class.0);
        self.kinds.get(index).copied().unwrap_or(Kind::Other)
    }

    #[inline]
    fn is_alive(&mut self, tid: u32) -> bool {
        let Some(alive) = &self.alive else {
            return true;
        };
        if self.last == Some(tid) {
            return true;
        }
        let is_alive = alive.contains(&tid);
        if is_alive {
            self.last = Some(tid);
        }
        is_alive
    }
}

impl ExecWindow<'_> {
    #[cold]
    fn task_record(&mut self, kind: Kind, record: &EventRecord<'_>) -> Result<()> {
        let word = |at: usize| word_at(record.payload, at);
        let misc = record
            .payload
            .get(4..6)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u16::from_ne_bytes);
        let Some(alive) = &mut self.state.alive else {
            return Ok(());
        };
        match (kind, word(8), word(16)) {
            (Kind::Comm, Some(pid), _)
                if misc & COMM_EXEC != 0 && self.state.waiting_for == Some(pid) =>
            {
                self.state.waiting_for = None;
                alive.insert(pid);
                if let Some(held) = self.state.held.take() {
                    self.state.samples += 1;
                    self.sink.record(&EventRecord {
                        class: held.class,
                        rest_len_bytes: held.rest_len_bytes,
                        cpu: held.cpu,
                        time: held.time,
                        payload: &held.payload,
                    })?;
                }
            }
            (Kind::Fork, _, Some(tid)) => {
                alive.insert(tid);
            }
            (Kind::Exit, _, Some(tid)) => {
                alive.remove(&tid);
                self.state.last = None;
            }
            _ => {}
        }
        Ok(())
    }
}

fn word_at(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(
        payload.get(at..at + 4)?.try_into().ok()?,
    ))
}

impl Sink for ExecWindow<'_> {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.state.kinds.len() <= index {
            self.state.kinds.resize(index + 1, Kind::Other);
        }
        self.state.kinds[index] = match &class.native {
            NativeDescription::TracefsFormat { .. } if class.name == "task:task_rename" => {
                Kind::Rename
            }
            NativeDescription::TracefsFormat { .. } => Kind::Ftrace,
            NativeDescription::PerfSample { .. } => Kind::Sample,
            NativeDescription::PerfRecord { record_type, .. }
                if class.namespace == namespace::PERF =>
            {
                match *record_type {
                    PERF_RECORD_COMM => Kind::Comm,
                    PERF_RECORD_FORK => Kind::Fork,
                    PERF_RECORD_EXIT => Kind::Exit,
                    _ => Kind::Other,
                }
            }
            _ => Kind::Other,
        };
        self.sink.class(class)
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let kind = self.state.kind(record);
        match kind {
            Kind::Ftrace | Kind::Rename => {
                let tid = word_at(record.payload, 4).unwrap_or(0);
                if !self.state.is_alive(tid) {
                    if kind == Kind::Rename && self.state.waiting_for == Some(tid) {
                        self.state.held = Some(Held {
                            class: record.class,
                            rest_len_bytes: record.rest_len_bytes,
                            cpu: record.cpu,
                            time: record.time,
                            payload: record.payload.to_vec(),
                        });
                    }
                    return Ok(());
                }
                self.state.samples += 1;
            }
            Kind::Sample => self.state.samples += 1,
            Kind::Comm | Kind::Fork | Kind::Exit => self.task_record(kind, record)?,
            Kind::Other => {}
        }
        self.sink.record(record)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.sink.loss(loss)
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.sink.clock_pair(pair)
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.sink.account(account)
    }
}
