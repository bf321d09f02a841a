//! What classes a trace has, and how many records of each.

use super::transfer::{Outcome, transfer};
use kstrace_schema::{
    ClassId, EventRecord, EventRecordClass, FileInput, Loss, Result, SessionTime, Sink,
};
use std::sync::Arc;

/// The classes of a trace.
#[derive(Debug, Default)]
pub struct TraceClasses {
    classes: Vec<Option<Arc<EventRecordClass>>>,
    counts: Vec<u64>,
    /// Time of the first and of the last record.
    pub times: Option<(SessionTime, SessionTime)>,
    /// Records lost, as the trace tells.
    pub lost: u64,
}

impl TraceClasses {
    /// The classes by id, each with the number of its records.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<EventRecordClass>, u64)> {
        self.classes
            .iter()
            .zip(self.counts.iter().copied().chain(std::iter::repeat(0)))
            .filter_map(|(class, count)| Some((class.as_ref()?, count)))
    }

    fn count(&mut self, class: ClassId) {
        let index = usize::from(class.0);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
    }
}

impl Sink for TraceClasses {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize(index + 1, None);
            self.counts.resize(self.counts.len().max(index + 1), 0);
        }
        self.classes[index] = Some(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.count(record.class);
        let first = self.times.map_or(record.time, |(first, _)| first);
        self.times = Some((first, record.time));
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost = self.lost.saturating_add(loss.count);
        Ok(())
    }
}

/// Reads the whole input for its classes: some are told only when their first record comes.
///
/// # Errors
/// When the input cannot be read at all; what is damaged half-way is in the outcome.
pub fn collect_classes(input: &mut dyn FileInput) -> Result<(TraceClasses, Outcome)> {
    let mut classes = TraceClasses::default();
    let outcome = transfer(input, &mut classes, &mut |_, _| {})?;
    Ok((classes, outcome))
}
