//! A session: sources opened by a plan, a ring, and the thread that fills it.

use super::consumer::PacketConsumer;
use super::control::Control;
use super::drain::{CpuDrain, Drain, Outcome};
use super::lane::{ClassLog, LaneState};
use super::plan::CapturePlan;
use super::process::ProcessStream;
use super::request::{Mode, RecordRequest};
use super::stats::{Stats, StatsReading};
use super::{constants, host, open};
use kstrace_clock::SystemClock;
use kstrace_ring::{DEFAULT_SUB_BUFFER_BYTES, LaneConfig, Ring, RingClock, RingConfig};
use kstrace_schema::merge::Merger;
use kstrace_schema::{
    Capture, ClassRegistry, Clock, ClockDescriptor, ClockKind, Cpu, Error, ErrorKind, EventRecord,
    EventRecordClass, Loss, RecordStream, Result, SessionInfo, Sink, SourceId, SourceInfo, builtin,
};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// Attribute of kstrace's own source: values of the kernel's constants by name.
pub const CONSTANTS_ATTRIBUTE: &str = "kstrace.kernel_constants";

/// A session that is open but does not record yet.
pub struct Session {
    thread: DrainThread,
    info: SessionInfo,
    ring: Arc<Ring>,
    drain: Drain,
    notes: Vec<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens what the plan says: kernel buffers, the ring, everything but the start.
    ///
    /// # Errors
    /// What the kernel refused, with the event and the remedy.
    pub fn open(plan: &CapturePlan, request: &RecordRequest, capture: Capture) -> Result<Session> {
        // Before the sources: what keeps the recorder out of its own recording
        // goes by thread.
        let thread = DrainThread::prepare()?;
        let registry = Arc::new(ClassRegistry::new());
        let lost = registry.register(builtin::lost_class())?;
        let clock_pair = registry.register(builtin::clock_pair_class())?;
        let process = registry.register(builtin::process_class())?;
        let clock = SystemClock::new(plan.session_clock)?;
        let clock_now = clock.now();
        let mut notes = Vec::new();
        let mut sources = open::sources(plan, request, &registry, &mut notes)?;

        let mut early = EarlyClasses(vec![lost.clone(), clock_pair.clone(), process.clone()]);
        let mut by_cpu: BTreeMap<Cpu, Vec<Box<dyn RecordStream>>> = BTreeMap::new();
        for source in &mut sources {
            for stream in source.streams(&mut early)? {
                by_cpu.entry(stream.cpu()).or_default().push(stream);
            }
        }

        let uuid = host::random_uuid().map_err(|e| Error::io("make a session id", e))?;
        let descriptor = clock_descriptor(plan);
        let own = SourceInfo {
            id: SourceId::KSTRACE,
            kind: kstrace_schema::namespace::KSTRACE.to_owned(),
            description: format!("kstrace {}", env!("CARGO_PKG_VERSION")),
            attributes: own_attributes(&registry)?,
        };
        let info = SessionInfo {
            uuid,
            clock: descriptor,
            host: host::host_info(),
            capture,
            sources: std::iter::once(own)
                .chain(sources.iter().map(|s| s.info().clone()))
                .collect(),
        };

        let lanes: Vec<Cpu> = by_cpu.keys().copied().filter(|c| *c != Cpu::NONE).collect();
        let ring = Arc::new(make_ring(plan, &info, &lanes)?);
        for fragment in kstrace_ctf::ctf2::session_fragments(&info) {
            let text = serde_json::to_vec(&fragment)
                .map_err(|e| Error::with_source(ErrorKind::InvalidData, "session to JSON", e))?;
            ring.append_metadata(&text).map_err(ring_error)?;
        }
        let lane = |index: usize, cpu: Cpu| -> Result<LaneState> {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let mut writer = ring.lane_writer(index).map_err(ring_error)?;
            writer.begin(clock_now);
            Ok(LaneState::new(number, cpu, plan.mode, writer))
        };
        let mut cpus = Vec::new();
        for (index, cpu) in lanes.iter().enumerate() {
            let streams = by_cpu.remove(cpu).unwrap_or_default();
            cpus.push(CpuDrain {
                merger: Merger::new(streams),
                lane: lane(index, *cpu)?,
            });
        }
        let mut own_streams = by_cpu.remove(&Cpu::NONE).unwrap_or_default();
        own_streams.push(Box::new(ProcessStream::of(
            &plan.target,
            process.id,
            clock_now,
        )));
        let mut own = CpuDrain {
            merger: Merger::new(own_streams),
            lane: lane(lanes.len(), Cpu::NONE)?,
        };
        let mut classes = ClassLog::new(Arc::clone(&ring), lost.id, clock_pair.id);
        let mut sink = own.lane.sink(&mut classes, None);
        for class in &early.0 {
            sink.class(class)?;
        }
        let drain = Drain {
            sources,
            cpus,
            own,
            classes,
            registry,
            clock,
            consumer: None,
            mode: plan.mode,
            control: Arc::new(Control::new()?),
            stats: Arc::new(Stats::default()),
        };
        Ok(Session {
            thread,
            info,
            ring,
            drain,
            notes,
        })
    }

    /// Who and what it is.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Things that opening it brought to light and the user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Its ring, for readers.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Starts recording. With a consumer, packets go to it from the engine's own thread.
    ///
    /// # Errors
    /// When a source cannot be started, or no thread be made.
    pub fn start(mut self, consumer: Option<Box<dyn PacketConsumer>>) -> Result<Running> {
        self.drain.consumer = consumer;
        if let Some(consumer) = &mut self.drain.consumer {
            for class in self.drain.registry.all() {
                consumer.class(&class)?;
            }
        }
        let (control, stats) = (
            Arc::clone(&self.drain.control),
            Arc::clone(&self.drain.stats),
        );
        let ended = Arc::new(Ended {
            event: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|e| Error::io("make an eventfd", e.into()))?,
            flag: AtomicBool::new(false),
        });
        for source in &mut self.drain.sources {
            source.start()?;
        }
        let thread = self.thread.run(self.drain, EndGuard(Arc::clone(&ended)))?;
        Ok(Running {
            info: self.info,
            ring: self.ring,
            control,
            stats,
            ended,
            thread,
        })
    }
}

/// A session that records.
#[derive(Debug)]
pub struct Running {
    info: SessionInfo,
    ring: Arc<Ring>,
    control: Arc<Control>,
    stats: Arc<Stats>,
    ended: Arc<Ended>,
    thread: JoinHandle<Result<Outcome>>,
}

impl Running {
    /// Who and what it is.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Its ring, for readers.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Running totals.
    pub fn stats(&self) -> StatsReading {
        self.stats.read()
    }

    /// Closes the open packets, so that recorders get all there is now.
    pub fn flush(&self) {
        self.control.request_flush();
    }

    /// Becomes readable when the engine has ended, as it does by itself when the
    /// output fails.
    pub fn ended_fd(&self) -> BorrowedFd<'_> {
        self.ended.event.as_fd()
    }

    /// Whether the engine has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.flag.load(Ordering::Acquire)
    }

    /// Stops recording, takes in what the kernel still holds, closes everything.
    ///
    /// # Errors
    /// What made the engine end, if it ended by itself.
    pub fn stop(self) -> Result<Outcome> {
        self.control.request_stop();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the engine's thread panicked")))
    }
}

/// The engine's thread while it waits for something to do.
struct DrainThread {
    work: mpsc::Sender<(Drain, EndGuard)>,
    handle: JoinHandle<Result<Outcome>>,
}

impl DrainThread {
    fn prepare() -> Result<Self> {
        let (work, given) = mpsc::channel::<(Drain, EndGuard)>();
        let handle = std::thread::Builder::new()
            .name("kstrace-drain".into())
            .spawn(move || match given.recv() {
                Ok((drain, _guard)) => drain.run(),
                // The session was dropped unstarted.
                Err(mpsc::RecvError) => Ok(Outcome::default()),
            })
            .map_err(|e| Error::io("start the engine's thread", e))?;
        Ok(DrainThread { work, handle })
    }

    fn run(self, drain: Drain, guard: EndGuard) -> Result<JoinHandle<Result<Outcome>>> {
        let gone = |_| Error::new(ErrorKind::Io, "the engine's thread has gone");
        self.work.send((drain, guard)).map_err(gone)?;
        Ok(self.handle)
    }
}

#[derive(Debug)]
struct Ended {
    event: EventFd,
    flag: AtomicBool,
}

/// Says that the thread has ended, however it ends.
struct EndGuard(Arc<Ended>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.flag.store(true, Ordering::Release); // pairs with has_ended
        // Cannot fail: the counter is 0.
        let _ = self.0.event.write(1);
    }
}

/// Keeps the classes that sources name while they are opened, when there is no ring yet.
struct EarlyClasses(Vec<Arc<EventRecordClass>>);

impl Sink for EarlyClasses {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.0.push(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, _: &EventRecord<'_>) -> Result<()> {
        Err(Error::new(
            ErrorKind::InvalidData,
            "a record before the session was open",
        ))
    }

    fn loss(&mut self, _: &Loss) -> Result<()> {
        Err(Error::new(
            ErrorKind::InvalidData,
            "loss before the session was open",
        ))
    }
}

/// What kstrace itself adds to the trace: the kernel's constants that texts need.
fn own_attributes(registry: &ClassRegistry) -> Result<BTreeMap<String, serde_json::Value>> {
    let constants = constants::of_classes(&registry.all());
    if constants.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value = serde_json::to_value(constants)
        .map_err(|e| Error::with_source(ErrorKind::InvalidData, "constants to JSON", e))?;
    Ok(BTreeMap::from([(CONSTANTS_ATTRIBUTE.to_owned(), value)]))
}

fn clock_descriptor(plan: &CapturePlan) -> ClockDescriptor {
    let pair = kstrace_clock::read_pair();
    let here = pair.reading(plan.session_clock);
    let offset = i128::from(pair.realtime_ns) - i128::from(here);
    let mapped = plan.ftrace_clock != plan.session_clock;
    ClockDescriptor {
        kind: plan.session_clock,
        native_name: None,
        counts_per_s: None,
        recorded_with: mapped.then_some(ClockKind::Tsc),
        mapping_error_bound_ns: if mapped { pair.error_bound_ns } else { 0 },
        offset_to_realtime_ns: i64::try_from(offset).unwrap_or(0),
        boot_id: host::boot_id(),
    }
}

/// Largest sub-buffer: packets are handed on while they are in the cache.
const LARGEST_SUB_BUFFER_BYTES: usize = 256 << 10;

fn make_ring(plan: &CapturePlan, info: &SessionInfo, cpus: &[Cpu]) -> Result<Ring> {
    let bytes = usize::try_from(plan.ring_bytes_per_cpu).unwrap_or(usize::MAX);
    // No smaller than the default, which holds the largest record perf can make.
    let sub_buffer_bytes = (bytes / 4)
        .next_power_of_two()
        .clamp(DEFAULT_SUB_BUFFER_BYTES, LARGEST_SUB_BUFFER_BYTES);
    let mode = match plan.mode {
        Mode::Discard => kstrace_ring::Mode::Discard,
        Mode::Overwrite => kstrace_ring::Mode::Overwrite,
    };
    let lanes = cpus.iter().chain([&Cpu::NONE]).map(|cpu| LaneConfig {
        cpu: *cpu,
        mode,
        sub_buffer_bytes,
        sub_buffers: (bytes / sub_buffer_bytes).max(2),
    });
    let clock = RingClock {
        kind: info.clock.kind,
        offset_to_realtime_ns: info.clock.offset_to_realtime_ns,
    };
    let uuid = kstrace_ctf::uuid_bytes(&info.uuid).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidData,
            format!("'{}' is no UUID", info.uuid),
        )
    })?;
    let config = RingConfig::new(uuid, clock, lanes.collect());
    Ring::create(&config).map_err(ring_error)
}

fn ring_error(error: kstrace_ring::Error) -> Error {
    Error::with_source(ErrorKind::ResourceExhausted, "the ring", error)
}
