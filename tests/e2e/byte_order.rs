//! The text of tracepoints that a machine of the other byte order recorded.

use super::corpus::corpus;
use super::support::*;
use std::process::Command;

/// From the process id on; without times, whose digits are perf's to choose, and columns.
fn events(text: &str) -> Vec<String> {
    let of = |line: &str| -> Option<String> {
        let (_, rest) = line.split_once(": ")?;
        Some(rest.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    text.lines().filter_map(of).collect()
}

fn ours(name: &str) -> String {
    stdout(
        kstrace(["convert", "--no-symbols", "--to", "text"])
            .arg(corpus(name))
            .arg("-"),
    )
}

#[test]
fn a_perf_data_of_it_reads_as_perf_script_reads_it() {
    let theirs = stdout(
        Command::new("perf")
            .args(["script", "-i"])
            .arg(corpus("big_endian.data")),
    );
    let tracepoints = |text: &str| -> Vec<String> {
        let mut events = events(text);
        events.retain(|e| !e.contains("cpu-clock"));
        events
    };
    let (ours, theirs) = (tracepoints(&ours("big_endian.data")), tracepoints(&theirs));
    assert!(ours.len() > 20);
    assert_eq!(ours, theirs);
}

#[test]
fn a_trace_dat_of_it_reads_as_trace_cmd_reads_it() {
    let theirs = stdout(
        Command::new("trace-cmd")
            .args(["report", "-i"])
            .arg(corpus("big_endian_32_bit.dat")),
    );
    // trace-cmd 3.1 forgets the sign of a short number.
    let theirs = theirs
        .replace("small=65534", "small=-2")
        .replace("small=32768", "small=-32768")
        .replace(" thing:", " sys:thing:");
    let ours: Vec<_> = events(&ours("big_endian_32_bit.dat"));
    assert_eq!(ours.len(), 4);
    assert_eq!(ours, events(&theirs));
}
