//! How the daemon begins and ends, well or not.

use super::clients::{running, states};
use super::daemon::{Daemon, Killed, instances_of, kstraced_path};
use super::support::*;
use nix::sys::signal::Signal;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn start_recording(daemon: &Daemon) -> Child {
    let mut command = daemon.kstrace(["record", "-q", "-a", "-e", "sched:sched_switch", "-o"]);
    let child = command
        .arg(daemon.dir().join("t.kst"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("kstrace");
    wait_for(|| states(&mut daemon.client()) == ["running"]);
    // More than one flush, so that there is something to keep.
    std::thread::sleep(Duration::from_millis(400));
    child
}

#[test]
fn killed_it_leaves_a_readable_trace_and_the_next_one_cleans_up() {
    let daemon = Daemon::start();
    let recorder = start_recording(&daemon);
    let pid = daemon.id();
    daemon.signal(Signal::SIGKILL);
    let (_, dir) = daemon.wait();
    let output = recorder.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("kstraced has ended"), "{said}");
    assert!(
        babeltrace2(&dir.path().join("t.kst"))
            .0
            .contains("sched:sched_switch")
    );
    assert_eq!(instances_of(pid).len(), 1, "nothing to clean up");
    // The socket is there, and nobody behind it.
    assert!(dir.path().join("control.sock").exists());
    let next = Daemon::start_in(dir, Command::new(kstraced_path()));
    wait_for(|| instances_of(pid).is_empty());
    assert!(states(&mut next.client()).is_empty());
}

#[test]
fn terminated_it_ends_all_sessions() {
    let daemon = Daemon::start();
    let recorder = start_recording(&daemon);
    let detached = running(&mut daemon.client(), true);
    assert!(!detached.is_empty());
    let pid = daemon.id();
    daemon.signal(Signal::SIGTERM);
    let (status, dir) = daemon.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(instances_of(pid), [""; 0]);
    assert!(!dir.path().join("control.sock").exists());
    let output = recorder.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("kstraced has ended"), "{said}");
    assert!(
        babeltrace2(&dir.path().join("t.kst"))
            .0
            .contains("sched:sched_switch")
    );
}

#[test]
fn a_second_daemon_is_refused() {
    let daemon = Daemon::start();
    let id = running(&mut daemon.client(), true);
    let (status, said) = fail(
        Command::new(kstraced_path())
            .arg("--socket")
            .arg(daemon.socket()),
    );
    assert_eq!(status, 1);
    assert!(said.contains("another kstraced is running"), "{said}");
    assert_eq!(
        daemon.client().list_sessions().expect("list")[0].session,
        id
    );
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = scratch();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").expect("write");
    let (status, said) = fail(Command::new(kstraced_path()).arg("--socket").arg(&path));
    assert_eq!(status, 1);
    assert!(said.contains("no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "data");
}

#[test]
fn systemd_can_pass_the_socket() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        println!("skipped: no {tool} here");
        return;
    }
    let dir = scratch();
    let socket = dir.path().join("control.sock");
    let _activator = Killed(
        Command::new(tool)
            .arg("--listen")
            .arg(&socket)
            .arg(kstraced_path())
            .stderr(Stdio::null())
            .spawn()
            .expect(tool),
    );
    wait_for(|| socket.exists());
    // The first client is what starts it.
    let mut client =
        kstrace::control::client::Client::connect_to(&socket).expect("an activated daemon");
    assert_eq!(client.welcome().major, 1);
    let id = running(&mut client, false);
    client.stop_session(&id).expect("stop");
}
