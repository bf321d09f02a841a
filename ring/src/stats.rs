//! A lane's account.

use kstrace_schema::{Cpu, HopAccount, LossReason, SourceId};

/// What became of the records that were given to a lane.
///
/// `seen = written + dropped_ring_full + dropped_too_big`, always. Of the
/// written ones, `overwritten_records` were overwritten before anybody recorded them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Records written.
    pub written: u64,
    /// Records dropped because no sub-buffer was free.
    pub dropped_ring_full: u64,
    /// Records dropped because they are larger than a packet.
    pub dropped_too_big: u64,
    /// Records lost before they came to the ring, by [`LaneWriter::note_lost`](crate::LaneWriter::note_lost).
    pub lost_earlier: u64,
    /// Written records that were overwritten and never recorded.
    pub overwritten_records: u64,
    /// Packets that were overwritten and never recorded.
    pub overwritten_packets: u64,
    /// Written records whose time was raised to that of the record before.
    pub late: u64,
    /// Packets closed.
    pub packets: u64,
}

impl LaneStats {
    /// Records given to the lane.
    pub fn seen(&self) -> u64 {
        self.written + self.dropped_ring_full + self.dropped_too_big
    }

    /// What packets state as `events_discarded`: every record that should be in
    /// the lane and never was in any packet of it.
    pub fn events_discarded(&self) -> u64 {
        self.dropped_ring_full + self.dropped_too_big + self.lost_earlier
    }

    /// The hop's account: overwritten records count as dropped, losses of earlier hops do not count.
    pub fn account(&self, source: SourceId, cpu: Cpu) -> HopAccount {
        let mut account = HopAccount::new(source, "kstrace-ring", cpu);
        account.seen = self.seen();
        account.written = self.written - self.overwritten_records.min(self.written);
        account.drop_records(LossReason::RingFull, self.dropped_ring_full);
        account.drop_records(LossReason::TooBig, self.dropped_too_big);
        account.drop_records(LossReason::RingOverwritten, self.overwritten_records);
        account
    }
}
