//! Samples made by hand, and what is drawn of them.

use super::{FlameForm, FlameOptions, FlameOutput, SvgOptions, TaskLabel, Weight};
use crate::report::Kallsyms;
use kstrace_schema::{
    ClassId, ClassRegistry, Cpu, EventRecord, EventRecordClass, FieldClass, FieldPath, FileOutput,
    IntegerClass, Length, Loss, LossReason, Member, NativeDescription, Role, SessionTime, Sink,
    SourceId, StructureClass, builtin,
};

const PERF: SourceId = SourceId(1);
const CONTEXT_KERNEL: u64 = -128i64 as u64;
const CONTEXT_USER: u64 = -512i64 as u64;

const KALLSYMS: &str = "\
ffffffff81000000 T do_syscall_64
ffffffff81001000 T vfs_read
ffffffff81002000 T <evil> & \"name\"; 'x'
ffffffffa0000000 t ext4_read\t[ext4]
";

fn integer(name: &str, size_bytes: u8) -> Member {
    Member::new(name, FieldClass::Integer(IntegerClass::signed(size_bytes)))
}

fn sample_class(event: &str) -> EventRecordClass {
    let chain = FieldClass::DynamicArray {
        element: Box::new(FieldClass::Integer(IntegerClass::unsigned(8))),
        length: Length::Field(FieldPath::new(["callchain_nr"])),
    };
    let members = vec![
        integer("pid", 4).with_role(Role::Pid),
        integer("tid", 4).with_role(Role::Tid),
        integer("period", 8).with_role(Role::Period),
        integer("callchain_nr", 8),
        Member::new("callchain", chain).with_role(Role::Callchain),
    ];
    let native = NativeDescription::PerfSample {
        attr_hex: String::new(),
        event: event.to_owned(),
        format: None,
    };
    EventRecordClass::new(PERF, "perf", event, StructureClass::new(members), native)
}

fn sample(pid: i32, period: u64, chain: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(pid.to_ne_bytes());
    bytes.extend((pid + 1).to_ne_bytes());
    bytes.extend(period.to_ne_bytes());
    bytes.extend((chain.len() as u64).to_ne_bytes());
    chain.iter().for_each(|a| bytes.extend(a.to_ne_bytes()));
    bytes
}

fn process(pid: i32, comm: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [pid, pid + 1, 1, 0] {
        bytes.extend(number.to_ne_bytes());
    }
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    bytes.extend(name);
    bytes
}

/// Two tasks, kernel and user frames, known and unknown ones, and one sample of another event.
fn output(form: FlameForm, options: FlameOptions) -> FlameOutput<Vec<u8>> {
    let kernel = Kallsyms::parse(KALLSYMS);
    let mut output = FlameOutput::new(Vec::new(), form, options, kernel);
    let registry = ClassRegistry::new();
    let [tasks, cycles, faults] = [
        builtin::process_class(),
        sample_class("cycles"),
        sample_class("page-faults"),
    ]
    .map(|class| {
        let class = registry.register(class).unwrap();
        output.class(&class).unwrap();
        class.id
    });
    let mut time = 0;
    let mut record = |class: ClassId, payload: &[u8]| {
        time += 1;
        let record = EventRecord {
            class,
            rest_len_bytes: 0,
            cpu: Cpu(0),
            time: SessionTime::from_ns(time),
            payload,
        };
        output.record(&record).unwrap();
    };
    record(tasks, &process(10, "a b;c"));
    record(tasks, &process(20, "cat"));
    let read = [
        CONTEXT_KERNEL,
        0xffff_ffff_a000_0010,
        0xffff_ffff_8100_1004,
        0xffff_ffff_8100_0008,
        CONTEXT_USER,
        0x1234,
    ];
    for _ in 0..3 {
        record(cycles, &sample(10, 100, &read));
    }
    record(cycles, &sample(10, 1000, &read[2..]));
    record(
        cycles,
        &sample(20, 7, &[CONTEXT_KERNEL, 0xffff_ffff_8100_2001]),
    );
    record(cycles, &sample(30, 1, &[]));
    record(faults, &sample(10, 1, &read));
    output
        .loss(&Loss {
            source: PERF,
            cpu: Cpu(0),
            reason: LossReason::KernelRingFull,
            count: 1234,
            certainty: kstrace_schema::Certainty::Exact,
            class: None,
            begin: SessionTime::ZERO,
            end: SessionTime::ZERO,
        })
        .unwrap();
    output.finish().unwrap();
    output
}

fn text(output: FlameOutput<Vec<u8>>) -> String {
    String::from_utf8(output.into_writer()).unwrap()
}

fn snapshot(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn folded_stacks() {
    let output = output(FlameForm::Folded, FlameOptions::default());
    let report = output.report();
    assert_eq!((report.kept, report.lost), (6, 1234));
    assert_eq!(report.not_held_total(), 1);
    assert_eq!(report.not_held["perf:page-faults"], 1);
    snapshot("flame_folded", text(output));
}

#[test]
fn folded_stacks_by_period_process_and_kernel() {
    let options = FlameOptions {
        event: Some("cycles".to_owned()),
        weight: Weight::Period,
        task: TaskLabel::CommTid,
        mark_kernel: true,
        no_symbols: false,
    };
    let text = text(output(FlameForm::Folded, options));
    snapshot("flame_folded_options", text);
}

#[test]
fn the_event_can_be_chosen() {
    let options = FlameOptions {
        event: Some("page-faults".to_owned()),
        ..FlameOptions::default()
    };
    let output = output(FlameForm::Folded, options);
    assert_eq!(output.report().kept, 1);
    assert_eq!(output.report().not_held["perf:cycles"], 6);
    assert_eq!(text(output).lines().count(), 1);
}

#[test]
fn flame_graph() {
    let svg = text(output(
        FlameForm::Svg(SvgOptions::default()),
        FlameOptions::default(),
    ));
    snapshot("flame_svg", svg);
}

#[test]
fn flame_graph_from_above() {
    let options = SvgOptions {
        title: Some("<reads> & \u{1}more".to_owned()),
        width_px: 600,
        min_frame_px: 150.0,
        inverted: true,
    };
    let svg = text(output(FlameForm::Svg(options), FlameOptions::default()));
    snapshot("flame_svg_inverted", svg);
}

#[test]
fn nothing_recorded() {
    let mut empty = FlameOutput::new(
        Vec::new(),
        FlameForm::Svg(SvgOptions::default()),
        FlameOptions::default(),
        Kallsyms::default(),
    );
    empty.finish().unwrap();
    assert!(text(empty).contains("no stacks were recorded"));
}
