//! In which order records are handed on, and what becomes of user records, AUX data,
//! unknown things and old attrs.

use super::kit::{Outcome, read, read_stream, rewrite};
use super::made::*;
use crate::perf_data::kit::Scratch;
use kstrace_perf::uapi;
use zerocopy::IntoBytes;

fn read_bytes(bytes: &[u8]) -> Outcome {
    let scratch = Scratch::new();
    let path = scratch.path("made");
    std::fs::write(&path, bytes).unwrap();
    let outcome = read(&path).unwrap();
    // However it comes, it is the same; and what is written again is too.
    let stream = read_stream(bytes.to_vec()).unwrap();
    assert_eq!(outcome.kept.records, stream.kept.records);
    if outcome.damage.is_empty() {
        let again = scratch.path("again");
        rewrite(&path, &again);
        let again = read(&again).unwrap();
        let without_times = |o: &Outcome| -> Vec<_> {
            o.kept
                .records
                .iter()
                .map(|r| (r.class.clone(), r.payload.clone()))
                .collect()
        };
        assert_eq!(without_times(&outcome), without_times(&again));
    }
    outcome
}

fn times(outcome: &Outcome) -> Vec<u64> {
    outcome.kept.records.iter().map(|r| r.time_ns).collect()
}

#[test]
fn rounds_of_two_cpus_are_merged() {
    let outcome = read_bytes(&simple(&[
        sample(1, 10, 0),
        sample(1, 30, 0),
        sample(1, 50, 0),
        sample(1, 20, 1),
        sample(1, 40, 1),
        finished_round(),
        sample(1, 60, 0),
        sample(1, 45, 1),
        sample(1, 55, 1),
        finished_round(),
        sample(1, 58, 1),
        sample(1, 70, 1),
    ]));
    assert_eq!(times(&outcome), [10, 20, 30, 40, 45, 50, 55, 58, 60, 70]);
    let cpus: Vec<u32> = outcome.kept.records.iter().map(|r| r.cpu).collect();
    assert_eq!(cpus, [0, 1, 0, 1, 1, 0, 1, 1, 0, 1]);
    assert_eq!(outcome.statistics.rounds, 2);
    assert_eq!(outcome.statistics.out_of_order, 0);
}

#[test]
fn equal_times_stay_in_the_order_of_the_file() {
    let outcome = read_bytes(&simple(&[
        sample(1, 10, 3),
        sample(1, 20, 3),
        sample(1, 10, 2),
        sample(1, 20, 2),
        sample(1, 10, 1),
        finished_round(),
        finished_round(),
        sample(1, 20, 0),
    ]));
    let cpus: Vec<u32> = outcome.kept.records.iter().map(|r| r.cpu).collect();
    assert_eq!(cpus, [3, 2, 1, 3, 2, 0]);
}

#[test]
fn a_record_that_comes_too_late_is_shown_late_and_counted() {
    let outcome = read_bytes(&simple(&[
        sample(1, 10, 0),
        sample(1, 50, 0),
        finished_round(),
        finished_round(),
        sample(1, 20, 1),
        sample(1, 60, 1),
        finished_round(),
    ]));
    let cpus: Vec<u32> = outcome.kept.records.iter().map(|r| r.cpu).collect();
    assert_eq!(cpus, [0, 0, 1, 1]);
    assert_eq!(times(&outcome), [10, 50, 50, 60], "time does not go back");
    assert_eq!(outcome.statistics.out_of_order, 1);
}

#[test]
fn what_has_no_time_stands_where_it_stands() {
    let outcome = read_bytes(&simple(&[
        comm(0, b"first\0\0\0"),
        sample(1, 10, 0),
        sample(1, 20, 0),
        finished_round(),
        finished_round(),
        comm(0, b"second\0\0"),
        sample(1, 15, 1),
        comm(0, b"third\0\0\0"),
        sample(1, 30, 0),
        comm(u64::MAX, b"fourth\0\0"),
    ]));
    let names: Vec<String> = outcome
        .kept
        .records
        .iter()
        .map(|r| match r.class.as_str() {
            "PERF_RECORD_COMM" => String::from_utf8_lossy(&r.payload[16..19]).into_owned(),
            _ => r.time_ns.to_string(),
        })
        .collect();
    // perf hands out 10 and 20 before it reads on; the others wait for the end.
    assert_eq!(names, ["fir", "10", "20", "sec", "thi", "fou", "20", "30"]);
}

#[test]
fn without_rounds_the_end_is_the_round() {
    let records: Vec<Vec<u8>> = (0..10_000u64)
        .map(|n| sample(1, 1 + (n * 7919) % 10_007, 0))
        .collect();
    let outcome = read_bytes(&simple(&records));
    let sorted = times(&outcome);
    assert_eq!(sorted.len(), 10_000);
    assert!(sorted.is_sorted());
    assert_eq!(outcome.statistics.out_of_order, 0);
}

#[test]
fn every_user_record_is_a_class_and_goes_back() {
    let mut records = vec![sample(1, 10, 0)];
    for record_type in (64..100).filter(|t| ![64, 66, 68, 71, 81, 83].contains(t)) {
        // Counts of one, with room for one of every kind of element; and none at all.
        let mut body = 1u64.to_le_bytes().to_vec();
        body.extend([0; 112]);
        records.push(record(record_type, &body));
        records.push(record(record_type, &[]));
    }
    let outcome = read_bytes(&simple(&records));
    assert_eq!(outcome.kept.records.len(), records.len());
    let name = |n: usize| outcome.kept.records[n].class.as_str();
    assert_eq!(
        outcome.kept.records.last().unwrap().class,
        "sample".replace("sample", "cpu-clock")
    );
    assert!(
        name(0).starts_with("PERF_RECORD_HEADER_EVENT_TYPE"),
        "{}",
        name(0)
    );
    assert!(
        outcome
            .kept
            .records
            .iter()
            .any(|r| r.class == "PERF_RECORD_99")
    );
    assert!(
        outcome
            .kept
            .records
            .iter()
            .any(|r| r.class == "PERF_RECORD_STAT_CONFIG:opaque")
    );
}

#[test]
fn aux_data_come_in_pieces_and_go_back_whole() {
    let data: Vec<u8> = (0..100_001u32).map(|n| n as u8).collect();
    let mut body = (data.len() as u64).to_le_bytes().to_vec();
    body.extend([0; 32]);
    let records = [
        sample(1, 10, 0),
        record(71, &body),
        data.clone(),
        sample(1, 20, 0),
        finished_round(),
    ];
    let attr = attr(SAMPLE_TYPE);
    let bytes = file(
        &[(attr.as_bytes(), &[1])],
        &records.concat(),
        &[(18, &[0; 8])],
    );
    let scratch = Scratch::new();
    let (path, again) = (scratch.path("aux"), scratch.path("again"));
    std::fs::write(&path, &bytes).unwrap();
    let outcome = read_bytes(&bytes);
    let pieces: Vec<u8> = outcome
        .kept
        .records
        .iter()
        .filter(|r| r.class == "PERF_RECORD_AUXTRACE:data")
        .flat_map(|r| r.payload.clone())
        .collect();
    assert_eq!(pieces, data);
    assert!(rewrite(&path, &again).is_lossless());
    // The index says where they are now.
    let written = std::fs::read(&again).unwrap();
    let second = read(&again).unwrap();
    let index = second.session.sources[1].attributes["perf.file.features"]["18"]
        .as_str()
        .unwrap()
        .to_owned();
    let number = |n: usize| {
        u64::from_str_radix(&index[16 * n..16 * n + 16], 16)
            .unwrap()
            .swap_bytes()
    };
    assert_eq!((number(0), number(2)), (1, 48 + data.len() as u64));
    let at = usize::try_from(number(1)).unwrap();
    assert_eq!(written[at], 71);
    assert_eq!(written[at + 48..at + 48 + data.len()], data);
}

#[test]
fn samples_of_no_event_and_unknown_features_are_kept() {
    let attr = attr(SAMPLE_TYPE);
    let events: [(&[u8], &[u64]); 2] = [(attr.as_bytes(), &[1]), (attr.as_bytes(), &[2])];
    let records = [
        sample(1, 10, 0),
        sample(77, 20, 0),
        sample(2, 30, 0),
        sample(0, 40, 0),
    ];
    let outcome = read_bytes(&file(&events, &records.concat(), &[(200, b"what is this")]));
    let classes: Vec<&str> = outcome
        .kept
        .records
        .iter()
        .map(|r| r.class.as_str())
        .collect();
    assert_eq!(
        classes,
        [
            "cpu-clock",
            "PERF_RECORD_SAMPLE:opaque",
            "cpu-clock",
            "cpu-clock"
        ]
    );
    assert_eq!(outcome.statistics.unknown_ids, 1);
    let source = &outcome.session.sources[1];
    assert_eq!(
        source.attributes["perf.file.unknown_features"],
        serde_json::json!([200])
    );
    assert_eq!(
        source.attributes["perf.file.features"]["200"],
        "7768617420697320746869 73".replace(' ', "")
    );
}

#[test]
fn attrs_of_every_size_keep_their_bytes() {
    for size in [64usize, 72, 80, 96, 104, 112, 120, 128, 136, 144, 200, 4096] {
        let mut attr = attr(SAMPLE_TYPE);
        attr.size = size as u32;
        let mut bytes = attr.as_bytes().to_vec();
        bytes.resize(size.max(bytes.len()), 0x5a);
        bytes.truncate(size);
        let outcome = read_bytes(&file(&[(&bytes, &[1])], &sample(1, 10, 0), &[]));
        assert_eq!(times(&outcome), [10]);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let events = &outcome.session.sources[1].attributes["perf.file.events"];
        assert_eq!(events[0]["attr"], hex);
    }
}

#[test]
fn loss_is_told_once() {
    let lost = |count: u64, time: u64| {
        let mut body = 1u64.to_le_bytes().to_vec();
        body.extend(count.to_le_bytes());
        body.extend(trailer(time, 0, 1));
        record(uapi::PERF_RECORD_LOST, &body)
    };
    let lost_samples = |count: u64, time: u64| {
        let mut body = count.to_le_bytes().to_vec();
        body.extend(trailer(time, 0, 1));
        record(uapi::PERF_RECORD_LOST_SAMPLES, &body)
    };
    // 5 and 7 of the ring, 2 of the processor's own buffer; perf's sum at the end has one more.
    let outcome = read_bytes(&simple(&[
        sample(1, 10, 0),
        lost(5, 20),
        lost(7, 30),
        lost_samples(2, 40),
        lost_samples(15, 0),
    ]));
    let told: Vec<(u64, u64, u64)> = outcome
        .kept
        .losses
        .iter()
        .map(|l| (l.count, l.begin.as_ns(), l.end.as_ns()))
        .collect();
    assert_eq!(told, [(5, 0, 20), (7, 20, 30), (2, 30, 40), (1, 0, 40)]);
    assert_eq!(outcome.accounts[0].seen, 5 + 15);
    assert!(outcome.accounts[0].balances());
}
