//! LTTng's viewers attached to running sessions.

use super::daemon::{Daemon, Killed, interrupt, kstraced_path};
use super::support::*;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// A daemon that serves viewers, and where.
fn serving() -> (Daemon, String) {
    let daemon = Daemon::start_by(|dir| {
        let mut command = Command::new(kstraced_path());
        let log = File::create(dir.join("log")).expect("a log");
        command.args(["--lttng-live", "127.0.0.1:0"]).stderr(log);
        command
    });
    let read = || std::fs::read_to_string(daemon.dir().join("log")).expect("the log");
    // Said after the control socket is there.
    wait_for(|| read().ends_with('\n'));
    let log = read();
    let address = log
        .trim()
        .rsplit(' ')
        .next()
        .expect("an address")
        .to_owned();
    (daemon, address)
}

/// The sessions that babeltrace2 lists, as its URLs.
fn listed(address: &str) -> Vec<String> {
    let mut command = Command::new("babeltrace2");
    command
        .args(["-i", "lttng-live"])
        .arg(format!("net://{address}"));
    stdout(&mut command)
        .lines()
        .filter_map(|l| Some(l.split_once(' ')?.0.to_owned()))
        .collect()
}

fn view(url: &str, into: &Path) -> Killed {
    let out = File::create(into).expect("a file");
    let mut command = Command::new("babeltrace2");
    command.args(["--no-delta", "--clock-seconds", "-i", "lttng-live", url]);
    Killed(command.stdout(out).spawn().expect("babeltrace2"))
}

#[test]
fn two_viewers_see_what_is_recorded_and_hostile_ones_harm_nobody() {
    let (daemon, address) = serving();
    assert_eq!(listed(&address), [""; 0]);
    let trace = daemon.dir().join("t.kst");
    let mut recording = Killed(
        daemon
            .kstrace(["record", "-q", "-a", "-e", "raw_syscalls:sys_enter"])
            .args(["-e", "sched:sched_switch"])
            .arg("-o")
            .arg(&trace)
            .stdin(Stdio::null())
            .spawn()
            .expect("kstrace"),
    );
    wait_for(|| !listed(&address).is_empty());
    let urls = listed(&address);
    let (one, other) = (daemon.dir().join("one"), daemon.dir().join("other"));
    let mut viewers = [view(&urls[0], &one), view(&urls[0], &other)];
    let seen = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    wait_for(|| {
        // Something must happen to be seen.
        succeed(Command::new(load_path()).args(["--mode", "syscall", "--n", "1000"]));
        seen(&one) > 0 && seen(&other) > 0
    });

    // Nonsense, a request too large, one that is cut off, and a viewer that never reads.
    for request in [&[0xff; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[0; 9]] {
        let mut hostile = TcpStream::connect(&address).expect("connected");
        hostile.write_all(request).expect("sent");
        hostile
            .shutdown(std::net::Shutdown::Write)
            .expect("no more to say");
        let mut answer = Vec::new();
        // Closed with or without a reset: what was not read may be lost with it.
        let _ = hostile.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    let mut idle = TcpStream::connect(&address).expect("connected");
    let list_sessions = [&[0u8; 8][..], &2u32.to_be_bytes(), &[0; 4]].concat();
    idle.write_all(&list_sessions.repeat(100)).expect("sent");

    succeed(Command::new(load_path()).args(["--mode", "syscall", "--n", "20000"]));
    interrupt(&recording.0);
    assert!(recording.0.wait().expect("wait").success());
    for viewer in &mut viewers {
        assert!(viewer.0.wait().expect("wait").success());
    }

    // Each saw the end of the recording as it is in the file, each CPU from where it came in.
    let (whole, _) = babeltrace2(&trace);
    let calls_of = |text: &'_ str, cpu: usize| -> Vec<String> {
        let cpu = format!("cpu_id = {cpu} ");
        text.lines()
            .filter(|l| l.contains("sys_enter") && l.contains(&cpu))
            .map(str::to_owned)
            .collect()
    };
    for path in [&one, &other] {
        let text = std::fs::read_to_string(path).expect("the view");
        let mut seen = 0;
        for cpu in 0..cpus() {
            let (view, whole) = (calls_of(&text, cpu), calls_of(&whole, cpu));
            assert!(view.len() <= whole.len(), "cpu {cpu}");
            let expected = &whole[whole.len() - view.len()..];
            let difference = (0..view.len()).find(|i| view[*i] != expected[*i]);
            assert_eq!(difference, None, "of {} on cpu {cpu}", view.len());
            seen += view.len();
        }
        assert!(seen >= 20_000, "{seen} lines");
    }
    assert_eq!(listed(&address), [""; 0]);
}

fn cpus() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    let last = online.trim().rsplit(['-', ',']).next().expect("a number");
    last.parse::<usize>().expect("a number") + 1
}
