//! Letting only some records through.

use crate::report::{CpuList, TimeBound, name_matches};
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{
    ClockPair, ConversionReport, Error, ErrorKind, EventRecord, EventRecordClass, FileOutput,
    HopAccount, Loss, NativeDescription, Result, Role, SessionInfo, Sink, namespace,
};
use kstrace_tracepoint::{AnyField, Entry};
use std::sync::Arc;

/// Which records are wanted.
///
/// What only serves to understand others (mappings and names of tasks, clock pairs, loss)
/// passes whatever is chosen, up to the last wanted moment.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Patterns of event names, native or canonical; empty for all.
    pub events: Vec<String>,
    /// CPUs, `None` for all.
    pub cpus: Option<CpuList>,
    /// Thread ids; empty for all.
    pub tids: Vec<i32>,
    /// Nothing older.
    pub since: Option<TimeBound>,
    /// Nothing younger.
    pub until: Option<TimeBound>,
}

impl Selection {
    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.events.is_empty()
            && self.cpus.is_none()
            && self.tids.is_empty()
            && self.since.is_none()
            && self.until.is_none()
    }

    fn wants(&self, class: &EventRecordClass) -> bool {
        self.events.is_empty() || name_matches(class, &self.events)
    }
}

/// Whether the class's records only serve to understand those of others.
pub(super) fn is_bookkeeping(class: &EventRecordClass) -> bool {
    matches!(class.native, NativeDescription::PerfRecord { .. })
        || class.namespace == namespace::KSTRACE
}

/// The thread a record is of.
#[derive(Debug)]
pub(super) struct TidOf {
    entry: Option<Entry>,
    field: Option<AnyField>,
}

impl TidOf {
    pub(super) fn new(class: &EventRecordClass) -> Self {
        let entry = Entry::of(class);
        let field = AnyField::find(class, entry.as_ref(), |s| {
            FieldAccess::by_role(s, Role::Tid)
        });
        TidOf { entry, field }
    }

    #[inline]
    pub(super) fn get(&self, payload: &[u8]) -> Option<i32> {
        self.field.as_ref()?.get_i32(self.entry.as_ref(), payload)
    }
}

struct ClassChoice {
    bookkeeping: bool,
    wanted: bool,
    tid: Option<TidOf>,
}

/// Hands on what a [`Selection`] wants.
pub struct Selected<'o> {
    inner: &'o mut dyn FileOutput,
    selection: Selection,
    choices: Vec<Option<ClassChoice>>,
    bounds_ns: Option<(u64, u64)>,
}

impl std::fmt::Debug for Selected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selected")
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
}

impl<'o> Selected<'o> {
    /// What `selection` wants goes on to `inner`.
    pub fn new(inner: &'o mut dyn FileOutput, selection: Selection) -> Self {
        Selected {
            inner,
            selection,
            choices: Vec::new(),
            bounds_ns: None,
        }
    }
}

impl FileOutput for Selected<'_> {
    fn report(&self) -> ConversionReport {
        self.inner.report()
    }
}

impl Sink for Selected<'_> {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.inner.session(session)
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, || None);
        }
        self.choices[index] = Some(ClassChoice {
            bookkeeping: is_bookkeeping(class),
            wanted: self.selection.wants(class),
            tid: (!self.selection.tids.is_empty()).then(|| TidOf::new(class)),
        });
        self.inner.class(class)
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let time_ns = record.time.as_ns();
        let selection = &self.selection;
        let Some(choice) = self
            .choices
            .get(usize::from(record.class.0))
            .and_then(Option::as_ref)
        else {
            return self.inner.record(record);
        };
        if choice.bookkeeping && self.bounds_ns.is_none() {
            return self.inner.record(record);
        }
        let (since, until) = *self.bounds_ns.get_or_insert_with(|| {
            (
                selection.since.map_or(0, |b| b.resolve_ns(time_ns)),
                selection.until.map_or(u64::MAX, |b| b.resolve_ns(time_ns)),
            )
        });
        if time_ns > until {
            return Err(Error::new(
                ErrorKind::ReceiverGone,
                "all that was asked for has been written",
            ));
        }
        if !choice.bookkeeping {
            let cpu_wanted = selection
                .cpus
                .as_ref()
                .is_none_or(|c| c.contains(record.cpu));
            if !choice.wanted || time_ns < since || !cpu_wanted {
                return Ok(());
            }
            if let Some(tid) = &choice.tid
                && !tid
                    .get(record.payload)
                    .is_some_and(|t| selection.tids.contains(&t))
            {
                return Ok(());
            }
        }
        self.inner.record(record)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.inner.loss(loss)
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        self.inner.clock_pair(pair)
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.inner.account(account)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}
