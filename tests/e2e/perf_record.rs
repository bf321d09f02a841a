//! `kstrace perf record` beside the real `perf record`.

use crate::support::{
    MAGIC_HEX, fail, kstrace, kstrace_path, load_path, scratch, stdout, succeed, wait_for,
};
use std::path::Path;
use std::process::{Command, Stdio};

/// Ours, with what the real perf here wants too: it aborts at times when it looks for build ids.
fn ours(dir: &Path) -> Command {
    let mut command = kstrace(["perf", "record", "-B", "-N"]);
    // Into a pipe it would write the recording.
    command.current_dir(dir).stdout(Stdio::null());
    command
}

fn real(dir: &Path) -> Command {
    let mut command = Command::new("perf");
    command.args(["record", "-B", "-N"]).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// What it says first, but for lines that count.
fn first_line(said: &str) -> String {
    let line = said
        .lines()
        .find(|l| !l.trim().is_empty() && !l.contains("[ perf record:"));
    line.unwrap_or_default().to_owned()
}

/// Command lines that end before anything is recorded, as wrong usage or else.
const MISTAKES: &[&[&str]] = &[
    &["--sw", "x"],
    &["--freq"],
    &["-F"],
    &["-o"],
    &["--nosuch"],
    &["-Y"],
    &["-freq", "true"],
    &["-no-inherit", "true"],
    &["-gfoo", "true"],
    &["-aXg", "true"],
    &["-g=dwarf", "true"],
    &["--no-freq", "true"],
    &["--no-filter", "true"],
    &["--no-buildid-", "true"],
    &["--no-mmap-pages", "true"],
    &["--inherit=3", "true"],
    &["--all-kernel=3", "true"],
    &["--all-user", "--all-kernel", "true"],
    &["--freq=abc", "true"],
    &["--freq=", "true"],
    &["-F", "0", "true"],
    &["-c", "x", "true"],
    &["-c", "-5", "true"],
    &["-r", "abc", "true"],
    &["--proc-map-timeout", "-1", "true"],
    &["--switch-max-files", "x", "true"],
    &["-m", "3x", "true"],
    &["-m", "1T", "true"],
    &["-k", "foo", "true"],
    &["-j", "foo", "true"],
    &["-b", "-j", "any", "true"],
    &["-D", "x", "true"],
    &["-D", "-2", "true"],
    &["-D", "10-5", "true"],
    &["-D", "1-2,2-3", "true"],
    &["--max-size", "x", "true"],
    &["--control", "foo", "true"],
    &["--call-graph", "foo", "true"],
    &["--call-graph=dwarf,0", "true"],
    &["--call-graph", "dwarf,99999", "true"],
    &["--call-graph", "lbr,3", "true"],
    &["--strict-freq", "-F", "99999999", "true"],
    &["-e", "nosuch", "true"],
    &["-e", "", "true"],
    &["-e", "cycles}", "true"],
    &["-e", "cycles:z", "true"],
    &["-e", "cycles:uuu", "true"],
    &["-e", "cycles:pppp", "true"],
    &["-e", "cycles:u:k", "true"],
    &["-e", "cycles,,instructions", "true"],
    &["-e", "cycles/foo/", "true"],
    &["-e", "cpu-clock/period=x/", "true"],
    &["-e", "cpu-clock/name=/", "true"],
    &["-e", "software/cpu-clock/", "true"],
    &["-e", "nosuchpmu/event=1/", "true"],
    &["-e", "rZZ", "true"],
    &["-e", "L1-dcache-foo", "true"],
    &["-e", "sched:nosuch", "true"],
    &["-e", "sched:*nosuch*", "true"],
    &["-e", "*:sched_switch", "true"],
    &["-e", "sched:sched_switch:q", "true"],
    &["-e", "sched:sched_switch/name=foo/", "true"],
    &["-e", "mem:0x1000:z", "true"],
    &["-e", "mem:xyz", "true"],
    &["--filter", "x", "true"],
    &["-e", "cpu-clock", "--filter", "x==1", "true"],
    &["-e", "sched:sched_switch", "--filter", "bogus==1", "true"],
    &["--exclude-perf", "true"],
    &["-e", "cpu-clock", "--exclude-perf", "true"],
    &["-C", "x", "true"],
    &["-C", "70000", "true"],
    &["-p", "x"],
    &["-p", "99999999"],
    &["-t", "1,x"],
    &["-u", "no-such-user"],
    &["--", "/no/such/command"],
    &["-e", "cpu-clock", "/no/such/command"],
    &["-h"],
];

#[test]
fn mistakes_end_as_with_perf() {
    let dir = scratch();
    let mut differ = Vec::new();
    for line in MISTAKES {
        let (perf_status, perf_said) = fail(real(dir.path()).args(*line));
        let (status, said) = fail(ours(dir.path()).args(*line));
        let (perf_first, first) = (first_line(&perf_said), first_line(&said));
        // Debian's perf has debugfs before tracefs in what it says of files.
        if (status, &first) != (perf_status, &perf_first) {
            differ.push(format!(
                "{line:?}: perf {perf_status} {perf_first:?}, kstrace {status} {first:?}"
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Command lines that record something harmless; what matters is the exit status.
const RECORDINGS: &[&[&str]] = &[
    &["true"],
    &["-agF99", "--", "true"],
    &["--namespace", "--no-buffer", "true"],
    &["-F99", "-e", "cpu-clock", "true"],
    &["--freq=99", "--ev", "cpu-clock", "--", "sh", "-c", "exit 7"],
    &["--no-no-buildid-cache", "--inherit", "false"],
    &["-e", "{cpu-clock,page-faults}:S", "true"],
    &["--group", "-e", "cpu-clock,cs", "true"],
    &["-e", "cpu-clock/period=100000,name=x/u", "true"],
    &["-e", "sched:sched_*,cpu-clock", "-c", "1000000", "true"],
    &["-C", "0", "true"],
    &["-k", "mono_raw", "true"],
    &["-k", "CLOCK_MONOTONIC", "true"],
    &["-s", "-d", "-n", "-T", "-P", "-R", "true"],
    &["--switch-events", "--all-cgroups", "--no-bpf-event", "true"],
    &["--call-graph", "dwarf,1000", "-e", "cpu-clock", "true"],
    &["--kernel-callchains", "-g", "-e", "cpu-clock", "true"],
    &["-D", "5", "-e", "cpu-clock", "true"],
    &["-i", "-e", "cpu-clock", "true"],
    &["--no-timestamp", "-e", "cpu-clock", "true"],
    &["-e", "mem:0x1000:rw", "true"],
    &["--dry-run", "true"],
    &["-q", "-v", "true"],
];

#[test]
fn every_form_of_option_records_and_perf_reads_it() {
    let dir = scratch();
    for line in RECORDINGS {
        let expected = fail(real(dir.path()).args(["-o", "real.data"]).args(*line)).0;
        let (status, said) = fail(ours(dir.path()).args(["-o", "own.data"]).args(*line));
        assert_eq!(status, expected, "{line:?}: {said}");
        let own = dir.path().join("own.data");
        if line.contains(&"--dry-run") {
            continue;
        }
        succeed(Command::new("perf").args(["script", "-i"]).arg(&own));
    }
}

/// Calls of the load generator, each with a number of its own.
const CALLS: usize = 500;

fn load() -> Vec<String> {
    let load = load_path().to_string_lossy().into_owned();
    let calls = CALLS.to_string();
    [&load, "--mode", "syscall", "--n", &calls]
        .map(str::to_owned)
        .to_vec()
}

/// `perf script` without what differs from run to run: process, CPU and time, and
/// addresses, which the kernel places at random.
fn script(data: &Path, fields: Option<&str>) -> Vec<String> {
    let mut command = Command::new("perf");
    command.args(["script", "-i"]).arg(data);
    if let Some(fields) = fields {
        command.args(["-F", fields]);
    }
    stdout(&mut command).lines().map(str::to_owned).collect()
}

/// The events that a file has, with what matters of their attrs to a reader.
fn events(data: &Path) -> Vec<String> {
    let text = stdout(Command::new("perf").args(["evlist", "-i"]).arg(data));
    text.lines()
        .filter(|l| !l.starts_with('#') && !l.starts_with("dummy"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn tracepoints_of_a_command_are_those_that_perf_records() {
    let of_tasks = "sched:sched_process_exec,sched:sched_process_exit,\
                    sched:sched_process_fork,task:task_rename,task:task_newtask";
    let all = format!("raw_syscalls:sys_enter,raw_syscalls:sys_exit,{of_tasks}");
    // What a shell's children do belongs to it, but when they end beside its own calls is chance.
    let shell = ["sh", "-c", "/bin/true; /bin/echo x >/dev/null"];
    for (names, work) in [
        (all.as_str(), &["env", "/bin/true"][..]),
        (of_tasks, &shell),
    ] {
        same_events(names, work);
    }
}

fn same_events(names: &str, work: &[&str]) {
    let dir = scratch();
    for source in ["auto", "perf"] {
        let own = dir.path().join(format!("{source}.data"));
        let data = dir.path().join("real.data");
        succeed(
            real(dir.path())
                .args(["-e", names, "-o"])
                .arg(&data)
                .args(work),
        );
        succeed(
            kstrace([
                "perf", "--source", source, "record", "-B", "-e", names, "-o",
            ])
            .arg(&own)
            .args(work),
        );
        assert_eq!(events(&own), events(&data));
        // What each task did, one after the other as they first appear: name, event, and
        // which system call it was.
        let told = |data: &Path| -> Vec<Vec<String>> {
            let mut tids = Vec::new();
            let mut tasks: Vec<Vec<String>> = Vec::new();
            for line in script(data, Some("comm,tid,event,trace")) {
                let words: Vec<_> = line.split_whitespace().collect();
                let at = tids.iter().position(|t| *t == words[1]).unwrap_or_else(|| {
                    tids.push(words[1].to_owned());
                    tasks.push(Vec::new());
                    tasks.len() - 1
                });
                let nr = words.iter().position(|w| *w == "NR");
                let call = nr.and_then(|at| words.get(at + 1)).unwrap_or(&"");
                tasks[at].push(format!("{} {} {call}", words[0], words[2]));
            }
            tasks
        };
        assert_eq!(told(&own), told(&data), "--source {source}");
    }
}

#[test]
fn the_text_of_fields_is_the_same_text() {
    let dir = scratch();
    let own = dir.path().join("own.data");
    let data = dir.path().join("real.data");
    let event = ["-e", "raw_syscalls:sys_enter"];
    let work = load();
    succeed(
        real(dir.path())
            .args(event)
            .arg("-o")
            .arg(&data)
            .args(&work),
    );
    succeed(ours(dir.path()).args(event).arg("-o").arg(&own).args(&work));
    let (own, real) = (script(&own, None), script(&data, None));
    let shape = |line: &String| {
        // comm pid [cpu] time: event: NR n (magic, count, addresses)
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(words.len() > 4, "{line}");
        assert!(words[2].starts_with('['), "{line}");
        format!("{} {}", words[0], words[4..words.len().min(9)].join(" "))
    };
    let of_load = |lines: &[String]| -> Vec<String> {
        let lines = lines.iter().filter(|l| l.contains(MAGIC_HEX));
        lines.map(shape).collect()
    };
    assert_eq!(of_load(&own), of_load(&real));
    assert_eq!(of_load(&own).len(), CALLS);
    assert_eq!(own.len(), real.len());
}

#[test]
fn two_lines_on_standard_error_the_old_file_and_the_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let args = [
        "perf",
        "record",
        "-e",
        "raw_syscalls:sys_enter",
        "--",
        "true",
    ];
    for _ in 0..2 {
        let mut command = kstrace(args);
        let output = succeed(command.current_dir(dir.path()).stdout(Stdio::null()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[0].starts_with("[ perf record: Woken up "), "{said}");
        assert!(lines[0].ends_with(" times to write data ]"), "{said}");
        assert!(
            lines[1].starts_with("[ perf record: Captured and wrote 0."),
            "{said}"
        );
        assert!(lines[1].contains(" MB perf.data ("), "{said}");
        assert!(lines[1].ends_with(" samples) ]"), "{said}");
    }
    let mode = |name: &str| {
        let metadata = std::fs::metadata(dir.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("perf.data"), mode("perf.data.old")), (0o600, 0o600));
    let quiet = ["-q", "-e", "raw_syscalls:sys_enter", "true"];
    let output = succeed(ours(dir.path()).args(quiet));
    assert!(output.stderr.is_empty());
}

#[test]
fn without_hardware_cycles_are_a_clock_as_with_perf() {
    let dir = scratch();
    for line in [
        &["true"][..],
        &["-e", "cycles:u", "true"],
        &["-e", "cycles", "true"],
    ] {
        succeed(real(dir.path()).args(["-o", "real.data"]).args(line));
        succeed(ours(dir.path()).args(["-o", "own.data"]).args(line));
        let (own, real) = (dir.path().join("own.data"), dir.path().join("real.data"));
        assert_eq!(events(&own), events(&real), "{line:?}");
    }
}

#[test]
fn a_running_process_and_its_end() {
    let dir = scratch();
    let mut target = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut recorder = ours(dir.path())
        .args(["-e", "cpu-clock", "-g", "-p", &target.id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It records once there is something on the ring's way into the file.
    std::thread::sleep(std::time::Duration::from_millis(500));
    target.kill().unwrap();
    target.wait().unwrap();
    wait_for(|| recorder.try_wait().unwrap().is_some());
    assert!(recorder.wait().unwrap().success());
    let text = stdout(
        Command::new("perf")
            .args(["script", "-F", "comm,event,ip,sym", "-i"])
            .arg(dir.path().join("perf.data")),
    );
    assert!(text.contains("cpu-clock"), "{text}");
    assert!(
        text.lines()
            .all(|l| l.is_empty() || l.starts_with(char::is_whitespace) || l.starts_with("sh"))
    );
}

#[test]
fn a_signal_ends_it_with_a_whole_file_and_that_signal() {
    use std::os::unix::process::ExitStatusExt;
    let dir = scratch();
    let mut recorder = ours(dir.path())
        .args(["-e", "raw_syscalls:sys_enter", "--", "sleep", "1000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let data = dir.path().join("perf.data");
    wait_for(|| data.exists());
    // The command runs once it has children of its own making to wait for: its own calls.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = nix_pid(&recorder);
    send(pid, "INT");
    let status = recorder.wait().unwrap();
    assert_eq!(status.signal(), Some(2), "{status:?}");
    assert!(!script(&data, None).is_empty());
}

fn nix_pid(child: &std::process::Child) -> String {
    child.id().to_string()
}

fn send(pid: String, signal: &str) {
    succeed(Command::new("kill").args(["-s", signal, &pid]));
}

#[test]
fn into_a_pipe() {
    let dir = scratch();
    let mut recorder = ours(dir.path())
        .args(["-e", "raw_syscalls:sys_enter", "-o", "-", "true"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = recorder.stdout.take().unwrap();
    let output = Command::new("perf")
        .args(["script", "-i", "-"])
        .stdin(pipe)
        .output()
        .unwrap();
    assert!(recorder.wait().unwrap().success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("raw_syscalls:sys_enter: NR"), "{text}");
}

#[test]
fn the_rest_is_the_real_perfs_and_counted() {
    let dir = scratch();
    let link = dir.path().join("perf");
    std::os::unix::fs::symlink(kstrace_path(), &link).unwrap();
    let path = std::env::var("PATH").unwrap();
    let as_perf = || {
        let mut command = Command::new(&link);
        // First in PATH is we ourselves.
        command.env("PATH", format!("{}:{path}", dir.path().display()));
        command
            .env("XDG_STATE_HOME", dir.path())
            .current_dir(dir.path());
        command
    };
    let version = stdout(as_perf().arg("--version"));
    assert_eq!(version, stdout(Command::new("perf").arg("--version")));
    let line = ["record", "-q", "-e", "raw_syscalls:sys_enter", "true"];
    succeed(as_perf().args(line).stdout(Stdio::null()));
    let text = stdout(as_perf().arg("script"));
    assert!(text.contains("raw_syscalls:sys_enter"), "{text}");
    // What only the real perf does, it does, and one line says so.
    let output = succeed(as_perf().args(["record", "-B", "-N", "-z", "-e", "cpu-clock", "true"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.starts_with("kstrace: --compression-level: recorded by /"),
        "{said}"
    );
    assert!(said.contains("compressed (original"), "{said}");
    let stats = stdout(kstrace(["perf", "--stats"]).env("XDG_STATE_HOME", dir.path()));
    let counted: Vec<_> = stats.lines().map(str::trim).collect();
    assert_eq!(
        counted,
        [
            "1  perf --version",
            "1  perf record --compression-level",
            "1  perf script"
        ]
    );
}

/// perf's own shell tests with our `perf` first in PATH; 2 means that they skip themselves.
#[test]
fn perfs_own_shell_tests() {
    const ROOT: &str = "/usr/lib/perf-core";
    let dir = scratch();
    std::os::unix::fs::symlink(kstrace_path(), dir.path().join("perf")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let run = |script: &str, path: &str| {
        let mut command = Command::new("bash");
        command
            .arg(format!("tests/shell/{script}"))
            .env("PATH", path);
        command.env("XDG_STATE_HOME", dir.path()).current_dir(ROOT);
        fail(command.stdin(Stdio::null()))
    };
    let with_ours = format!("{}:{path}", dir.path().display());
    for script in ["pipe_test.sh", "record.sh", "record+zstd_comp_decomp.sh"] {
        let real = run(script, &path);
        let ours = run(script, &with_ours);
        assert!([0, 2].contains(&real.0), "{script}: {}", real.1);
        assert_eq!(ours.0, real.0, "{script}: {}", ours.1);
    }
}

#[test]
fn the_alternatives_link_and_help() {
    let dir = scratch();
    for name in ["alternatives", "admin"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/perf-alternative");
    let run = |action: &str| {
        let mut command = Command::new(&script);
        command.arg(action).arg(kstrace_path()).arg(at("perf"));
        command.args(["--", "--altdir", &at("alternatives")]);
        command.args(["--admindir", &at("admin"), "--log", "/dev/null"]);
        succeed(&mut command);
    };
    run("install");
    let link = dir.path().join("perf");
    let text = stdout(Command::new(&link).args(["record", "--help"]));
    assert!(text.contains("    -F, --freq <freq or 'max'>"), "{text}");
    let options = ["version", "--build-options"];
    let ours = stdout(
        Command::new(&link)
            .args(options)
            .env("XDG_STATE_HOME", dir.path()),
    );
    assert_eq!(ours, stdout(Command::new("perf").args(options)));
    run("remove");
    assert!(!link.exists());
}

/// Fields of an event as `perf evlist -v` prints them, but for those in which recordings of
/// ours differ knowingly: the clock is always said, and samples name their event by
/// `IDENTIFIER`, so that they can be told apart wherever they are.
fn attrs(data: &Path) -> Vec<String> {
    let text = stdout(Command::new("perf").args(["evlist", "-v", "-i"]).arg(data));
    let told = text.lines().filter(|l| !l.starts_with('#'));
    told.filter(|l| !l.starts_with("dummy:HG"))
        .map(|line| {
            let fields = line.split(", ").filter(|f| !f.contains("clockid: "));
            let fields = fields.map(|field| match field.strip_prefix("sample_type: ") {
                Some(bits) => bits
                    .split('|')
                    .filter(|bit| !["ID", "IDENTIFIER"].contains(bit))
                    .collect::<Vec<_>>()
                    .join("|"),
                None => field.to_owned(),
            });
            fields.collect::<Vec<_>>().join(", ")
        })
        .collect()
}

/// Options and events whose attrs are the same as perf's in what is recorded.
const SAME_ATTRS: &[&[&str]] = &[
    &["-c", "100000"],
    &["-g", "--kernel-callchains"],
    &["-g", "--user-callchains"],
    &["--call-graph", "dwarf,1000"],
    &["-s", "-d", "-P"],
    &["-n"],
    &["--no-timestamp", "--no-period"],
    &["-R", "-i", "--sample-cpu"],
    &["--no-buffering", "--switch-events", "--namespaces"],
    &["--all-user"],
    &["--all-kernel"],
    &["-D", "5"],
    &["-a", "-F", "99", "-g"],
    &["-e", "{cpu-clock,page-faults,cs}:Su"],
    &["-e", "task-clock:u,cpu-clock:k,{cs,faults}:u"],
    &[
        "-e",
        "cpu-clock:uk,cpu-clock:G,cpu-clock:H,cpu-clock:GH,cpu-clock:I",
    ],
    &[
        "-e",
        "cpu-clock:D,cpu-clock:e,cpu-clock:h,cpu-clock:P,cpu-clock:S",
    ],
    &["-e", "cpu-clock/period=5000,name=x/u,cpu-clock/freq=99/,cs"],
    &["-e", "cpu-clock/time=0/,cpu-clock/call-graph=fp/"],
    &["-e", "cpu-clock/call-graph=dwarf,stack-size=1024/"],
    &["-g", "-e", "cpu-clock/call-graph=no/,cs/max-stack=3/"],
    &[
        "-e",
        "cpu-clock/no-inherit/,software/config=0,period=7777/u,1:2:u",
    ],
    &["-e", "mem:0x1000,mem:0x1000:w:u,mem:0x1000/8:w"],
    &[
        "-e",
        "sched:sched_switch:u,sched:sched_switch/call-graph=dwarf,stack-size=64/",
    ],
    &["-e", "sched:sched_switch/max-stack=3/u", "-g"],
    &["-e", "bpf-output/no-inherit,name=evt/"],
];

#[test]
fn attrs_are_those_that_perf_records_with() {
    let dir = scratch();
    let (own, data) = (dir.path().join("own.data"), dir.path().join("real.data"));
    let mut differ = Vec::new();
    for line in SAME_ATTRS {
        let event: &[&str] = match line.contains(&"-e") {
            true => &[],
            false => &["-e", "cpu-clock"],
        };
        let words = || event.iter().chain(line.iter());
        succeed(
            real(dir.path())
                .arg("-o")
                .arg(&data)
                .args(words())
                .arg("true"),
        );
        let mut ours = kstrace(["perf", "--source", "perf", "record", "-B", "-o"]);
        succeed(ours.arg(&own).args(words()).arg("true"));
        let (found, expected) = (attrs(&own), attrs(&data));
        if found != expected {
            differ.push(format!("{line:?}\n perf {expected:#?}\n ours {found:#?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
