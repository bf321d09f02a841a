//! Packets that come from no file.

use super::{CtfStream, FedPacket, TracePlan};
use kstrace_schema::{LossReason, Result, Sink};
use std::sync::Arc;

impl CtfStream {
    /// Losses that packets tell of have this reason.
    pub(in crate::input) fn set_loss_reason(&mut self, reason: LossReason) {
        self.loss_reason = reason;
    }

    /// A further packet.
    pub(in crate::input) fn feed(&mut self, bytes: Vec<u8>, trace: Arc<TracePlan>) {
        self.fed.push_back(FedPacket { bytes, trace });
    }

    /// Packets that have not been begun.
    pub(in crate::input) fn fed(&self) -> usize {
        self.fed.len()
    }

    /// A buffer for a packet, empty.
    pub(in crate::input) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gets a record to hand, if there is one.
    pub(in crate::input) fn take_up(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if self.next.is_none() && self.damage.is_none() {
            self.advance(sink)?;
        }
        match self.damage.take() {
            Some(damage) => Err(damage),
            None => Ok(()),
        }
    }

    /// Records that packets begun so far say were lost.
    pub(in crate::input) fn lost(&self) -> u64 {
        self.lost
    }
}
