//! Where records come from.

use crate::{Cpu, HopAccount, Result, SessionTime, Sink, SourceId, SourceInfo};
use std::os::fd::BorrowedFd;

/// What a [`RecordStream::fill`] achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Every record of this stream up to this time is available or was emitted.
    /// [`SessionTime::MAX`] once nothing more will ever come.
    pub complete_until: SessionTime,
    /// More is waiting already: fill again without sleeping.
    pub more: bool,
}

/// The records of one CPU of one source, sorted by time.
///
/// The reader of a stream calls, in rounds: [`fill`](RecordStream::fill) to take
/// in what there is; then [`peek`](RecordStream::peek) and
/// [`emit`](RecordStream::emit) as often as merging with other streams needs,
/// never past the smallest `complete_until` of the streams it merges.
pub trait RecordStream: Send {
    /// The source it belongs to.
    fn source(&self) -> SourceId;

    /// The CPU, [`Cpu::NONE`] for a stream that has none.
    fn cpu(&self) -> Cpu;

    /// Becomes readable when it is worth filling; `None` for a file.
    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes in what the source has now, without blocking. New classes and
    /// loss that is noticed go to `sink`.
    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill>;

    /// The time of the next record that is at hand.
    fn peek(&mut self) -> Option<SessionTime>;

    /// Hands over, in order, every record at hand whose time is at most `until`.
    /// Says how many.
    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64>;

    /// After the last record: hands over loss not yet told, and the account of
    /// the hop between the kernel (or the file) and here.
    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount>;
}

/// A tracer at work, or a file it wrote.
pub trait Source: Send {
    /// Who it is.
    fn info(&self) -> &SourceInfo;

    /// Hands over its streams; called once, before [`start`](Source::start).
    /// Classes known by then go to `sink`.
    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>>;

    /// Begins to record. Nothing for a file.
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    /// While nothing happens (`idle`), its streams' wake-ups should come with the
    /// first record; otherwise only when much is waiting. Nothing for a file.
    fn set_idle(&mut self, idle: bool) -> Result<()> {
        let _ = idle;
        Ok(())
    }

    /// Stops recording: what the streams still hold is then all there is.
    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}
