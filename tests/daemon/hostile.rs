//! Clients that do not keep to the protocol, and the others beside them.

use super::clients::{running, states, switches};
use super::daemon::Daemon;
use super::raw::{Raw, error_of};
use super::support::wait_for;
use serde_json::{Value, json};
use std::io::Write;

#[test]
fn without_a_common_major_it_says_which_it_speaks() {
    let daemon = Daemon::start();
    let mut client = Raw::connect(daemon.socket());
    let hello = "org.kstrace.Control.Hello";
    let reply = client
        .call(hello, json!({ "client": "x", "majors": [7, 99] }))
        .expect("an answer");
    assert_eq!(error_of(&reply), "org.kstrace.Control.NoCommonMajor");
    assert_eq!(reply["parameters"]["spoken"], json!([1]));
    let reply = client
        .call(hello, json!({ "client": "x", "majors": [99, 1] }))
        .expect("an answer");
    assert_eq!(reply["parameters"]["major"], 1, "{reply}");
}

/// A client that records while others misbehave, and must not notice.
#[test]
fn bad_messages_hurt_nobody_else() {
    let daemon = Daemon::start();
    let mut good = daemon.client();
    let session = running(&mut good, false);
    let ring = good.record(&session).expect("a recorder");
    let before = daemon.open_files();

    let deep = format!("{{\"method\":{}", "[".repeat(100_000));
    let bad: [&[u8]; 8] = [
        b"\0",
        b"no JSON\0",
        b"{\"method\":1}\0",
        b"{\"method\":\"org.kstrace.Control.Hello\"\0",
        b"[]\0",
        b"\xff\xfe\0",
        b"{}\0{}\0{}\0",
        deep.as_bytes(),
    ];
    for message in bad {
        let mut client = Raw::connect(daemon.socket());
        // The daemon may close before all is sent.
        let _ = client.0.write_all(message);
        let _ = client.0.write_all(b"\0");
        client
            .0
            .shutdown(std::net::Shutdown::Write)
            .expect("shutdown");
        while let Some(reply) = client.receive() {
            assert_ne!(
                error_of(&reply),
                "",
                "{reply} to {:?}",
                String::from_utf8_lossy(message)
            );
        }
        assert_eq!(states(&mut good), ["running"]);
    }

    let request = serde_json::to_value(switches()).expect("JSON");
    for (method, parameters) in [
        (
            "CreateSession",
            json!({ "request": 5, "workload": [], "detached": false }),
        ),
        (
            "CreateSession",
            json!({ "request": request, "workload": "x", "detached": 1 }),
        ),
        ("CreateSession", json!({})),
        (
            "CreateSession",
            json!({ "request": { "events": 7 }, "workload": [], "detached": false }),
        ),
        ("StartSession", json!({ "session": null })),
        (
            "Subscribe",
            json!({ "session": "../../x", "recorder": false }),
        ),
        (
            "Monitor",
            json!({ "session": session, "interval_ms": "soon" }),
        ),
        ("NoSuchMethod", json!({})),
    ] {
        let mut client = Raw::connect(daemon.socket());
        let reply = client.call(&format!("org.kstrace.Control.{method}"), parameters);
        assert!(
            reply.as_ref().is_none_or(|r| !error_of(r).is_empty()),
            "{method}: {reply:?}"
        );
        assert_eq!(states(&mut good), ["running"]);
    }
    // Bad events are an error by name, not the end of the connection.
    let mut client = Raw::connect(daemon.socket());
    let bad_events = json!({ "request": { "events": 7 }, "workload": [], "detached": false });
    let reply = client
        .call("org.kstrace.Control.CreateSession", bad_events)
        .expect("an answer");
    assert_eq!(
        error_of(&reply),
        "org.kstrace.Control.BadRequest",
        "{reply}"
    );
    drop(client);

    // Fewer, if something was open for a moment when they were counted first.
    wait_for(|| daemon.open_files() <= before);
    let stopped = good.stop_session(&session).expect("stop");
    assert!(stopped.problems.is_empty());
    let finished = |l| ring.reader().lane(l).expect("a lane").is_finished();
    assert!((0..ring.reader().lanes()).all(finished));
}

#[test]
fn a_message_without_end_is_cut_off() {
    let daemon = Daemon::start();
    let mut good = daemon.client();
    let session = running(&mut good, false);
    let mut client = Raw::connect(daemon.socket());
    let chunk = vec![b'x'; 64 << 10];
    let sent = (0..1024)
        .take_while(|_| client.0.write_all(&chunk).is_ok())
        .count();
    assert!(sent < 32, "{sent} chunks of 64 KiB were taken");
    assert_eq!(states(&mut good), ["running"]);
    good.stop_session(&session).expect("stop");
}

#[test]
fn descriptors_sent_to_it_are_not_kept() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;
    let daemon = Daemon::start();
    let mut client = Raw::connect(daemon.socket());
    let get_info = |client: &mut Raw| client.call("org.varlink.service.GetInfo", json!({}));
    assert!(get_info(&mut client).is_some());
    let before = daemon.open_files();
    let message = b"{\"method\":\"org.varlink.service.GetInfo\"}\0";
    let numbers = [client.0.as_raw_fd(); 8];
    for _ in 0..20 {
        sendmsg::<()>(
            client.0.as_raw_fd(),
            &[std::io::IoSlice::new(message)],
            &[ControlMessage::ScmRights(&numbers)],
            MsgFlags::empty(),
            None,
        )
        .expect("sendmsg");
        let reply: Value = client.receive().expect("an answer");
        assert_eq!(reply["parameters"]["product"], "kstraced");
    }
    wait_for(|| daemon.open_files() == before);
}
