//! The law of this module, after every single system call.

use super::*;
use crate::builder::PacketBuilder;
use crate::packet;
use kstrace_schema::{ClassId, Cpu, EventRecord, SessionTime};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use zerocopy::FromBytes;

const UUID: [u8; 16] = [7; 16];

/// Numbers of the records in all visible files; panics where a reader would.
fn visible_records(dir: &Path) -> Vec<u64> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut numbers = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let mut at = 0;
        assert!(!bytes.is_empty(), "a file without a packet");
        while at < bytes.len() {
            let rest = &bytes[at..];
            let header = packet::header(rest, &UUID, rest.len() as u64).unwrap();
            let content = (header.content_size_bits / 8) as usize;
            packet::walk(&rest[..content.max(PACKET_HEADER_BYTES)], &UUID, |record| {
                numbers.push(u64::from_ne_bytes(record.payload[..8].try_into().unwrap()));
            })
            .unwrap();
            at += (header.packet_size_bits / 8) as usize;
        }
        assert_eq!(at, bytes.len(), "packets do not fill the file");
    }
    numbers
}

#[test]
fn at_every_instant_there_are_whole_packets_and_none_that_was_there_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let seen = Rc::new(RefCell::new((0usize, 0u32)));
    let state = Rc::clone(&seen);
    watched::watch(move || {
        let numbers = visible_records(&path);
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
        let mut state = state.borrow_mut();
        assert!(numbers.len() >= state.0, "records have gone");
        *state = (numbers.len(), state.1 + 1);
    });
    let mut builder = PacketBuilder::new(UUID, 0, Cpu(0), usize::MAX);
    let mut number = 0u64;
    let mut files = 0;
    let mut segment: Option<Segment> = None;
    // From less than a header to several pages; odd lengths; some that fill a file to the byte.
    for size in [
        8, 9, 5000, 4096, 100, 13_001, 16, 9000, 31, 3960, 24_000, 8, 70_000, 8,
    ] {
        let mut payload = vec![0xff; size];
        payload[..8].copy_from_slice(&number.to_ne_bytes());
        builder.push(&EventRecord {
            class: ClassId(0),
            rest_len_bytes: 0,
            cpu: Cpu(0),
            time: SessionTime::from_ns(number),
            payload: &payload,
        });
        let bytes = builder.take(<[u8]>::to_vec);
        let walked = packet::walk(&bytes, &UUID, |_| {}).unwrap();
        let content = &bytes[..walked.content_bytes];
        match &mut segment {
            Some(open) if open.has_room(content.len()) => {
                open.append(walked.header, content).unwrap();
            }
            _ => {
                let name = format!("f{files:02}");
                files += 1;
                let made =
                    Segment::create(dir.path(), &name, 1 << 15, walked.header, content).unwrap();
                if let Some(mut full) = segment.replace(made) {
                    full.seal().unwrap();
                }
            }
        }
        number += 1;
        assert_eq!(
            seen.borrow().0 as u64,
            number,
            "a packet is not there once it is written"
        );
    }
    segment.unwrap().seal().unwrap();
    assert!(files >= 4, "{files} files");
    assert!(seen.borrow().1 > 60, "{} instants", seen.borrow().1);
}

#[test]
fn a_seal_leaves_no_more_than_a_header_of_slack() {
    for slack in [0u64, 8, 80, 88, 96, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = PacketBuilder::new(UUID, 0, Cpu(0), usize::MAX);
        builder.push(&EventRecord {
            class: ClassId(0),
            rest_len_bytes: 0,
            cpu: Cpu(0),
            time: SessionTime::from_ns(1),
            payload: &[0; 8],
        });
        let bytes = builder.take(<[u8]>::to_vec);
        let (header, _) = PacketHeader::read_from_prefix(&bytes).unwrap();
        let len = bytes.len() as u64 + slack;
        let mut segment = Segment::create(dir.path(), "f", len, header, &bytes).unwrap();
        segment.seal().unwrap();
        let expected = if slack < 88 { len } else { bytes.len() as u64 };
        assert_eq!(
            std::fs::metadata(dir.path().join("f")).unwrap().len(),
            expected
        );
        assert_eq!(visible_records(dir.path()), [0]);
    }
}
