//! From settings and events to the `perf_event_attr` of each event.

use super::events::{Event, Term, suffix};
use super::settings::Settings;
use super::value::{self, CallGraph};
use crate::attr::Attr;
use crate::uapi::*;

/// An event ready to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// Its name in the file.
    pub name: String,
    /// What the kernel is asked.
    pub attr: Attr,
    /// System and name, for a tracepoint; its id goes into `attr.config` when it is opened.
    pub tracepoint: Option<(String, String)>,
    /// Index of its group's leader, if it is a member of a group and not the leader.
    pub leader: Option<usize>,
    /// The kernel's filter.
    pub filter: Option<String>,
    /// The instruction pointer is to be as exact as the hardware can.
    pub precise_max: bool,
}

impl Configured {
    /// Its name once `cycles` was replaced by a clock.
    pub fn fallback_name(attr: &Attr, name: &str) -> String {
        format!("{name}{}", suffix(attr))
    }
}

/// Whom it is about, as far as the attrs depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Events are opened on whole CPUs.
    pub on_cpus: bool,
    /// A command is going to be run, and nothing else is recorded.
    pub command_only: bool,
}

/// User registers that `--call-graph dwarf` copies: `PERF_REGS_MASK` of the
/// architecture, without the segments that 64-bit x86 does not have.
#[cfg(target_arch = "x86_64")]
const USER_REGISTERS: u64 = 0xff_0fff;
#[cfg(target_arch = "aarch64")]
const USER_REGISTERS: u64 = (1 << 33) - 1;
#[cfg(target_arch = "riscv64")]
const USER_REGISTERS: u64 = (1 << 32) - 1;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
const USER_REGISTERS: u64 = 0;

/// `PERF_SAMPLE_BRANCH_USER | CALL_STACK | NO_CYCLES | NO_FLAGS | HW_INDEX`.
const BRANCHES_OF_STACK: u64 = 1 | 1 << 11 | 1 << 14 | 1 << 15 | 1 << 17;

/// Makes the attrs. `frequency_hz` is 0 where `-c` was given.
pub fn configure(
    settings: &Settings,
    scope: Scope,
    frequency_hz: u64,
    warnings: &mut Vec<String>,
) -> Vec<Configured> {
    let mut events = settings.events.clone();
    if events.is_empty() {
        events.push(Event::default_cycles());
    }
    if settings.group {
        events.iter_mut().for_each(|e| e.group = Some(0));
    }
    let mut tracking = 0;
    let delayed = settings.delay.as_ref().is_some_and(|d| d.initial_ms != 0);
    let needs_dummy = delayed || scope.on_cpus;
    if needs_dummy && !is_dummy(&events[0]) {
        tracking = events.len();
        events.push(Event::dummy());
    }
    let leaders = leaders(&events);
    let mut configured = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let members = leaders.iter().filter(|l| **l == leaders[index]).count();
        let one = One {
            settings,
            scope,
            frequency_hz,
            event,
            is_tracking: index == tracking,
            is_leader: leaders[index] == index,
            has_members: members > 1,
            delayed,
            immediate: needs_dummy && index == tracking,
        };
        configured.push(Configured {
            name: event.name.clone(),
            attr: one.attr(warnings),
            tracepoint: event.tracepoint.clone(),
            leader: (leaders[index] != index).then_some(leaders[index]),
            filter: event.filter.clone(),
            precise_max: event.precise_max,
        });
    }
    for index in 0..configured.len() {
        if let Some(leader) = configured[index].leader
            && events[leader].sample_read
        {
            let lead = configured[leader].attr;
            sample_by_leader(&mut configured[index].attr, &lead, &events[index]);
        }
    }
    number_samples(&mut configured, settings);
    configured
}

fn is_dummy(event: &Event) -> bool {
    event.attr.kind == PERF_TYPE_SOFTWARE && event.attr.config == PERF_COUNT_SW_DUMMY
}

/// For each event the index of the leader of its group: itself if it is in none.
fn leaders(events: &[Event]) -> Vec<usize> {
    (0..events.len())
        .map(|index| match events[index].group {
            None => index,
            group => events
                .iter()
                .position(|e| e.group == group)
                .unwrap_or(index),
        })
        .collect()
}

/// A member of a `:S` group takes no samples of its own, unless told how often.
fn sample_by_leader(attr: &mut Attr, leader: &Attr, event: &Event) {
    let has_own = event
        .terms
        .iter()
        .any(|t| matches!(t, Term::Period(_) | Term::Frequency(_)));
    if !has_own {
        attr.sample_period = 0;
        attr.flags &= !flag::FREQ;
    }
    attr.flags &= !flag::WRITE_BACKWARD;
    attr.sample_type = leader.sample_type;
}

/// Where there are several events, samples name theirs.
fn number_samples(events: &mut [Configured], settings: &Settings) {
    let first = events.first().map_or(0, |e| e.attr.sample_type);
    let differ = events.iter().any(|e| e.attr.sample_type != first);
    if events.len() < 2 && !settings.sample_identifier {
        return;
    }
    for event in events {
        let attr = &mut event.attr;
        if differ || settings.sample_identifier {
            attr.sample_type &= !PERF_SAMPLE_ID;
            attr.sample_type |= PERF_SAMPLE_IDENTIFIER;
        } else {
            attr.sample_type |= PERF_SAMPLE_ID;
        }
    }
}

/// What one event's attr depends on.
struct One<'a> {
    settings: &'a Settings,
    scope: Scope,
    frequency_hz: u64,
    event: &'a Event,
    is_tracking: bool,
    is_leader: bool,
    has_members: bool,
    delayed: bool,
    immediate: bool,
}

impl One<'_> {
    fn attr(&self, warnings: &mut Vec<String>) -> Attr {
        let (s, event) = (self.settings, self.event);
        let mut attr = event.attr;
        attr.sample_type |= PERF_SAMPLE_IP | PERF_SAMPLE_TID;
        attr.read_format = PERF_FORMAT_ID | PERF_FORMAT_LOST;
        attr.flags |= flag::SAMPLE_ID_ALL;
        set(&mut attr, flag::INHERIT, !self.no_inherit());
        if event.sample_read {
            attr.sample_type |= PERF_SAMPLE_READ | PERF_SAMPLE_ID;
            if self.has_members {
                attr.read_format |= PERF_FORMAT_GROUP;
                attr.flags &= !flag::INHERIT;
            }
        }
        self.how_often(&mut attr);
        self.parts(&mut attr);
        self.call_stacks(&mut attr, s.call_graph, warnings);
        self.tracking(&mut attr);
        set(&mut attr, flag::DISABLED, self.is_leader);
        let by_exec = self.scope.command_only && self.is_leader && !self.delayed;
        set(&mut attr, flag::ENABLE_ON_EXEC, by_exec);
        if self.immediate {
            // With a delay it waits for the command, else it begins at once.
            let waits = self.delayed && self.scope.command_only;
            set(&mut attr, flag::DISABLED, waits);
            set(&mut attr, flag::ENABLE_ON_EXEC, waits);
        }
        if let Some(clock) = s.clock_id {
            attr.flags |= flag::USE_CLOCKID;
            attr.clockid = clock;
        }
        if event.precise_max {
            attr.set_precise_ip(3);
        }
        if s.all_user {
            set(&mut attr, flag::EXCLUDE_KERNEL, true);
            set(&mut attr, flag::EXCLUDE_USER, false);
        }
        if s.all_kernel {
            set(&mut attr, flag::EXCLUDE_KERNEL, false);
            set(&mut attr, flag::EXCLUDE_USER, true);
        }
        self.terms(&mut attr, warnings);
        if is_dummy(event) {
            attr.sample_type &= !PERF_SAMPLE_BRANCH_STACK;
            attr.branch_sample_type = 0;
        }
        attr
    }

    fn no_inherit(&self) -> bool {
        self.settings
            .no_inherit
            .unwrap_or(self.settings.tid.is_some())
    }

    fn how_often(&self, attr: &mut Attr) {
        let s = self.settings;
        let asked = s.frequency_hz.is_some() || s.frequency_max || s.period.is_some();
        if attr.sample_period == 0 || asked {
            if let Some(period) = s.period {
                attr.sample_period = period;
            } else {
                attr.sample_period = self.frequency_hz;
                attr.flags |= flag::FREQ;
            }
        }
        if attr.has(flag::FREQ) {
            attr.sample_type |= PERF_SAMPLE_PERIOD;
        }
        match s.sample_period {
            Some(true) => attr.sample_type |= PERF_SAMPLE_PERIOD,
            Some(false) => attr.sample_type &= !PERF_SAMPLE_PERIOD,
            None => {}
        }
        if s.no_samples {
            attr.sample_period = 0;
        }
        if s.no_buffering {
            attr.wakeup = 1;
            attr.flags &= !flag::WATERMARK;
        }
    }

    fn parts(&self, attr: &mut Attr) {
        let s = self.settings;
        if s.stat {
            attr.read_format |= PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
            attr.flags |= flag::INHERIT_STAT;
        }
        // Unwinding wants the mappings of data too.
        if s.data || matches!(s.call_graph, Some(CallGraph::Dwarf(_))) {
            self.addresses(attr);
        }
        if self.scope.on_cpus || s.sample_cpu {
            attr.sample_type |= PERF_SAMPLE_CPU;
        }
        if s.timestamp != Some(false) {
            attr.sample_type |= PERF_SAMPLE_TIME;
        }
        if s.raw_samples {
            attr.sample_type |= PERF_SAMPLE_TIME | PERF_SAMPLE_RAW | PERF_SAMPLE_CPU;
        }
        if s.branch_filter != 0 {
            attr.sample_type |= PERF_SAMPLE_BRANCH_STACK;
            attr.branch_sample_type = s.branch_filter;
        }
        if s.all_cgroups {
            attr.sample_type |= PERF_SAMPLE_CGROUP;
        }
    }

    fn addresses(&self, attr: &mut Attr) {
        attr.sample_type |= PERF_SAMPLE_ADDR | PERF_SAMPLE_DATA_SRC;
        set(attr, flag::MMAP_DATA, self.is_tracking);
    }

    fn call_stacks(&self, attr: &mut Attr, graph: Option<CallGraph>, warnings: &mut Vec<String>) {
        let Some(graph) = graph else { return };
        let of_functions = self
            .event
            .tracepoint
            .as_ref()
            .is_some_and(|(system, name)| system == "ftrace" && name == "function");
        attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
        if self.settings.kernel_callchains {
            attr.flags |= flag::EXCLUDE_CALLCHAIN_USER;
        }
        if self.settings.user_callchains {
            attr.flags |= flag::EXCLUDE_CALLCHAIN_KERNEL;
        }
        let mut warn = |text: &str| {
            let text = format!("{text}\n");
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        };
        match graph {
            CallGraph::FramePointers => {}
            CallGraph::LastBranches if self.settings.branch_filter != 0 => {
                warn("Cannot use LBR callstack with branch stack. Falling back to framepointers.");
            }
            CallGraph::LastBranches if attr.has(flag::EXCLUDE_USER) => warn(
                "LBR callstack option is only available to get user callchain information. \
                 Falling back to framepointers.",
            ),
            CallGraph::LastBranches => {
                attr.sample_type |= PERF_SAMPLE_BRANCH_STACK;
                attr.branch_sample_type = BRANCHES_OF_STACK;
            }
            CallGraph::Dwarf(_) if of_functions => warn(
                "Cannot use DWARF unwind for function trace event, falling back to framepointers.",
            ),
            CallGraph::Dwarf(bytes) => {
                attr.sample_type |= PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER;
                attr.sample_regs_user |= USER_REGISTERS;
                attr.sample_stack_user = bytes;
                attr.flags |= flag::EXCLUDE_CALLCHAIN_USER;
            }
        }
        if of_functions {
            warn("Disabling user space callchains for function trace event.");
            attr.flags |= flag::EXCLUDE_CALLCHAIN_USER;
        }
    }

    fn tracking(&self, attr: &mut Attr) {
        let s = self.settings;
        for (bit, on) in [
            (flag::TASK, true),
            (flag::MMAP, true),
            (flag::MMAP2, true),
            (flag::COMM, true),
            (flag::COMM_EXEC, true),
            (flag::KSYMBOL, true),
            (flag::BPF_EVENT, !s.no_bpf_event),
            (flag::BUILD_ID, s.buildid_mmap),
            (flag::NAMESPACES, s.namespaces),
            (flag::CGROUP, s.all_cgroups),
            (flag::CONTEXT_SWITCH, s.switch_events),
        ] {
            set(attr, bit, self.is_tracking && on);
        }
    }

    fn terms(&self, attr: &mut Attr, warnings: &mut Vec<String>) {
        let mut graph = None;
        let mut stack_bytes = None;
        for term in &self.event.terms {
            match term {
                Term::Period(events) => {
                    attr.sample_period = *events;
                    attr.flags &= !flag::FREQ;
                    attr.sample_type &= !PERF_SAMPLE_PERIOD;
                }
                Term::Frequency(hz) => {
                    attr.sample_period = *hz;
                    attr.flags |= flag::FREQ;
                    attr.sample_type |= PERF_SAMPLE_PERIOD;
                }
                Term::Time(true) => attr.sample_type |= PERF_SAMPLE_TIME,
                Term::Time(false) => attr.sample_type &= !PERF_SAMPLE_TIME,
                Term::CallGraph(mode) => graph = Some(mode.as_str()),
                Term::StackSize(bytes) => stack_bytes = u32::try_from(*bytes).ok(),
                Term::MaxStack(depth) => {
                    attr.sample_max_stack = u16::try_from(*depth).unwrap_or(u16::MAX);
                }
                Term::Inherit(on) => set(attr, flag::INHERIT, *on),
                // Served where the ring is read: see the caller's fall-through.
                Term::Overwrite(on) => set(attr, flag::WRITE_BACKWARD, *on),
                Term::BranchType(words) if words == "no" => {
                    attr.sample_type &= !PERF_SAMPLE_BRANCH_STACK;
                }
                Term::BranchType(words) => {
                    if let Ok(mode) = value::branches(words) {
                        attr.sample_type |= PERF_SAMPLE_BRANCH_STACK;
                        attr.branch_sample_type = mode;
                    }
                }
            }
        }
        let Some(mode) = graph else { return };
        let asked = match (mode, value::call_graph(mode)) {
            ("no", _) => None,
            (_, Ok(graph)) => Some(graph),
            (_, Err(said)) => {
                warnings.push(format!(
                    "{said}per-event callgraph setting for {} failed. Apply callgraph global \
                     setting for it\n",
                    self.event.name
                ));
                return;
            }
        };
        let parts = PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER;
        attr.sample_type &= !parts;
        attr.flags &= !flag::EXCLUDE_CALLCHAIN_USER;
        attr.sample_regs_user = 0;
        attr.sample_stack_user = 0;
        let graph = match asked {
            None => return,
            Some(CallGraph::Dwarf(bytes)) => CallGraph::Dwarf(stack_bytes.unwrap_or(bytes)),
            Some(graph) => graph,
        };
        if matches!(graph, CallGraph::Dwarf(_)) {
            self.addresses(attr);
        }
        self.call_stacks(attr, Some(graph), warnings);
    }
}

fn set(attr: &mut Attr, bit: u64, on: bool) {
    attr.flags &= !bit;
    if on {
        attr.flags |= bit;
    }
}
