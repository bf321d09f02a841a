//! Ftrace event bundles: the events of one CPU, some thousands at a time.

use crate::output::Output;
use crate::wire::Proto;
use kstrace_schema::{Result, SessionTime};

/// `TracePacket.ftrace_events`.
const FTRACE_EVENTS: u32 = 1;
/// `FtraceEventBundle.cpu`.
const CPU: u32 = 1;
/// `FtraceEventBundle.lost_events`.
const LOST_EVENTS: u32 = 3;
/// `FtraceEventBundle.ftrace_clock`.
const FTRACE_CLOCK: u32 = 5;

/// A bundle is written when it has so many bytes.
const MAX_BUNDLE_BYTES: usize = 32 << 10;
/// No bundle is held back longer than this after its first event, ns of the session clock.
const MAX_AGE_NS: u64 = 1_000_000_000;

/// The bundle of one CPU that is being filled, and what has become of its events.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    pub(crate) events: Proto,
    first: SessionTime,
    /// Events were lost before the next one to be written.
    lost_before: bool,
    /// The same of the bundle's first event.
    begins_after_loss: bool,
    /// Events written.
    pub(crate) written: u64,
    /// Thread that has the CPU, once a switch told it.
    pub(crate) current: Option<i32>,
}

/// The bundles of all CPUs.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    cpus: Vec<Bundle>,
    ftrace_clock: u64,
}

impl Bundles {
    pub(crate) fn new(ftrace_clock: u64) -> Self {
        Bundles {
            cpus: Vec::new(),
            ftrace_clock,
        }
    }

    /// The bundle that an event of a CPU at a time goes to.
    #[inline]
    pub(crate) fn of(
        &mut self,
        cpu: usize,
        time: SessionTime,
        out: &mut Output,
    ) -> Result<&mut Bundle> {
        if self.cpus.len() <= cpu {
            self.cpus.resize_with(cpu + 1, Bundle::default);
        }
        let bundle = &self.cpus[cpu];
        if bundle.events.len() >= MAX_BUNDLE_BYTES
            || (bundle.lost_before && !bundle.events.is_empty())
            || time.ns_since(bundle.first) > MAX_AGE_NS && !bundle.events.is_empty()
        {
            self.flush_old(cpu, time, out)?;
        }
        let bundle = &mut self.cpus[cpu];
        if bundle.events.is_empty() {
            bundle.first = time;
            bundle.begins_after_loss = std::mem::take(&mut bundle.lost_before);
        }
        Ok(bundle)
    }

    /// The next event of a CPU is marked as coming after a loss.
    pub(crate) fn lost_before(&mut self, cpu: usize) {
        if let Some(bundle) = self.cpus.get_mut(cpu) {
            bundle.lost_before = true;
        }
    }

    /// Writes the bundle of a CPU, and those that have waited long.
    #[cold]
    fn flush_old(&mut self, cpu: usize, now: SessionTime, out: &mut Output) -> Result<()> {
        for (number, bundle) in self.cpus.iter_mut().enumerate() {
            if number == cpu || now.ns_since(bundle.first) > MAX_AGE_NS {
                bundle.write(number, self.ftrace_clock, out)?;
            }
        }
        Ok(())
    }

    /// Writes all.
    pub(crate) fn flush(&mut self, out: &mut Output) -> Result<()> {
        for (number, bundle) in self.cpus.iter_mut().enumerate() {
            bundle.write(number, self.ftrace_clock, out)?;
        }
        Ok(())
    }

    /// Number of each CPU and how many events of it were written.
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.cpus.iter().enumerate().map(|(n, b)| (n, b.written))
    }
}

impl Bundle {
    fn write(&mut self, cpu: usize, ftrace_clock: u64, out: &mut Output) -> Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let mut head = Proto::default();
        head.uint(CPU, cpu as u64);
        if self.begins_after_loss {
            head.bool(LOST_EVENTS, true);
        }
        if ftrace_clock != 0 {
            head.uint(FTRACE_CLOCK, ftrace_clock);
        }
        let result = out.packet_of_parts(FTRACE_EVENTS, &head, &self.events);
        self.events.clear();
        self.begins_after_loss = false;
        result
    }
}
