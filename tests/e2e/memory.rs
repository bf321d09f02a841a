//! Memory does not grow with the trace.

use super::support::*;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A native trace of so many events, a perf.data and a trace.dat of it.
fn traces(dir: &Path, events: u32) -> [PathBuf; 3] {
    let [kst, perf, dat] = ["kst", "data", "dat"].map(|form| dir.join(format!("{events}.{form}")));
    let mut record = kstrace([
        "record",
        "-q",
        "-m",
        "64M",
        "-e",
        "raw_syscalls:sys_enter",
        "-o",
    ]);
    record.arg(&kst).arg("--").arg(load_path());
    succeed(record.args(["--mode", "syscall", "--n", &events.to_string()]));
    succeed(kstrace(["convert", "-q"]).arg(&kst).arg(&perf));
    succeed(kstrace(["convert", "-q"]).arg(&kst).arg(&dat));
    [kst, perf, dat]
}

/// The most memory that a conversion to standard output has had, in KiB: read while the process
/// waits for its last output to be taken.
fn peak_kib(input: &Path, form: &str) -> u64 {
    let mut command = kstrace(["convert", "-q"]);
    command.arg(input).args(["-", "--to", form]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut piece = vec![0; 32 << 10];
    let mut peak = 0;
    while output.read(&mut piece).unwrap() > 0 {
        let text = fs::read_to_string(&status).unwrap_or_default();
        // A process that has ended has no memory to tell of.
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let told = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(told.unwrap_or(0));
    }
    assert!(child.wait().unwrap().success(), "{command:?}");
    assert!(peak > 0, "{command:?}: {status} never told");
    peak
}

#[test]
fn memory_does_not_grow_with_the_trace() {
    const GROWTH_KIB: u64 = 16 << 10;
    let dir = scratch();
    let small = traces(dir.path(), 50_000);
    let large = traces(dir.path(), 600_000);
    for (small, large) in small.iter().zip(&large) {
        for form in ["text", "jsonl", "trace.dat"] {
            let (least, most) = (peak_kib(small, form), peak_kib(large, form));
            assert!(
                most < least + GROWTH_KIB,
                "{} to {form}: {most} KiB, {least} KiB for a twelfth of it",
                large.display()
            );
        }
    }
}
