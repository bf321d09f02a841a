//! Perf samples: one packet sequence for each event, with its time base and stacks.

use crate::attr::{AttrFacts, PERF_TYPE_TRACEPOINT};
use crate::event::Unparsable;
use crate::output::Output;
use crate::stacks::{Context, Lookup, Stacks};
use crate::symbolizer::Symbolizer;
use crate::wire::Proto;
use kstrace_schema::address_space::AddressSpaces;
use kstrace_schema::decode::{FieldAccess, Value};
use kstrace_schema::{EventRecord, EventRecordClass, NativeDescription, Result, Role};
use std::fmt;

/// Fields of `TracePacket`.
const INTERNED_DATA: u32 = 12;
const SEQUENCE_FLAGS: u32 = 13;
const TRACE_PACKET_DEFAULTS: u32 = 59;
const PERF_SAMPLE: u32 = 66;
const FIRST_PACKET_ON_SEQUENCE: u32 = 87;

/// `SEQ_INCREMENTAL_STATE_CLEARED` and `SEQ_NEEDS_INCREMENTAL_STATE`.
const CLEARED: u64 = 1;
const NEEDS: u64 = 2;

/// `TracePacketDefaults.timestamp_clock_id`, `.perf_sample_defaults`.
const DEFAULT_CLOCK_ID: u32 = 58;
const PERF_SAMPLE_DEFAULTS: u32 = 12;
/// `PerfSampleDefaults.timebase`.
const TIMEBASE: u32 = 1;

/// Fields of `PerfEvents.Timebase`.
const PERIOD: u32 = 1;
const FREQUENCY: u32 = 2;
const TRACEPOINT: u32 = 3;
const COUNTER: u32 = 4;
const RAW_EVENT: u32 = 5;
const NAME: u32 = 10;
const TIMESTAMP_CLOCK: u32 = 11;
const MODIFIERS: u32 = 12;

/// Fields of `PerfSample`.
const CPU: u32 = 1;
const PID: u32 = 2;
const TID: u32 = 3;
const CALLSTACK_IID: u32 = 4;
const CPU_MODE: u32 = 5;
const TIMEBASE_COUNT: u32 = 6;
const KERNEL_RECORDS_LOST: u32 = 17;

/// `PERF_RECORD_MISC_CPUMODE_MASK`; its values are those of `Profiling.CpuMode`.
const CPU_MODE_MASK: u64 = 7;
const LAST_CPU_MODE: u64 = 5;

/// CPUs whose counts are kept apart.
const MAX_CPUS: usize = 1 << 16;

/// How the samples of one class are read.
#[derive(Debug)]
pub(crate) struct SamplePlan {
    /// Which of [`Samples::sequences`].
    pub(crate) sequence: usize,
    ip: Option<FieldAccess>,
    pid: Option<FieldAccess>,
    tid: Option<FieldAccess>,
    misc: Option<FieldAccess>,
    period: Option<FieldAccess>,
    /// The counter's value at the sample.
    value: Option<FieldAccess>,
    fixed_period: u64,
    callchain: Option<FieldAccess>,
    /// Whose all addresses are, where no mark says it.
    context: Option<Context>,
    /// Parts of the samples that Perfetto has no place for.
    pub(crate) left_out: Vec<String>,
}

impl SamplePlan {
    pub(crate) fn has_stack(&self) -> bool {
        self.callchain.is_some()
    }
}

/// The packet sequence of one event's samples.
#[derive(Debug)]
struct Sequence {
    /// `trusted_packet_sequence_id`.
    id: u32,
    event: String,
    attr_hex: String,
    attr: Option<AttrFacts>,
    stacks: Stacks,
    begun: bool,
    /// What the event has counted on each CPU.
    counts: Vec<u64>,
}

/// Everything about samples.
pub(crate) struct Samples {
    sequences: Vec<Sequence>,
    first_sequence_id: u32,
    /// `TracePacket.timestamp_clock_id` of all samples.
    pub(crate) clock_id: u32,
    pub(crate) spaces: AddressSpaces,
    symbolizer: Box<dyn Symbolizer>,
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples")
            .field("sequences", &self.sequences)
            .finish_non_exhaustive()
    }
}

impl Samples {
    pub(crate) fn new(first_sequence_id: u32, symbolizer: Box<dyn Symbolizer>) -> Self {
        Samples {
            sequences: Vec::new(),
            first_sequence_id,
            clock_id: 0,
            spaces: AddressSpaces::default(),
            symbolizer,
        }
    }

    /// The trace's kernel has this symbol there.
    pub(crate) fn kernel_symbol(&mut self, name: &str, address: u64) {
        self.symbolizer.kernel_has(name, address);
    }

    /// The plan for a class of samples: of perf, or a stack that ftrace recorded.
    pub(crate) fn plan(&mut self, class: &EventRecordClass) -> Option<SamplePlan> {
        let role = |role| FieldAccess::by_role(&class.payload, role);
        let path = |path: &[&str]| FieldAccess::by_path(&class.payload, path);
        let mut plan = SamplePlan {
            sequence: 0,
            ip: role(Role::InstructionPointer),
            pid: role(Role::Pid),
            tid: role(Role::Tid),
            misc: path(&["header", "misc"]),
            period: role(Role::Period),
            value: path(&["read_value"]),
            fixed_period: 0,
            callchain: role(Role::Callchain),
            context: None,
            left_out: Vec::new(),
        };
        match &class.native {
            NativeDescription::PerfSample {
                attr_hex, event, ..
            } => {
                let attr = AttrFacts::parse(attr_hex);
                if let Some(attr) = attr.filter(|a| !a.is_frequency) {
                    plan.fixed_period = attr.period_or_frequency;
                }
                plan.left_out = left_out(class);
                plan.sequence = self.sequence(event, attr_hex, attr);
            }
            NativeDescription::TracefsFormat { .. } => {
                plan.context = Some(match class.name.as_str() {
                    "ftrace:kernel_stack" => Context::Kernel,
                    "ftrace:user_stack" => Context::User,
                    _ => return None,
                });
                plan.callchain = Some(path(&["caller"])?);
                plan.pid = path(&["tgid"]);
                plan.sequence = self.sequence(&class.name, "", None);
            }
            _ => return None,
        }
        Some(plan)
    }

    fn sequence(&mut self, event: &str, attr_hex: &str, attr: Option<AttrFacts>) -> usize {
        let known = self
            .sequences
            .iter()
            .position(|s| s.event == event && s.attr_hex == attr_hex);
        known.unwrap_or_else(|| {
            self.sequences.push(Sequence {
                id: self.first_sequence_id + self.sequences.len() as u32,
                event: event.to_owned(),
                attr_hex: attr_hex.to_owned(),
                attr,
                stacks: Stacks::default(),
                begun: false,
                counts: Vec::new(),
            });
            self.sequences.len() - 1
        })
    }

    /// Writes a sample. `thread` made it, where the record does not say.
    pub(crate) fn write(
        &mut self,
        plan: &SamplePlan,
        record: &EventRecord<'_>,
        time: u64,
        thread: Option<i32>,
        out: &mut Output,
    ) -> Result<Result<(), Unparsable>> {
        let payload = record.payload;
        let id = |access: &Option<FieldAccess>| {
            let value = access.as_ref()?.get_i64(payload)?;
            Some(value as i32)
        };
        let tid = id(&plan.tid).or(thread);
        let pid = id(&plan.pid);
        let ip = plan.ip.as_ref().and_then(|f| f.get_u64(payload));
        let mode = plan.misc.as_ref().and_then(|f| f.get_u64(payload));
        let mode = mode.map_or(0, |misc| misc & CPU_MODE_MASK);
        self.begin(plan.sequence, out)?;
        let Some(sequence) = self.sequences.get_mut(plan.sequence) else {
            return Ok(Err(Unparsable));
        };
        let mut lookup = Lookup {
            spaces: &self.spaces,
            symbolizer: &mut *self.symbolizer,
        };
        let process = pid.or(tid).unwrap_or(-1);
        let stacks = &mut sequence.stacks;
        let callstack = match &plan.callchain {
            Some(access) => {
                let Some(Value::Array(chain)) = access.get(payload) else {
                    return Ok(Err(Unparsable));
                };
                let addresses = chain.iter().filter_map(|v| v.as_u64());
                stacks.callstack(process, plan.context, addresses, &mut lookup)
            }
            None => ip.and_then(|ip| {
                let context = match mode {
                    1 => Context::Kernel,
                    2 => Context::User,
                    0 => Context::of_address(ip),
                    _ => Context::Other,
                };
                stacks.callstack(process, Some(context), std::iter::once(ip), &mut lookup)
            }),
        };
        let count = sequence.count(plan, record);
        out.packet(sequence.id, Some((self.clock_id, time)), |p| {
            p.uint(SEQUENCE_FLAGS, NEEDS);
            let news = &mut sequence.stacks.news;
            if !news.is_empty() {
                p.message_head(INTERNED_DATA, news.len());
                p.append(news);
                news.clear();
            }
            let sample = p.open(PERF_SAMPLE);
            if let Some(cpu) = record.cpu.known() {
                p.uint(CPU, cpu.0.into());
            }
            if let Some(pid) = pid {
                p.uint(PID, u64::from(pid as u32));
            }
            if let Some(tid) = tid {
                p.uint(TID, u64::from(tid as u32));
            }
            if let Some(callstack) = callstack {
                p.uint(CALLSTACK_IID, callstack);
            }
            if (1..=LAST_CPU_MODE).contains(&mode) {
                p.uint(CPU_MODE, mode);
            }
            if let Some(count) = count {
                p.uint(TIMEBASE_COUNT, count);
            }
            p.close(sample);
        })?;
        Ok(Ok(()))
    }

    /// States that the kernel lost records of an event, or of any if that is not known.
    pub(crate) fn write_lost(
        &mut self,
        sequence: Option<usize>,
        cpu: Option<u32>,
        count: u64,
        time: u64,
        out: &mut Output,
    ) -> Result<()> {
        let index = sequence.unwrap_or(0);
        if index >= self.sequences.len() {
            self.sequence("lost", "", None);
        }
        self.begin(index, out)?;
        let Some(sequence) = self.sequences.get(index) else {
            return Ok(());
        };
        out.packet(sequence.id, Some((self.clock_id, time)), |p| {
            p.uint(SEQUENCE_FLAGS, NEEDS);
            let sample = p.open(PERF_SAMPLE);
            if let Some(cpu) = cpu {
                p.uint(CPU, cpu.into());
            }
            p.uint(KERNEL_RECORDS_LOST, count);
            p.close(sample);
        })
    }

    /// Writes what all packets of a sequence rest upon: at its start, and where its
    /// interned data begin anew.
    fn begin(&mut self, index: usize, out: &mut Output) -> Result<()> {
        let clock_id = self.clock_id;
        let Some(sequence) = self.sequences.get_mut(index) else {
            return Ok(());
        };
        let full = sequence.stacks.is_full();
        if sequence.begun && !full {
            return Ok(());
        }
        if full {
            sequence.stacks = Stacks::default();
        }
        let first = !std::mem::replace(&mut sequence.begun, true);
        out.packet(sequence.id, None, |p| {
            p.uint(SEQUENCE_FLAGS, CLEARED);
            if first {
                p.bool(FIRST_PACKET_ON_SEQUENCE, true);
            }
            let defaults = p.open(TRACE_PACKET_DEFAULTS);
            p.uint(DEFAULT_CLOCK_ID, clock_id.into());
            let of_samples = p.open(PERF_SAMPLE_DEFAULTS);
            let timebase = p.open(TIMEBASE);
            sequence.write_timebase(p, clock_id);
            p.close(timebase);
            p.close(of_samples);
            p.close(defaults);
        })
    }
}

impl Sequence {
    /// What the event has counted on this CPU, this sample included.
    fn count(&mut self, plan: &SamplePlan, record: &EventRecord<'_>) -> Option<u64> {
        if let Some(value) = &plan.value {
            return value.get_u64(record.payload);
        }
        let period = match &plan.period {
            Some(period) => period.get_u64(record.payload)?,
            None if plan.fixed_period > 0 => plan.fixed_period,
            None => return None,
        };
        let cpu = record.cpu.known().map_or(0, |cpu| cpu.0 as usize);
        if cpu >= MAX_CPUS {
            return None;
        }
        if self.counts.len() <= cpu {
            self.counts.resize(cpu + 1, 0);
        }
        let count = self.counts.get_mut(cpu)?;
        *count = count.wrapping_add(period);
        Some(*count)
    }

    fn write_timebase(&self, p: &mut Proto, clock_id: u32) {
        p.text(NAME, self.event.as_bytes());
        let perf_clock = match clock_id {
            1 => Some(1),
            3 => Some(2),
            5 => Some(3),
            6 => Some(4),
            _ => None,
        };
        if let Some(perf_clock) = perf_clock {
            p.uint(TIMESTAMP_CLOCK, perf_clock);
        }
        let Some(attr) = &self.attr else {
            let tracepoint = p.open(TRACEPOINT);
            p.text(1, self.event.as_bytes());
            p.close(tracepoint);
            return;
        };
        let rate = if attr.is_frequency { FREQUENCY } else { PERIOD };
        p.uint(rate, attr.period_or_frequency);
        if let Some(counter) = attr.counter() {
            p.uint(COUNTER, counter);
        } else if attr.kind == PERF_TYPE_TRACEPOINT {
            let tracepoint = p.open(TRACEPOINT);
            // As tracefs has it in its directories.
            p.text(1, self.event.replacen(':', "/", 1).as_bytes());
            p.close(tracepoint);
        } else {
            let raw = p.open(RAW_EVENT);
            p.uint(1, attr.kind.into());
            for (number, value) in [(2, attr.config), (3, attr.config1), (4, attr.config2)] {
                p.uint(number, value);
            }
            p.close(raw);
        }
        // `EVENT_MODIFIER_COUNT_*`: what is counted, if it is not everything.
        let excluded = [
            attr.exclude_user,
            attr.exclude_kernel,
            attr.exclude_hypervisor,
        ];
        if excluded.contains(&true) {
            for (number, excluded) in (1..).zip(excluded) {
                if !excluded {
                    p.uint(MODIFIERS, number);
                }
            }
        }
    }
}

/// What samples of the class have and `PerfSample` has not. Ids are left aside: the
/// sequence stands for the event.
fn left_out(class: &EventRecordClass) -> Vec<String> {
    const HELD: [&str; 13] = [
        "header",
        "identifier",
        "id",
        "ip",
        "pid",
        "tid",
        "time",
        "cpu",
        "period",
        "read_value",
        "read_id",
        "callchain_nr",
        "callchain",
    ];
    let members = class.payload.members.iter();
    members
        .map(|m| m.name.as_str())
        // A tracepoint's entry follows, which is an event of its own.
        .take_while(|name| *name != "raw_size")
        .filter(|name| !name.is_empty() && !HELD.contains(name))
        .map(str::to_owned)
        .collect()
}
