//! What the kernel lost on one CPU, told once and counted exactly.
//!
//! In overwrite mode a sub-buffer says how many records were overwritten before
//! it. Where it had no room for the number, the kernel's own counter is read
//! instead, and from then on always: a sub-buffer's number then overlaps with
//! what the counter has told already. Without overwrite mode the kernel marks
//! nothing, and the counter of dropped records is looked at from time to time.
//! At the end the counters decide: what they say and nobody told yet is told.

use super::border;
use kstrace_schema::{
    Certainty, Cpu, HopAccount, Loss, LossReason, Result, SessionTime, Sink, SourceId,
};
use tracefs::{CpuStats, Missed, StatsFile};

/// The counters are not looked at more often than this.
const LOOK_EVERY_NS: u64 = 100_000_000;

#[derive(Debug)]
pub(super) struct Losses {
    source: SourceId,
    cpu: Cpu,
    stats: StatsFile,
    /// Told, or about to be told by a stretch that is at hand.
    overrun: u64,
    dropped: u64,
    commit_overrun: u64,
    /// A sub-buffer's number no longer says how many are new.
    only_counter: bool,
    looked_ns: u64,
}

impl Losses {
    pub(super) fn new(source: SourceId, cpu: Cpu, stats: StatsFile) -> Self {
        Losses {
            source,
            cpu,
            stats,
            overrun: 0,
            dropped: 0,
            commit_overrun: 0,
            only_counter: false,
            looked_ns: 0,
        }
    }

    /// Tracing begins: what was lost, was lost from now on.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.looked_ns = now_ns;
    }

    /// How many records that nobody told yet a sub-buffer says were lost before
    /// it, and whether some of them may be younger than the sub-buffer.
    pub(super) fn before_sub_buffer(&mut self, missed: Missed) -> Result<(u64, bool)> {
        let new = match missed {
            Missed::None => return Ok((0, false)),
            Missed::Count(count) if !self.only_counter => count,
            _ => {
                self.only_counter = true;
                self.read()?.overrun.saturating_sub(self.overrun)
            }
        };
        self.overrun += new;
        Ok((new, self.only_counter))
    }

    /// Looks at the counters, if it is time to.
    pub(super) fn look(&mut self, now_ns: u64, sink: &mut dyn Sink) -> Result<()> {
        if now_ns.saturating_sub(self.looked_ns) < LOOK_EVERY_NS {
            return Ok(());
        }
        let stats = self.read()?;
        self.tell_counted(&stats, now_ns, sink)
    }

    /// Tells what the counters have more than was told. Not of overwritten
    /// records: sub-buffers tell those.
    fn tell_counted(&mut self, stats: &CpuStats, now_ns: u64, sink: &mut dyn Sink) -> Result<()> {
        let begin = SessionTime::from_ns(self.looked_ns);
        let end = SessionTime::from_ns(now_ns);
        self.looked_ns = now_ns;
        let dropped = stats.dropped.saturating_sub(self.dropped);
        self.dropped += dropped;
        self.tell(LossReason::KernelRingFull, dropped, begin, end, sink)?;
        let given_up = stats.commit_overrun.saturating_sub(self.commit_overrun);
        self.commit_overrun += given_up;
        self.tell(LossReason::KernelCommitOverrun, given_up, begin, end, sink)
    }

    /// Tells one stretch of loss; nothing for none.
    pub(super) fn tell(
        &self,
        reason: LossReason,
        count: u64,
        begin: SessionTime,
        end: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        sink.loss(&Loss {
            source: self.source,
            cpu: self.cpu,
            reason,
            count,
            certainty: Certainty::Exact,
            class: None,
            begin,
            end: end.max(begin),
        })
    }

    /// Tells all that is left, and draws up the account.
    ///
    /// `delivered` records were handed on, the last one at `last`.
    pub(super) fn finish(
        &mut self,
        delivered: u64,
        last: SessionTime,
        now_ns: u64,
        sink: &mut dyn Sink,
    ) -> Result<HopAccount> {
        let stats = self.read()?;
        self.tell_counted(&stats, now_ns, sink)?;
        let end = SessionTime::from_ns(now_ns);
        let overrun = stats.overrun.saturating_sub(self.overrun);
        self.overrun += overrun;
        self.tell(LossReason::KernelOverwritten, overrun, last, end, sink)?;
        // Read from the kernel's ring, but in a sub-buffer that could not be decoded to its end.
        let unparsable = stats.read.saturating_sub(delivered);
        self.tell(
            LossReason::Unparsable,
            unparsable,
            SessionTime::ZERO,
            end,
            sink,
        )?;
        // Left in the kernel's ring by a reader that stopped early.
        self.tell(LossReason::KernelRingFull, stats.entries, last, end, sink)?;

        let mut account = HopAccount::new(self.source, "ftrace-buffer", self.cpu);
        account.written = delivered;
        account.drop_records(LossReason::KernelOverwritten, self.overrun);
        account.drop_records(LossReason::KernelRingFull, self.dropped + stats.entries);
        account.drop_records(LossReason::KernelCommitOverrun, self.commit_overrun);
        account.drop_records(LossReason::Unparsable, unparsable);
        account.seen = account.written + account.dropped_total();
        let counted =
            stats.read + stats.entries + stats.overrun + stats.dropped + stats.commit_overrun;
        if account.seen != counted {
            account.certainty = Certainty::AtLeast;
        }
        Ok(account)
    }

    fn read(&self) -> Result<CpuStats> {
        self.stats
            .read()
            .map_err(|e| border("counters of an ftrace buffer", e))
    }
}
