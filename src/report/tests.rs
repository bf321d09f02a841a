//! Sessions built by hand, from real format texts, and what the report makes of them.

use super::{Column, Kallsyms, OutputFormat, Report, ReportOptions};
use kstrace_schema::{
    Capture, ClassId, ClassRegistry, ClockDescriptor, ClockKind, Cpu, ErrorKind, EventRecord,
    EventRecordClass, FieldClass, FieldPath, HostInfo, IntegerClass, Length, Loss, LossReason,
    Member, NativeDescription, Role, SessionInfo, SessionTime, Sink, SourceId, SourceInfo,
    StructureClass, builtin,
};
use kstrace_tracepoint::TracepointLayout;
use std::sync::Arc;
use tracefs::format::EventFormat;

const FTRACE: SourceId = SourceId(1);
const PERF: SourceId = SourceId(2);

const SCHED_SWITCH: &str = include_str!("test_formats/sched_switch.format");
const SCHED_PROCESS_EXEC: &str = include_str!("test_formats/sched_process_exec.format");
const SCHED_PROCESS_FORK: &str = include_str!("test_formats/sched_process_fork.format");
const TASK_NEWTASK: &str = include_str!("test_formats/task_newtask.format");

fn integer(name: &str, size_bytes: u8) -> Member {
    Member::new(
        name,
        FieldClass::Integer(IntegerClass::unsigned(size_bytes)),
    )
}

fn signed(name: &str, size_bytes: u8) -> Member {
    Member::new(name, FieldClass::Integer(IntegerClass::signed(size_bytes)))
}

fn tracepoint_class(system: &str, format: &str) -> EventRecordClass {
    let parsed = EventFormat::parse(format).unwrap();
    let layout = TracepointLayout::describe(system, &parsed).unwrap();
    let native = NativeDescription::TracefsFormat {
        format: format.to_owned(),
    };
    let name = format!("{system}:{}", parsed.name);
    EventRecordClass::new(FTRACE, "ftrace", name, layout.payload, native)
}

fn header() -> Member {
    let members = vec![integer("type", 4), integer("misc", 2), integer("size", 2)];
    Member::new(
        "header",
        FieldClass::Structure(StructureClass::new(members)),
    )
}

fn perf_record_class(name: &str, record_type: u32, members: Vec<Member>) -> EventRecordClass {
    let members = [vec![header()], members].concat();
    let native = NativeDescription::PerfRecord {
        record_type,
        sample_id_type: 0,
    };
    EventRecordClass::new(PERF, "perf", name, StructureClass::new(members), native)
}

fn rest_text(name: &str) -> Member {
    Member::new(
        name,
        FieldClass::DynamicString {
            length: Length::Rest,
        },
    )
}

fn mmap2_class() -> EventRecordClass {
    perf_record_class(
        "PERF_RECORD_MMAP2",
        10,
        vec![
            signed("pid", 4).with_role(Role::Pid),
            signed("tid", 4).with_role(Role::Tid),
            integer("addr", 8).with_role(Role::MapStart),
            integer("len", 8).with_role(Role::MapLength),
            integer("pgoff", 8).with_role(Role::MapFileOffset),
            Member::padding(32),
            rest_text("filename").with_role(Role::FileName),
        ],
    )
}

fn comm_class() -> EventRecordClass {
    perf_record_class(
        "PERF_RECORD_COMM",
        3,
        vec![
            signed("pid", 4).with_role(Role::Pid),
            signed("tid", 4).with_role(Role::Tid),
            rest_text("comm").with_role(Role::Comm),
        ],
    )
}

fn fork_class() -> EventRecordClass {
    perf_record_class(
        "PERF_RECORD_FORK",
        7,
        vec![
            signed("pid", 4).with_role(Role::Pid),
            signed("ppid", 4),
            signed("tid", 4).with_role(Role::Tid),
            signed("ptid", 4).with_role(Role::ParentTid),
            integer("time", 8).with_role(Role::Time),
        ],
    )
}

/// A sample with instruction pointer, task, period, callchain and, if there is a
/// format, the tracepoint's entry as bytes.
fn sample_class(event: &str, format: Option<&str>) -> EventRecordClass {
    let address = FieldClass::Integer(IntegerClass::unsigned(8).hex());
    let mut members = vec![
        header(),
        integer("ip", 8).with_role(Role::InstructionPointer),
        signed("pid", 4).with_role(Role::Pid),
        signed("tid", 4).with_role(Role::Tid),
        integer("period", 8).with_role(Role::Period),
        integer("callchain_nr", 8),
        Member::new(
            "callchain",
            FieldClass::DynamicArray {
                element: Box::new(address),
                length: Length::Field(FieldPath::new(["callchain_nr"])),
            },
        )
        .with_role(Role::Callchain),
    ];
    if format.is_some() {
        let length = Length::Field(FieldPath::new(["raw_size"]));
        members.push(integer("raw_size", 4));
        members.push(Member::new("raw", FieldClass::DynamicBlob { length }));
    }
    let native = NativeDescription::PerfSample {
        attr_hex: String::new(),
        event: event.to_owned(),
        format: format.map(str::to_owned),
    };
    EventRecordClass::new(PERF, "perf", event, StructureClass::new(members), native)
}

fn sample(ip: u64, pid: i32, tid: i32, chain: &[u64], raw: Option<&[u8]>) -> Vec<u8> {
    let mut p = vec![9, 0, 0, 0, 0, 0, 0, 0];
    p.extend(ip.to_ne_bytes());
    p.extend(pid.to_ne_bytes());
    p.extend(tid.to_ne_bytes());
    p.extend(1u64.to_ne_bytes());
    p.extend((chain.len() as u64).to_ne_bytes());
    chain.iter().for_each(|a| p.extend(a.to_ne_bytes()));
    if let Some(raw) = raw {
        p.extend((raw.len() as u32).to_ne_bytes());
        p.extend(raw);
    }
    p
}

fn comm(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn entry(event_id: u16, tid: i32) -> Vec<u8> {
    let mut p = event_id.to_ne_bytes().to_vec();
    p.extend([0, 0]);
    p.extend(tid.to_ne_bytes());
    p
}

fn sched_switch(prev: (i32, &str), next: (i32, &str)) -> Vec<u8> {
    let mut p = entry(372, prev.0);
    p.extend(comm(prev.1));
    p.extend(prev.0.to_ne_bytes());
    p.extend(120i32.to_ne_bytes());
    p.extend(1i64.to_ne_bytes());
    p.extend(comm(next.1));
    p.extend(next.0.to_ne_bytes());
    p.extend(120i32.to_ne_bytes());
    p
}

fn process_exec(tid: i32, path: &str) -> Vec<u8> {
    let mut p = entry(380, tid);
    p.extend((((path.len() as u32 + 1) << 16) | 20).to_ne_bytes());
    p.extend(tid.to_ne_bytes());
    p.extend(tid.to_ne_bytes());
    p.extend(path.as_bytes());
    p.push(0);
    p
}

fn newtask(parent: i32, child: i32, name: &str, clone_flags: u64) -> Vec<u8> {
    let mut p = entry(100, parent);
    p.extend(child.to_ne_bytes());
    p.extend(comm(name));
    p.extend([0; 4]);
    p.extend(clone_flags.to_ne_bytes());
    p.extend([0; 2]);
    p
}

fn process(pid: i32, tid: i32, name: &str) -> Vec<u8> {
    let mut p = Vec::new();
    p.extend(pid.to_ne_bytes());
    p.extend(tid.to_ne_bytes());
    p.extend(1i32.to_ne_bytes());
    p.extend(0u32.to_ne_bytes());
    p.extend(comm(name));
    p
}

fn perf_text_record(record_type: u32, misc: u16, ids: &[i32], text: &str) -> (Vec<u8>, u16) {
    let mut p = record_type.to_ne_bytes().to_vec();
    p.extend(misc.to_ne_bytes());
    p.extend([0, 0]);
    ids.iter().for_each(|i| p.extend(i.to_ne_bytes()));
    p.extend(text.as_bytes());
    p.push(0);
    (p, text.len() as u16 + 1)
}

fn mmap2(pid: i32, start: u64, len: u64, offset: u64, path: &str) -> (Vec<u8>, u16) {
    let mut p = vec![10, 0, 0, 0, 0, 0, 0, 0];
    p.extend(pid.to_ne_bytes());
    p.extend(pid.to_ne_bytes());
    [start, len, offset]
        .iter()
        .for_each(|v| p.extend(v.to_ne_bytes()));
    p.extend([0; 32]);
    p.extend(path.as_bytes());
    p.push(0);
    (p, path.len() as u16 + 1)
}

fn session() -> SessionInfo {
    let source = |id, kind: &str| SourceInfo {
        id,
        kind: kind.to_owned(),
        description: String::new(),
        attributes: Default::default(),
    };
    SessionInfo {
        uuid: "00000000-0000-4000-8000-000000000000".into(),
        clock: ClockDescriptor {
            kind: ClockKind::Monotonic,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: String::new(),
        },
        host: HostInfo::default(),
        capture: Capture::default(),
        sources: vec![
            source(SourceId::KSTRACE, "kstrace"),
            source(FTRACE, "ftrace"),
            source(PERF, "perf"),
        ],
    }
}

const KALLSYMS: &str = "ffffffff81000000 T _text\nffffffff81001000 T do_idle\n\
    ffffffff81002000 t schedule\nffffffffc0001000 t ext4_read\t[ext4]\n";

/// A report under test: feeds records, keeps the output.
struct Bench {
    report: Report<Vec<u8>>,
    registry: ClassRegistry,
}

impl Bench {
    fn new(options: ReportOptions) -> Self {
        let mut report = Report::new(Vec::new(), options, Kallsyms::parse(KALLSYMS));
        report.session(&session()).unwrap();
        Bench {
            report,
            registry: ClassRegistry::new(),
        }
    }

    fn class(&mut self, class: EventRecordClass) -> ClassId {
        let class: Arc<_> = self.registry.register(class).unwrap();
        self.report.class(&class).unwrap();
        class.id
    }

    fn try_record(
        &mut self,
        class: ClassId,
        cpu: u32,
        ns: u64,
        (payload, rest_len_bytes): (Vec<u8>, u16),
    ) -> kstrace_schema::Result<()> {
        self.report.record(&EventRecord {
            class,
            rest_len_bytes,
            cpu: Cpu(cpu),
            time: SessionTime::from_ns(ns),
            payload: &payload,
        })
    }

    fn record(&mut self, class: ClassId, cpu: u32, ns: u64, payload: Vec<u8>) {
        self.try_record(class, cpu, ns, (payload, 0)).unwrap();
    }

    fn text(mut self) -> String {
        self.report.finish().unwrap();
        String::from_utf8(self.report.into_writer()).unwrap()
    }
}

/// Some of everything, in order.
fn everything(options: ReportOptions) -> Bench {
    let mut b = Bench::new(options);
    let process_id = b.class(builtin::process_class());
    let switch = b.class(tracepoint_class("sched", SCHED_SWITCH));
    let exec = b.class(tracepoint_class("sched", SCHED_PROCESS_EXEC));
    let newtask_id = b.class(tracepoint_class("task", TASK_NEWTASK));
    let clock = b.class(sample_class("cpu-clock", None));
    let perf_switch = b.class(sample_class("sched:sched_switch", Some(SCHED_SWITCH)));
    let mmap = b.class(mmap2_class());
    let comm_id = b.class(comm_class());
    let fork = b.class(fork_class());
    let lost = b.class(builtin::lost_class());

    b.record(process_id, 0, 1_000_000_000, process(100, 100, "bash"));
    b.record(
        process_id,
        0,
        1_000_000_000,
        process(100, 101, "bash-worker"),
    );
    b.record(
        switch,
        0,
        12_000_000_345,
        sched_switch((0, "swapper/0"), (100, "bash")),
    );
    b.record(
        switch,
        1,
        12_000_000_400,
        sched_switch((101, "bash-worker"), (0, "swapper/1")),
    );
    let mut payload = vec![7, 0, 0, 0, 0, 0, 0, 0];
    [200i32, 100, 200, 100]
        .iter()
        .for_each(|v| payload.extend(v.to_ne_bytes()));
    payload.extend(12_000_001_000u64.to_ne_bytes());
    b.record(fork, 0, 12_000_001_000, payload);
    let user = 0x7f00_0000_0000u64;
    let (p, rest) = mmap2(200, user, 0x1000, 0, "/nowhere/program");
    b.try_record(mmap, 0, 12_000_001_100, (p, rest)).unwrap();
    let kernel_chain = [
        (-128i64) as u64,
        0xffff_ffff_8100_2010,
        0xffff_ffff_c000_1008,
    ];
    let user_chain = [(-512i64) as u64, user + 0x123, 0x1234];
    let chain = [&kernel_chain[..], &user_chain[..]].concat();
    b.record(
        clock,
        0,
        12_000_002_000,
        sample(0xffff_ffff_8100_2010, 200, 200, &chain, None),
    );
    b.record(
        exec,
        0,
        12_000_003_000,
        process_exec(200, "/usr/bin/a-program-with-a-long-name"),
    );
    let (p, rest) = perf_text_record(3, 1 << 13, &[200, 200], "a-program-with-");
    b.try_record(comm_id, 0, 12_000_003_100, (p, rest)).unwrap();
    // The old mappings are gone with the exec.
    b.record(
        clock,
        0,
        12_000_004_000,
        sample(user, 200, 200, &user_chain, None),
    );
    b.record(
        newtask_id,
        0,
        12_000_005_000,
        newtask(200, 201, "a-program-with-", 0x1_0000),
    );
    b.record(
        newtask_id,
        0,
        12_000_005_100,
        newtask(200, 202, "a-program-with-", 0x100),
    );
    let raw = [
        sched_switch((200, "a-program-with-"), (201, "thread")),
        vec![0; 4],
    ]
    .concat();
    b.record(
        perf_switch,
        0,
        12_000_006_000,
        sample(0xffff_ffff_8100_2000, 200, 200, &[], Some(&raw)),
    );
    b.record(
        switch,
        0,
        12_000_007_000,
        sched_switch((201, "thread"), (202, "evil\x1b[2J\n")),
    );
    let loss = Loss {
        source: PERF,
        cpu: Cpu(1),
        reason: LossReason::KernelRingFull,
        count: 123,
        certainty: kstrace_schema::Certainty::Exact,
        class: None,
        begin: SessionTime::from_ns(12_000_006_500),
        end: SessionTime::from_ns(12_000_007_500),
    };
    let payload = builtin::LostPayload::from(&loss);
    b.record(lost, 1, 12_000_007_500, bytes_of_lost(&payload));
    // A record that is cut off.
    let mut cut = sample(user, 200, 200, &user_chain, None);
    cut.truncate(40);
    b.record(clock, 0, 12_000_008_000, cut);
    b
}

fn bytes_of_lost(p: &builtin::LostPayload) -> Vec<u8> {
    let mut bytes = Vec::new();
    [p.count, p.begin_ns, p.end_ns]
        .iter()
        .for_each(|v| bytes.extend(v.to_ne_bytes()));
    [p.reason, p.cpu]
        .iter()
        .for_each(|v| bytes.extend(v.to_ne_bytes()));
    [p.source, p.class_id]
        .iter()
        .for_each(|v| bytes.extend(v.to_ne_bytes()));
    bytes.extend(p.certainty.to_ne_bytes());
    bytes
}

fn snapshot(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn json() -> ReportOptions {
    ReportOptions {
        format: OutputFormat::JsonLines,
        ..ReportOptions::default()
    }
}

fn filtered(change: impl FnOnce(&mut ReportOptions)) -> ReportOptions {
    let mut options = ReportOptions::default();
    change(&mut options);
    options
}

#[test]
fn one_timeline_of_all_sources() {
    snapshot("report_text", everything(ReportOptions::default()).text());
}

#[test]
fn bookkeeping_on_demand() {
    let options = filtered(|o| o.filter.bookkeeping = true);
    snapshot("report_text_all", everything(options).text());
}

#[test]
fn json_lines() {
    let text = everything(json()).text();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            value["time_ns"].is_u64() && value["event"].is_string(),
            "{line}"
        );
    }
    snapshot("report_json", text);
}

#[test]
fn columns_in_the_order_asked_for() {
    let columns = Column::list("time,pid,tid,event,prev_comm,next_tid,source").unwrap();
    let options = filtered(|o| o.columns = Some(columns.clone()));
    snapshot("report_columns", everything(options).text());
    let options = ReportOptions {
        columns: Some(columns),
        ..json()
    };
    snapshot("report_columns_json", everything(options).text());
}

fn lines(options: ReportOptions) -> usize {
    let text = everything(options).text();
    text.lines().filter(|l| !l.starts_with('\t')).count()
}

#[test]
fn filters() {
    let events = |pattern: &str| {
        let pattern = vec![pattern.to_owned()];
        lines(filtered(|o| o.filter.events = pattern))
    };
    // Native names, those of either source, canonical names, patterns.
    assert_eq!(events("sched:sched_switch"), 4);
    assert_eq!(events("perf:sched:sched_switch"), 1);
    assert_eq!(events("ftrace:*"), 6);
    assert_eq!(events("sched_switch"), 4);
    assert_eq!(events("cpu-*"), 3);
    assert_eq!(events("kstrace:lost"), 1);
    assert_eq!(events("PERF_RECORD_*"), 3);
    assert_eq!(events("nothing"), 0);

    // With the loss, which could have been anyone's.
    assert_eq!(lines(filtered(|o| o.filter.tids = vec![101])), 2);
    assert_eq!(lines(filtered(|o| o.filter.pids = vec![200])), 9);
    assert_eq!(
        lines(filtered(|o| o.filter.cpus = Some("1".parse().unwrap()))),
        2
    );
    let since = |t: &str| filtered(|o| o.filter.since = Some(t.parse().unwrap()));
    assert_eq!(lines(since("12.000007")), 3);
    assert_eq!(lines(since("+11.000007")), 3);
}

#[test]
fn names_are_followed_also_where_nothing_is_shown() {
    let options = filtered(|o| {
        o.filter.since = Some("12.000007".parse().unwrap());
        o.filter.tids = vec![200];
    });
    let text = everything(options).text();
    assert!(
        text.lines()
            .last()
            .unwrap()
            .starts_with(" a-program-with--200 "),
        "{text}"
    );
}

#[test]
fn limits_end_the_reading_without_failure() {
    let run = |change: fn(&mut ReportOptions)| {
        let mut b = Bench::new(filtered(change));
        let switch = b.class(tracepoint_class("sched", SCHED_SWITCH));
        let mut read = 0;
        let error = loop {
            let payload = sched_switch((1, "a"), (2, "b"));
            match b.try_record(switch, 0, 1_000_000_000 * (read + 1), (payload, 0)) {
                Ok(()) => read += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ReceiverGone);
        (read, b.text().lines().count())
    };
    assert_eq!(run(|o| o.limit = Some(5)), (5, 5));
    assert_eq!(
        run(|o| o.filter.until = Some("+2".parse().unwrap())),
        (3, 3)
    );
}

#[test]
fn without_symbols_addresses_stay() {
    let text = everything(filtered(|o| o.symbols = false)).text();
    assert!(text.contains("\tffffffff81002010\n"), "{text}");
    assert!(!text.contains("schedule"));
}

#[test]
fn a_fork_event_names_the_child() {
    let mut b = Bench::new(ReportOptions::default());
    let fork = b.class(tracepoint_class("sched", SCHED_PROCESS_FORK));
    let switch = b.class(tracepoint_class("sched", SCHED_SWITCH));
    let mut p = entry(381, 7);
    p.extend(((7u32 << 16) | 24).to_ne_bytes());
    p.extend(7i32.to_ne_bytes());
    p.extend(((6u32 << 16) | 31).to_ne_bytes());
    p.extend(8i32.to_ne_bytes());
    p.extend(b"parent\0child\0");
    b.record(fork, 0, 1, p);
    b.record(switch, 0, 2, {
        let mut p = sched_switch((9, "other"), (9, "other"));
        // Someone else's record, made while the child runs.
        p[4..8].copy_from_slice(&8i32.to_ne_bytes());
        p
    });
    let text = b.text();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].trim_start().starts_with("parent-7 "), "{text}");
    assert!(lines[1].trim_start().starts_with("child-8 "), "{text}");
}

#[test]
fn a_record_of_no_class_is_an_error() {
    let mut b = Bench::new(ReportOptions::default());
    let error = b.try_record(ClassId(7), 0, 1, (vec![], 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn every_truncation_of_every_record_is_survived() {
    let class = sample_class("sched:sched_switch", Some(SCHED_SWITCH));
    let raw = sched_switch((1, "a"), (2, "b"));
    let whole = sample(1, 2, 3, &[(-512i64) as u64, 5], Some(&raw));
    for options in [ReportOptions::default(), json()] {
        let mut b = Bench::new(options);
        let id = b.class(class.clone());
        for len in 0..=whole.len() {
            b.record(id, 0, len as u64, whole[..len].to_vec());
        }
        assert_eq!(
            b.text().lines().filter(|l| !l.starts_with('\t')).count(),
            whole.len() + 1
        );
    }
}

#[test]
fn a_closed_pipe_is_told_as_such() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut report = Report::new(Closed, ReportOptions::default(), Kallsyms::default());
    let registry = ClassRegistry::new();
    let class = registry
        .register(tracepoint_class("sched", SCHED_SWITCH))
        .unwrap();
    report.class(&class).unwrap();
    let payload = sched_switch((1, "a"), (2, "b"));
    let error = (0..10_000)
        .find_map(|ns| {
            let record = EventRecord {
                class: class.id,
                rest_len_bytes: 0,
                cpu: Cpu(0),
                time: SessionTime::from_ns(ns),
                payload: &payload,
            };
            report.record(&record).err()
        })
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::ReceiverGone);
}
