//! Streams in memory, and a sink that only counts.

use crate::{PAYLOAD, RECORDS};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    ClassId, Cpu, EventRecord, EventRecordClass, Fill, HopAccount, Loss, RecordStream, Result,
    SessionTime, Sink, SourceId,
};
use std::sync::Arc;

/// Times in a list; every record has the same payload.
struct Listed {
    times: Vec<SessionTime>,
    next: usize,
}

impl RecordStream for Listed {
    fn source(&self) -> SourceId {
        SourceId::KSTRACE
    }

    fn cpu(&self) -> Cpu {
        Cpu(0)
    }

    fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
        Ok(Fill {
            complete_until: SessionTime::MAX,
            more: false,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.times.get(self.next).copied()
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let first = self.next;
        while let Some(&time) = self.times.get(self.next).filter(|t| **t <= until) {
            sink.record(&EventRecord {
                class: ClassId(3),
                rest_len_bytes: 0,
                cpu: Cpu(0),
                time,
                payload: &PAYLOAD,
            })?;
            self.next += 1;
        }
        Ok((self.next - first) as u64)
    }

    fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
        Ok(HopAccount::new(self.source(), "listed", Cpu(0)))
    }
}

/// Two streams that take turns: `run` records of the one, `run` of the other.
/// [`RECORDS`] altogether.
pub fn two_streams(run: u64) -> Merger {
    let listed = |wanted: u64| -> Box<dyn RecordStream> {
        let times = (0..RECORDS)
            .filter(|n| n / run % 2 == wanted)
            .map(|n| SessionTime::from_ns(1_000 + n * 100))
            .collect();
        Box::new(Listed { times, next: 0 })
    };
    Merger::new(vec![listed(0), listed(1)])
}

/// Counts records, and checks that they are sorted.
#[derive(Debug, Default)]
pub struct Count {
    /// How many there were.
    pub records: u64,
    last: SessionTime,
    /// Records that were earlier than the one before.
    pub unsorted: u64,
}

impl Sink for Count {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.records += 1;
        self.unsorted += u64::from(record.time < self.last);
        self.last = record.time;
        Ok(())
    }

    fn loss(&mut self, _: &Loss) -> Result<()> {
        Ok(())
    }
}
