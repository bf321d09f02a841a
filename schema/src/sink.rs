//! Where records go.

use crate::{ClockPair, EventRecord, EventRecordClass, HopAccount, Loss, Result, SessionInfo};
use std::sync::Arc;

/// The output of an adapter, the ring, or anything else that takes records.
///
/// The caller promises: [`session`](Sink::session) comes first and once; a class
/// comes before its first record; records come sorted by time within a CPU, and
/// sorted overall where the sink is fed by a merge; [`finish`](Sink::finish)
/// comes last and once. Payload bytes are borrowed for the call only.
pub trait Sink {
    /// The session that all that follows belongs to.
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        let _ = session;
        Ok(())
    }

    /// A class that records to come may use.
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()>;

    /// One record.
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()>;

    /// Loss that happened before this point of the CPU's records.
    fn loss(&mut self, loss: &Loss) -> Result<()>;

    /// Clocks read together at this point.
    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        let _ = pair;
        Ok(())
    }

    /// The final account of one hop.
    fn account(&mut self, account: &HopAccount) -> Result<()> {
        let _ = account;
        Ok(())
    }

    /// Nothing more comes for the moment: whoever looks on should see what came so far.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Nothing more comes: complete the output.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
