//! The records of one CPU.
//!
//! The tracer hands out whole sub-buffers only. To know how far a CPU is complete the
//! sub-buffer being written is closed from time to time; when all that was closed then
//! has been read, the CPU is complete up to the moment before it was closed.

use super::ring::{Positions, Ring};
use super::source::Shared;
use kstrace_ctf::FedStream;
use kstrace_schema::{
    Cpu, Error, ErrorKind, Fill, HopAccount, LossReason, RecordStream, Result, SessionTime, Sink,
    SourceId,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The sub-buffer being written is not closed more often than this.
const CLOSE_EVERY_NS: u64 = 10_000_000;
/// A record that was stamped before a moment is in its sub-buffer within this time
/// after it: interrupts may come between, and a hypervisor.
const COMMIT_GRACE_NS: u64 = 2_000_000;
/// Packets at hand at most: what a merge does not ask for stays in the kernel's ring.
const PACKETS_MAX: usize = 16;

/// When a sub-buffer was closed.
#[derive(Clone, Copy, Debug)]
struct Closed {
    at_ns: u64,
    positions: Positions,
    /// The session had been stopped: nothing comes after.
    last: bool,
}

/// One CPU of a [`KernelSource`](super::KernelSource).
#[derive(Debug)]
pub(super) struct CpuStream {
    ring: Ring,
    cpu: Cpu,
    shared: Arc<Shared>,
    packets: Option<FedStream>,
    /// Classes that were told through this stream or were known to be told.
    told: usize,
    closed: Option<Closed>,
    complete_until: SessionTime,
    finished: bool,
    account: HopAccount,
}

impl CpuStream {
    pub(super) fn new(ring: Ring, cpu: u32, shared: &Arc<Shared>) -> Self {
        CpuStream {
            account: HopAccount::new(shared.source, "lttng-ring", Cpu(cpu)),
            ring,
            cpu: Cpu(cpu),
            shared: Arc::clone(shared),
            packets: None,
            told: 0,
            closed: None,
            complete_until: SessionTime::ZERO,
            finished: false,
        }
    }

    fn failed(&self, what: &str, e: io::Error) -> Error {
        Error::io(format!("LTTng ring of CPU {}: {what}", self.cpu.0), e)
    }

    /// Closes the sub-buffer being written if it is time to, or over.
    fn close(&mut self) -> Result<()> {
        // Before anything is looked at, or "stopped and empty" would prove nothing.
        let stopped = self.shared.stopped();
        if self.closed.is_some_and(|closed| closed.last) {
            return Ok(());
        }
        let at_ns = self.ring.now_ns().map_err(|e| self.failed("clock", e))?;
        // Writers that had begun when the session stopped have ended after the grace.
        let last = stopped.is_some_and(|since| at_ns >= since.saturating_add(COMMIT_GRACE_NS));
        let due = self
            .closed
            .is_none_or(|closed| at_ns.saturating_sub(closed.at_ns) >= CLOSE_EVERY_NS);
        // What is closed and not yet wanted fills the ring with little in it.
        let behind = self.packets.as_ref().is_some_and(|p| p.queued() > 1);
        if (!due || behind) && !last {
            return Ok(());
        }
        let flushed = match last {
            // Also an empty one: its packet says what was lost until now.
            true => self.ring.flush_empty(),
            false => self.ring.flush(),
        };
        flushed.map_err(|e| self.failed("flush", e))?;
        self.closed = Some(Closed {
            at_ns,
            positions: self
                .ring
                .positions()
                .map_err(|e| self.failed("positions", e))?,
            last,
        });
        Ok(())
    }

    /// Takes in packets. Says whether some may be left because there are enough at hand.
    fn take_in(&mut self) -> Result<bool> {
        let mut taken = Vec::new();
        let at_hand = self.packets.as_ref().map_or(0, FedStream::queued);
        let mut full = false;
        loop {
            if at_hand + taken.len() >= PACKETS_MAX {
                full = true;
                break;
            }
            let mut bytes = self
                .packets
                .as_mut()
                .map_or_else(Vec::new, FedStream::buffer);
            let begin_ns = self
                .ring
                .take_packet(&mut bytes)
                .map_err(|e| self.failed("read", e))?;
            let Some(begin_ns) = begin_ns else { break };
            // All that is older than the youngest packet is at hand.
            let begin = SessionTime::from_ns(begin_ns.saturating_sub(1));
            self.complete_until = self.complete_until.max(begin);
            taken.push(bytes);
        }
        let Some(first) = taken.first() else {
            return Ok(full);
        };
        let mut metadata = self.shared.metadata();
        metadata.refresh()?;
        let Some(trace) = metadata.trace() else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!("LTTng ring of CPU {}: packets without metadata", self.cpu.0),
            ));
        };
        let packets = match &mut self.packets {
            Some(packets) => packets,
            None => {
                let packets = trace.stream_of(first, self.cpu)?;
                self.packets
                    .insert(packets.with_loss_reason(LossReason::KernelRingFull))
            }
        };
        for bytes in taken {
            packets.push(bytes, trace);
        }
        Ok(full)
    }

    fn tell_classes(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let (classes, known) = self.shared.untold(self.told);
        for class in classes {
            sink.class(&class)?;
        }
        self.told = known;
        Ok(())
    }
}

impl RecordStream for CpuStream {
    fn source(&self) -> SourceId {
        self.shared.source
    }

    fn cpu(&self) -> Cpu {
        self.cpu
    }

    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ring.as_fd())
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        self.close()?;
        let full = self.take_in()?;
        self.tell_classes(sink)?;
        if let Some(packets) = &mut self.packets {
            packets.take_up(sink)?;
        }
        let consumed = self
            .ring
            .positions()
            .map_err(|e| self.failed("positions", e))?
            .consumed;
        if let Some(closed) = self.closed
            && self.ring.read_up_to(closed.positions, consumed)
        {
            self.finished |= closed.last;
            let until_ns = closed.at_ns.saturating_sub(COMMIT_GRACE_NS);
            self.complete_until = self.complete_until.max(SessionTime::from_ns(until_ns));
        }
        if self.finished {
            self.complete_until = SessionTime::MAX;
        }
        Ok(Fill {
            complete_until: self.complete_until,
            // After the stop only the grace is waited for, and nothing will wake the reader.
            more: full || (self.shared.stopped().is_some() && !self.finished),
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.packets.as_mut()?.peek()
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let Some(packets) = &mut self.packets else {
            return Ok(0);
        };
        let count = packets.emit(until, sink)?;
        self.account.written += count;
        Ok(count)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        let mut account = self.account.clone();
        let lost = self.packets.as_ref().map_or(0, FedStream::lost);
        account.drop_records(LossReason::KernelRingFull, lost);
        account.seen = account.written + account.dropped_total();
        sink.account(&account)?;
        Ok(account)
    }
}
