//! Opening events whose attrs are given whole, as the command line of
//! `perf record` makes them.
//!
//! Beside what is asked, every sample names its event and every stamp is of the
//! session clock: readers of several sources need both.

use crate::attr::Attr;
use crate::cmdline::Configured;
use crate::ladder::{climb, errno};
use crate::mmap::{MappedRing, page_bytes};
use crate::open::{CpuEvents, Opened, OpenedEvent, clock_id, map_ring, set_filter};
use crate::plan::Target;
use crate::tracepoint::Tracepoints;
use crate::uapi::*;
use crate::{PerfError, limits, sys, target};
use kstrace_schema::ClockKind;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// `kernel.perf_event_max_sample_rate` in Hz.
pub fn max_sample_rate_hz() -> Option<u64> {
    limits::max_sample_rate_hz()
}

/// What to open.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactPlan {
    /// The events; a leader comes before its members.
    pub events: Vec<Configured>,
    /// Whom to record.
    pub target: Target,
    /// Only these threads of the target.
    pub threads: Option<Vec<i32>>,
    /// On these CPUs; all that are online when `None`.
    pub cpus: Option<Vec<u32>>,
    /// Size of a CPU's ring in bytes: a power of two, at least a page.
    pub mmap_size_bytes_per_cpu: usize,
    /// The clock to stamp with.
    pub clock: ClockKind,
    /// Whether the start enables the events that are not told to begin by `execve`.
    pub enable_at_start: bool,
}

struct Group {
    cpu: u32,
    owner: Option<OwnedFd>,
    events: Vec<(Option<usize>, OwnedFd)>,
}

pub(crate) fn open(plan: &ExactPlan) -> Result<Opened, PerfError> {
    let cpus = target::cpus_to_record(plan.cpus.as_deref())?;
    let mut opener = Opener {
        plan,
        notes: Vec::new(),
    };
    let mut tracepoints = Tracepoints::default();
    let mut events = Vec::with_capacity(plan.events.len());
    for event in &plan.events {
        events.push(opener.prepare(event, &mut tracepoints)?);
    }
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
    for tid in opener.tids()? {
        match opener.open_all(tid, &mut events, &mut groups) {
            // A thread that has just ended.
            Err(PerfError::NoProcess { .. }) if matches!(plan.target, Target::Pids(_)) => {
                opener
                    .notes
                    .push(format!("WARNING: Ignored open failure for pid {tid}"));
            }
            other => other?,
        }
    }
    let mut ring_bytes = plan.mmap_size_bytes_per_cpu;
    let mut cpus = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(made) = make_ring(group, &mut ring_bytes, &mut opener.notes)? {
            cpus.push(made);
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
        sideband: None,
        notes: opener.notes,
    })
}

struct Opener<'p> {
    plan: &'p ExactPlan,
    notes: Vec<String>,
}

impl Opener<'_> {
    fn prepare(
        &self,
        event: &Configured,
        tracepoints: &mut Tracepoints,
    ) -> Result<OpenedEvent, PerfError> {
        let mut attr = event.attr;
        let mut tracepoint = None;
        if let Some((system, name)) = &event.tracepoint {
            let found = tracepoints.look_up(system, name)?;
            attr.config = found.id.into();
            tracepoint = Some(found);
        }
        attr.sample_type &= !PERF_SAMPLE_ID;
        attr.sample_type |= PERF_SAMPLE_IDENTIFIER;
        attr.flags |= flag::USE_CLOCKID;
        attr.clockid = clock_id(self.plan.clock);
        Ok(OpenedEvent {
            name: event.name.clone(),
            attr,
            tracepoint,
            filter: event.filter.clone(),
            ids: Vec::new(),
        })
    }

    fn tids(&self) -> Result<Vec<i32>, PerfError> {
        if let Some(threads) = &self.plan.threads {
            return Ok(threads.clone());
        }
        match &self.plan.target {
            Target::System => Ok(vec![-1]),
            Target::Command(pid) => Ok(vec![*pid]),
            Target::Pids(pids) => {
                let mut tids = Vec::new();
                for pid in pids {
                    tids.extend(target::threads(*pid)?);
                }
                Ok(tids)
            }
        }
    }

    /// An event of our own that never fires: the ring of a traced thread would hang up with it.
    fn ring_owner(&self, cpu: u32) -> Result<OwnedFd, PerfError> {
        let mut attr = Attr::new(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY);
        attr.sample_type = PERF_SAMPLE_IDENTIFIER;
        attr.sample_period = 1;
        attr.flags = flag::DISABLED
            | flag::SAMPLE_ID_ALL
            | flag::USE_CLOCKID
            | flag::EXCLUDE_KERNEL
            | flag::EXCLUDE_HV;
        attr.clockid = clock_id(self.plan.clock);
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let cpu = i32::try_from(cpu).unwrap_or(i32::MAX);
        sys::open_event(&mut attr, own, cpu)
            .map_err(|e| PerfError::io("cannot open the ring of a CPU", e))
    }

    /// Opens every event for one thread, or for all tasks (-1), on every CPU.
    fn open_all(
        &mut self,
        tid: i32,
        events: &mut [OpenedEvent],
        groups: &mut [Group],
    ) -> Result<(), PerfError> {
        // Where the descriptor of an event and a CPU stands in the CPU's list.
        let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (index, event) in events.iter_mut().enumerate() {
            let leader = self.plan.events[index].leader;
            for (number, group) in groups.iter_mut().enumerate() {
                let leader_fd = leader
                    .and_then(|l| places.get(&(l, number)))
                    .and_then(|at| group.events.get(*at))
                    .map(|(_, fd)| fd);
                let fd = self.open_one(index, event, tid, group.cpu, leader_fd)?;
                let id = sys::event_id(fd.as_fd()).map_err(|e| {
                    PerfError::io(format!("cannot get the id of {}", event.name), e)
                })?;
                event.ids.push(id);
                if let Some(filter) = &event.filter {
                    set_filter(fd.as_fd(), &event.name, filter)?;
                }
                places.insert((index, number), group.events.len());
                group.events.push((Some(index), fd));
            }
        }
        Ok(())
    }

    /// Opens one event, with what perf does where the kernel says no.
    fn open_one(
        &mut self,
        index: usize,
        event: &mut OpenedEvent,
        tid: i32,
        cpu: u32,
        leader: Option<&OwnedFd>,
    ) -> Result<OwnedFd, PerfError> {
        let cpu = i32::try_from(cpu).unwrap_or(i32::MAX);
        loop {
            let attempt = climb(&mut event.attr, &mut |a| {
                sys::open_in_group(a, tid, cpu, leader.map(AsFd::as_fd))
            });
            let e = match attempt {
                Ok((fd, _)) => return Ok(fd),
                Err(e) => e,
            };
            let attr = &mut event.attr;
            match errno(&e) {
                Errno::ESRCH if tid >= 0 => return Err(PerfError::NoProcess { pid: tid }),
                Errno::EMFILE => {
                    if limits::raise_open_files().is_none() {
                        return Err(refused(event, &self.plan.target, e));
                    }
                }
                Errno::EINVAL | Errno::EOPNOTSUPP
                    if self.plan.events[index].precise_max && attr.precise_ip() > 0 =>
                {
                    attr.set_precise_ip(attr.precise_ip() - 1);
                }
                Errno::ENOENT | Errno::ENXIO | Errno::ENODEV
                    if attr.kind == PERF_TYPE_HARDWARE
                        && attr.config == PERF_COUNT_HW_CPU_CYCLES =>
                {
                    attr.kind = PERF_TYPE_SOFTWARE;
                    attr.config = PERF_COUNT_SW_CPU_CLOCK;
                    // It names modifiers by the attr as perf would have opened it.
                    event.name = Configured::fallback_name(attr, "cpu-clock");
                    self.notes.push(
                        "verbose: Warning:\nThe cycles event is not supported, trying to fall back \
                         to cpu-clock-ticks"
                            .to_owned(),
                    );
                }
                Errno::EACCES | Errno::EPERM
                    if !attr.has(flag::EXCLUDE_KERNEL)
                        && attr.kind != PERF_TYPE_TRACEPOINT
                        && limits::paranoid().is_some_and(|level| level > 1) =>
                {
                    attr.flags |= flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV;
                    // What the user named keeps its name, with what it is now.
                    let base = event.name.split(':').next().unwrap_or_default().to_owned();
                    event.name = format!("{base}:u");
                }
                _ => return Err(refused(event, &self.plan.target, e)),
            }
        }
    }
}

/// Why the kernel did not open it, in perf's words.
fn refused(event: &OpenedEvent, target: &Target, e: io::Error) -> PerfError {
    let name = &event.name;
    let unsupported = |what: String, e| PerfError::Unsupported {
        what,
        reason: String::new(),
        source: Some(e),
    };
    match errno(&e) {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            unsupported(format!("The {name} event is not supported."), e)
        }
        Errno::EACCES | Errno::EPERM => {
            let level = limits::paranoid().map_or("unknown".to_owned(), |l| l.to_string());
            PerfError::Denied {
                what: format!("No permission to enable {name} event."),
                hint: format!(
                    "\nAccess to performance monitoring and observability operations is limited.\n\
                     Consider adjusting /proc/sys/kernel/perf_event_paranoid setting to open\n\
                     access to performance monitoring and observability operations for processes\n\
                     without CAP_PERFMON, CAP_SYS_PTRACE or CAP_SYS_ADMIN Linux capability.\n\
                     perf_event_paranoid setting is {level}"
                ),
                source: e,
            }
        }
        Errno::EMFILE => PerfError::Exhausted {
            what: "Too many events are opened.".to_owned(),
            hint: "\nProbably the maximum number of open file descriptors has been reached.\n\
                   Hint: Try again after reducing the number of events.\n\
                   Hint: Try increasing the limit with 'ulimit -n <limit>'"
                .to_owned(),
            source: e,
        },
        Errno::EBUSY => PerfError::Exhausted {
            what: "The PMU counters are busy/taken by another profiler.".to_owned(),
            hint: String::new(),
            source: e,
        },
        Errno::EOPNOTSUPP if event.attr.sample_type & PERF_SAMPLE_BRANCH_STACK != 0 => unsupported(
            format!("{name}: PMU Hardware or event type doesn't support branch stack sampling."),
            e,
        ),
        Errno::EOPNOTSUPP if event.attr.sample_period != 0 => unsupported(
            format!(
                "{name}: PMU Hardware doesn't support sampling/overflow-interrupts. Try 'perf stat'"
            ),
            e,
        ),
        Errno::EINVAL if !matches!(target, Target::System) => unsupported(
            format!("Invalid event ({name}) in per-thread mode, enable system wide with '-a'."),
            e,
        ),
        other => unsupported(
            format!(
                "The sys_perf_event_open() syscall returned with {} ({}) for event ({name}).\n\
                 /bin/dmesg | grep -i perf may provide additional information.\n",
                other as i32,
                other.desc()
            ),
            e,
        ),
    }
}

/// Maps a CPU's ring and sends all its events there. `None` if it has no event.
fn make_ring(
    group: Group,
    ring_bytes: &mut usize,
    notes: &mut Vec<String>,
) -> Result<Option<(CpuEvents, MappedRing)>, PerfError> {
    let Group { cpu, owner, events } = group;
    let owned = owner.is_some();
    let ring_owner = match (owner, events.first()) {
        (_, None) => return Ok(None),
        (Some(owner), _) => owner,
        (None, Some((_, first))) => first
            .try_clone()
            .map_err(|e| PerfError::io("cannot duplicate the descriptor of an event", e))?,
    };
    let ring = map_ring(ring_owner.as_fd(), cpu, ring_bytes, notes)?;
    debug_assert!(*ring_bytes >= page_bytes());
    for (_, fd) in events.iter().skip(usize::from(!owned)) {
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
