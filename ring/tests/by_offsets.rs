//! A second process reads a ring by the offsets that `schema/v1/ring.md` states, and by
//! nothing else of this crate: if this fails, the specification or the ring is wrong.

use crate::support::{UUID, ring};
use kstrace_ring::{Mode, RecorderOptions};
use kstrace_schema::builtin::{ClockPairPayload, LostPayload, ProcessPayload};
use kstrace_schema::{Certainty, ClassId, ClockPair, Cpu, Loss, LossReason, SessionTime, SourceId};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use zerocopy::IntoBytes;

const RING: &str = "KSTRACE_TEST_RING";
const PAGE: &str = "KSTRACE_TEST_RECORDER_PAGE";
const REPORT: &str = "KSTRACE_TEST_REPORT";

/// Reads of the second process: plain `pread(2)`, as any program of any language could.
struct Mapping(File);

impl Mapping {
    fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    fn u16(&self, offset: u64) -> u16 {
        u16::from_ne_bytes(self.bytes(offset, 2).try_into().unwrap())
    }

    fn u32(&self, offset: u64) -> u32 {
        u32::from_ne_bytes(self.bytes(offset, 4).try_into().unwrap())
    }

    fn u64(&self, offset: u64) -> u64 {
        u64::from_ne_bytes(self.bytes(offset, 8).try_into().unwrap())
    }
}

/// Everything in the ring as text.
fn report(m: &Mapping) -> String {
    let mut out = String::new();
    // Section 2: the superblock.
    assert_eq!(m.bytes(0, 8), b"KSTRRING");
    assert_eq!(m.u32(8), 0x0A0B_0C0D);
    assert_eq!((m.u16(12), m.u16(14)), (1, 0));
    assert_eq!((m.u32(20), m.u64(24), m.u64(32)), (256, 0, 0));
    assert_eq!(m.u64(40), m.0.metadata().unwrap().len());
    let lanes = u64::from(m.u32(80));
    assert_eq!(u64::from(m.u32(16)), 256 + 64 * lanes);
    assert_eq!(
        (m.u32(136), m.u32(140), m.u32(144), m.u32(148)),
        (88, 16, 8, 8)
    );
    assert_eq!(m.u32(68), 0);
    assert!(m.bytes(152, 104).iter().all(|b| *b == 0));
    let (uuid, clock, to_realtime) = (m.bytes(48, 16), m.u32(64), m.u64(72) as i64);
    writeln!(out, "session {uuid:?} clock {clock} {to_realtime}").unwrap();
    let (descriptors, stride) = (m.u64(88), u64::from(m.u32(84)));
    let (controls, control_stride) = (m.u64(96), m.u64(104));
    // Section 4: the metadata lane.
    let (committed, base) = (m.u64(m.u64(112)), m.u64(120));
    assert!(committed <= m.u64(128));
    let mut at = 0;
    while at < committed {
        let len = u64::from(m.u32(base + at));
        let text = String::from_utf8(m.bytes(base + at + 4, len as usize)).unwrap();
        writeln!(out, "metadata {text}").unwrap();
        at += (4 + len).next_multiple_of(8);
    }
    for lane in 0..lanes {
        // Section 3: the lane descriptor; section 5: its control block.
        let d = descriptors + lane * stride;
        let (data, size, count) = (m.u64(d), m.u64(d + 8), m.u64(d + 16));
        let (index, index_stride) = (m.u64(d + 24), u64::from(m.u32(d + 32)));
        let (cpu, mode) = (m.u32(d + 36), m.u32(d + 40));
        assert!(m.bytes(d + 44, 20).iter().all(|b| *b == 0));
        let c = controls + lane * control_stride;
        let (committed, oldest) = (m.u64(c), m.u64(c + 128));
        writeln!(
            out,
            "lane {lane} cpu {cpu} mode {mode} safe {} state {} counts {:?}",
            m.u64(c + 192),
            m.u64(c + 256),
            (0..8).map(|i| m.u64(c + 320 + 8 * i)).collect::<Vec<_>>(),
        )
        .unwrap();
        // Section 6: packets, those that are closed and the open one.
        for packet in oldest..committed.div_ceil(size) {
            let p = data + packet % count * size;
            assert_eq!(m.u32(p), 0xC1FC_1FC1);
            assert_eq!(m.bytes(p + 4, 16), uuid);
            assert_eq!(
                (m.u32(p + 20), m.u64(p + 24), m.u64(p + 64)),
                (0, lane, packet)
            );
            assert_eq!(m.u32(p + 80), cpu);
            let closed = committed >= (packet + 1) * size;
            let end = if closed {
                assert_eq!(m.u64(p + 48), m.u64(p + 56), "content_size and packet_size");
                writeln!(
                    out,
                    "packet {packet} begin {} end {} discarded {} records {} first {}",
                    m.u64(p + 32),
                    m.u64(p + 40),
                    m.u64(p + 72),
                    m.u32(p + 84),
                    m.u64(index + packet % count * index_stride),
                )
                .unwrap();
                m.u64(p + 48) / 8
            } else {
                writeln!(out, "packet {packet} open").unwrap();
                committed % size
            };
            // Section 7: records.
            let mut r = 88;
            while r < end {
                let len = m.u32(p + r + 12) as u64;
                writeln!(
                    out,
                    "record {} class {} rest {} {:02x?}",
                    m.u64(p + r),
                    m.u16(p + r + 8),
                    m.u16(p + r + 10),
                    m.bytes(p + r + 16, len as usize)
                )
                .unwrap();
                r += (16 + len).next_multiple_of(8);
            }
            assert_eq!(r, end);
        }
    }
    out
}

/// The second process.
#[test]
#[ignore = "run by a_second_process_reads_by_the_offsets_of_the_specification"]
fn second_process() {
    let path = std::env::var_os(RING).expect("run by the other test of this file");
    // Read-only is all that a consumer gets.
    let ring = Mapping(File::open(path).unwrap());
    let text = report(&ring);
    // Section 8: the recorder's page. Lane 1's first packet is no longer needed.
    let page = std::env::var_os(PAGE).unwrap();
    let page = Mapping(
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(page)
            .unwrap(),
    );
    assert_eq!(page.bytes(0, 8), b"KSTRRCDR");
    assert_eq!((page.u16(8), page.u16(10), page.u32(12)), (1, 0, 2));
    assert_eq!((page.u64(64), page.u64(128)), (0, 0));
    page.0.write_all_at(&4096u64.to_ne_bytes(), 128).unwrap();
    std::fs::write(std::env::var_os(REPORT).unwrap(), text).unwrap();
}

#[test]
fn a_second_process_reads_by_the_offsets_of_the_specification() {
    let ring = ring(2, Mode::Discard, 4096, 4);
    ring.append_metadata(b"{\"type\":\"preamble\"}").unwrap();
    ring.append_metadata(b"").unwrap();
    ring.append_metadata(b"{\"type\":\"trace-class\"}").unwrap();
    let slot = ring.attach_recorder(RecorderOptions::default()).unwrap();
    let mut expected = format!("session {UUID:?} clock 1 1700000000000000000\n");
    expected +=
        "metadata {\"type\":\"preamble\"}\nmetadata \nmetadata {\"type\":\"trace-class\"}\n";

    let mut zero = ring.lane_writer(0).unwrap();
    let loss = Loss {
        source: SourceId(3),
        cpu: Cpu(0),
        reason: LossReason::KernelRingFull,
        count: 0x1122_3344_5566,
        certainty: Certainty::AtLeast,
        class: Some(ClassId(77)),
        begin: SessionTime::from_ns(900),
        end: SessionTime::from_ns(1000),
    };
    let lost = LostPayload::from(&loss);
    zero.append(ClassId(0), 0, SessionTime::from_ns(1000), lost.as_bytes());
    let pair = ClockPair {
        monotonic_ns: 1,
        realtime_ns: 2,
        boottime_ns: 3,
        monotonic_raw_ns: 4,
        tai_ns: 5,
        tsc_cycles: 6,
        error_bound_ns: 7,
    };
    let clocks = ClockPairPayload::from(&pair);
    zero.append(ClassId(1), 0, SessionTime::from_ns(1001), clocks.as_bytes());
    let process = ProcessPayload {
        pid: 10,
        tid: 11,
        ppid: 1,
        kernel: 1,
        comm: *b"kworker/0:0\0\0\0\0\0",
    };
    zero.append(
        ClassId(2),
        0,
        SessionTime::from_ns(1002),
        process.as_bytes(),
    );
    zero.set_safe_until(SessionTime::from_ns(1005));
    // The payloads of section 9, by offset.
    let mut by_offset = [vec![0u8; 40], vec![0u8; 56], vec![0u8; 32]];
    let mut put = |payload: usize, offset: usize, bytes: &[u8]| {
        by_offset[payload][offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, 0, &0x1122_3344_5566u64.to_ne_bytes());
    put(0, 8, &900u64.to_ne_bytes());
    put(0, 16, &1000u64.to_ne_bytes());
    put(0, 24, &1u32.to_ne_bytes());
    put(0, 28, &0u32.to_ne_bytes());
    put(0, 32, &3u16.to_ne_bytes());
    put(0, 34, &77u16.to_ne_bytes());
    put(0, 36, &1u32.to_ne_bytes());
    for i in 0..7 {
        put(1, 8 * i, &(i as u64 + 1).to_ne_bytes());
    }
    for (offset, value) in [(0, 10i32), (4, 11), (8, 1), (12, 1)] {
        put(2, offset, &value.to_ne_bytes());
    }
    put(2, 16, b"kworker/0:0");
    expected += "lane 0 cpu 0 mode 0 safe 1005 state 0 counts [3, 0, 0, 0, 0, 0, 0, 0]\n";
    expected += "packet 0 open\n";
    for (i, payload) in by_offset.iter().enumerate() {
        writeln!(
            expected,
            "record {} class {i} rest 0 {payload:02x?}",
            1000 + i
        )
        .unwrap();
    }

    let mut one = ring.lane_writer(1).unwrap();
    let payload: Vec<u8> = (0..1501u32).map(|i| i as u8).collect();
    let mut lines = String::new();
    for t in 0..5u64 {
        one.append(
            ClassId(40_000),
            1500,
            SessionTime::from_ns(2000 + t),
            &payload,
        );
        if t % 2 == 0 {
            let end = if t == 4 { 2004 } else { 2001 + t };
            let (records, lost) = if t == 4 { (1, 5) } else { (2, 0) };
            writeln!(
                lines,
                "packet {} begin {} end {end} discarded {lost} records {records} first {t}",
                t / 2,
                2000 + t
            )
            .unwrap();
        }
        writeln!(
            lines,
            "record {} class 40000 rest 1500 {payload:02x?}",
            2000 + t
        )
        .unwrap();
    }
    one.append(ClassId(0), 0, SessionTime::from_ns(2004), &[0; 4000]);
    one.note_lost(4);
    one.finish();
    let max = u64::MAX;
    expected +=
        &format!("lane 1 cpu 1 mode 0 safe {max} state 1 counts [5, 0, 1, 4, 0, 0, 0, 3]\n");
    expected += &lines;

    let proc_path = |fd: i32| format!("/proc/{}/fd/{fd}", std::process::id());
    let out = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(one.free_sub_buffers(), 1);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "by_offsets::second_process"])
        .env(RING, proc_path(ring.fd().as_raw_fd()))
        .env(PAGE, proc_path(slot.page_fd().as_raw_fd()))
        .env(REPORT, out.path())
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    let report = std::fs::read_to_string(out.path()).unwrap();
    for (i, (got, want)) in report.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, want, "line {i}");
    }
    assert_eq!(report.lines().count(), expected.lines().count());
    assert_eq!(
        one.free_sub_buffers(),
        2,
        "the second process released a packet"
    );
}
