//! What the command line promises: statuses, messages, plans.

use super::support::*;
use std::process::Command;
use std::time::{Duration, Instant};

fn record(arguments: &[&str]) -> Command {
    let mut command = kstrace(["record", "-q"]);
    command.args(arguments);
    command
}

#[test]
fn the_status_of_the_command_is_passed_on() {
    let dir = scratch();
    let out = dir.path().join("t.kst");
    let out = out.to_str().unwrap();
    let run = |script: &str| {
        fail(&mut record(&[
            "-e",
            "sched:sched_switch",
            "-o",
            out,
            "--",
            "sh",
            "-c",
            script,
        ]))
        .0
    };
    assert_eq!(run("exit 7"), 7);
    assert_eq!(run("kill -TERM $$"), 128 + 15);
    assert_eq!(run("true"), 0);
}

#[test]
fn mistakes_get_a_clear_message_and_the_right_status() {
    let dir = scratch();
    let out = dir.path().join("t.kst");
    let out = out.to_str().unwrap();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["-e", "sched:sched_swich", "--", "true"],
            2,
            &["sched:sched_swich", "sched:sched_switch"],
        ),
        (&["-e", "page-fault", "--", "true"], 2, &["page-faults"]),
        (&["--", "true"], 2, &["-e"]),
        (
            &["--filter", "x", "-e", "cpu-clock", "--", "true"],
            2,
            &["--filter"],
        ),
        (
            &[
                "-e",
                "sched:sched_switch",
                "--filter",
                "nofield == 1",
                "--",
                "true",
            ],
            2,
            &["nofield", "sched:sched_switch"],
        ),
        (
            &[
                "--source",
                "perf",
                "-e",
                "sched:sched_switch",
                "--filter",
                "nofield == 1",
                "--",
                "true",
            ],
            2,
            &["sched:sched_switch"],
        ),
        (&["-e", "cpu-clock", "-p", "999999999"], 1, &["999999999"]),
        (
            &["-e", "cpu-clock", "--", "/no/such/program"],
            1,
            &["/no/such/program"],
        ),
        (
            &["-e", "cpu-clock", "--clock", "sundial", "--", "true"],
            2,
            &["sundial"],
        ),
        (
            &[
                "-e",
                "sched:sched_switch",
                "--clock",
                "realtime",
                "--",
                "true",
            ],
            1,
            &["realtime"],
        ),
        (
            &["--source", "ftrace", "-e", "cpu-clock", "--", "true"],
            1,
            &["only in perf"],
        ),
        (
            &["-e", "cpu-clock", "-m", "lots", "--", "true"],
            2,
            &["lots"],
        ),
    ];
    for (arguments, status, words) in cases {
        let (code, said) = fail(record(&["-o", out]).args(*arguments));
        assert_eq!(code, *status, "{arguments:?}: {said}");
        for word in *words {
            assert!(
                said.contains(word),
                "{arguments:?} should name {word:?}:\n{said}"
            );
        }
    }
}

#[test]
fn a_directory_that_is_not_a_trace_is_left_alone() {
    let dir = scratch();
    let precious = dir.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), "x").unwrap();
    let (code, said) = fail(
        record(&["-e", "cpu-clock", "-o"])
            .arg(&precious)
            .args(["--", "true"]),
    );
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("precious"), "{said}");
    assert_eq!(std::fs::read_to_string(precious.join("file")).unwrap(), "x");
}

#[test]
fn an_output_that_cannot_be_written() {
    let (code, said) = fail(&mut record(&[
        "-e",
        "cpu-clock",
        "-o",
        "/proc/nowhere/t.kst",
        "--",
        "true",
    ]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("/proc/nowhere/t.kst"), "{said}");
}

#[test]
fn the_plan_says_what_and_why() {
    let text = stdout(&mut record(&[
        "--dry-run",
        "-e",
        "sched:sched_switch,raw_syscalls:sys_enter/stack/",
        "-e",
        "cpu-clock",
        "-F",
        "99",
        "-g",
        "--",
        "true",
    ]));
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("record_dry_run", text);
    });
}

#[test]
fn a_duration_ends_a_system_wide_recording() {
    let dir = scratch();
    let out = dir.path().join("t.kst");
    let begun = Instant::now();
    succeed(
        record(&[
            "-a",
            "-e",
            "sched:sched_switch",
            "--duration",
            "300ms",
            "-o",
        ])
        .arg(&out),
    );
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let (text, _) = babeltrace2(&out);
    assert!(text.lines().any(|l| l.contains("sched:sched_switch")));
}

#[test]
fn ctrl_c_stops_cleanly() {
    let dir = scratch();
    let out = dir.path().join("t.kst");
    let mut child = record(&["-a", "-e", "sched:sched_switch", "-o"])
        .arg(&out)
        .spawn()
        .unwrap();
    wait_for(|| out.join("metadata").exists());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(info(&out)["state"], "complete");
}

#[test]
fn a_full_disk_ends_the_recording_and_keeps_what_fits() {
    // A private mount of 4 MiB; needs a mount namespace.
    let dir = scratch();
    let script = format!(
        "mount -t tmpfs -o size=4m none '{d}' && {k} record -q -e raw_syscalls:sys_enter -o '{d}/t.kst' \
         -- {l} --mode syscall --n 2000000; s=$?; {k} report --no-symbols '{d}/t.kst' | wc -l; exit $s",
        d = dir.path().display(),
        k = kstrace_path(),
        l = load_path().display(),
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
    let lines: u64 = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .and_then(|l| l.trim().parse().ok())
        .unwrap_or(0);
    assert!(lines > 10_000, "{lines} lines are readable\n{said}");
}

#[test]
fn out_of_file_descriptors() {
    let dir = scratch();
    let script = format!(
        "ulimit -n 12; exec {} record -q -e sched:sched_switch -e cpu-clock -o {}/t.kst -- true",
        kstrace_path(),
        dir.path().display()
    );
    let (code, said) = fail(Command::new("sh").args(["-c", &script]));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("Too many open files") && said.contains("ulimit -n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "one clear line:\n{said}");
}

#[test]
fn without_any_privilege() {
    let dir = scratch();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(dir.path(), mode).unwrap();
    // A copy that nobody can reach, wherever the target directory is.
    let binary = dir.path().join("kstrace");
    std::fs::copy(kstrace_path(), &binary).unwrap();
    let (code, said) = fail(
        Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&binary)
            .args([
                "record",
                "-q",
                "--no-daemon",
                "-e",
                "sched:sched_switch",
                "-o",
            ])
            .arg(dir.path().join("t.kst"))
            .args(["--", "true"]),
    );
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("ermission denied") && said.contains("doctor"),
        "{said}"
    );
}

#[test]
fn recording_ends_with_the_processes_it_is_about() {
    let dir = scratch();
    let out = dir.path().join("t.kst");
    let mut load = Command::new(load_path())
        .args(["--mode", "syscall", "--n", "20000", "--rate", "20000"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = load.id().to_string();
    succeed(record(&["-e", "raw_syscalls:sys_enter", "-p", &pid, "-o"]).arg(&out));
    load.wait().unwrap();
    let (text, _) = babeltrace2(&out);
    assert!(text.to_ascii_lowercase().contains(MAGIC_HEX));
}
