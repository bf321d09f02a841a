//! What the tests do in a process of its own: this binary, started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Starts one of the ignored tests of this binary and waits for the line that
/// it begins with `marker`. Returns what follows the marker.
pub(crate) fn start(test: &str, marker: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", test])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| {
        line.split_once(marker)
            .map(|(_, rest)| rest.trim().to_owned())
    });
    (child, said.expect("the helper says its line"))
}

/// Makes an instance and waits to be killed.
#[test]
#[ignore = "run as a process of its own by the test of orphans"]
fn makes_an_instance_and_waits() {
    let tracefs = tracefs::Tracefs::discover().unwrap();
    let instance = tracefs.create_instance("tracefs-test-orphan").unwrap();
    instance
        .enable_event(&tracefs::EventName::new("sched", "sched_switch"))
        .unwrap();
    instance.set_tracing_on(true).unwrap();
    println!("instance: {}", instance.name());
    loop {
        std::thread::park();
    }
}

/// Borrows the top level and waits to be killed.
#[test]
#[ignore = "run as a process of its own by the test of the top level"]
fn borrows_the_top_and_waits() {
    let tracefs = tracefs::Tracefs::discover().unwrap();
    let top = tracefs.borrow_top("tracefs-test-loan").unwrap();
    top.enable_event(&tracefs::EventName::new("sched", "sched_switch"))
        .unwrap();
    top.set_clock("mono").unwrap();
    println!("mark: {}", top.mark());
    loop {
        std::thread::park();
    }
}
