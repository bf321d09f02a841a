//! Files that are cut off, wrong, or made to do harm: all that is whole comes first, then an
//! error that says where; never a panic, never memory for what is only claimed.

use super::kit::{Outcome, read, read_stream, varied};
use super::made::*;
use crate::perf_data::kit::Scratch;
use kstrace_schema::{Error, ErrorKind, Result};
use std::error::Error as _;
use std::path::Path;
use zerocopy::IntoBytes;

fn try_read(path: &Path, bytes: &[u8]) -> Result<Outcome> {
    std::fs::write(path, bytes).unwrap();
    read(path)
}

/// The only damage of a file.
fn damage(bytes: &[u8]) -> (usize, Error) {
    let scratch = Scratch::new();
    let mut outcome = try_read(&scratch.path("bad"), bytes).unwrap();
    assert_eq!(outcome.damage.len(), 1, "{:?}", outcome.damage);
    (outcome.kept.records.len(), outcome.damage.remove(0))
}

fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "'{error}' lacks '{part}'");
    }
    assert!(error.source().is_none());
}

const GOOD: usize = 3;

fn good() -> Vec<Vec<u8>> {
    vec![sample(1, 10, 0), sample(1, 20, 0), sample(1, 30, 0)]
}

fn with(bad: Vec<u8>) -> Vec<u8> {
    let mut records = good();
    records.push(bad);
    simple(&records)
}

#[test]
fn sizes_that_cannot_be() {
    for size in 0..8u16 {
        let mut bad = sample(1, 40, 0);
        bad[6..8].copy_from_slice(&size.to_le_bytes());
        let (whole, error) = damage(&with(bad));
        assert_eq!(whole, GOOD);
        let offset = 104 + 8 + 144 + 16 + 3 * 40;
        says(
            &error,
            ErrorKind::InvalidData,
            &[
                "bad: offset",
                &offset.to_string(),
                "records",
                "perf_event_header.size",
            ],
        );
    }
    let mut bad = sample(1, 40, 0);
    bad[6..8].copy_from_slice(&0xfff8u16.to_le_bytes());
    let (whole, error) = damage(&with(bad));
    assert_eq!(whole, GOOD);
    says(
        &error,
        ErrorKind::Truncated,
        &["65528 bytes", "40 are left"],
    );
    let (whole, error) = damage(&with(vec![1, 2, 3]));
    assert_eq!(whole, GOOD);
    says(
        &error,
        ErrorKind::Truncated,
        &["perf_event_header", "3 are left"],
    );
}

#[test]
fn counts_that_cannot_be() {
    // A callchain longer than its record: kept as bytes, the class says no more than is so.
    let attr = attr(SAMPLE_TYPE | 1 << 5);
    for count in [2, 1 << 20, 1 << 61, u64::MAX] {
        let mut bad = sample(1, 10, 0);
        bad.extend(u64::to_le_bytes(count));
        bad.extend([0; 8]);
        bad[6] = bad.len() as u8;
        let bytes = file(&[(attr.as_bytes(), &[1])], &bad, &[]);
        let scratch = Scratch::new();
        let outcome = try_read(&scratch.path("count"), &bytes).unwrap();
        assert_eq!(outcome.kept.records[0].class, "PERF_RECORD_SAMPLE:opaque");
        assert_eq!(outcome.statistics.opaque, 1);
    }
}

#[test]
fn no_perf_data_at_all() {
    let scratch = Scratch::new();
    let path = scratch.path("none");
    for (bytes, kind, part) in [
        (&b""[..], ErrorKind::InvalidData, "magic"),
        (&b"PERFILE"[..], ErrorKind::InvalidData, "magic"),
        (&b"#!/bin/sh\nexit 0\n"[..], ErrorKind::InvalidData, "magic"),
        (
            &b"PERFILE2\x50\0\0\0\0\0\0\0"[..],
            ErrorKind::Unsupported,
            "80",
        ),
        (
            &b"PERFILE2\x68\0\0\0\0\0\0\0\0"[..],
            ErrorKind::Truncated,
            "104",
        ),
    ] {
        let error = try_read(&path, bytes).unwrap_err();
        says(&error, kind, &[part, "header"]);
        assert!(read_stream(bytes.to_vec()).is_err());
    }
    let error = read(&scratch.path("missing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn claims_of_the_header() {
    let scratch = Scratch::new();
    let path = scratch.path("claims");
    let bytes = simple(&good());
    let patched = |at: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    // Size of an attr's entry.
    for size in [0, 16, 79, 5000, u64::MAX] {
        let error = try_read(&path, &patched(16, size)).unwrap_err();
        says(&error, ErrorKind::InvalidData, &["attr_size"]);
    }
    // More attrs than the file has.
    let outcome = try_read(&path, &patched(32, 1 << 40)).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    says(
        &outcome.damage[0],
        ErrorKind::Truncated,
        &["attrs", "perf_event_attr"],
    );
    let error = try_read(&path, &patched(24, u64::MAX - 3)).unwrap_err();
    says(&error, ErrorKind::Truncated, &["attrs"]);
    let error = try_read(&path, &patched(32, 0)).unwrap_err();
    says(&error, ErrorKind::InvalidData, &["attrs.size", "no event"]);
    // Records that end behind the file.
    let outcome = try_read(&path, &patched(48, u64::MAX)).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    assert!(!outcome.damage.is_empty());
    // A recording that was not completed.
    let outcome = try_read(&path, &patched(48, 0)).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    says(
        &outcome.damage[0],
        ErrorKind::Truncated,
        &["data.size", "not completed"],
    );
    // Ids without end.
    let ids_size_at = 104 + 8 + 144 + 8;
    for size in [1 << 27, u64::MAX] {
        let error = try_read(&path, &patched(ids_size_at, size)).unwrap_err();
        assert!(error.to_string().contains("ids"), "{error}");
    }
    // The attr's own size.
    let mut bad = bytes.clone();
    bad[104 + 8 + 4..104 + 8 + 8].copy_from_slice(&1000u32.to_le_bytes());
    let error = try_read(&path, &bad).unwrap_err();
    says(
        &error,
        ErrorKind::InvalidData,
        &["perf_event_attr.size", "1000"],
    );
}

#[test]
fn features_that_are_not_there() {
    let attr = attr(SAMPLE_TYPE);
    let records = good().concat();
    let bytes = file(
        &[(attr.as_bytes(), &[1])],
        &records,
        &[(1, b"no tracing data"), (3, &[255; 9])],
    );
    let scratch = Scratch::new();
    let path = scratch.path("features");
    let outcome = try_read(&path, &bytes).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    says(
        &outcome.damage[0],
        ErrorKind::InvalidData,
        &["HEADER_TRACING_DATA (1)", "magic"],
    );
    let odd = &outcome.session.sources[1].attributes["perf.file.odd"];
    assert_eq!(odd, &serde_json::json!(["HEADER_HOSTNAME (3)"]));
    let cut = &bytes[..bytes.len() - 1];
    let outcome = try_read(&path, cut).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    assert!(
        outcome
            .damage
            .iter()
            .all(|e| e.to_string().contains("HEADER_"))
    );
    let outcome = try_read(&path, &bytes[..bytes.len() - 40]).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD);
    assert!(!outcome.damage.is_empty());
}

#[test]
fn compressed_rubbish_and_bombs() {
    let (whole, error) = damage(&with(record(81, &[0xff; 64])));
    assert_eq!(whole, GOOD);
    says(
        &error,
        ErrorKind::InvalidData,
        &["compressed records", "zstd"],
    );
    let (whole, error) = damage(&with(record(83, &[0xff; 64])));
    assert_eq!(whole, GOOD);
    says(&error, ErrorKind::InvalidData, &["data_size"]);
    // 4 GiB of zeros in some kilobytes.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), 1 << 30),
        &mut encoder,
    )
    .unwrap();
    let bomb = encoder.finish().unwrap();
    let records: Vec<Vec<u8>> = bomb.chunks(60_000).map(|c| record(81, c)).collect();
    let (whole, error) = damage(&with(records.concat()));
    assert_eq!(whole, GOOD);
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    // Records that span compressed ones, and one that is never completed.
    let inner = [sample(1, 40, 0), sample(1, 50, 0), sample(1, 60, 0)].concat();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let mut pieces = Vec::new();
    for piece in inner.chunks(13) {
        use std::io::Write;
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
        pieces.push(record(81, &std::mem::take(encoder.get_mut())));
    }
    let scratch = Scratch::new();
    let outcome = try_read(&scratch.path("spans"), &with(pieces.concat())).unwrap();
    assert!(outcome.damage.is_empty(), "{:?}", outcome.damage);
    assert_eq!(outcome.kept.records.len(), GOOD + 3);
    pieces.pop();
    let (whole, error) = damage(&with(pieces.concat()));
    assert_eq!(whole, GOOD + 2);
    says(&error, ErrorKind::Truncated, &["compressed records"]);
    // The newer form, with padding behind the data.
    let whole = zstd::stream::encode_all(&inner[..], 1).unwrap();
    let mut body = (whole.len() as u64).to_le_bytes().to_vec();
    body.extend(&whole);
    body.extend(vec![0xee; 8 - whole.len() % 8]);
    let outcome = try_read(&scratch.path("newer"), &with(record(83, &body))).unwrap();
    assert_eq!(outcome.kept.records.len(), GOOD + 3);
}

#[test]
fn cut_anywhere_and_the_whole_part_is_there() {
    let scratch = Scratch::new();
    let bytes = varied(&scratch);
    let path = scratch.path("cut");
    let whole = try_read(&path, &bytes).unwrap();
    assert!(whole.damage.is_empty());
    let mut most = 0;
    let step = bytes.len() / 150 + 1;
    let start = [0, 7, 8, 15, 16, 103, 104, 105];
    let ends = (110..bytes.len() - 1).step_by(step);
    for cut in start.into_iter().chain(ends).chain([bytes.len() - 1]) {
        let Ok(outcome) = try_read(&path, &bytes[..cut]) else {
            assert!(cut < 2000, "{cut}");
            continue;
        };
        assert!(!outcome.damage.is_empty(), "{cut}");
        let count = outcome.kept.records.len();
        assert!(
            count + 20 >= most && count <= whole.kept.records.len(),
            "{cut}"
        );
        most = most.max(count);
    }
    assert_eq!(most, whole.kept.records.len());
}

#[test]
fn cut_streams() {
    let attr = attr(SAMPLE_TYPE);
    let mut bytes = b"PERFILE2\x10\0\0\0\0\0\0\0".to_vec();
    let mut body = attr.as_bytes().to_vec();
    body.extend(1u64.to_le_bytes());
    bytes.extend(record(64, &body));
    let start = bytes.len();
    bytes.extend(good().concat());
    let whole = read_stream(bytes.clone()).unwrap();
    assert_eq!(whole.kept.records.len(), GOOD);
    for cut in 16..bytes.len() {
        let outcome = read_stream(bytes[..cut].to_vec()).unwrap();
        let between = cut == 16 || cut >= start && (cut - start).is_multiple_of(40);
        assert_eq!(outcome.damage.is_empty(), between, "{cut}");
        let records = outcome.kept.records.len();
        assert_eq!(records, cut.saturating_sub(start) / 40, "{cut}");
    }
}

/// Bytes changed at random, many at a time or few: never a panic, never a hang, and records
/// that are what their classes say ([`super::kit::Keeping`] checks each).
#[test]
fn bytes_changed_at_random() {
    let scratch = Scratch::new();
    let path = scratch.path("mutated");
    let live = varied(&scratch);
    let made = with(record(69, &[1; 40]));
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut damaged = 0;
    for round in 0..600 {
        let original = if round % 4 == 0 { &live } else { &made };
        let mut bytes = original.clone();
        for _ in 0..1 + random(12) {
            let at = match random(3) {
                0 => random(bytes.len().min(400)),
                _ => random(bytes.len()),
            };
            let interesting = [0, 1, 7, 8, 0x7f, 0x80, 0xff, random(256) as u8];
            bytes[at] = interesting[random(8)];
        }
        if random(5) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        match try_read(&path, &bytes) {
            Ok(outcome) => damaged += usize::from(!outcome.damage.is_empty()),
            Err(_) => damaged += 1,
        }
        if round % 8 == 0 {
            let _ = read_stream(bytes);
        }
    }
    assert!(damaged > 100, "{damaged}");
}
