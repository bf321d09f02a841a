//! Whose sessions live how long.

use super::clients::{running, states, switches};
use super::daemon::{Daemon, Killed, interrupt};
use super::raw::{Raw, error_of};
use super::support::*;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_killed_clients_session_goes_at_once() {
    let daemon = Daemon::start();
    let record = |name: &str| {
        let mut command = daemon.kstrace(["record", "-q", "-a", "-e", "sched:sched_switch", "-o"]);
        Killed(
            command
                .arg(daemon.dir().join(name))
                .spawn()
                .expect("kstrace"),
        )
    };
    let mut other = record("other.kst");
    wait_for(|| states(&mut daemon.client()) == ["running"]);
    let kept = daemon.instances();
    let mut killed = record("killed.kst");
    wait_for(|| states(&mut daemon.client()) == ["running", "running"]);
    assert_eq!(daemon.instances().len(), 2);
    killed.0.kill().expect("kill -9");
    let at = Instant::now();
    wait_for(|| daemon.instances().len() == 1);
    // Under a second where nothing else runs; the kernel takes longer to free an instance
    // on CPUs that others keep busy.
    assert!(
        at.elapsed() < Duration::from_secs(5),
        "after {:?}",
        at.elapsed()
    );
    assert_eq!(daemon.instances(), kept);

    interrupt(&other.0);
    assert!(other.0.wait().expect("wait").success());
    assert!(
        babeltrace2(&daemon.dir().join("other.kst"))
            .0
            .contains("sched:sched_switch")
    );
}

#[test]
fn a_client_that_monitors_is_missed_as_soon() {
    let daemon = Daemon::start();
    let mut client = Raw::connect(daemon.socket());
    let created = client
        .call(
            "org.kstrace.Control.CreateSession",
            json!({ "request": switches(), "workload": [], "detached": false }),
        )
        .expect("an answer");
    let id = created["parameters"]["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    client
        .call("org.kstrace.Control.StartSession", json!({ "session": id }))
        .expect("an answer");
    client.send(&json!({
        "method": "org.kstrace.Control.Monitor", "more": true,
        "parameters": { "session": id, "interval_ms": i64::MAX },
    }));
    client.receive().expect("the first reading");
    assert_eq!(daemon.instances().len(), 1);
    drop(client);
    let at = Instant::now();
    wait_for(|| daemon.instances().is_empty());
    assert!(
        at.elapsed() < Duration::from_millis(1500),
        "after {:?}",
        at.elapsed()
    );
}

#[test]
fn a_detached_session_outlives_its_client() {
    let daemon = Daemon::start();
    let mut maker = daemon.client();
    let (detached, attached) = (running(&mut maker, true), running(&mut maker, false));
    drop(maker);
    let mut other = daemon.client();
    wait_for(|| other.list_sessions().expect("list").len() == 1);
    let left = other.list_sessions().expect("list").remove(0);
    assert_ne!(left.session, attached);
    assert_eq!(
        (left.session, left.detached, left.state.as_str()),
        (detached.clone(), true, "running")
    );

    let listed = stdout(&mut daemon.kstrace(["sessions"]));
    assert_eq!(listed, format!("{detached} running  detached root\n"));
    let beginning = &detached[..8];
    succeed(&mut daemon.kstrace(["sessions", "stop", beginning]));
    assert_eq!(states(&mut other), ["stopped"]);
    let again = other.stop_session(&detached).expect("the accounts again");
    assert!(!again.accounts.is_empty());
    // What is in the ring can still be had.
    let (reader, _wake) = other.view(&detached).expect("a viewer");
    assert!((0..reader.lanes()).all(|l| reader.lane(l).expect("a lane").is_finished()));
    succeed(&mut daemon.kstrace(["sessions", "destroy", beginning]));
    assert_eq!(stdout(&mut daemon.kstrace(["sessions"])), "");
    assert_eq!(daemon.instances(), [""; 0]);
    let (status, said) = fail(&mut daemon.kstrace(["sessions", "destroy", &detached]));
    assert_eq!(status, 1);
    assert!(said.contains("there is no session"), "{said}");
}

#[test]
fn states_that_do_not_fit_are_named() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let id = client
        .create_session(&switches(), &[], false)
        .expect("create")
        .session;
    let stopped = client.stop_session(&id).expect_err("not running");
    assert!(stopped.to_string().contains("is created"), "{stopped}");
    client.start_session(&id).expect("start");
    let started = client.start_session(&id).expect_err("running already");
    assert!(started.to_string().contains("is running"), "{started}");
    let unknown = client.stop_session("no-such").expect_err("no session");
    assert!(
        unknown.to_string().contains("no session 'no-such'"),
        "{unknown}"
    );
    let mut huge = switches();
    huge.ring_bytes_per_cpu = 1 << 40;
    let refused = client
        .create_session(&huge, &[], false)
        .expect_err("a terabyte");
    assert!(
        refused
            .to_string()
            .contains("ring_bytes_per_cpu is 1099511627776"),
        "{refused}"
    );
    let mut unknown = switches();
    unknown.events[0].spec = "sched:no_such_event".to_owned();
    let refused = client
        .create_session(&unknown, &[], false)
        .expect_err("no event");
    assert!(refused.to_string().contains("no_such_event"), "{refused}");
}

#[test]
fn statistics_come_until_the_session_stops() {
    let daemon = Daemon::start();
    let mut owner = daemon.client();
    let id = running(&mut owner, false);
    let mut monitor = Raw::connect(daemon.socket());
    monitor.send(&json!({
        "method": "org.kstrace.Control.Monitor", "more": true,
        "parameters": { "session": id, "interval_ms": 100 },
    }));
    let mut last = -1;
    // On a busy machine the engine's first round may be a while off.
    for reading_number in 0.. {
        let reading = monitor.receive().expect("a reading");
        assert_eq!(reading["continues"], true, "{reading}");
        let records = reading["parameters"]["records"].as_i64().expect("a count");
        assert!(records >= last, "{records} after {last}");
        last = records;
        if reading_number >= 4 && last > 0 {
            break;
        }
        assert!(reading_number < 100, "no task was switched in ten seconds");
    }
    owner.stop_session(&id).expect("stop");
    let end = std::iter::from_fn(|| monitor.receive()).find(|r| r["continues"] != true);
    let end = end.expect("an end");
    assert_eq!(error_of(&end), "org.kstrace.Control.WrongState", "{end}");
    // The connection goes on.
    let reading = monitor
        .call(
            "org.kstrace.Control.Monitor",
            json!({ "session": "x", "interval_ms": 20 }),
        )
        .expect("an answer");
    assert_eq!(error_of(&reading), "org.kstrace.Control.NoSuchSession");
}
