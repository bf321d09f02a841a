//! The two crates that read perf.data, as judges of samples where they are right.
//!
//! `linux-perf-event-reader` 0.10 takes counter values of one event for those of a group and the
//! other way round, knows no cgroup and no structured weight, and looks for AUX data before the
//! sizes of pages; `tracepoint_perf` 0.5 says nothing of what follows the raw data.

use super::fields::Fields;
use kstrace_perf::uapi::*;
use linux_perf_data::linux_perf_event_reader::{EventRecord, Regs};
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use tracepoint_decode::PerfEventHeaderType;
use tracepoint_perf::{PerfDataFileEventOrder, PerfDataFileReader};

const MISREAD: u64 = PERF_SAMPLE_READ
    | PERF_SAMPLE_WEIGHT_STRUCT
    | PERF_SAMPLE_CGROUP
    | PERF_SAMPLE_AUX
    | PERF_SAMPLE_BRANCH_STACK;

/// Compares what is there in both, and says how many samples were.
fn compare(ours: &Fields, name: &str, theirs: Option<u64>, record: &[u8]) {
    if let (Some(own), Some(theirs)) = (ours.get(name), theirs) {
        assert_eq!(own[..], [theirs], "{name}: {ours:x?}\n{record:x?}");
    }
}

fn registers(ours: &Fields, name: &str, theirs: Option<&Regs<'_>>, mask: u64) {
    if let (Some(own), Some(theirs)) = (ours.get(name), theirs) {
        let of = (0..64).filter(|bit| mask & 1 << bit != 0);
        let theirs: Vec<u64> = of.filter_map(|bit| theirs.get(bit)).collect();
        assert_eq!(*own, theirs, "{name}");
    }
}

/// How many samples of the file linux-perf-data and this crate agree on.
pub(super) fn linux_perf_data(path: &Path, ours: &HashMap<Vec<u8>, Fields>) -> usize {
    let PerfFileReader {
        mut perf_file,
        mut record_iter,
    } = PerfFileReader::parse_file(BufReader::new(File::open(path).unwrap())).unwrap();
    let masks: Vec<_> = perf_file
        .event_attributes()
        .iter()
        .map(|d| {
            let attr = d.attributes();
            (
                attr.sample_format.bits(),
                attr.sample_regs_user,
                attr.sample_regs_intr,
            )
        })
        .collect();
    let mut compared = 0;
    while let Some(record) = record_iter.next_record(&mut perf_file).unwrap() {
        let PerfFileRecord::EventRecord { attr_index, record } = record else {
            continue;
        };
        let (sample_type, user, intr) = masks[attr_index];
        if u64::from(record.record_type.0) != 9 || sample_type & MISREAD != 0 {
            continue;
        }
        let mut bytes = 9u32.to_ne_bytes().to_vec();
        bytes.extend(record.misc.to_ne_bytes());
        bytes.extend((record.data.len() as u16 + 8).to_ne_bytes());
        bytes.extend_from_slice(&record.data.as_slice());
        let Ok(EventRecord::Sample(theirs)) = record.parse() else {
            panic!("{bytes:x?}")
        };
        let ours = ours.get(&bytes).expect("a sample that is not read here");
        let id = if ours.contains_key("identifier") {
            "identifier"
        } else {
            "id"
        };
        for (name, value) in [
            (id, theirs.id),
            ("ip", theirs.ip),
            ("pid", theirs.pid.map(|v| v as u64)),
            ("tid", theirs.tid.map(|v| v as u64)),
            ("time", theirs.timestamp),
            ("addr", theirs.addr),
            ("stream_id", theirs.stream_id),
            ("cpu", theirs.cpu.map(u64::from)),
            ("period", theirs.period),
            ("phys_addr", theirs.phys_addr),
            ("data_page_size", theirs.data_page_size),
            ("code_page_size", theirs.code_page_size),
            ("raw_size", theirs.raw.map(|raw| raw.len() as u64)),
            ("stack_size", theirs.user_stack.map(|s| s.0.len() as u64)),
        ] {
            compare(ours, name, value, &bytes);
        }
        if let (Some(own), Some(theirs)) = (ours.get("callchain"), &theirs.callchain) {
            let theirs: Vec<u64> = (0..theirs.len()).filter_map(|n| theirs.get(n)).collect();
            assert_eq!(*own, theirs);
        }
        registers(ours, "user_regs", theirs.user_regs.as_ref(), user);
        registers(ours, "intr_regs", theirs.intr_regs.as_ref(), intr);
        compared += 1;
    }
    compared
}

/// How many samples of the file `tracepoint_perf` and this crate agree on.
pub(super) fn tracepoint_perf(path: &Path, ours: &HashMap<Vec<u8>, Fields>) -> usize {
    let mut reader = PerfDataFileReader::new();
    let name = path.to_str().unwrap();
    reader
        .open_file(name, PerfDataFileEventOrder::File)
        .unwrap();
    let mut compared = 0;
    while reader.move_next_event().unwrap() {
        let event = reader.current_event();
        if event.header.ty != PerfEventHeaderType::Sample {
            continue;
        }
        let Ok(theirs) = reader.get_sample_event_info(&event) else {
            // It finds an event by the id in the sample alone.
            continue;
        };
        let ours = ours
            .get(theirs.data)
            .expect("a sample that is not read here");
        for (name, value) in [
            ("identifier", theirs.id),
            ("id", theirs.id),
            ("ip", theirs.ip),
            ("pid", theirs.pid.into()),
            ("tid", theirs.tid.into()),
            ("time", theirs.time),
            ("addr", theirs.addr),
            ("stream_id", theirs.stream_id),
            ("cpu", theirs.cpu.into()),
            ("period", theirs.period),
        ] {
            compare(ours, name, Some(value), theirs.data);
        }
        if let Some(own) = ours.get("callchain") {
            let range = &theirs.callchain_range;
            let words = theirs.data[range.start.into()..range.end.into()].chunks_exact(8);
            let mut words: Vec<u64> = words
                .map(|w| u64::from_ne_bytes(w.try_into().unwrap()))
                .collect();
            assert_eq!(words.remove(0) as usize, own.len());
            assert_eq!(*own, words);
        }
        if let Some(own) = ours.get("raw_size") {
            let range = &theirs.raw_range;
            let bytes = &theirs.data[range.start.into()..range.end.into()];
            assert_eq!(own[..], [bytes.len() as u64]);
        }
        compared += 1;
    }
    compared
}
