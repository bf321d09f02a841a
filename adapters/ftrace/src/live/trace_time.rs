//! The clock of the records as one stream sees it.

use super::timeline::{Cursor, Timeline};
use kstrace_schema::ClockKind;
use std::sync::Arc;

/// From the trace clock's units to ns of the session clock.
#[derive(Debug)]
pub(super) enum TraceTime {
    /// The trace clock is the session clock.
    Direct(ClockKind),
    /// Cycles, to be mapped.
    Cycles(Cursor),
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// In the trace clock's units.
    pub(super) raw: u64,
    /// Of the session clock.
    pub(super) ns: u64,
}

impl TraceTime {
    /// `timeline` is there for a clock in cycles.
    pub(super) fn new(kind: ClockKind, timeline: Option<&Arc<Timeline>>) -> Self {
        match timeline {
            Some(timeline) => TraceTime::Cycles(Cursor::new(Arc::clone(timeline))),
            None => TraceTime::Direct(kind),
        }
    }

    pub(super) fn now(&self) -> Moment {
        match self {
            TraceTime::Direct(kind) => {
                let ns = kstrace_clock::read_ns(*kind);
                Moment { raw: ns, ns }
            }
            TraceTime::Cycles(_) => {
                let (raw, ns, _) = kstrace_clock::read_tsc_and_ns(ClockKind::Monotonic);
                Moment { raw, ns }
            }
        }
    }

    /// Records stamped until now have been taken in: from now on they can be mapped.
    pub(super) fn taken_in(&self) {
        if let TraceTime::Cycles(cursor) = self {
            cursor.timeline().pair_now();
        }
    }

    /// Every record stamped before `raw` has been handed on.
    pub(super) fn nothing_before(&self, raw: u64) {
        if let TraceTime::Cycles(cursor) = self {
            cursor.nothing_before(raw);
        }
    }

    #[inline]
    pub(super) fn ns(&mut self, raw: u64) -> u64 {
        match self {
            TraceTime::Direct(_) => raw,
            TraceTime::Cycles(cursor) => cursor.ns(raw),
        }
    }
}
