//! From a plan to open events, one ring a CPU.

use crate::attr::Attr;
use crate::ladder::{climb, errno};
use crate::mmap::{MappedRing, page_bytes};
use crate::plan::{EventRequest, PerfPlan, Period, Target};
use crate::tracepoint::{Tracepoint, Tracepoints};
use crate::uapi::*;
use crate::{EventKind, PerfError, limits, sys, target};
use kstrace_schema::ClockKind;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which event of the plan a descriptor is of; `None` for sideband.
pub(crate) type EventIndex = Option<usize>;

/// The open events of one CPU. Their records all go to one ring.
#[derive(Debug)]
pub(crate) struct CpuEvents {
    pub(crate) cpu: u32,
    /// Whose ring it is. Where whole CPUs are recorded this is a duplicate of one
    /// of `events`; else an event of our own that never fires, since the ring of
    /// a traced thread would hang up with it.
    pub(crate) ring_owner: OwnedFd,
    pub(crate) events: Vec<(EventIndex, OwnedFd)>,
}

/// One event of the plan, as the kernel took it.
#[derive(Debug)]
pub(crate) struct OpenedEvent {
    pub(crate) name: String,
    pub(crate) attr: Attr,
    pub(crate) tracepoint: Option<Tracepoint>,
    /// The filter asked for by the user.
    pub(crate) filter: Option<String>,
    pub(crate) ids: Vec<u64>,
}

/// Everything that opening a plan gave.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) cpus: Vec<(CpuEvents, MappedRing)>,
    pub(crate) events: Vec<OpenedEvent>,
    pub(crate) sideband: Option<OpenedEvent>,
    pub(crate) notes: Vec<String>,
}

/// Parts that all samples and all trailers have: what a reader needs to place
/// a record, and `perf script` to print it.
const COMMON_SAMPLE_TYPE: u64 =
    PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU;

pub(crate) fn open(plan: &PerfPlan) -> Result<Opened, PerfError> {
    check(plan)?;
    let cpus = target::cpus_to_record(plan.cpus.as_deref())?;
    let mut opener = Opener::new(plan);
    let mut events = Vec::with_capacity(plan.events.len());
    let mut tracepoints = Tracepoints::default();
    for request in &plan.events {
        events.push(opener.prepare(request, &mut tracepoints)?);
    }
    let mut sideband = plan.sideband.then(|| opener.sideband());
    let mut groups = Vec::with_capacity(cpus.len());
    for cpu in cpus {
        let owner = match plan.target {
            Target::System => None,
            _ => Some(opener.ring_owner(cpu)?),
        };
        groups.push(Group {
            cpu,
            owner,
            events: Vec::new(),
        });
    }
    match &plan.target {
        Target::System => opener.open_all(-1, &mut events, &mut sideband, &mut groups)?,
        Target::Command(pid) => opener.open_all(*pid, &mut events, &mut sideband, &mut groups)?,
        Target::Pids(pids) => {
            for pid in pids {
                opener.open_process(*pid, &mut events, &mut sideband, &mut groups)?;
            }
        }
    }
    let mut cpus = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(group) = opener.make_ring(group)? {
            cpus.push(group);
        }
    }
    if cpus.is_empty() {
        return Err(PerfError::BadPlan(
            "no event could be opened on any CPU".to_owned(),
        ));
    }
    Ok(Opened {
        cpus,
        events,
        sideband,
        notes: opener.notes,
    })
}

/// Events of a CPU that have no ring yet.
struct Group {
    cpu: u32,
    owner: Option<OwnedFd>,
    events: Vec<(EventIndex, OwnedFd)>,
}

fn check(plan: &PerfPlan) -> Result<(), PerfError> {
    if plan.events.is_empty() && !plan.sideband {
        return Err(PerfError::BadPlan("no event to record".to_owned()));
    }
    let size = plan.mmap_size_bytes_per_cpu;
    let page = page_bytes();
    if !size.is_power_of_two() || size < page {
        return Err(PerfError::BadPlan(format!(
            "ring of {size} bytes per CPU: a power of two of at least {page} bytes is needed"
        )));
    }
    if matches!(&plan.target, Target::Pids(pids) if pids.is_empty()) {
        return Err(PerfError::BadPlan("no process to record".to_owned()));
    }
    for request in &plan.events {
        if request.filter.is_some() && !request.spec.is_tracepoint() {
            return Err(PerfError::BadPlan(format!(
                "event '{}' takes no filter: only tracepoints do",
                request.spec
            )));
        }
        clock_suits(plan.clock, &request.spec.text, &request.spec.kind)?;
    }
    Ok(())
}

/// Only clocks that can be read in a non-maskable interrupt serve events that
/// fire there.
fn clock_suits(clock: ClockKind, event: &str, kind: &EventKind) -> Result<(), PerfError> {
    let unsupported = |reason: &str| {
        Err(PerfError::Unsupported {
            what: format!("event '{event}' with clock {clock}"),
            reason: reason.to_owned(),
            source: None,
        })
    };
    match clock {
        ClockKind::Monotonic | ClockKind::MonotonicRaw => Ok(()),
        ClockKind::Tsc => unsupported("perf stamps no records in cycles; use monotonic"),
        ClockKind::Sched | ClockKind::Foreign => {
            unsupported("a session cannot have this clock; use monotonic")
        }
        _ if matches!(kind, EventKind::Software(_)) => Ok(()),
        _ => unsupported(
            "the kernel stamps only software events with this clock; use monotonic or monotonic_raw",
        ),
    }
}

pub(crate) fn clock_id(clock: ClockKind) -> i32 {
    match clock {
        ClockKind::Realtime => libc::CLOCK_REALTIME,
        ClockKind::MonotonicRaw => libc::CLOCK_MONOTONIC_RAW,
        ClockKind::Boottime => libc::CLOCK_BOOTTIME,
        ClockKind::Tai => libc::CLOCK_TAI,
        ClockKind::Monotonic | ClockKind::Tsc | ClockKind::Sched | ClockKind::Foreign => {
            libc::CLOCK_MONOTONIC
        }
    }
}

struct Opener<'p> {
    plan: &'p PerfPlan,
    notes: Vec<String>,
    /// Size of the rings, once one had to be made smaller.
    ring_bytes: usize,
}

impl<'p> Opener<'p> {
    fn new(plan: &'p PerfPlan) -> Self {
        Opener {
            plan,
            notes: Vec::new(),
            ring_bytes: plan.mmap_size_bytes_per_cpu,
        }
    }

    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// What all events of the plan have in common.
    fn base(&self, kind: u32, config: u64) -> Attr {
        let mut attr = Attr::new(kind, config);
        attr.sample_type = COMMON_SAMPLE_TYPE;
        attr.read_format = PERF_FORMAT_ID | PERF_FORMAT_LOST;
        attr.flags = flag::DISABLED | flag::SAMPLE_ID_ALL | flag::WATERMARK | flag::USE_CLOCKID;
        attr.clockid = clock_id(self.plan.clock);
        let quarter = self.plan.mmap_size_bytes_per_cpu / 4;
        attr.wakeup = u32::try_from(quarter).unwrap_or(u32::MAX);
        match self.plan.target {
            Target::System => {}
            Target::Pids(_) => attr.flags |= flag::INHERIT,
            Target::Command(_) => attr.flags |= flag::INHERIT | flag::ENABLE_ON_EXEC,
        }
        attr
    }

    fn prepare(
        &mut self,
        request: &EventRequest,
        tracepoints: &mut Tracepoints,
    ) -> Result<OpenedEvent, PerfError> {
        let (kind, config) = request.spec.type_and_config();
        let mut attr = self.base(kind, config);
        let mut tracepoint = None;
        let mut name = request.spec.text.clone();
        if let EventKind::Tracepoint {
            system,
            name: event,
        } = &request.spec.kind
        {
            let found = tracepoints.look_up(system, event)?;
            attr.config = found.id.into();
            if request.raw {
                attr.sample_type |= PERF_SAMPLE_RAW;
            }
            name = format!("{system}:{event}");
            tracepoint = Some(found);
        } else {
            attr.sample_type |= PERF_SAMPLE_IP;
        }
        if request.spec.kind == EventKind::Software(PERF_COUNT_SW_BPF_OUTPUT) {
            attr.sample_type |= PERF_SAMPLE_RAW;
        }
        match request.period {
            Period::Period(events) => attr.sample_period = events.max(1),
            Period::Freq(hz) => {
                attr.flags |= flag::FREQ;
                attr.sample_type |= PERF_SAMPLE_PERIOD;
                attr.sample_period = self.frequency(hz.max(1));
            }
        }
        if request.callchain {
            attr.sample_type |= PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_IP;
            attr.sample_max_stack = limits::max_stack().unwrap_or(0);
        }
        request.spec.modifiers.apply(&mut attr);
        if request.exclude_user {
            attr.flags |= flag::EXCLUDE_USER;
        }
        if request.exclude_kernel {
            attr.flags |= flag::EXCLUDE_KERNEL;
        }
        if let Some(wanted) = &request.name {
            name.clone_from(wanted);
        }
        Ok(OpenedEvent {
            name,
            attr,
            tracepoint,
            filter: request.filter.clone(),
            ids: Vec::new(),
        })
    }

    fn frequency(&mut self, hz: u64) -> u64 {
        match limits::max_sample_rate_hz() {
            Some(max) if hz > max => {
                self.note(format!(
                    "frequency lowered from {hz} to {max} Hz: kernel.perf_event_max_sample_rate"
                ));
                max
            }
            _ => hz,
        }
    }

    /// The event that never fires and carries what is told of processes.
    fn sideband(&self) -> OpenedEvent {
        let mut attr = self.base(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY);
        attr.sample_period = 1;
        attr.flags |= flag::MMAP
            | flag::MMAP2
            | flag::COMM
            | flag::COMM_EXEC
            | flag::TASK
            | flag::KSYMBOL
            | flag::BPF_EVENT
            | flag::BUILD_ID
            | flag::EXCLUDE_KERNEL
            | flag::EXCLUDE_HV;
        let name = "dummy:u".to_owned();
        OpenedEvent {
            name,
            attr,
            tracepoint: None,
            filter: None,
            ids: Vec::new(),
        }
    }

    fn ring_owner(&mut self, cpu: u32) -> Result<OwnedFd, PerfError> {
        let mut attr = self.base(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY);
        attr.sample_period = 1;
        attr.flags &= !(flag::INHERIT | flag::ENABLE_ON_EXEC);
        attr.flags |= flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV;
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let opened = self.open_event("the ring of a CPU", &mut attr, own, cpu)?;
        opened.ok_or(PerfError::NoProcess { pid: own })
    }

    /// All threads of a process, also those that appear meanwhile: what a thread
    /// clones once its event is open is followed by the kernel.
    fn open_process(
        &mut self,
        pid: i32,
        events: &mut [OpenedEvent],
        sideband: &mut Option<OpenedEvent>,
        groups: &mut [Group],
    ) -> Result<(), PerfError> {
        const ROUNDS: usize = 8;
        let mut known = BTreeSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<i32> = target::threads(pid)?
                .into_iter()
                .filter(|tid| known.insert(*tid))
                .collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                match self.open_all(tid, events, sideband, groups) {
                    // A thread that has just ended; the process counts.
                    Err(PerfError::NoProcess { .. }) if tid != pid => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Opens every event for one thread, or for all tasks (-1), on every CPU.
    fn open_all(
        &mut self,
        tid: i32,
        events: &mut [OpenedEvent],
        sideband: &mut Option<OpenedEvent>,
        groups: &mut [Group],
    ) -> Result<(), PerfError> {
        let all = sideband.iter_mut().map(|s| (None, s));
        for (index, event) in all.chain(events.iter_mut().enumerate().map(|(i, e)| (Some(i), e))) {
            for group in groups.iter_mut() {
                let what = format!("event '{}'", event.name);
                let fd = match self.open_with_fallback(event, tid, group.cpu)? {
                    Some(fd) => fd,
                    None if tid >= 0 => return Err(PerfError::NoProcess { pid: tid }),
                    None => {
                        self.note(format!(
                            "CPU {} went offline and is not recorded",
                            group.cpu
                        ));
                        continue;
                    }
                };
                let id = sys::event_id(fd.as_fd())
                    .map_err(|e| PerfError::io(format!("cannot get the id of {what}"), e))?;
                event.ids.push(id);
                if let Some(filter) = &event.filter {
                    set_filter(fd.as_fd(), &event.name, filter)?;
                }
                group.events.push((index, fd));
            }
        }
        Ok(())
    }

    /// Opens an event; where the hardware lacks `cycles`, `cpu-clock` in its place.
    fn open_with_fallback(
        &mut self,
        event: &mut OpenedEvent,
        tid: i32,
        cpu: u32,
    ) -> Result<Option<OwnedFd>, PerfError> {
        let what = format!("event '{}'", event.name);
        loop {
            let attr = &mut event.attr;
            let e = match self.open_event(&what, attr, tid, cpu) {
                Err(PerfError::Unsupported {
                    source: Some(source),
                    what,
                    reason,
                }) => (source, what, reason),
                other => return other,
            };
            if attr.kind == PERF_TYPE_HARDWARE && attr.precise_ip() > 0 {
                attr.set_precise_ip(attr.precise_ip() - 1);
                let precise = attr.precise_ip();
                self.note(format!(
                    "{what}: this hardware has no more than {precise} levels of precise addresses"
                ));
            } else if attr.kind == PERF_TYPE_HARDWARE && attr.config == PERF_COUNT_HW_CPU_CYCLES {
                attr.kind = PERF_TYPE_SOFTWARE;
                attr.config = PERF_COUNT_SW_CPU_CLOCK;
                let modifiers = event.name.find(':').map_or("", |at| &event.name[at..]);
                let fallback = format!("cpu-clock{modifiers}");
                self.note(format!(
                    "{what} is not supported by this hardware: using '{fallback}'"
                ));
                event.name = fallback;
            } else {
                let (source, what, reason) = e;
                return Err(PerfError::Unsupported {
                    what,
                    reason,
                    source: Some(source),
                });
            }
        }
    }

    /// Opens one event on one CPU. `None`: the thread or the CPU has gone.
    fn open_event(
        &mut self,
        what: &str,
        attr: &mut Attr,
        tid: i32,
        cpu: u32,
    ) -> Result<Option<OwnedFd>, PerfError> {
        let cpu_number = i32::try_from(cpu).unwrap_or(i32::MAX);
        loop {
            let e = match climb(attr, &mut |a| sys::open_event(a, tid, cpu_number)) {
                Ok((fd, missing)) => {
                    for without in missing {
                        self.note(format!("{what}: this kernel lacks {without}"));
                    }
                    return Ok(Some(fd));
                }
                Err(e) => e,
            };
            match errno(&e) {
                Errno::ESRCH if tid >= 0 => return Ok(None),
                Errno::ENODEV if tid < 0 && !target::online_cpus()?.contains(&cpu) => {
                    return Ok(None);
                }
                Errno::EMFILE => {
                    let Some(limit) = limits::raise_open_files() else {
                        return Err(self.explain(what, attr, e));
                    };
                    self.note(format!("limit of open files raised to {limit}"));
                }
                Errno::EACCES | Errno::EPERM
                    if !attr.has(flag::EXCLUDE_KERNEL) && attr.kind != PERF_TYPE_TRACEPOINT =>
                {
                    let mut user_only = *attr;
                    user_only.flags |= flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV;
                    let retry = climb(&mut user_only, &mut |a| sys::open_event(a, tid, cpu_number));
                    let Ok((fd, _)) = retry else {
                        return Err(self.explain(what, attr, e));
                    };
                    *attr = user_only;
                    let level = limits::paranoid().unwrap_or_default();
                    self.note(format!(
                        "{what}: user space only, since kernel.perf_event_paranoid is {level} \
                         (1 or CAP_PERFMON allows the kernel too)"
                    ));
                    return Ok(Some(fd));
                }
                _ => return Err(self.explain(what, attr, e)),
            }
        }
    }

    fn explain(&self, what: &str, attr: &Attr, e: io::Error) -> PerfError {
        let what = what.to_owned();
        match errno(&e) {
            Errno::EPERM if attr.kind == PERF_TYPE_TRACEPOINT && limits::is_privileged() => {
                let reason = "the kernel lets nobody sample it through perf, since sampling would \
                              itself cause the event; record it through ftrace"
                    .to_owned();
                PerfError::Unsupported {
                    what,
                    reason,
                    source: Some(e),
                }
            }
            Errno::EACCES | Errno::EPERM => {
                let level = limits::paranoid().map_or("unknown".to_owned(), |l| l.to_string());
                let needed = match (attr.kind, &self.plan.target) {
                    (PERF_TYPE_TRACEPOINT, _) => "-1",
                    (_, Target::System) => "0",
                    _ => "2, and the process must be yours",
                };
                let hint = format!(
                    "not allowed: kernel.perf_event_paranoid is {level}; run with CAP_PERFMON or as \
                     root, or 'sysctl kernel.perf_event_paranoid={needed}'"
                );
                PerfError::Denied {
                    what,
                    hint,
                    source: e,
                }
            }
            Errno::EMFILE => {
                let hint = format!(
                    "{} open files are not enough for {} events: raise 'ulimit -n' (and its hard \
                     limit), or record fewer events, threads or CPUs",
                    limits::open_files(),
                    self.plan.events.len()
                );
                PerfError::Exhausted {
                    what,
                    hint,
                    source: e,
                }
            }
            Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC => {
                let hint = "the kernel has no room for another event".to_owned();
                PerfError::Exhausted {
                    what,
                    hint,
                    source: e,
                }
            }
            Errno::EBUSY => {
                let hint = "another user has the counter for itself".to_owned();
                PerfError::Exhausted {
                    what,
                    hint,
                    source: e,
                }
            }
            Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::ENXIO => {
                let reason = match attr.kind {
                    PERF_TYPE_HARDWARE | PERF_TYPE_HW_CACHE | PERF_TYPE_RAW => {
                        "not supported by this machine's hardware (virtual machines often have no PMU)"
                    }
                    _ => "not supported by this kernel",
                };
                PerfError::Unsupported {
                    what,
                    reason: reason.to_owned(),
                    source: Some(e),
                }
            }
            Errno::EINVAL => {
                let reason = "the kernel finds the combination of options invalid".to_owned();
                PerfError::Unsupported {
                    what,
                    reason,
                    source: Some(e),
                }
            }
            Errno::ENOSYS => {
                let reason = "this kernel was built without perf events".to_owned();
                PerfError::Unsupported {
                    what,
                    reason,
                    source: Some(e),
                }
            }
            _ => PerfError::io(format!("cannot open {what}"), e),
        }
    }

    /// Maps a CPU's ring and sends all its events there. `None` if it has no event.
    fn make_ring(&mut self, group: Group) -> Result<Option<(CpuEvents, MappedRing)>, PerfError> {
        let Group { cpu, owner, events } = group;
        let ring_owner = match (owner, events.first()) {
            (_, None) => return Ok(None),
            (Some(owner), _) => owner,
            (None, Some((_, first))) => first
                .try_clone()
                .map_err(|e| PerfError::io("cannot duplicate the descriptor of an event", e))?,
        };
        let ring = self.map(ring_owner.as_fd(), cpu)?;
        let shares = usize::from(self.plan.target == Target::System);
        for (_, fd) in events.iter().skip(shares) {
            sys::set_output(fd.as_fd(), ring_owner.as_fd()).map_err(|e| {
                PerfError::io(
                    format!("cannot join the events of CPU {cpu} in one ring"),
                    e,
                )
            })?;
        }
        Ok(Some((
            CpuEvents {
                cpu,
                ring_owner,
                events,
            },
            ring,
        )))
    }

    fn map(&mut self, fd: BorrowedFd<'_>, cpu: u32) -> Result<MappedRing, PerfError> {
        map_ring(fd, cpu, &mut self.ring_bytes, &mut self.notes)
    }
}

/// Maps a ring, as large as the limits allow; from then on all are of that size.
pub(crate) fn map_ring(
    fd: BorrowedFd<'_>,
    cpu: u32,
    ring_bytes: &mut usize,
    notes: &mut Vec<String>,
) -> Result<MappedRing, PerfError> {
    let asked = *ring_bytes >> 10;
    loop {
        let e = match MappedRing::map(fd, *ring_bytes) {
            Ok(ring) => return Ok(ring),
            Err(e) => e,
        };
        let what = format!("ring of {} KiB for CPU {cpu}", *ring_bytes >> 10);
        match errno(&e) {
            Errno::EPERM if *ring_bytes > page_bytes() => {
                *ring_bytes /= 2;
                notes.retain(|n| !n.starts_with("rings made smaller"));
                notes.push(format!(
                    "rings made smaller, from {asked} to {} KiB per CPU: \
                     kernel.perf_event_mlock_kb is {} and 'ulimit -l' allows no more",
                    *ring_bytes >> 10,
                    limits::mlock_kib().unwrap_or_default()
                ));
            }
            Errno::EPERM => {
                let hint = "not allowed to lock that much memory: raise \
                            kernel.perf_event_mlock_kb or 'ulimit -l'"
                    .to_owned();
                return Err(PerfError::Denied {
                    what,
                    hint,
                    source: e,
                });
            }
            Errno::ENOMEM => {
                let hint = "the kernel has no memory for it: ask for a smaller ring".to_owned();
                return Err(PerfError::Exhausted {
                    what,
                    hint,
                    source: e,
                });
            }
            _ => return Err(PerfError::io(format!("cannot map a {what}"), e)),
        }
    }
}

/// Sets a tracepoint's filter; the kernel's refusal becomes an error that says so.
pub(crate) fn set_filter(fd: BorrowedFd<'_>, event: &str, filter: &str) -> Result<(), PerfError> {
    let bad = |reason: &str| PerfError::BadFilter {
        event: event.to_owned(),
        filter: filter.to_owned(),
        reason: reason.to_owned(),
    };
    let text = CString::new(filter).map_err(|_| bad("it contains a NUL"))?;
    sys::set_filter(fd, &text).map_err(|e| match errno(&e) {
        Errno::EINVAL => bad("the kernel does not understand it: fields and operators are those of the event's format file, such as 'common_pid == 1 && prev_prio < 100'"),
        Errno::E2BIG | Errno::ENAMETOOLONG => bad("it is too long"),
        Errno::ENOSPC => bad("it has too many terms"),
        _ => PerfError::io(format!("cannot set the filter '{filter}' of event '{event}'"), e),
    })
}
