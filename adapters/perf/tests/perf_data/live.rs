//! The live source straight into a file.

use super::kit::{Export, PERF, Scratch, perf, perf_record, script};
use crate::live::collect::{Child, pids_plan, request};
use crate::live::tracepoints::getppids;
use kstrace_perf::{EventRequest, PerfPlan, PerfSource, Target};
use kstrace_schema::FileOutput;
use kstrace_schema::{RecordStream, SessionTime, Sink, Source};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A source whose streams are merged by time into a file.
struct Live {
    source: PerfSource,
    streams: Vec<Box<dyn RecordStream>>,
    export: Export,
}

impl Live {
    fn started(plan: PerfPlan) -> Self {
        let mut export = Export::new();
        let mut source = PerfSource::open(plan, PERF, Arc::clone(&export.registry)).unwrap();
        let streams = source.streams(&mut export.sink).unwrap();
        source.start().unwrap();
        Live {
            source,
            streams,
            export,
        }
    }

    /// Writes what is complete; says until when it was.
    fn round(&mut self) -> SessionTime {
        let sink: &mut dyn Sink = &mut self.export.sink;
        let until = self
            .streams
            .iter_mut()
            .map(|s| s.fill(sink).unwrap().complete_until)
            .min()
            .unwrap();
        loop {
            let times: Vec<_> = self.streams.iter_mut().map(|s| s.peek()).collect();
            let next = times
                .iter()
                .zip(0..)
                .filter_map(|(t, i)| Some((t.as_ref()?, i)))
                .min();
            match next {
                Some((time, stream)) if *time <= until => {
                    let stream: &mut Box<dyn RecordStream> = &mut self.streams[stream];
                    stream.emit(*time, sink).unwrap();
                }
                _ => return until,
            }
        }
    }

    fn finish(mut self) -> (Export, u64) {
        self.source.stop().unwrap();
        while self.round() < SessionTime::MAX {}
        let mut written = 0;
        for stream in &mut self.streams {
            written += stream.finish(&mut self.export.sink).unwrap().written;
        }
        self.export.finish();
        (self.export, written)
    }
}

#[test]
fn every_system_call_that_was_recorded_is_printed() {
    const CALLS: u32 = 20_000;
    let child = Child::fork(getppids(CALLS));
    let pid = child.pid;
    let mut live = Live::started(pids_plan(pid, vec![request("raw_syscalls:sys_enter")]));
    child.go();
    std::thread::sleep(Duration::from_millis(3));
    live.round();
    child.wait();
    let (export, written) = live.finish();
    let report = export.sink.report();
    assert_eq!(
        (report.kept, report.not_held_total(), report.lost),
        (written, 0, 0)
    );
    assert_eq!(report.out_of_order, 0);
    let lines = script("pid,event,trace", &export.path);
    let wanted = format!("{pid} raw_syscalls:sys_enter: NR {} (", libc::SYS_getppid);
    assert_eq!(
        lines.iter().filter(|l| l.starts_with(&wanted)).count(),
        CALLS as usize
    );
}

#[test]
fn stacks_and_names_are_resolved_system_wide() {
    let with_stack = |event| EventRequest {
        callchain: true,
        ..request(event)
    };
    let events = vec![with_stack("cpu-clock"), request("sched:sched_switch")];
    let mut plan = PerfPlan::new(Target::System, events);
    plan.exclude_own = false;
    plan.mmap_size_bytes_per_cpu = 16 << 20;
    let mut live = Live::started(plan);
    let mut child = Command::new("/bin/sh")
        .args([
            "-c",
            "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; sleep 0.02; true",
        ])
        .spawn()
        .unwrap();
    let pid = child.id();
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        live.round();
    }
    let (export, written) = live.finish();
    let report = export.sink.report();
    // Whether the kernel loses some is up to the machine's other load.
    assert_eq!((report.kept, report.not_held_total()), (written, 0));
    let with_stack = "sw:comm,pid,tid,cpu,time,event,ip,sym,dso";
    let without = "trace:comm,pid,tid,cpu,time,event,trace";
    let text = perf(
        &["script", "--ns", "-F", with_stack, "-F", without],
        &export.path,
    );
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    let own: Vec<_> = lines
        .iter()
        .filter(|l| l.contains(&format!(" {pid}/{pid} ")))
        .collect();
    let clocks = own.iter().filter(|l| l.contains("cpu-clock:")).count();
    assert!(clocks >= 5, "{clocks} samples of 20 ms of work");
    let switches = own
        .iter()
        .filter(|l| l.contains("sched:sched_switch:"))
        .count();
    assert!(switches >= 1, "{own:?}");
    assert!(own.iter().any(|l| l.starts_with("sh ")), "{own:?}");
    assert!(
        lines.iter().any(|l| l.contains("(/usr/bin/dash)")),
        "the shell's own code"
    );
    // Which function of the kernel a sample falls into is up to chance; that it has a name is not.
    assert!(
        lines
            .iter()
            .any(|l| l.contains("([kernel.kallsyms])") && !l.contains("[unknown]")),
        "a named function of the kernel"
    );
    let stats = perf(&["report", "--stats"], &export.path);
    assert!(
        stats.contains("cpu-clock stats") && stats.contains("MMAP2 events"),
        "{stats}"
    );
    let header = perf(&["report", "--header-only"], &export.path);
    assert_eq!(header.matches("name = dummy:HG").count(), 1, "{header}");
    let built = perf(&["buildid-list"], &export.path);
    assert!(
        built.contains("[kernel.kallsyms]") && built.contains("/usr/bin/dash"),
        "{built}"
    );
    perf(&["report", "--stdio"], &export.path);
}

#[test]
fn our_recording_of_a_program_shows_what_perfs_shows() {
    let scratch = Scratch::new();
    let path = scratch.path("theirs.data");
    perf_record(&["-e", "raw_syscalls:sys_enter"], &path, &["/bin/true"]);

    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line; exec /bin/true"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let plan = PerfPlan::new(
        Target::Command(pid),
        vec![request("raw_syscalls:sys_enter")],
    );
    let live = Live::started(plan);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    let (export, _) = live.finish();

    // The addresses differ from run to run, names and numbers of calls do not.
    let calls = |path| -> Vec<String> {
        let words = |l: &String| l.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        script("comm,event,trace", path).iter().map(words).collect()
    };
    let (theirs, ours) = (calls(&path), calls(&export.path));
    assert!(ours.len() > 10, "{ours:?}");
    assert_eq!(theirs, ours);
}
