//! Files for one version of perf or another.

use super::kit::{Export, FTRACE, PERF, Scratch, perf, session};
use crate::reading::kit::{read, rewrite_for};
use crate::reading::made::{self, SAMPLE_TYPE};
use kstrace_perf::file::{PerfDataOptions, PerfVersion};
use kstrace_perf::uapi::*;
use kstrace_schema::{
    Certainty, Cpu, EventRecordClass, FileOutput, Loss, LossReason, NativeDescription, SessionTime,
    Sink, StructureClass, namespace,
};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use zerocopy::IntoBytes;

fn options(version: &str) -> PerfDataOptions {
    PerfDataOptions {
        compat: (!version.is_empty()).then(|| version.parse().unwrap()),
        ..PerfDataOptions::default()
    }
}

fn class(export: &mut Export, name: &str, native: NativeDescription) -> Arc<EventRecordClass> {
    let payload = StructureClass::default();
    export.class(
        EventRecordClass::new(PERF, namespace::PERF, name, payload, native)
            .with_attribute("perf.ids", vec![7]),
    )
}

/// The attrs of a file: the size that each takes.
fn attr_bytes(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    u64::from_ne_bytes(*bytes[16..].first_chunk().unwrap()) - 16
}

#[test]
fn fields_of_an_attr_that_perf_does_not_have() {
    let mut attr = made::attr(SAMPLE_TYPE);
    attr.config3 = 5;
    for (version, size, facts) in [
        ("", 128, vec!["config3 of x, unknown to perf 6.1"]),
        ("5.4", 112, vec!["config3 of x, unknown to perf 5.4"]),
        ("6.3", 136, vec![]),
        ("7.5", 136, vec![]),
    ] {
        let mut export = Export::with(session(), options(version));
        let native = NativeDescription::PerfSample {
            attr_hex: attr.hex(),
            event: "x".to_owned(),
            format: None,
        };
        let class = class(&mut export, "x", native);
        export.write(&class, 10, 0, &made::sample(7, 10, 0));
        export.finish();
        assert_eq!(export.sink.report().facts_not_held, facts, "{version}");
        assert_eq!(attr_bytes(&export.path), size, "{version}");
        assert_eq!(
            read(&export.path).unwrap().kept.records.len(),
            1,
            "{version}"
        );
        if size <= 128 {
            let text = perf(&["evlist", "-v"], &export.path);
            assert!(text.starts_with("x: "), "{text}");
        }
    }
}

#[test]
fn records_that_perf_does_not_know() {
    for (version, is_held) in [("", false), ("6.18", false), ("6.19", true)] {
        let mut export = Export::with(session(), options(version));
        let native = NativeDescription::PerfRecord {
            record_type: PERF_RECORD_CALLCHAIN_DEFERRED,
            sample_id_type: 0,
        };
        let class = class(&mut export, "deferred", native);
        let mut body = 9u64.to_ne_bytes().to_vec();
        body.extend(0u64.to_ne_bytes());
        export.write(
            &class,
            10,
            0,
            &made::record(PERF_RECORD_CALLCHAIN_DEFERRED, &body),
        );
        export.finish();
        let report = export.sink.report();
        assert_eq!(report.not_held.is_empty(), is_held, "{version}");
        let told = report
            .facts_not_held
            .iter()
            .any(|f| f.contains("record 22"));
        assert_eq!(told, !is_held, "{:?}", report.facts_not_held);
        if !is_held {
            perf(&["script"], &export.path);
        }
    }
}

/// A perf.data with an attr of 144 bytes, and with samples that have counters of branches.
fn newer(config4: u64) -> Vec<u8> {
    let mut plain = made::attr(SAMPLE_TYPE);
    plain.config4 = config4;
    let mut branches = made::attr(SAMPLE_TYPE | PERF_SAMPLE_BRANCH_STACK);
    branches.branch_sample_type = PERF_SAMPLE_BRANCH_COUNTERS;
    let mut body = 2u64.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    body.extend(20u64.to_le_bytes());
    body.extend([0; 8]);
    body.extend(1u64.to_le_bytes());
    body.extend([3; 32]);
    let data = [
        made::sample(1, 10, 0),
        made::record(PERF_RECORD_SAMPLE, &body),
    ]
    .concat();
    made::file(
        &[(plain.as_bytes(), &[1]), (branches.as_bytes(), &[2])],
        &data,
        &[],
    )
}

#[test]
fn a_newer_file_for_an_older_perf() {
    let scratch = Scratch::new();
    let (input, output) = (scratch.path("in.data"), scratch.path("out.data"));
    for config4 in [0, 6] {
        std::fs::write(&input, newer(config4)).unwrap();
        // As it was: whoever wrote it can read it.
        let report = rewrite_for(&input, &output, options(""));
        assert!(report.is_lossless(), "{report:?}");
        assert_eq!(attr_bytes(&output), 144);
        assert_eq!(read(&output).unwrap().kept.records.len(), 2);
        let refused = Command::new("perf")
            .args(["evlist", "-i"])
            .arg(&output)
            .output();
        assert!(
            !refused.unwrap().status.success(),
            "perf 6.1 takes it all the same"
        );
        // For an older one.
        let report = rewrite_for(&input, &output, options("6.1"));
        assert_eq!(attr_bytes(&output), 128);
        assert_eq!(report.not_held_total(), 1);
        let facts = report.facts_not_held.join("\n");
        assert!(facts.contains("bit 19 of branch_sample_type"), "{facts}");
        assert_eq!(facts.contains("config4 of "), config4 != 0, "{facts}");
        assert_eq!(read(&output).unwrap().kept.records.len(), 1);
        let text = perf(&["script", "-F", "time,event"], &output);
        assert_eq!(text.lines().count(), 1, "{text}");
        let report = rewrite_for(&input, &output, options("6.8"));
        assert_eq!(report.not_held_total(), 0);
        assert_eq!(attr_bytes(&output), 136);
    }
    assert_eq!(PerfVersion::CONSERVATIVE.to_string(), "6.1");
}

/// A source as that of a trace.dat, which announces every event of its machine.
#[test]
fn events_of_a_trace_dat_that_did_not_happen() {
    for is_trace_dat in [true, false] {
        let mut session = session();
        for source in &mut session.sources {
            if source.id == FTRACE && is_trace_dat {
                let version = serde_json::json!(7);
                source
                    .attributes
                    .insert("tracedat.version".to_owned(), version);
            }
        }
        let mut export = Export::with(session, PerfDataOptions::default());
        let mut odd_format = super::kit::format("sched:sched_wakeup_new");
        // What libtraceevent cannot parse, and says so.
        let print = odd_format.find("print fmt: ").unwrap();
        odd_format.replace_range(print.., "print fmt: \"%s\", (((REC->comm\n");
        let native = NativeDescription::TracefsFormat { format: odd_format };
        let payload = StructureClass::default();
        let odd = EventRecordClass::new(
            FTRACE,
            namespace::FTRACE,
            "sched:sched_wakeup_new",
            payload,
            native,
        );
        export.class(odd);
        let lost = export.ftrace("sched:sched_wakeup");
        let switch = export.ftrace("sched:sched_switch");
        let entry = switch.entry(5, &[&[0; 56]]);
        export.write(&switch.class, 10, 0, &entry);
        export
            .sink
            .loss(&Loss {
                source: FTRACE,
                cpu: Cpu(0),
                reason: LossReason::KernelRingFull,
                count: 3,
                certainty: Certainty::Exact,
                class: Some(lost.class.id),
                begin: SessionTime::from_ns(10),
                end: SessionTime::from_ns(11),
            })
            .unwrap();
        export.finish();
        let names = perf(&["evlist"], &export.path);
        let mut names: Vec<&str> = names.lines().filter(|l| l.starts_with("sched:")).collect();
        names.sort_unstable();
        let mut expected = vec!["sched:sched_switch", "sched:sched_wakeup"];
        if !is_trace_dat {
            expected.push("sched:sched_wakeup_new");
        }
        assert_eq!(names, expected);
        let mut script = Command::new("perf");
        script
            .args(["script", "-F", "event,time", "-i"])
            .arg(&export.path);
        let output = script.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let (loss, others): (Vec<&str>, Vec<&str>) = errors
            .lines()
            .filter(|line| !line.is_empty() && *line != "Warning:")
            .partition(|line| line.contains("lost") || line.contains("overload"));
        assert_eq!(loss.len(), 2, "{errors}");
        // The test is one only if libtraceevent does not like the format.
        assert_eq!(others.is_empty(), is_trace_dat, "{errors}");
    }
}
