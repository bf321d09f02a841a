//! Files that the real tools recorded, into every form and back; the tools judge.

use super::support::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A recording by perf itself.
fn perf_data(dir: &Path, arguments: &[&str], workload: &[&str]) -> PathBuf {
    let path = dir.join("perf.data");
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-B", "-N", "-o"]).arg(&path);
    succeed(command.args(arguments).args(workload));
    path
}

/// A recording by trace-cmd itself. When it ends it stops every instance of this machine: tests
/// that use it run alone (see the test runner's settings).
fn trace_dat(dir: &Path, arguments: &[&str], workload: &[&str]) -> PathBuf {
    let path = dir.join("trace.dat");
    let mut command = Command::new("trace-cmd");
    // Without function tracing, which a kernel may refuse.
    command.args(["record", "-d", "--no-filter", "-k", "-o"]);
    succeed(command.arg(&path).args(arguments).args(workload));
    path
}

/// All that `perf script` can show of tracepoints and samples.
fn perf_script(path: &Path) -> String {
    let fields = "comm,pid,tid,cpu,time,event,ip,sym,symoff,dso,period,trace";
    stdout(
        Command::new("perf")
            .args(["script", "--ns", "-F", fields, "-i"])
            .arg(path),
    )
}

/// The records, those of one nanosecond by CPU: which of them came first a trace that keeps a
/// stream for each CPU does not tell.
fn in_order_of_cpus(text: &str) -> Vec<&str> {
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    blocks.sort_by_key(|block| {
        let cpu = block.split_once('[').map_or("", |(_, rest)| rest);
        let (cpu, rest) = cpu.split_once("] ").unwrap_or(("", ""));
        (
            rest.split(':').next().unwrap_or("").trim().to_owned(),
            cpu.to_owned(),
        )
    });
    blocks
}

fn trace_cmd_report(path: &Path, arguments: &[&str]) -> String {
    stdout(
        Command::new("trace-cmd")
            .arg("report")
            .args(arguments)
            .arg(path),
    )
}

fn converted(from: &Path, to: &Path) -> PathBuf {
    succeed(kstrace(["convert"]).arg(from).arg(to));
    to.to_owned()
}

/// The records of an event, by `kstrace report --json`.
fn records(path: &Path, event: &str) -> Vec<Value> {
    let text = stdout(kstrace(["report", "--json", "--no-symbols", "-e", event]).arg(path));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// What every form keeps of a switch.
fn switches(path: &Path) -> Vec<(u64, u64, i64, i64)> {
    records(path, "sched:sched_switch")
        .iter()
        .map(|r| {
            let field = |name: &str| r["fields"][name].as_i64().expect("a thread");
            (
                r["time_ns"].as_u64().expect("a time"),
                r["cpu"].as_u64().expect("a CPU"),
                field("prev_pid"),
                field("next_pid"),
            )
        })
        .collect()
}

#[test]
fn perf_data_comes_back_as_it_was() {
    let dir = scratch();
    let events = [
        "-a",
        "-g",
        "-e",
        "sched:sched_switch,cpu-clock,raw_syscalls:sys_enter",
    ];
    let data = perf_data(dir.path(), &events, &["sleep", "0.3"]);
    let native = converted(&data, &dir.path().join("x.kst"));
    let back = converted(&native, &dir.path().join("back.data"));
    let direct = converted(&data, &dir.path().join("direct.data"));
    let original = perf_script(&data);
    assert!(original.lines().count() > 100, "{original}");
    assert!(
        in_order_of_cpus(&original) == in_order_of_cpus(&perf_script(&back)),
        "through the native trace"
    );
    assert!(original == perf_script(&direct), "directly");
    let report = |path: &Path| {
        let text = stdout(
            Command::new("perf")
                .args(["report", "--stdio", "-i"])
                .arg(path),
        );
        // Its last line is a hint, another one each time.
        text.lines()
            .filter(|l| !l.starts_with("# (Tip"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(report(&data) == report(&back), "perf report");
}

#[test]
fn trace_cmd_trace_dat_comes_back_as_it_was() {
    let dir = scratch();
    let events = [
        "-C",
        "mono",
        "-e",
        "sched",
        "-e",
        "raw_syscalls",
        "-e",
        "timer",
    ];
    let data = trace_dat(dir.path(), &events, &["sleep", "0.3"]);
    let native = converted(&data, &dir.path().join("x.kst"));
    let back = converted(&native, &dir.path().join("back.dat"));
    let direct = converted(&data, &dir.path().join("direct.dat"));
    for way in [&[][..], &["-R"], &["-t"]] {
        let original = trace_cmd_report(&data, way);
        assert!(original.lines().count() > 100, "{original}");
        assert!(original == trace_cmd_report(&back, way), "native, {way:?}");
        assert!(
            original == trace_cmd_report(&direct, way),
            "direct, {way:?}"
        );
    }
    // babeltrace2 reads the native form as it is.
    let (text, warnings) = babeltrace2(&native);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(
        text.lines()
            .filter(|l| l.contains("sched:sched_switch"))
            .count(),
        switches(&data).len()
    );
}

#[test]
fn a_switch_is_the_same_in_every_form() {
    let dir = scratch();
    let data = perf_data(
        dir.path(),
        &["-a", "-k", "mono", "-e", "sched:sched_switch"],
        &["sleep", "0.3"],
    );
    let expected = switches(&data);
    assert!(expected.len() > 20);
    let dat = converted(&data, &dir.path().join("x.dat"));
    let native = converted(&dat, &dir.path().join("x.kst"));
    let back = converted(&native, &dir.path().join("y.data"));
    for path in [&dat, &native, &back] {
        assert_eq!(switches(path), expected, "{}", path.display());
    }
    let shown = trace_cmd_report(&dat, &["-t"]);
    let shown = shown.lines().filter(|l| l.contains("sched_switch:"));
    assert_eq!(shown.count(), expected.len());
    let shown = perf_script(&back);
    let shown = shown.lines().filter(|l| l.contains("sched:sched_switch:"));
    assert_eq!(shown.count(), expected.len());
}

#[test]
fn trace_cmd_and_perf_files_on_one_timeline() {
    let dir = scratch();
    let inner = dir.path().join("perf.data");
    let perf = format!(
        "exec perf record -q -B -N -a -k mono -e sched:sched_switch -o {} sleep 0.3",
        inner.display()
    );
    let dat = trace_dat(
        dir.path(),
        &["-C", "mono", "-e", "sched:sched_switch"],
        &["sh", "-c", &perf],
    );
    let merged = dir.path().join("merged.kst");

    // A trace.dat does not say of which boot its clock is: nothing is guessed.
    let mut merge = kstrace(["merge"]);
    let (status, said) = fail(merge.arg(&inner).arg(&dat).arg("-o").arg(&merged));
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("--offset") && said.contains("trace.dat"),
        "{said}"
    );
    assert!(!merged.exists());

    let offset = format!("--offset={}=0", dat.display());
    succeed(
        kstrace(["merge", &offset])
            .arg(&inner)
            .arg(&dat)
            .arg("-o")
            .arg(&merged),
    );
    let (perf, ftrace) = (switches(&inner), switches(&dat));
    let both = switches(&merged);
    assert_eq!(both.len(), perf.len() + ftrace.len());
    assert!(both.is_sorted_by_key(|s| s.0));
    // What both saw lies side by side: perf's stamp comes first, within a few microseconds.
    let paired = perf
        .iter()
        .filter(|p| {
            ftrace
                .iter()
                .any(|f| f.1 == p.1 && f.2 == p.2 && f.3 == p.3 && f.0.abs_diff(p.0) < 100_000)
        })
        .count();
    assert!(paired * 10 >= perf.len() * 9, "{paired} of {}", perf.len());
}

#[test]
fn recordings_of_perf_meet_at_the_wall_clock() {
    let dir = scratch();
    let other = scratch();
    let sleep = ["sleep", "0.1"];
    let a = perf_data(
        dir.path(),
        &["-a", "-k", "mono", "-e", "sched:sched_switch"],
        &sleep,
    );
    let b = perf_data(
        other.path(),
        &["-a", "-k", "raw", "-e", "sched:sched_switch"],
        &sleep,
    );
    let merged = dir.path().join("m.jsonl");
    let output = succeed(kstrace(["merge"]).arg(&a).arg(&b).arg("-o").arg(&merged));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("wall clock"), "{said}");
    let times: Vec<u64> = fs::read_to_string(&merged)
        .expect("the output")
        .lines()
        .map(|l| {
            serde_json::from_str::<Value>(l).expect("JSON")["time_ns"]
                .as_u64()
                .expect("ns")
        })
        .collect();
    assert_eq!(times.len(), switches(&a).len() + switches(&b).len());
    assert!(times.is_sorted());
}

#[test]
fn parts_hold_what_belongs_to_them_and_nothing_is_missing() {
    let dir = scratch();
    let data = perf_data(
        dir.path(),
        &["-a", "-e", "sched:sched_switch"],
        &["sleep", "0.2"],
    );
    let all = switches(&data);
    let prefix = dir.path().join("part");
    let split = |by: &str| -> Vec<Vec<(u64, u64, i64, i64)>> {
        let parts = stdout(
            kstrace(["split", "--by", by])
                .arg(&data)
                .arg("-o")
                .arg(&prefix),
        );
        parts.lines().map(|p| switches(Path::new(p))).collect()
    };
    for part in split("cpu") {
        assert!(part.iter().all(|s| s.1 == part[0].1));
    }
    for by in ["cpu", "records=10", "time=0.05", "event"] {
        let mut together = split(by).concat();
        together.sort_unstable();
        let mut all = all.clone();
        all.sort_unstable();
        assert_eq!(together, all, "by {by}");
    }
    // perf reads the parts.
    let part = dir.path().join("part-cpu0.data");
    let lines = perf_script(&part).lines().count();
    assert_eq!(lines, switches(&part).len());
}

#[test]
fn only_what_is_chosen() {
    let dir = scratch();
    let events = "sched:sched_switch,raw_syscalls:sys_enter";
    let data = perf_data(dir.path(), &["-a", "-e", events], &["sleep", "0.2"]);
    let out = dir.path().join("o.data");
    succeed(
        kstrace(["convert", "-e", "sched:*", "-C", "0", "--until", "+0.1"])
            .arg(&data)
            .arg(&out),
    );
    let all = switches(&data);
    let first = records(&data, events)[0]["time_ns"].as_u64().expect("ns");
    let expected: Vec<_> = all
        .into_iter()
        .filter(|s| s.1 == 0 && s.0 <= first + 100_000_000)
        .collect();
    assert_eq!(switches(&out), expected);
    assert!(records(&out, "raw_syscalls:*").is_empty());
}

#[test]
fn pipes_at_both_ends() {
    let dir = scratch();
    let data = perf_data(
        dir.path(),
        &["-a", "-e", "sched:sched_switch"],
        &["sleep", "0.1"],
    );
    let file = |path: &Path| Stdio::from(fs::File::open(path).expect("a file"));
    let dat = succeed(kstrace(["convert", "-", "-", "--to", "trace.dat"]).stdin(file(&data)));
    let path = dir.path().join("x.dat");
    fs::write(&path, dat.stdout).expect("written");
    assert_eq!(switches(&path), switches(&data));
    let stream = succeed(kstrace(["convert", "-", "-", "--to", "perf.data"]).stdin(file(&data)));
    let path = dir.path().join("stream.data");
    fs::write(&path, stream.stdout).expect("written");
    let shown = stdout(
        Command::new("perf")
            .args([
                "script",
                "--ns",
                "-F",
                "comm,tid,cpu,time,event,trace",
                "-i",
                "-",
            ])
            .stdin(file(&path)),
    );
    let direct = stdout(
        Command::new("perf")
            .args([
                "script",
                "--ns",
                "-F",
                "comm,tid,cpu,time,event,trace",
                "-i",
            ])
            .arg(&data),
    );
    assert_eq!(shown, direct);
}

#[test]
fn what_a_form_cannot_hold_is_said_and_strict_refuses_it() {
    let dir = scratch();
    let data = perf_data(
        dir.path(),
        &["-a", "-g", "-e", "cpu-clock"],
        &["sleep", "0.1"],
    );
    let out = dir.path().join("x.dat");
    let output = succeed(kstrace(["convert"]).arg(&data).arg(&out));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("trace.dat has no place for"), "{said}");
    let (status, _) = fail(kstrace(["convert", "--strict"]).arg(&data).arg(&out));
    assert_eq!(status, 1);
    let same = dir.path().join("x.data");
    let (status, said) = fail(kstrace(["convert", "--strict"]).arg(&data).arg(&same));
    assert_eq!(status, 0, "{said}");
}

#[test]
fn damage_is_named_and_what_is_before_it_delivered() {
    let dir = scratch();
    let data = perf_data(
        dir.path(),
        &["-a", "-e", "sched:sched_switch"],
        &["sleep", "0.2"],
    );
    let whole = switches(&data);
    let bytes = fs::read(&data).expect("the file");
    let cut = dir.path().join("cut.data");
    fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).expect("written");
    let (status, said) = fail(
        kstrace(["convert"])
            .arg(&cut)
            .arg(dir.path().join("c.jsonl")),
    );
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("cut.data"), "{said}");
    let delivered = fs::read_to_string(dir.path().join("c.jsonl")).expect("the output");
    // What names the events stands behind the records in such a file, and is cut off.
    let delivered = delivered.lines().count();
    assert!(
        delivered * 2 > whole.len(),
        "{delivered} of {}: {said}",
        whole.len()
    );

    for (name, content) in [("empty", &b""[..]), ("text", b"hello, this is no trace\n")] {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        let (status, said) = fail(
            kstrace(["convert"])
                .arg(&path)
                .arg(dir.path().join("o.kst")),
        );
        assert_eq!(status, 1);
        assert!(said.contains(name) && said.contains("no trace"), "{said}");
        assert!(!dir.path().join("o.kst").exists());
    }
}

#[test]
fn the_same_kernels_events_are_compatible() {
    let dir = scratch();
    let other = scratch();
    let sleep = ["sleep", "0.05"];
    let a = perf_data(dir.path(), &["-a", "-e", "sched:sched_switch"], &sleep);
    let b = perf_data(
        other.path(),
        &["-a", "-e", "sched:sched_switch,sched:sched_wakeup"],
        &sleep,
    );
    let text = stdout(kstrace(["schema", "diff"]).arg(&a).arg(&b));
    assert!(text.contains("added     perf:sched:sched_wakeup"), "{text}");
    assert!(text.ends_with("compatible\n"), "{text}");
    assert!(!text.contains("sched_switch"), "{text}");
}

#[test]
fn loss_goes_along() {
    let dir = scratch();
    let trace = dir.path().join("t.kst");
    let mut record = kstrace([
        "record",
        "-q",
        "-m",
        "16K",
        "-e",
        "raw_syscalls:sys_enter",
        "-o",
    ]);
    record.arg(&trace).arg("--").arg(load_path());
    succeed(record.args(["--mode", "syscall", "--n", "500000"]));
    let lost = |path: &Path| -> u64 {
        let info = info(path);
        let losses = info["losses"].as_array().expect("losses").iter();
        losses.map(|l| l["count"].as_u64().expect("a count")).sum()
    };
    let expected = lost(&trace);
    assert!(expected > 0);
    let copy = converted(&trace, &dir.path().join("copy.kst"));
    let pairs = |path: &Path| info(path)["clock_pairs"].as_array().map_or(0, Vec::len);
    assert_eq!(pairs(&copy), pairs(&trace));
    let data = converted(&trace, &dir.path().join("x.data"));
    let dat = converted(&trace, &dir.path().join("x.dat"));
    for path in [&copy, &data, &dat] {
        assert_eq!(lost(path), expected, "{}", path.display());
    }
    assert_judges_state_loss(&copy, dir.path(), expected);
}
