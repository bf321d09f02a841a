//! What happens with fewer rights and resources. Each case runs this test binary
//! again as a process of its own, since limits and users are the process's.

use super::collect::*;
use kstrace_perf::{PerfPlan, PerfSource, Period, Target};
use kstrace_schema::{ClassRegistry, ErrorKind, SourceId};
use nix::sys::resource::{Resource, setrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

const INNER: &str = "KSTRACE_PERF_INNER_TEST";

/// Runs the test `name` again, alone, in a process where [`INNER`] is set.
fn run_inner(name: &str, prepare: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(INNER, "1");
    prepare(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

fn open(plan: PerfPlan) -> Result<PerfSource, kstrace_perf::PerfError> {
    PerfSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new()))
}

#[test]
fn without_privileges() {
    const NOBODY: u32 = 65534;
    if !is_inner() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can become nobody");
            return;
        }
        run_inner("live::privilege::without_privileges", |c| {
            c.uid(NOBODY).gid(NOBODY).current_dir("/");
        });
        return;
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    let paranoid: i32 = paranoid.trim().parse().unwrap();
    if !(2..=2).contains(&paranoid) {
        println!("skipped: perf_event_paranoid is {paranoid}, not 2");
        return;
    }
    // One's own process: user space only, and told so.
    let request = request_at("cpu-clock", Period::Freq(1000));
    let plan = PerfPlan {
        mmap_size_bytes_per_cpu: 64 << 20,
        ..pids_plan(own_pid(), vec![request.clone()])
    };
    let recording = Recording::started(plan);
    let notes = recording.source.notes().join("\n");
    assert!(notes.contains("user space only"), "{notes}");
    assert!(notes.contains("perf_event_mlock_kb"), "{notes}");
    for n in 0..100_000_000u64 {
        std::hint::black_box(n);
    }
    let recording = recording.finish();
    let samples = recording.out.of("cpu-clock");
    assert!(!samples.is_empty());
    let user = 2;
    assert!(samples.iter().all(|r| r.payload[4] & 7 == user));
    assert!(!recording.out.of("PERF_RECORD_COMM").is_empty());
    // Everyone's: refused with the way out.
    let e = open(PerfPlan::new(Target::System, vec![request])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied);
    assert!(
        e.to_string().contains("kernel.perf_event_paranoid=0"),
        "{e}"
    );
    // A tracepoint needs tracefs, which is root's.
    let e = open(pids_plan(
        own_pid(),
        vec![super::collect::request("sched:sched_switch")],
    ));
    assert_eq!(e.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // Someone else's process.
    let e = open(pids_plan(1, vec![super::collect::request("cpu-clock")])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
}

#[test]
fn out_of_descriptors() {
    if !is_inner() {
        run_inner("live::privilege::out_of_descriptors", |_| {});
        return;
    }
    let many = || pids_plan(own_pid(), vec![request("dummy"); 40]);
    setrlimit(Resource::RLIMIT_NOFILE, 40, 4096).unwrap();
    let source = open(many()).unwrap();
    let notes = source.notes().join("\n");
    assert!(notes.contains("raised to 4096"), "{notes}");
    drop(source);
    setrlimit(Resource::RLIMIT_NOFILE, 40, 40).unwrap();
    let e = open(many()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ResourceExhausted);
    assert!(e.to_string().contains("ulimit -n"), "{e}");
}
