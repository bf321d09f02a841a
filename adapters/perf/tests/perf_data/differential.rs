//! A file that perf recorded, taken apart and written anew: perf must see the same.

use super::kit::{Export, PERF, Scratch, format, perf, perf_record};
use kstrace_perf::attr::Attr;
use kstrace_perf::layout::SampleIdShape;
use kstrace_perf::uapi::{self, flag};
use kstrace_schema::FileOutput;
use kstrace_schema::{EventRecordClass, NativeDescription, StructureClass, namespace};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What a perf.data holds, read by the format's letter.
struct Recorded {
    attrs: Vec<(Attr, Vec<u64>)>,
    /// Time and bytes, in order of time.
    records: Vec<(u64, Vec<u8>)>,
}

fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn read(path: &Path) -> Recorded {
    let file = std::fs::read(path).unwrap();
    let (attr_size, attrs_at, attrs_bytes) =
        (number(&file, 16), number(&file, 24), number(&file, 32));
    let attrs: Vec<_> = file[attrs_at..attrs_at + attrs_bytes]
        .chunks_exact(attr_size)
        .map(|entry| {
            let section = attr_size - 16;
            let (ids_at, ids_bytes) = (number(entry, section), number(entry, section + 8));
            let ids = (0..ids_bytes / 8)
                .map(|i| number(&file, ids_at + 8 * i) as u64)
                .collect();
            (Attr::from_bytes(&entry[..section]).unwrap(), ids)
        })
        .collect();
    let shape = SampleIdShape::new(attrs[0].0.sample_type);
    let data = &file[number(&file, 40)..][..number(&file, 48)];
    let mut records = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let size = u16::from_ne_bytes([data[at + 6], data[at + 7]]) as usize;
        let record = &data[at..at + size];
        at += size;
        let kind = kind(record);
        if kind >= 64 {
            continue;
        }
        let time = if kind == uapi::PERF_RECORD_SAMPLE {
            // IDENTIFIER, IP, TID, TIME: true for every event recorded below.
            number(record, 32)
        } else {
            number(record, size - shape.time_from_end_bytes().unwrap())
        };
        records.push((time as u64, record.to_vec()));
    }
    records.sort_by_key(|(time, _)| *time);
    Recorded { attrs, records }
}

fn kind(record: &[u8]) -> u32 {
    u32::from_ne_bytes(record[..4].try_into().unwrap())
}

/// Hands the recorded file to the sink as a perf source would.
fn write_anew(recorded: &Recorded, names: &[&str]) -> Export {
    let mut export = Export::new();
    let mut by_id = BTreeMap::new();
    for ((attr, ids), name) in recorded.attrs.iter().zip(names) {
        let format = (attr.kind == uapi::PERF_TYPE_TRACEPOINT).then(|| format(name));
        let native = NativeDescription::PerfSample {
            attr_hex: attr.hex(),
            event: (*name).to_owned(),
            format,
        };
        let payload = StructureClass::default();
        let class = EventRecordClass::new(PERF, namespace::PERF, *name, payload, native)
            .with_attribute("perf.ids", serde_json::json!(ids));
        let class = export.class(class);
        ids.iter().for_each(|id| {
            by_id.insert(*id, Arc::clone(&class));
        });
    }
    let shape = SampleIdShape::new(recorded.attrs[0].0.sample_type);
    let mut sidebands = BTreeMap::new();
    for (time, record) in &recorded.records {
        let kind = kind(record);
        let (class, cpu_at) = if kind == uapi::PERF_RECORD_SAMPLE {
            (Arc::clone(&by_id[&(number(record, 8) as u64)]), 40)
        } else {
            let class = sidebands.entry(kind).or_insert_with(|| {
                let native = NativeDescription::PerfRecord {
                    record_type: kind,
                    sample_id_type: shape.bits(),
                };
                let name = format!("record {kind}");
                let payload = StructureClass::default();
                export.class(EventRecordClass::new(
                    PERF,
                    namespace::PERF,
                    name,
                    payload,
                    native,
                ))
            });
            (
                Arc::clone(class),
                record.len() - shape.cpu_from_end_bytes().unwrap(),
            )
        };
        export.write(&class, *time, number(record, cpu_at) as u32, record);
    }
    export.finish();
    export
}

#[test]
fn perf_sees_the_same_in_the_file_it_wrote_and_in_ours() {
    let scratch = Scratch::new();
    let path = scratch.path("theirs.data");
    let script = "for i in 1 2 3 4 5 6 7 8; do /bin/true; done; cat /proc/version";
    let events = [
        "raw_syscalls:sys_enter",
        "sched:sched_process_exec",
        "cpu-clock",
    ];
    let mut args = vec!["-k", "mono", "-g", "--sample-cpu", "-m", "512"];
    args.extend(["--switch-events", "--namespaces"]);
    args.extend(events.iter().flat_map(|event| ["-e", event]));
    perf_record(&args, &path, &["sh", "-c", script]);
    let recorded = read(&path);
    assert!(
        recorded
            .attrs
            .iter()
            .all(|(attr, _)| attr.has(flag::SAMPLE_ID_ALL))
    );
    let names = perf(&["evlist"], &path);
    let names: Vec<&str> = names.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(names.len(), recorded.attrs.len(), "{names:?}");
    let export = write_anew(&recorded, &names);
    let report = export.sink.report();
    assert_eq!(report.kept, recorded.records.len() as u64);
    assert_eq!((report.not_held_total(), report.out_of_order), (0, 0));

    let fields = "comm,pid,tid,cpu,time,event,period,ip,sym,symoff,dso,trace";
    let args = [
        "script",
        "--ns",
        "--show-task-events",
        "--show-mmap-events",
        "-F",
        fields,
    ];
    let (theirs, ours) = (perf(&args, &path), perf(&args, &export.path));
    assert!(
        theirs
            .lines()
            .filter(|l| l.contains("raw_syscalls:sys_enter"))
            .count()
            > 100
    );
    assert!(theirs.contains("filename=/bin/true"), "{theirs}");
    // perf aligns names by whether the event has callchains; what perf made up at
    // the start belongs to no event, in our file to the added one.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (number, (their, our)) in theirs.lines().zip(ours.lines()).enumerate() {
        assert_eq!(words(their), words(our), "line {number}");
    }
    assert_eq!(theirs.lines().count(), ours.lines().count());
    let build_ids = |path: &Path| -> BTreeSet<String> {
        perf(&["buildid-list"], path)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (theirs, ours) = (build_ids(&path), build_ids(&export.path));
    // perf lists what had samples, we list what was mapped; the vdso is no file.
    let missing: Vec<_> = theirs
        .difference(&ours)
        .filter(|l| !l.contains("[vdso]"))
        .collect();
    assert!(missing.is_empty() && !ours.is_empty(), "{missing:?}");
}
