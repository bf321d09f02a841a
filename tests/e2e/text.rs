//! `kstrace report` says what `perf script` says of the same records.

use super::support::*;
use std::collections::BTreeMap;
use std::process::Command;

/// Events with flags, symbols, strings of dynamic length, arrays, stacks.
const EVENTS: &str = "sched:*,raw_syscalls:*,syscalls:sys_enter_openat,syscalls:sys_exit_openat,\
    task:*,signal:*,timer:*,irq:*,kmem:mm_page_alloc,kmem:kmalloc,filemap:*,block:*,workqueue:*,\
    mmap:*,exceptions:*,ext4:ext4_da_write_begin,rcu:rcu_utilization,tlb:tlb_flush";

/// A line without what the two tools write differently on purpose: how they align
/// columns, what they call the idle task.
struct Line {
    comm: String,
    tid: String,
    cpu: String,
    time: String,
    event: String,
    text: String,
}

/// `comm-tid [cpu] time: event: text`, the first three separated as each tool does.
fn parse(line: &str) -> Option<Line> {
    let (head, rest) = line.split_once('[')?;
    let (cpu, rest) = rest.split_once(']')?;
    let (time, rest) = rest.trim_start().split_once(": ")?;
    let (event, text) = rest
        .trim_start()
        .split_once(": ")
        .unwrap_or((rest.trim_end_matches(':'), ""));
    let head = head.trim_end();
    let split = head.rfind(|c: char| !c.is_ascii_digit())?;
    let (comm, tid) = (head[..split].trim(), &head[split + 1..]);
    Some(Line {
        comm: match comm {
            "<idle>" => "swapper".to_owned(),
            "<...>" => format!(":{tid}"),
            known => known.to_owned(),
        },
        tid: tid.to_owned(),
        cpu: cpu.to_owned(),
        time: time.to_owned(),
        event: event.to_owned(),
        // perf writes 0x before a pointer (%p), the kernel does not.
        text: text.trim().replace("0xffff", "ffff"),
    })
}

#[test]
fn the_text_is_that_of_perf_script() {
    let dir = scratch();
    let (trace, data) = (dir.path().join("t.kst"), dir.path().join("t.data"));
    let script = format!(
        "ls -lR /usr/share/doc/util-linux /proc/self >/dev/null; dd if=/dev/zero of={d}/file bs=64k count=32 \
         conv=fsync 2>/dev/null; (sleep 0.01 & kill -TERM $!); cat {d}/file >/dev/null",
        d = dir.path().display()
    );
    succeed(
        kstrace([
            "record",
            "-q",
            "-m",
            "32M",
            "--fail-on-loss",
            "-e",
            EVENTS,
            "-o",
        ])
        .arg(&trace)
        .args(["--", "sh", "-c", &script]),
    );
    succeed(
        kstrace(["convert", "--to", "perf.data"])
            .arg(&trace)
            .arg(&data),
    );
    let ours = stdout(kstrace(["report", "--no-symbols"]).arg(&trace));
    let theirs = stdout(
        Command::new("perf")
            .args([
                "script",
                "--ns",
                "-F",
                "comm,tid,cpu,time,event,trace",
                "-i",
            ])
            .arg(&data),
    );
    let ours: Vec<Line> = ours
        .lines()
        .filter(|l| !l.starts_with('\t'))
        .filter_map(parse)
        .collect();
    let theirs: Vec<Line> = theirs.lines().filter_map(parse).collect();
    assert_eq!(ours.len(), theirs.len(), "lines");
    assert!(ours.len() > 2_000, "only {} lines", ours.len());

    let mut kinds: BTreeMap<&str, (usize, Option<String>)> = BTreeMap::new();
    for (a, b) in ours.iter().zip(&theirs) {
        let place = format!("{} {} {}", a.time, a.event, a.text);
        assert_eq!(
            (&a.time, &a.cpu, &a.event),
            (&b.time, &b.cpu, &b.event),
            "{place}"
        );
        assert_eq!((&a.comm, &a.tid), (&b.comm, &b.tid), "{place}");
        let kind = kinds.entry(&a.event).or_default();
        if a.text != b.text {
            kind.0 += 1;
            kind.1
                .get_or_insert_with(|| format!("\n  kstrace: {}\n  perf:    {}", a.text, b.text));
        }
    }
    let different: Vec<String> = kinds
        .iter()
        .filter(|(event, _)| !written_differently(event))
        .filter_map(|(event, (count, first))| Some(format!("{event}: {count}{}", first.as_ref()?)))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(kinds.len() >= 15, "only {:?}", kinds.keys());
}

/// Whether the two tools write this event differently on purpose.
fn written_differently(event: &str) -> bool {
    let path = event.replacen(':', "/", 1);
    let format = std::fs::read_to_string(format!("/sys/kernel/tracing/events/{path}/format"))
        .unwrap_or_default();
    // The kernel writes a symbol, with offset and size for %pS. perf has the symbols of
    // functions only, and writes an address for anything else.
    format.contains("%ps")
        || format.contains("%pS")
        || DIFFERENT
            .iter()
            .any(|(known, _)| tracefs::glob::matches(known, event))
}

/// Events (as patterns) whose text the two tools write differently, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "kmem:mm_page_alloc",
        "the address of a page needs vmemmap_base, which only the kernel knows",
    ),
    (
        "block:*",
        "the kernel writes the names of I/O priority classes, perf their numbers",
    ),
    (
        "timer:hrtimer_*",
        "the kernel writes the names of timer modes, perf their numbers",
    ),
    (
        "timer:timer_start",
        "perf takes flags for set that are not: it does not know the kernel's constants",
    ),
];
