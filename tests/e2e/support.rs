//! Running commands and reading what the judges say.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The first argument of every system call that `kstrace-load` makes, as tracepoint text prints it.
pub(crate) const MAGIC_HEX: &str = "7274736b";

pub(crate) fn kstrace_path() -> &'static str {
    env!("CARGO_BIN_EXE_kstrace")
}

/// The load generator, built beside the command.
pub(crate) fn load_path() -> PathBuf {
    let path = Path::new(kstrace_path()).with_file_name("kstrace-load");
    if !path.exists() {
        let target = path
            .parent()
            .and_then(Path::parent)
            .expect("a target directory");
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "-q", "-p", "kstrace-load", "--target-dir"])
            .arg(target);
        if path.parent().is_some_and(|p| p.ends_with("release")) {
            build.arg("--release");
        }
        assert!(
            build.status().expect("cargo").success(),
            "kstrace-load does not build"
        );
    }
    path
}

/// A directory that goes with the test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

pub(crate) fn kstrace<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(kstrace_path());
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs it; panics with all it said unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        tail(&output.stdout),
        tail(&output.stderr)
    );
    output
}

/// Runs it; gives its exit status and what it said on standard error.
pub(crate) fn fail(command: &mut Command) -> (i32, String) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

pub(crate) fn stdout(command: &mut Command) -> String {
    String::from_utf8_lossy(&succeed(command).stdout).into_owned()
}

/// What babeltrace2 makes of a trace, one line an event, and what it warns of.
pub(crate) fn babeltrace2(trace: &Path) -> (String, String) {
    let output = succeed(
        Command::new("babeltrace2")
            .args(["--no-delta", "--clock-seconds"])
            .arg(trace),
    );
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The seconds of babeltrace2's `[12.000000345]`, as nanoseconds.
pub(crate) fn babeltrace2_time_ns(line: &str) -> Option<u64> {
    let (seconds, fraction) = line.strip_prefix('[')?.split_once(']')?.0.split_once('.')?;
    Some(seconds.trim().parse::<u64>().ok()? * 1_000_000_000 + fraction.parse::<u64>().ok()?)
}

/// The time of a line of `perf script --ns` or `kstrace report`: the first `12.000000345:`.
pub(crate) fn script_time_ns(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().find_map(|word| {
        let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
        (fraction.len() == 9).then_some(())?;
        Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction.parse::<u64>().ok()?)
    })
}

/// Times in the order given never go back.
pub(crate) fn assert_sorted(times: impl IntoIterator<Item = u64>, of: &str) {
    let mut last = 0;
    for (line, time) in times.into_iter().enumerate() {
        assert!(time >= last, "{of}: line {line}: {time} after {last}");
        last = time;
    }
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// `kstrace info --json` of a trace.
pub(crate) fn info(trace: &Path) -> serde_json::Value {
    let text = stdout(kstrace(["info", "--json"]).arg(trace));
    serde_json::from_str(&text).expect("JSON of kstrace info")
}

/// Waits until something is so; panics after ten seconds.
pub(crate) fn wait_for(mut so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("waited for ten seconds in vain");
}

/// A field of the accounts of one hop, added up.
pub(crate) fn sum(accounts: &[Value], hop: &str, field: &str) -> u64 {
    accounts
        .iter()
        .filter(|a| a["hop"] == hop)
        .map(|a| match &a[field] {
            Value::Object(reasons) => reasons.values().filter_map(Value::as_u64).sum(),
            number => number.as_u64().unwrap_or(0),
        })
        .sum()
}

/// At every hop what was seen is what was written plus what was dropped.
pub(crate) fn assert_balanced(accounts: &[Value]) {
    for account in accounts {
        let dropped = sum(
            std::slice::from_ref(account),
            account["hop"].as_str().expect("a hop"),
            "dropped",
        );
        assert_eq!(
            account["seen"].as_u64(),
            account["written"].as_u64().map(|w| w + dropped),
            "{account}"
        );
    }
}

/// That babeltrace2 reads `lost` discarded events out of the trace, and perf script out of
/// its export; what babeltrace2 prints.
pub(crate) fn assert_judges_state_loss(trace: &Path, dir: &Path, lost: u64) -> String {
    let (text, warnings) = babeltrace2(trace);
    let after = |line: &str, word: &str| -> Option<u64> {
        let rest = line.rsplit(word).next()?.trim_start();
        rest.split(' ').next()?.parse().ok()
    };
    let discarded: u64 = warnings
        .lines()
        .filter(|l| l.contains("discarded"))
        .filter_map(|l| after(l, "discarded "))
        .sum();
    assert_eq!(discarded, lost, "babeltrace2 says\n{warnings}");

    let data = dir.join("loss.data");
    succeed(
        kstrace(["export"])
            .arg(trace)
            .args(["--to", "perf.data", "-o"])
            .arg(&data),
    );
    let script = stdout(
        Command::new("perf")
            .args(["script", "--show-lost-events", "-i"])
            .arg(&data),
    );
    let told: u64 = script
        .lines()
        .filter(|l| l.contains("PERF_RECORD_LOST"))
        .filter_map(|l| after(l, "lost "))
        .sum();
    assert_eq!(told, lost, "perf script on the export");
    text
}
