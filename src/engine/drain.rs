//! The drain loop: from the sources, by CPU and merged, into the ring.

use super::consumer::PacketConsumer;
use super::control::Control;
use super::lane::{ClassLog, LaneState};
use super::request::Mode;
use super::stats::Stats;
use kstrace_clock::SystemClock;
use kstrace_schema::merge::Merger;
use kstrace_schema::{ClassRegistry, Clock, Error, HopAccount, Result, SessionTime, Sink, Source};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No record waits longer than this for readers of the ring or of the file.
const LATENCY_BOUND: Duration = Duration::from_millis(100);
/// Records that make it worth to go on without sleeping.
const WORTH_A_ROUND: u64 = 1024;
/// After a wake-up by a filling buffer: when to look again at records that were
/// too young to be known complete, for they still take room in the buffer.
const HELD_RECHECK: Duration = Duration::from_millis(2);
/// How often clocks are read together; also the longest sleep.
const CLOCK_PAIR_INTERVAL: Duration = Duration::from_secs(1);

/// One CPU: its streams and its lane.
pub(super) struct CpuDrain {
    pub(super) merger: Merger,
    pub(super) lane: LaneState,
}

/// Everything the loop works on.
pub(super) struct Drain {
    pub(super) sources: Vec<Box<dyn Source>>,
    pub(super) cpus: Vec<CpuDrain>,
    /// What has no CPU: kstrace's own records, tasks that were there at the start.
    pub(super) own: CpuDrain,
    pub(super) classes: ClassLog,
    pub(super) registry: Arc<ClassRegistry>,
    pub(super) clock: SystemClock,
    pub(super) consumer: Option<Box<dyn PacketConsumer>>,
    pub(super) mode: Mode,
    pub(super) control: Arc<Control>,
    pub(super) stats: Arc<Stats>,
}

/// What a finished recording leaves.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The account of every hop.
    pub accounts: Vec<HopAccount>,
    /// What went wrong with single sources while the others went on.
    pub problems: Vec<Error>,
}

impl Outcome {
    /// Records in the trace, kstrace's own included.
    pub fn records_written(&self) -> u64 {
        self.of_ring().map(|a| a.written).sum()
    }

    /// Records lost, at whatever hop.
    pub fn lost_total(&self) -> u64 {
        self.accounts.iter().map(HopAccount::dropped_total).sum()
    }

    fn of_ring(&self) -> impl Iterator<Item = &HopAccount> {
        self.accounts.iter().filter(|a| a.hop == RING_HOP)
    }
}

/// [`HopAccount::hop`] of the ring.
const RING_HOP: &str = "kstrace-ring";

impl Drain {
    /// Runs until told to stop, then takes in the rest and closes all.
    ///
    /// # Errors
    /// The consumer's, as when the disk is full. Recording has then stopped and
    /// what was delivered before stays delivered.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let outcome = self.run_inner();
        if outcome.is_err() {
            for source in &mut self.sources {
                // The first error is the one to tell.
                let _ = source.stop();
            }
        }
        outcome
    }

    fn run_inner(&mut self) -> Result<Outcome> {
        let mut last_flush = Instant::now();
        let mut last_pair = Instant::now();
        let mut idle = false;
        let mut unflushed = true;
        let mut pressed = false;
        self.clock_pair()?;
        while !self.control.stop_requested() {
            let (emitted, more) = self.round()?;
            unflushed |= emitted > 0;
            if last_pair.elapsed() >= CLOCK_PAIR_INTERVAL {
                last_pair = Instant::now();
                self.clock_pair()?;
            }
            let asked = self.control.take_flush();
            if asked || last_flush.elapsed() >= LATENCY_BOUND {
                last_flush = Instant::now();
                self.set_idle(&mut idle, !unflushed)?;
                if asked || std::mem::take(&mut unflushed) {
                    self.flush()?;
                }
            }
            // Close to the present a round finds little that is known complete: better to
            // let some gather than to go round and round.
            if !more || emitted < WORTH_A_ROUND {
                let busy_until = last_flush + LATENCY_BOUND;
                let pair_at = last_pair + CLOCK_PAIR_INTERVAL;
                let wake_at = if idle {
                    pair_at
                } else {
                    pair_at.min(busy_until)
                };
                let mut at_most = wake_at.saturating_duration_since(Instant::now());
                if pressed && self.cpus.iter_mut().any(|c| c.merger.holds_records()) {
                    at_most = at_most.min(HELD_RECHECK);
                }
                pressed = self.sleep(at_most)?;
            }
        }
        self.finish()
    }

    /// One round over all CPUs: records emitted, and whether more is waiting.
    fn round(&mut self) -> Result<(u64, bool)> {
        let (mut emitted, mut more) = (0, false);
        let (mut lost, mut bytes) = (0, 0);
        // A lane without streams is complete to now, not for ever.
        let begun = self.clock.now();
        for cpu in self.cpus.iter_mut().chain([&mut self.own]) {
            let consumer = streaming(self.mode, &mut self.consumer);
            let mut sink = cpu.lane.sink(&mut self.classes, consumer);
            let round = cpu.merger.round(&mut sink)?;
            sink.publish(round.complete_until.min(begun));
            sink.hand_over()?;
            emitted += round.emitted;
            more |= round.more;
            lost += cpu.lane.writer.stats().events_discarded();
            bytes += cpu.lane.bytes;
        }
        self.stats.add_round(emitted);
        self.stats.set(lost, bytes);
        Ok((emitted, more))
    }

    fn clock_pair(&mut self) -> Result<()> {
        let pair = kstrace_clock::read_pair();
        let consumer = streaming(self.mode, &mut self.consumer);
        let mut sink = self.own.lane.sink(&mut self.classes, consumer);
        sink.clock_pair(&pair)?;
        sink.publish(SessionTime::from_ns(pair.monotonic_ns));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for CpuDrain { lane, .. } in self.cpus.iter_mut().chain([&mut self.own]) {
            let consumer = streaming(self.mode, &mut self.consumer);
            lane.sink(&mut self.classes, consumer).flush()?;
        }
        Ok(())
    }

    /// While nothing happens sources wake the loop by their first record, and
    /// by a watermark while much happens.
    fn set_idle(&mut self, idle: &mut bool, now: bool) -> Result<()> {
        if *idle != now {
            *idle = now;
            for source in &mut self.sources {
                source.set_idle(now)?;
            }
        }
        Ok(())
    }

    /// Sleeps until a source or somebody else has something, at most so long.
    /// Says whether it was a source.
    fn sleep(&self, at_most: Duration) -> Result<bool> {
        let mut fds = vec![PollFd::new(self.control.fd(), PollFlags::POLLIN)];
        for cpu in &self.cpus {
            fds.extend(
                cpu.merger
                    .wakeups()
                    .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
        }
        let timeout =
            PollTimeout::try_from(at_most + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {
                self.control.clear();
                Ok(fds[1..].iter().any(|fd| fd.any() == Some(true)))
            }
            Err(e) => Err(Error::io("wait for the sources", e.into())),
        }
    }

    fn finish(&mut self) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for source in &mut self.sources {
            if let Err(error) = source.stop() {
                outcome.problems.push(error);
            }
        }
        for cpu in self.cpus.iter_mut().chain([&mut self.own]) {
            let consumer = streaming(self.mode, &mut self.consumer);
            let mut sink = cpu.lane.sink(&mut self.classes, consumer);
            let emitted = cpu.merger.flush(&mut sink)?;
            outcome.accounts.extend(cpu.merger.finish(&mut sink)?);
            self.stats.add_round(emitted);
            outcome
                .problems
                .extend(cpu.merger.take_errors().into_iter().map(|e| e.error));
        }
        self.clock_pair()?;
        if self.mode == Mode::Overwrite
            && let Some(consumer) = self.consumer.as_deref_mut()
        {
            for class in self.registry.all() {
                consumer.class(&class)?;
            }
        }
        for CpuDrain { lane, .. } in self.cpus.iter_mut().chain([&mut self.own]) {
            let consumer = self
                .consumer
                .as_deref_mut()
                .map(|c| c as &mut dyn PacketConsumer);
            lane.sink(&mut self.classes, consumer).finish()?;
            outcome.accounts.push(lane.account());
        }
        if let Some(consumer) = &mut self.consumer {
            consumer.finish(&outcome.accounts)?;
        }
        Ok(outcome)
    }
}

/// The consumer, if it is to get packets while recording.
fn streaming(
    mode: Mode,
    consumer: &mut Option<Box<dyn PacketConsumer>>,
) -> Option<&mut dyn PacketConsumer> {
    match mode {
        Mode::Discard => consumer
            .as_deref_mut()
            .map(|c| c as &mut dyn PacketConsumer),
        Mode::Overwrite => None,
    }
}
