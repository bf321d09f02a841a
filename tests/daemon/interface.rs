//! The interface is the frozen one.

use super::daemon::Daemon;
use super::raw::Raw;
use serde_json::json;
use std::path::Path;

#[test]
fn the_daemon_describes_what_is_frozen() {
    let daemon = Daemon::start();
    let mut client = Raw::connect(daemon.socket());
    let info = client
        .call("org.varlink.service.GetInfo", json!({}))
        .expect("an answer");
    assert_eq!(info["parameters"]["product"], "kstraced");
    assert_eq!(
        info["parameters"]["interfaces"],
        json!(["org.kstrace.Control", "org.varlink.service"])
    );
    let reply = client
        .call(
            "org.varlink.service.GetInterfaceDescription",
            json!({ "interface": "org.kstrace.Control" }),
        )
        .expect("an answer");
    let description = reply["parameters"]["description"]
        .as_str()
        .expect("a description");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/v1/org.kstrace.Control.varlink");
    let frozen = std::fs::read_to_string(&path).unwrap_or_default();
    let described: Vec<_> = description.lines().map(without_comment).collect();
    let missing: Vec<_> = frozen
        .lines()
        .map(without_comment)
        .filter(|l| !described.contains(l))
        .collect();
    match std::env::var("KSTRACE_BLESS").as_deref() {
        Ok("break") => std::fs::write(&path, description).expect("write"),
        // A minor only adds: what was there must still be there, word for word.
        Ok(_) if missing.is_empty() => std::fs::write(&path, description).expect("write"),
        _ => assert!(
            frozen == description,
            "the interface differs from {} (KSTRACE_BLESS=1 accepts additions); \
             changed or gone: {missing:#?}",
            path.display()
        ),
    }
}

/// What a line declares. A member that was the last one may be followed by others.
fn without_comment(line: &str) -> &str {
    let declared = line.split('#').next().unwrap_or_default();
    declared.trim().trim_end_matches([',', ')', ' '])
}
