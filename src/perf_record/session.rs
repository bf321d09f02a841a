//! The sources of a recording, opened.

use super::messages::Failure;
use super::selection::Selection;
use crate::engine::host;
use kstrace_ftrace::{EventChoice, FtracePlan, FtraceSource};
use kstrace_perf::uapi::flag;
use kstrace_perf::{ExactPlan, PerfSource, Target};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    Capture, ClassRegistry, ClockDescriptor, ClockKind, Error, ErrorKind, EventRecord,
    EventRecordClass, Loss, RecordStream, Result as ModelResult, SessionInfo, Sink, Source,
    SourceId, SourceInfo,
};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::sync::Arc;

const PERF: SourceId = SourceId(1);
const FTRACE: SourceId = SourceId(2);
/// perf's default for a ring, less its control page.
pub(super) const DEFAULT_RING_BYTES: u64 = 512 << 10;
/// ftrace's buffer when nothing is said: enough for every system call of a busy machine.
const DEFAULT_FTRACE_BYTES: u64 = 8 << 20;
/// As in other recordings of kstrace (docs/performance.md).
const FTRACE_SUB_BUFFER_KIB: u32 = 16;

/// What to open.
pub(super) struct Opening {
    pub(super) selection: Selection,
    pub(super) target: Target,
    /// Only these threads of it.
    pub(super) threads: Option<Vec<i32>>,
    pub(super) cpus: Option<Vec<u32>>,
    pub(super) ring_bytes: Option<u64>,
    pub(super) clock: ClockKind,
    /// Whether events begin when recording starts.
    pub(super) enable_at_start: bool,
    pub(super) capture: Capture,
    /// Names of the events, in the order of the command line.
    pub(super) order: Vec<String>,
}

/// Sources, open but not started.
pub(super) struct Session {
    pub(super) perf: PerfSource,
    pub(super) ftrace: Option<FtraceSource>,
    pub(super) merger: Merger,
    pub(super) info: SessionInfo,
    /// In the order in which the file shall have them.
    pub(super) classes: Vec<Arc<EventRecordClass>>,
    pub(super) notes: Vec<String>,
}

impl Session {
    pub(super) fn open(opening: Opening) -> Result<Session, Failure> {
        let registry = Arc::new(ClassRegistry::new());
        let ring_bytes = opening.ring_bytes.unwrap_or(DEFAULT_RING_BYTES);
        let plan = ExactPlan {
            events: opening.selection.perf.clone(),
            target: opening.target.clone(),
            threads: opening.threads,
            cpus: opening.cpus.clone(),
            mmap_size_bytes_per_cpu: usize::try_from(ring_bytes).unwrap_or(usize::MAX),
            clock: opening.clock,
            enable_at_start: opening.enable_at_start,
        };
        let mut perf = PerfSource::open_exact(plan, PERF, Arc::clone(&registry))?;
        let notes = perf.notes().to_vec();
        // After perf: whoever is there first is called first at a tracepoint.
        let mut ftrace = match opening.selection.ftrace.is_empty() {
            true => None,
            false => {
                let plan = FtracePlan {
                    events: opening
                        .selection
                        .ftrace
                        .iter()
                        .filter_map(|e| {
                            let (system, name) = e.tracepoint.clone()?;
                            Some(EventChoice {
                                filter: e.filter.clone(),
                                ..EventChoice::new(system, name)
                            })
                        })
                        .collect(),
                    pids: ftrace_pids(&opening.target),
                    exclude_pids: match opening.target {
                        Target::System => threads(i32::try_from(std::process::id()).unwrap_or(0)),
                        _ => Vec::new(),
                    },
                    cpus: opening.cpus,
                    buffer_size_bytes_per_cpu: opening.ring_bytes.unwrap_or(DEFAULT_FTRACE_BYTES),
                    subbuf_size_kb: Some(FTRACE_SUB_BUFFER_KIB),
                    overwrite: false,
                    clock: opening.clock,
                    ..FtracePlan::default()
                };
                let opened = FtraceSource::open(plan, FTRACE, Arc::clone(&registry));
                Some(opened.map_err(|e| refused(&e, &opening.selection))?)
            }
        };
        let mut early = EarlyClasses(Vec::new());
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        let mut sources = vec![SourceInfo {
            id: SourceId::KSTRACE,
            kind: kstrace_schema::namespace::KSTRACE.to_owned(),
            description: format!("kstrace {}", env!("CARGO_PKG_VERSION")),
            attributes: Default::default(),
        }];
        streams.extend(perf.streams(&mut early)?);
        sources.push(perf.info().clone());
        if let Some(ftrace) = &mut ftrace {
            streams.extend(ftrace.streams(&mut early)?);
            sources.push(ftrace.info().clone());
        }
        // A clock in place of cycles has another name than what was asked for.
        let mut order = opening.order;
        for (asked, (name, _)) in opening.selection.perf.iter().zip(perf.opened()) {
            if let Some(at) = order.iter().position(|o| *o == asked.name) {
                name.clone_into(&mut order[at]);
            }
        }
        // Several of one name take its places in turn.
        let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (at, name) in order.iter().enumerate() {
            places.entry(name).or_default().push_back(at);
        }
        let mut placed: Vec<_> = early
            .0
            .into_iter()
            .map(|class| {
                let place = places.get_mut(class.name.as_str());
                (
                    place.and_then(VecDeque::pop_front).unwrap_or(usize::MAX),
                    class,
                )
            })
            .collect();
        // Stable: what is no event of the command line stays behind, as it came.
        placed.sort_by_key(|(place, _)| *place);
        let info = SessionInfo {
            uuid: host::random_uuid()
                .map_err(|e| Failure::failed(format!("cannot make an id: {e}\n")))?,
            clock: clock_descriptor(opening.clock),
            host: host::host_info(),
            capture: opening.capture,
            sources,
        };
        Ok(Session {
            perf,
            ftrace,
            merger: Merger::new(streams),
            info,
            classes: placed.into_iter().map(|(_, class)| class).collect(),
            notes,
        })
    }

    /// The name of the event that tells of tasks, as it was opened.
    pub(super) fn first_event(&self) -> String {
        let named = self.perf.opened().find(|(_, attr)| attr.has(flag::TASK));
        named.map_or(String::new(), |(name, _)| name.to_owned())
    }

    pub(super) fn start(&mut self) -> Result<(), Failure> {
        self.perf.start()?;
        if let Some(ftrace) = &mut self.ftrace {
            ftrace.start()?;
        }
        Ok(())
    }

    /// Stops; the first thing that went wrong is told.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let ftrace = self.ftrace.as_mut().map_or(Ok(()), Source::stop);
        let perf = self.perf.stop();
        ftrace?;
        perf?;
        Ok(())
    }
}

/// perf's words for a filter that the kernel refused, and the kernel's own.
fn refused(e: &Error, selection: &Selection) -> Failure {
    let said = super::messages::chain(e);
    let about = selection.ftrace.iter().find_map(|event| {
        let filter = event.filter.as_deref()?;
        let is_this = e.kind() == ErrorKind::InvalidInput
            && said.contains(filter)
            && said.contains(&event.name);
        is_this.then_some((filter, &event.name))
    });
    match about {
        Some((filter, name)) => Failure::failed(format!(
            "failed to set filter \"{filter}\" on event {name} with 22 (Invalid argument)\n{said}\n"
        )),
        None => Failure::failed(format!("Error:\n{said}\n")),
    }
}

/// Keeps the classes that sources name while they are opened.
struct EarlyClasses(Vec<Arc<EventRecordClass>>);

impl Sink for EarlyClasses {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> ModelResult<()> {
        self.0.push(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, _: &EventRecord<'_>) -> ModelResult<()> {
        Ok(())
    }

    fn loss(&mut self, _: &Loss) -> ModelResult<()> {
        Ok(())
    }
}

fn ftrace_pids(target: &Target) -> Vec<i32> {
    match target {
        Target::System => Vec::new(),
        Target::Command(pid) => vec![*pid],
        Target::Pids(pids) => pids.iter().flat_map(|p| threads(*p)).collect(),
    }
}

/// The threads of a process; none if it has gone.
pub(super) fn threads(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn clock_descriptor(kind: ClockKind) -> ClockDescriptor {
    let pair = kstrace_clock::read_pair();
    let offset = i128::from(pair.realtime_ns) - i128::from(pair.reading(kind));
    ClockDescriptor {
        kind,
        native_name: None,
        counts_per_s: None,
        recorded_with: None,
        mapping_error_bound_ns: 0,
        offset_to_realtime_ns: i64::try_from(offset).unwrap_or(0),
        boot_id: host::boot_id(),
    }
}
