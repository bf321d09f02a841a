//! Sessions of relay daemons as inputs: LTTng's own, and kstraced.

use super::daemon::{Daemon, Killed, interrupt, kstraced_path};
use super::support::*;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A relay daemon of our own and one live session of user-space events in it. Root's session
/// daemon is one per machine: a running one is used, and one we started ends with us.
struct Lttng {
    home: tempfile::TempDir,
    session: String,
    live_port: u16,
    daemons: [Killed; 2],
}

impl Drop for Lttng {
    fn drop(&mut self) {
        let _ = self.command(&["destroy", &self.session]);
        for daemon in &mut self.daemons {
            // A killed session daemon would leave its consumer daemon and its sockets behind.
            interrupt(&daemon.0);
            let _ = daemon.0.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

impl Lttng {
    fn start() -> Lttng {
        let home = scratch();
        let [control, data, live] = [free_port(), free_port(), free_port()];
        let daemon = |name: &str, args: &[String]| {
            let log = File::create(home.path().join(name)).expect("a log");
            let mut command = Command::new(name);
            command.args(args).env("LTTNG_HOME", home.path());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            Killed(command.stderr(log).spawn().expect(name))
        };
        let place = |port: u16| format!("tcp://127.0.0.1:{port}");
        let relay = [
            [
                "-o".to_owned(),
                home.path().join("relay").display().to_string(),
            ],
            ["-C".to_owned(), place(control)],
            ["-D".to_owned(), place(data)],
            ["-L".to_owned(), place(live)],
        ]
        .concat();
        let daemons = [
            daemon("lttng-relayd", &relay),
            daemon("lttng-sessiond", &["--no-kernel".to_owned()]),
        ];
        let lttng = Lttng {
            home,
            session: format!("kstrace-{}", std::process::id()),
            live_port: live,
            daemons,
        };
        let url = format!("--set-url=net://127.0.0.1:{control}:{data}");
        let create = ["create", &lttng.session, "--live=100000", &url];
        wait_for(|| lttng.command(&create).status.success());
        for words in [
            &["enable-channel", "-u", "ch"][..],
            &["enable-event", "-u", "-c", "ch", "demo:*"],
            &[
                "add-context",
                "-u",
                "-c",
                "ch",
                "-t",
                "vtid",
                "-t",
                "procname",
            ],
            &["start"],
        ] {
            let output = lttng.command(words);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words:?}: {said}");
        }
        lttng
    }

    fn command(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new("lttng");
        // Else it starts a session daemon of its own while ours is not up yet.
        command.arg("--no-sessiond").args(words);
        command.env("LTTNG_HOME", self.home.path());
        command.output().expect("lttng")
    }

    fn demo(&self) -> PathBuf {
        let program = self.home.path().join("demo");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lttng");
        let mut cc = Command::new("cc");
        cc.arg("-I").arg(&source).arg("-o").arg(&program);
        succeed(cc.arg(source.join("demo.c")).args(["-llttng-ust", "-ldl"]));
        program
    }

    fn run(&self, demo: &Path, rounds: &str) {
        let home = ("LTTNG_HOME", self.home.path());
        // Until it is registered there is nothing to trace.
        let waits = ("LTTNG_UST_REGISTER_TIMEOUT", "-1");
        let mut command = Command::new(demo);
        succeed(
            command
                .arg(rounds)
                .env(home.0, home.1)
                .env(waits.0, waits.1),
        );
    }

    fn url(&self) -> String {
        let text = stdout(&mut kstrace([
            "live",
            &format!("net://127.0.0.1:{}", self.live_port),
        ]));
        let url = text.split_whitespace().next().expect("a session");
        assert!(url.ends_with(&self.session), "{text}");
        url.to_owned()
    }
}

#[test]
fn a_session_of_lttngs_relay_daemon_is_followed_and_recorded() {
    let lttng = Lttng::start();
    let demo = lttng.demo();
    lttng.run(&demo, "10");
    let at = |name: &str| lttng.home.path().join(name);

    // What comes while it looks on is seen before the session ends; a signal ends it.
    let out = File::create(at("live.txt")).expect("a file");
    let mut live = kstrace(["live", "--from-start", &lttng.url()]);
    let mut live = Killed(live.stdout(out).spawn().expect("kstrace"));
    let lines = || {
        let text = fs::read_to_string(at("live.txt")).unwrap_or_default();
        text.lines().count()
    };
    wait_for(|| lines() == 21);
    lttng.run(&demo, "20");
    wait_for(|| lines() == 21 + 42);
    interrupt(&live.0);
    assert!(live.0.wait().expect("an end").success());

    // Recorded until the session ends: all of it, as in the relay daemon's own files.
    let mut record = kstrace(["record", "--from", &lttng.url(), "-o"]);
    record
        .arg(at("t.kst"))
        .stderr(File::create(at("said")).expect("a file"));
    let mut record = Killed(record.spawn().expect("kstrace"));
    wait_for(|| at("t.kst").exists());
    // A further process, and an event that the metadata did not have yet.
    assert!(
        lttng
            .command(&["add-context", "-u", "-c", "ch", "-t", "ip"])
            .status
            .code()
            .is_some()
    );
    lttng.run(&demo, "30");
    assert!(lttng.command(&["destroy", &lttng.session]).status.success());
    let status = record.0.wait().expect("an end");
    let said = fs::read_to_string(at("said")).expect("what it said");
    assert!(status.success(), "{said}");
    assert!(
        said.contains("126 records") && said.contains("0 lost"),
        "{said}"
    );
    let text = |trace: &Path| stdout(kstrace(["report"]).arg(trace));
    let recorded = text(&at("t.kst"));
    assert_eq!(recorded.lines().count(), 126);
    assert_eq!(recorded, text(&at("relay")));
    let (theirs, _) = babeltrace2(&at("relay"));
    assert_eq!(theirs.lines().count(), 126);
}

#[test]
fn a_session_of_kstraced_is_followed() {
    let daemon = Daemon::start_by(|dir| {
        let mut command = Command::new(kstraced_path());
        let log = File::create(dir.join("log")).expect("a log");
        command.args(["--lttng-live", "127.0.0.1:0"]).stderr(log);
        command
    });
    let log = || fs::read_to_string(daemon.dir().join("log")).expect("the log");
    wait_for(|| log().ends_with('\n'));
    let address = log().trim().rsplit(' ').next().map(str::to_owned);
    let relay = format!("net://{}", address.expect("an address"));
    let trace = daemon.dir().join("t.kst");
    let mut recording = Killed(
        daemon
            .kstrace(["record", "-q", "-a", "-e", "raw_syscalls:sys_enter", "-o"])
            .arg(&trace)
            .stdin(Stdio::null())
            .spawn()
            .expect("kstrace"),
    );
    let urls = || {
        let text = stdout(&mut kstrace(["live", &relay]));
        let urls = text.lines().filter_map(|l| l.split(' ').next());
        urls.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_for(|| !urls().is_empty());
    let url = urls().remove(0);
    let [into, shown] = ["seen.kst", "live.txt"].map(|name| daemon.dir().join(name));
    let mut recorder = kstrace(["record", "-q", "--from", &url, "-o"]);
    let mut recorder = Killed(recorder.arg(&into).spawn().expect("kstrace"));
    let out = File::create(&shown).expect("a file");
    let mut viewer = kstrace(["live", &url]);
    let mut viewer = Killed(viewer.stdout(out).spawn().expect("kstrace"));
    wait_for(|| {
        // Something must happen to be seen.
        succeed(Command::new(load_path()).args(["--mode", "syscall", "--n", "100"]));
        into.exists() && fs::metadata(&shown).is_ok_and(|m| m.len() > 10_000)
    });
    interrupt(&recording.0);
    assert!(recording.0.wait().expect("an end").success());
    for viewer in [&mut recorder, &mut viewer] {
        assert!(viewer.0.wait().expect("an end").success());
    }
    // The same calls at the same times, from where the viewer began.
    let times = |trace: &Path| {
        let args = ["report", "-F", "cpu,time", "-e", "*sys_enter"];
        let mut lines: Vec<_> = stdout(kstrace(args).arg(trace))
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let (seen, recorded) = (times(&into), times(&trace));
    assert!(seen.len() > 100, "{}", seen.len());
    assert!(seen.iter().all(|line| recorded.binary_search(line).is_ok()));
    let first = |cpu: &str| seen.iter().find(|l| l.starts_with(cpu)).cloned();
    let cpus = recorded.iter().filter_map(|l| l.split_whitespace().next());
    for cpu in cpus.collect::<std::collections::BTreeSet<_>>() {
        let Some(first) = first(cpu) else { continue };
        let of_cpu = |lines: &[String]| {
            lines
                .iter()
                .filter(|l| l.starts_with(cpu) && **l >= first)
                .count()
        };
        assert_eq!(of_cpu(&seen), of_cpu(&recorded), "from {first}");
    }
}

#[test]
fn what_is_no_relay_daemon_is_refused() {
    let nobody = format!("net://127.0.0.1:{}/host/a/b", free_port());
    for (words, wanted) in [
        (["live", &nobody], "cannot be reached"),
        (["live", "http://x"], "wanted is net://"),
        (["live", "net://x/host/a"], "no session"),
        (["report", &nobody], "cannot be reached"),
    ] {
        let (status, said) = fail(&mut kstrace(words));
        assert!(status != 0 && said.contains(wanted), "{words:?}: {said}");
    }
}
