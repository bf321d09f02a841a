//! What the tests share: sessions made by hand, and the real perf.

use kstrace_perf::file::{PerfDataOptions, PerfDataSink};
use kstrace_schema::{
    Capture, ClassRegistry, ClockDescriptor, ClockKind, Cpu, EventRecord, EventRecordClass,
    HostInfo, NativeDescription, SessionInfo, SessionTime, Sink, SourceId, SourceInfo, builtin,
    namespace,
};
use kstrace_tracepoint::TracepointLayout;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tracefs::format::EventFormat;

pub(crate) const FTRACE: SourceId = SourceId(1);
pub(crate) const PERF: SourceId = SourceId(2);

/// A directory that goes away again.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kstrace-pd-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What perf prints on standard output, without its error output. Panics if it fails.
pub(crate) fn perf(args: &[&str], file: &Path) -> String {
    let output = Command::new("perf")
        .args(args)
        .arg("-i")
        .arg(file)
        .env("PAGER", "cat")
        .env("DEBUGINFOD_URLS", "")
        .output()
        .expect("perf is needed as judge");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "perf {args:?}: {errors}\n{text}");
    for bad in [
        "Timestamp below last",
        "unknown events!",
        "FATAL",
        "corrupt",
        "mis-match",
    ] {
        assert!(!errors.contains(bad), "perf {args:?}: {errors}");
    }
    text
}

/// Records with the real perf. Panics with what it says if it fails.
pub(crate) fn perf_record(args: &[&str], file: &Path, workload: &[&str]) {
    let output = Command::new("perf")
        // Without its cache of build ids, which two at a time can spoil for each other.
        .args(["record", "-q", "-N"])
        .args(args)
        .arg("-o")
        .arg(file)
        .arg("--")
        .args(workload)
        .output()
        .expect("perf is needed as judge");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "perf record {args:?}: {}: {errors}",
        output.status
    );
}

/// Lines of `perf script` with single spaces.
pub(crate) fn script(fields: &str, file: &Path) -> Vec<String> {
    let text = perf(&["script", "--ns", "-F", fields], file);
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines()
        .map(squeeze)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The text of a format file of this machine.
pub(crate) fn format(event: &str) -> String {
    let (system, name) = event.split_once(':').unwrap();
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|root| {
            std::fs::read_to_string(format!("{root}/events/{system}/{name}/format")).ok()
        })
        .unwrap_or_else(|| panic!("no format of {event}: root and a mounted tracefs are needed"))
}

/// A sink with the session's start behind it.
pub(crate) struct Export {
    pub(crate) sink: PerfDataSink,
    pub(crate) registry: Arc<ClassRegistry>,
    pub(crate) path: PathBuf,
    _scratch: Scratch,
}

impl Export {
    pub(crate) fn new() -> Self {
        Self::with(session(), PerfDataOptions::default())
    }

    pub(crate) fn with(session: SessionInfo, options: PerfDataOptions) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path("perf.data");
        let mut sink = PerfDataSink::create(&path, options).unwrap();
        sink.session(&session).unwrap();
        Export {
            sink,
            registry: Arc::new(ClassRegistry::new()),
            path,
            _scratch: scratch,
        }
    }

    pub(crate) fn class(&mut self, class: EventRecordClass) -> Arc<EventRecordClass> {
        let class = self.registry.register(class).unwrap();
        self.sink.class(&class).unwrap();
        class
    }

    /// The class of an event of this machine as it comes through tracefs.
    pub(crate) fn ftrace(&mut self, event: &str) -> Tracepoint {
        let text = format(event);
        let parsed = EventFormat::parse(&text).unwrap();
        let layout = TracepointLayout::describe(event.split_once(':').unwrap().0, &parsed).unwrap();
        let native = NativeDescription::TracefsFormat { format: text };
        let class = EventRecordClass::new(FTRACE, namespace::FTRACE, event, layout.payload, native);
        let class = self.class(class);
        let id = u16::try_from(parsed.id).unwrap();
        Tracepoint { class, id }
    }

    pub(crate) fn write(&mut self, class: &EventRecordClass, time: u64, cpu: u32, payload: &[u8]) {
        let record = EventRecord {
            class: class.id,
            rest_len_bytes: 0,
            cpu: Cpu(cpu),
            time: SessionTime::from_ns(time),
            payload,
        };
        self.sink.record(&record).unwrap();
    }

    pub(crate) fn process(&mut self, time: u64, pid: i32, tid: i32, comm: &str) {
        let class = match self
            .registry
            .all()
            .iter()
            .find(|c| c.name == builtin::PROCESS)
        {
            Some(class) => Arc::clone(class),
            None => self.class(builtin::process_class()),
        };
        let mut padded = [0; 16];
        padded[..comm.len()].copy_from_slice(comm.as_bytes());
        let payload = builtin::ProcessPayload {
            pid,
            tid,
            ppid: 1,
            kernel: 0,
            comm: padded,
        };
        self.write(&class, time, 0, zerocopy::IntoBytes::as_bytes(&payload));
    }

    pub(crate) fn finish(&mut self) {
        self.sink.finish().unwrap();
    }
}

/// A tracepoint's class and its number.
pub(crate) struct Tracepoint {
    pub(crate) class: Arc<EventRecordClass>,
    id: u16,
}

impl Tracepoint {
    /// An entry: the common fields and what follows.
    pub(crate) fn entry(&self, tid: i32, parts: &[&[u8]]) -> Vec<u8> {
        let mut entry = self.id.to_ne_bytes().to_vec();
        entry.extend_from_slice(&[0, 0]);
        entry.extend_from_slice(&tid.to_ne_bytes());
        parts.iter().for_each(|part| entry.extend_from_slice(part));
        entry
    }
}

/// A name in 16 bytes.
pub(crate) fn comm(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}

/// A session on this machine.
pub(crate) fn session() -> SessionInfo {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let source = |id: SourceId, kind: &str| SourceInfo {
        id,
        kind: kind.to_owned(),
        description: kind.to_owned(),
        attributes: Default::default(),
    };
    SessionInfo {
        uuid: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
        clock: ClockDescriptor {
            kind: ClockKind::Monotonic,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 1_700_000_000_000_000_000,
            boot_id: boot_id.trim().to_owned(),
        },
        host: HostInfo {
            hostname: "testhost".to_owned(),
            os_release: "6.1.0-test".to_owned(),
            os_version: String::new(),
            arch: "x86_64".to_owned(),
            cpus_online: 2,
            cpus_available: 4,
            cpu_description: "A processor".to_owned(),
            cpu_id: "GenuineIntel,6,106,6".to_owned(),
            total_memory_kib: 123_456,
            page_size_bytes: 4096,
            more: Default::default(),
        },
        capture: Capture {
            command_line: ["kstrace", "record", "-a"].map(str::to_owned).to_vec(),
            ..Capture::default()
        },
        sources: vec![
            source(SourceId::KSTRACE, namespace::KSTRACE),
            source(FTRACE, namespace::FTRACE),
            source(PERF, namespace::PERF),
        ],
    }
}
