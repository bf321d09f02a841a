//! Records that came through tracefs, in a perf.data.

use super::kit::{Export, FTRACE, comm, perf, script, session};
use kstrace_perf::file::PerfDataOptions;
use kstrace_schema::FileOutput;
use kstrace_schema::{
    Certainty, ClockPair, Cpu, EventRecordClass, FieldClass, IntegerClass, Loss, LossReason,
    Member, NativeDescription, SessionTime, Sink, SourceId, StructureClass, builtin, namespace,
};

const FIELDS: &str = "comm,pid,tid,cpu,time,event,trace";

fn sched_switch(prev: (&str, i32), state: i64, next: (&str, i32)) -> Vec<u8> {
    let mut fields = comm(prev.0).to_vec();
    fields.extend_from_slice(&prev.1.to_ne_bytes());
    fields.extend_from_slice(&120i32.to_ne_bytes());
    fields.extend_from_slice(&state.to_ne_bytes());
    fields.extend_from_slice(&comm(next.0));
    fields.extend_from_slice(&next.1.to_ne_bytes());
    fields.extend_from_slice(&98i32.to_ne_bytes());
    fields
}

fn sys_enter(nr: i64, first: u64) -> Vec<u8> {
    let mut fields = nr.to_ne_bytes().to_vec();
    for argument in [first, 2, 3, 4, 5, 6] {
        fields.extend_from_slice(&argument.to_ne_bytes());
    }
    fields
}

#[test]
fn tracepoints_are_printed_with_the_task_they_belong_to() {
    let mut export = Export::new();
    let switch = export.ftrace("sched:sched_switch");
    let enter = export.ftrace("raw_syscalls:sys_enter");
    export.process(900, 500, 501, "worker");
    let first = switch.entry(501, &[&sched_switch(("worker", 501), 1, ("make", 70_000))]);
    export.write(&switch.class, 1_000_000_001, 1, &first);
    let second = enter.entry(70_000, &[&sys_enter(257, 0xffff_ffff_ffff_ff9c)]);
    export.write(&enter.class, 1_000_000_002, 1, &second);
    // The task has executed another program since it was switched to.
    let third = switch.entry(
        70_000,
        &[&sched_switch(("cc1", 70_000), 0, ("swapper/1", 0))],
    );
    export.write(&switch.class, 1_000_000_003, 0, &third);
    export.finish();
    assert_eq!(export.sink.report().kept, 4);
    assert_eq!(export.sink.report().not_held_total(), 0);
    assert_eq!(
        script(FIELDS, &export.path),
        [
            "worker 500/501 [001] 1.000000001: sched:sched_switch: prev_comm=worker prev_pid=501 \
             prev_prio=120 prev_state=S ==> next_comm=make next_pid=70000 next_prio=98",
            "make 70000/70000 [001] 1.000000002: raw_syscalls:sys_enter: \
             NR 257 (ffffffffffffff9c, 2, 3, 4, 5, 6)",
            "cc1 70000/70000 [000] 1.000000003: sched:sched_switch: prev_comm=cc1 prev_pid=70000 \
             prev_prio=120 prev_state=R ==> next_comm=swapper/1 next_pid=0 next_prio=98",
        ]
    );
}

#[test]
fn dynamic_fields_name_forked_and_executing_tasks() {
    let mut export = Export::new();
    let newtask = export.ftrace("task:task_newtask");
    let fork = export.ftrace("sched:sched_process_fork");
    let exec = export.ftrace("sched:sched_process_exec");
    let enter = export.ftrace("raw_syscalls:sys_enter");
    let location =
        |offset: usize, length: usize| ((length as u32) << 16 | offset as u32).to_ne_bytes();
    export.process(1, 10, 10, "sh");
    for (time, tid, flags) in [(10u64, 11i32, 0x10000u64), (20, 12, 0)] {
        let fields = [
            &tid.to_ne_bytes()[..],
            &comm("sh"),
            &[0; 4],
            &flags.to_ne_bytes(),
            &[0; 2],
        ];
        let entry = newtask.entry(10, &fields);
        export.write(&newtask.class, time, 0, &entry);
        let entry = fork.entry(
            10,
            &[
                &location(24, 3),
                &10i32.to_ne_bytes(),
                &location(27, 3),
                &tid.to_ne_bytes(),
                b"sh\0sh\0",
            ],
        );
        export.write(&fork.class, time + 1, 0, &entry);
    }
    let path = b"/usr/bin/a-long-program-name\0";
    let entry = exec.entry(
        12,
        &[
            &location(20, path.len()),
            &12i32.to_ne_bytes(),
            &12i32.to_ne_bytes(),
            path,
        ],
    );
    export.write(&exec.class, 30, 1, &entry);
    for (time, tid) in [(40, 10), (41, 11), (42, 12)] {
        export.write(
            &enter.class,
            time,
            0,
            &enter.entry(tid, &[&sys_enter(39, 1)]),
        );
    }
    export.finish();
    let lines = script(FIELDS, &export.path);
    assert_eq!(
        lines,
        [
            "sh 10/10 [000] 0.000000010: task:task_newtask: pid=11 comm=sh clone_flags=10000 oom_score_adj=0",
            "sh 10/10 [000] 0.000000011: sched:sched_process_fork: comm=sh pid=10 child_comm=sh child_pid=11",
            "sh 10/10 [000] 0.000000020: task:task_newtask: pid=12 comm=sh clone_flags=0 oom_score_adj=0",
            "sh 10/10 [000] 0.000000021: sched:sched_process_fork: comm=sh pid=10 child_comm=sh child_pid=12",
            "a-long-program- 12/12 [001] 0.000000030: sched:sched_process_exec: \
             filename=/usr/bin/a-long-program-name pid=12 old_pid=12",
            "sh 10/10 [000] 0.000000040: raw_syscalls:sys_enter: NR 39 (1, 2, 3, 4, 5, 6)",
            "sh 10/11 [000] 0.000000041: raw_syscalls:sys_enter: NR 39 (1, 2, 3, 4, 5, 6)",
            "a-long-program- 12/12 [000] 0.000000042: raw_syscalls:sys_enter: NR 39 (1, 2, 3, 4, 5, 6)",
        ]
    );
}

#[test]
fn ftraces_own_events_are_events_of_the_system_ftrace() {
    let mut export = Export::new();
    let function = export.ftrace("ftrace:function");
    let print = export.ftrace("ftrace:print");
    let entry = export.ftrace("ftrace:funcgraph_entry");
    let address = |a: u64| a.to_ne_bytes();
    let payload = function.entry(7, &[&address(0x1000), &address(0x2000)]);
    export.write(&function.class, 100, 0, &payload);
    let payload = print.entry(7, &[&address(0), b"hello, world\n\0"]);
    export.write(&print.class, 200, 0, &payload);
    let payload = entry.entry(7, &[&address(0x3000), &3u32.to_ne_bytes(), &[0; 4]]);
    export.write(&entry.class, 300, 1, &payload);
    export.finish();
    let lines = script("tid,cpu,time,event,ip,trace", &export.path);
    // The address of the second stands on a line of its own: its text ended the line.
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with("7 [000] 0.000000100: ftrace:function:"),
        "{}",
        lines[0]
    );
    assert!(lines[0].contains("0x1000 <-- 0x2000"), "{}", lines[0]);
    assert!(
        lines[0].contains(" 1000"),
        "the function is the sample's address: {}",
        lines[0]
    );
    assert!(
        lines[1].contains("ftrace:print:") && lines[1].contains("hello, world"),
        "{}",
        lines[1]
    );
    assert!(
        lines[3].contains("ftrace:funcgraph_entry: --> 0x3000 (3)"),
        "{}",
        lines[3]
    );
}

#[test]
fn functions_are_named_where_the_kernel_is_this_one() {
    let mut session = session();
    session.sources.retain(|s| s.kind != namespace::PERF);
    let mut export = Export::with(session, PerfDataOptions::default());
    let function = export.ftrace("ftrace:function");
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let address = |name: &str| {
        let line = symbols
            .lines()
            .find(|l| l.ends_with(&format!(" {name}")))
            .unwrap();
        u64::from_str_radix(line.split(' ').next().unwrap(), 16)
            .unwrap()
            .to_ne_bytes()
    };
    let (callee, caller) = (address("vfs_read"), address("ksys_read"));
    export.write(
        &function.class,
        100,
        0,
        &function.entry(7, &[&callee, &caller]),
    );
    export.finish();
    let lines = script("event,trace", &export.path);
    assert_eq!(lines, ["ftrace:function: vfs_read <-- ksys_read"]);
    let report = perf(&["report", "--stdio", "-s", "sym"], &export.path);
    assert!(report.contains("[k] vfs_read"), "{report}");
}

#[test]
fn loss_is_told_where_and_when_it_happened() {
    let mut export = Export::new();
    let enter = export.ftrace("raw_syscalls:sys_enter");
    let loss = |source, cpu, count, end| Loss {
        source,
        cpu: Cpu(cpu),
        reason: LossReason::KernelRingFull,
        count,
        certainty: Certainty::Exact,
        class: None,
        begin: SessionTime::ZERO,
        end: SessionTime::from_ns(end),
    };
    export.write(&enter.class, 1_000, 0, &enter.entry(7, &[&sys_enter(1, 1)]));
    export.sink.loss(&loss(FTRACE, 1, 41, 1_500)).unwrap();
    export.write(&enter.class, 2_000, 1, &enter.entry(7, &[&sys_enter(2, 1)]));
    // The session's own ring; the end of the session's time is not yet there.
    export
        .sink
        .loss(&loss(SourceId::KSTRACE, 0, 1, u64::MAX))
        .unwrap();
    export.finish();
    let report = export.sink.report();
    assert_eq!((report.kept, report.lost), (2, 42));
    let dump = perf(
        &[
            "script",
            "--ns",
            "--show-lost-events",
            "-F",
            "cpu,time,event",
        ],
        &export.path,
    );
    let lines: Vec<&str> = dump.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("PERF_RECORD_LOST lost 41"), "{lines:?}");
    assert!(lines[1].contains("[001]"), "{lines:?}");
    assert!(lines[3].contains("PERF_RECORD_LOST lost 1"), "{lines:?}");
    let stats = perf(&["report", "--stats"], &export.path);
    let count = |name: &str| {
        let line = stats.lines().find(|l| l.trim_start().starts_with(name));
        line.and_then(|l| {
            l.split_whitespace()
                .rev()
                .find_map(|w| w.parse::<u64>().ok())
        })
    };
    assert_eq!(count("LOST events:"), Some(2), "{stats}");
    assert_eq!(count("SAMPLE events:"), Some(2), "{stats}");
}

#[test]
fn the_header_says_where_and_how() {
    let mut export = Export::new();
    export
        .sink
        .clock_pair(&ClockPair {
            monotonic_ns: 5_000_000_000,
            realtime_ns: 1_700_000_005_000_000_000,
            ..ClockPair::default()
        })
        .unwrap();
    let enter = export.ftrace("raw_syscalls:sys_enter");
    export.write(
        &enter.class,
        6_000_000_000,
        0,
        &enter.entry(7, &[&sys_enter(1, 1)]),
    );
    export.write(
        &enter.class,
        6_500_000_000,
        0,
        &enter.entry(7, &[&sys_enter(1, 1)]),
    );
    export.finish();
    let text = perf(&["report", "--header-only"], &export.path);
    for expected in [
        "# hostname : testhost",
        "# os release : 6.1.0-test",
        "# perf version : kstrace ",
        "# arch : x86_64",
        "# nrcpus online : 2",
        "# nrcpus avail : 4",
        "# cpudesc : A processor",
        "# cpuid : GenuineIntel,6,106,6",
        "# total memory : 123456 kB",
        "# cmdline : kstrace record -a",
        "name = raw_syscalls:sys_enter",
        "sample_type = IP|TID|TIME|CPU|PERIOD|RAW|IDENTIFIER",
        "use_clockid = 1",
        "clockid = 1",
        "# time of first sample : 6.000000",
        "# time of last sample : 6.500000",
        "# clockid: monotonic (1)",
        "# clockid frequency: 1000 MHz",
        "= 1700000005.000000 (TOD) = 5.000000000 (monotonic)",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    let tod = script("tod,event", &export.path);
    assert!(
        tod[0].contains(":26.000000"),
        "22:13:20 UTC and six seconds: {tod:?}"
    );
}

#[test]
fn names_known_beforehand_are_told_first() {
    let mut session = session();
    let attributes = &mut session.sources[1].attributes;
    attributes.insert(
        "ftrace.saved_cmdlines".into(),
        "70 Web Content\n71 <...>\n".into(),
    );
    attributes.insert("ftrace.saved_tgids".into(), "70 69\n".into());
    let mut export = Export::with(session, PerfDataOptions::default());
    let enter = export.ftrace("raw_syscalls:sys_enter");
    for tid in [70, 71] {
        export.write(
            &enter.class,
            1_000,
            0,
            &enter.entry(tid, &[&sys_enter(1, 1)]),
        );
    }
    export.finish();
    let lines = script("comm,pid,tid", &export.path);
    assert_eq!(lines, ["Web Content 69/70", ":71 71/71"]);
}

#[test]
fn what_the_format_cannot_hold_is_counted() {
    let mut export = Export::new();
    let payload = StructureClass::new(vec![Member::new(
        "value",
        FieldClass::Integer(IntegerClass::unsigned(8)),
    )]);
    let lttng = export.class(EventRecordClass::new(
        SourceId(3),
        namespace::LTTNG,
        "my_app:tick",
        payload,
        // What perf itself writes into files is about the file.
        NativeDescription::PerfRecord {
            record_type: 68,
            sample_id_type: 0,
        },
    ));
    let pair = export.class(builtin::clock_pair_class());
    let enter = export.ftrace("raw_syscalls:sys_enter");
    for time in 0..3 {
        export.write(&lttng, time, 0, &[0; 8]);
    }
    export.write(&pair, 4, 0, &[0; 56]);
    export.write(&enter.class, 5, 0, &enter.entry(1, &[&sys_enter(1, 1)]));
    // Too short for the thread's id, and too long for a perf record.
    export.write(&enter.class, 6, 0, &[0; 7]);
    export.write(&enter.class, 7, 0, &vec![0; 65_500]);
    export.finish();
    let report = export.sink.report();
    assert_eq!((report.kept, report.too_long, report.unparsable), (2, 1, 1));
    assert_eq!(report.not_held["lttng:my_app:tick"], 3);
    assert_eq!(report.not_held["ftrace:raw_syscalls:sys_enter"], 2);
    assert_eq!(report.not_held_total(), 5);
    assert_eq!(
        script("tid,event", &export.path),
        ["1 raw_syscalls:sys_enter:"]
    );
}

#[test]
fn two_formats_with_one_number_are_told_apart() {
    let mut export = Export::new();
    let text = |name: &str| {
        format!(
            "name: {name}\nID: 2001\nformat:\n\
             \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
             \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
             \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
             \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
             \tfield:u32 {name}_value;\toffset:8;\tsize:4;\tsigned:0;\n\n\
             print fmt: \"{name}=%u\", REC->{name}_value\n"
        )
    };
    let classes: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            export.class(EventRecordClass::new(
                FTRACE,
                namespace::FTRACE,
                format!("kprobes:{name}"),
                StructureClass::default(),
                NativeDescription::TracefsFormat { format: text(name) },
            ))
        })
        .collect();
    let mut entry = 2001u16.to_ne_bytes().to_vec();
    entry.extend_from_slice(&[0, 0, 5, 0, 0, 0, 77, 0, 0, 0]);
    export.write(&classes[0], 1, 0, &entry);
    export.write(&classes[1], 2, 0, &entry);
    export.finish();
    let lines = script("tid,event,trace", &export.path);
    assert_eq!(lines, ["5 kprobes:one: one=77", "5 kprobes:two: two=77"]);
}
