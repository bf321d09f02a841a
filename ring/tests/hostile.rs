//! Mappings that lie: each field of the header broken one at a time, and recorders
//! that write nonsense into their page.

use crate::support::{config, ring};
use kstrace_ring::{Append, Error, Layout, Mode, RecorderOptions, Ring, RingReader};
use kstrace_schema::{ClassId, SessionTime};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// The header of a ring of two lanes, and the mapping's size.
fn header() -> (Vec<u8>, u64) {
    let ring = Ring::create(&config(2, Mode::Discard, 4096, 4)).unwrap();
    (ring.layout().header(), ring.layout().total_bytes as u64)
}

fn with(offset: usize, bytes: &[u8]) -> Result<Layout, Error> {
    let (mut header, len) = header();
    header[offset..offset + bytes.len()].copy_from_slice(bytes);
    Layout::parse(&header, len)
}

/// Offset, bad bytes, and what the message must contain: field, value, allowed.
fn broken() -> Vec<(usize, Vec<u8>, [&'static str; 3])> {
    fn u32s(v: u32) -> Vec<u8> {
        v.to_ne_bytes().to_vec()
    }
    fn u64s(v: u64) -> Vec<u8> {
        v.to_ne_bytes().to_vec()
    }
    vec![
        (0, b"KSTRRINX".to_vec(), ["magic", "58]", "47]"]),
        (
            8,
            u32s(0x0C0B_0A0D),
            ["byte_order", "0x0c0b0a0d", "0x0a0b0c0d"],
        ),
        (12, vec![2, 0], ["version", "2.0", "1.x"]),
        (16, u32s(10), ["header_len at offset 16", "10", "256 to"]),
        (
            16,
            u32s(u32::MAX),
            ["header_len at offset 16", "4294967295", "256 to 4194304"],
        ),
        (
            16,
            u32s(4_000_000),
            [
                "header_len at offset 16",
                "4000000",
                "at most the 384 bytes",
            ],
        ),
        (16, u32s(320), ["lane_descriptors_offset", "256", "192"]),
        (20, u32s(255), ["superblock_len at offset 20", "255", "256"]),
        (
            24,
            u64s(1),
            [
                "features_required at offset 24",
                "1",
                "0: no required feature",
            ],
        ),
        (
            32,
            u64s(8),
            ["features_optional at offset 32", "8", "0 in this minor"],
        ),
        (
            40,
            u64s(4096),
            ["total_len at offset 40", "4096", "the mapping's"],
        ),
        (64, u32s(2), ["clock_id at offset 64", "2", "1 monotonic"]),
        (68, u32s(1), ["reserved_68 at offset 68", "1", "0"]),
        (80, u32s(0), ["lane_count at offset 80", "0", "1 to 8192"]),
        (
            80,
            u32s(8193),
            ["lane_count at offset 80", "8193", "1 to 8192"],
        ),
        (
            84,
            u32s(0),
            ["lane_descriptor_stride at offset 84", "0", "64"],
        ),
        (
            88,
            u64s(8),
            ["lane_descriptors_offset at offset 88", "8", "256 to 256"],
        ),
        (
            88,
            u64s(u64::MAX - 7),
            ["lane_descriptors_offset", "18446744073709551608", "256"],
        ),
        (
            96,
            u64s(4),
            [
                "lane_controls_offset at offset 96",
                "4",
                "a multiple of 64 up to",
            ],
        ),
        (
            96,
            u64s(1 << 60),
            ["lane_controls_offset", "1152921504606846976", "up to"],
        ),
        (
            96,
            u64s(128),
            [
                "lane_controls_offset",
                "128",
                "outside of 0 to 384, the area of header_len",
            ],
        ),
        (
            104,
            u64s(8),
            ["lane_control_stride at offset 104", "8", "384 to 65536"],
        ),
        (
            104,
            u64s(u64::MAX),
            [
                "lane_control_stride",
                "18446744073709551615",
                "384 to 65536",
            ],
        ),
        (
            112,
            u64s(1),
            [
                "metadata_control_offset at offset 112",
                "1",
                "a multiple of 64",
            ],
        ),
        (
            120,
            u64s(u64::MAX - 63),
            [
                "metadata_offset at offset 120",
                "18446744073709551552",
                "up to",
            ],
        ),
        (
            128,
            u64s(0),
            ["metadata_capacity at offset 128", "0", "64 to 1073741824"],
        ),
        (
            128,
            u64s(1 << 40),
            ["metadata_capacity", "1099511627776", "64 to 1073741824"],
        ),
        (
            136,
            u32s(80),
            ["packet_header_len at offset 136", "80", "88"],
        ),
        (
            140,
            u32s(24),
            ["record_header_len at offset 140", "24", "16"],
        ),
        (144, u32s(4), ["record_align at offset 144", "4", "8"]),
        (
            148,
            u32s(1000),
            ["recorder_slots at offset 148", "1000", "0 to 64"],
        ),
        (152, vec![7], ["reserved_152 at offset 152", "7", "0"]),
        (255, vec![9], ["reserved_152 at offset 255", "9", "0"]),
        // The descriptor of lane 1 begins at 320.
        (
            320,
            u64s(u64::MAX - 4095),
            ["data_offset at offset 320", "18446744073709547520", "up to"],
        ),
        (
            320,
            u64s(3),
            ["data_offset at offset 320", "3", "a multiple of 64"],
        ),
        (
            328,
            u64s(0),
            [
                "sub_buffer_len at offset 328",
                "0",
                "a power of two from 4096",
            ],
        ),
        (
            328,
            u64s(5000),
            ["sub_buffer_len", "5000", "a power of two from 4096"],
        ),
        (
            336,
            u64s(1),
            ["sub_buffer_count at offset 336", "1", "2 to"],
        ),
        (
            336,
            u64s(1 << 40),
            ["sub_buffer_count at offset 336", "1099511627776", "2 to"],
        ),
        (
            344,
            u64s(12),
            [
                "packet_index_offset at offset 344",
                "12",
                "a multiple of 64",
            ],
        ),
        (
            352,
            u32s(4),
            ["packet_index_stride at offset 352", "4", "8 to 4096"],
        ),
        (
            352,
            u32s(u32::MAX - 7),
            ["packet_index_stride", "4294967288", "8 to 4096"],
        ),
        (
            360,
            u32s(2),
            ["mode at offset 360", "2", "0 discard, 1 overwrite"],
        ),
        (364, u32s(1), ["reserved_44 at offset 364", "1", "0"]),
        (383, vec![1], ["reserved_48 at offset 383", "1", "0"]),
    ]
}

#[test]
fn every_broken_field_is_named() {
    let (good, len) = header();
    Layout::parse(&good, len).unwrap();
    for (offset, bytes, expected) in broken() {
        let message = with(offset, &bytes)
            .expect_err(&format!("{expected:?}"))
            .to_string();
        for part in expected {
            assert!(message.contains(part), "'{message}' does not say '{part}'");
        }
    }
}

#[test]
fn overlapping_areas_are_refused() {
    let (good, _) = header();
    let lane0 = good[256..264].to_vec();
    let message = with(320, &lane0).unwrap_err().to_string();
    assert!(
        message.contains("data_offset") && message.contains("outside of"),
        "{message}"
    );
}

#[test]
fn a_header_cut_short_is_refused_at_every_length() {
    let (good, len) = header();
    for n in 0..good.len() {
        assert!(Layout::parse(&good[..n], len).is_err(), "{n}");
    }
    for n in [0, 100, 4096, len - 1, len + 1, u64::MAX] {
        assert!(Layout::parse(&good, n).is_err(), "{n}");
    }
}

#[test]
fn no_byte_of_the_header_can_be_changed_into_a_panic() {
    let (good, len) = header();
    for at in 0..good.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = Layout::parse(&bad, len);
        }
    }
}

#[test]
fn a_later_minor_is_read_and_a_later_major_is_not() {
    // A minor from the future: uses reserved bytes, an optional feature, a longer header.
    let (mut h, len) = header();
    h[14..16].copy_from_slice(&7u16.to_ne_bytes());
    h[32] = 1;
    h[200] = 5;
    h[300] = 6;
    let layout = Layout::parse(&h, len).unwrap();
    assert_eq!(
        (
            layout.abi_minor,
            layout.features_optional,
            layout.lanes.len()
        ),
        (7, 1, 2)
    );
    // But not a feature that it says must be known.
    h[24] = 1;
    assert!(
        Layout::parse(&h, len)
            .unwrap_err()
            .to_string()
            .contains("features_required")
    );
    let e = with(12, &9u16.to_ne_bytes()).unwrap_err();
    assert!(
        matches!(
            e,
            Error::UnsupportedMajor {
                major: 9,
                minor: 0,
                supported: 1
            }
        ),
        "{e}"
    );
}

/// A memfd with those contents.
fn memfd(bytes: &[u8], len: u64, seals: SealFlag) -> OwnedFd {
    let fd = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let file = File::from(fd);
    file.set_len(len).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

#[test]
fn opening_checks_the_file() {
    let (good, len) = header();
    let sealed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    assert!(RingReader::open(memfd(&good, len, sealed)).is_ok());
    let e = RingReader::open(memfd(&good, len, SealFlag::F_SEAL_SHRINK)).unwrap_err();
    assert!(
        matches!(
            e,
            Error::NotSealed {
                found: 2,
                needed: 6
            }
        ),
        "{e}"
    );
    let e = RingReader::open(memfd(&good, len + 4096, sealed)).unwrap_err();
    assert!(e.to_string().contains("total_len"), "{e}");
    let e = RingReader::open(memfd(&good[..100], 100, sealed)).unwrap_err();
    assert!(e.to_string().contains("at least 256 bytes"), "{e}");
    let e = RingReader::open(memfd(&[], 0, sealed)).unwrap_err();
    assert!(matches!(e, Error::System { call: "mmap", .. }), "{e}");
    let e = RingReader::open(File::open("/dev/null").unwrap().into()).unwrap_err();
    assert!(
        matches!(
            e,
            Error::System {
                call: "fcntl(F_GET_SEALS)",
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn a_reader_survives_a_lying_writer() {
    // Control words and packets of nonsense behind a good header.
    let ring = ring(1, Mode::Discard, 4096, 4);
    let layout = ring.layout().clone();
    let sealed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    let fd = memfd(&layout.header(), layout.total_bytes as u64, sealed);
    let file = File::from(fd.try_clone().unwrap());
    let reader = RingReader::open(fd).unwrap();
    let lane = reader.lane(0).unwrap();
    let control = layout.lanes[0].control_offset as u64;
    let data = layout.lanes[0].data_offset as u64;
    let committed_words = [1, 87, 88, 90, 4095, 4096, 4097, 20_000, 1 << 40, u64::MAX];
    for fill in [0u8, 1, 0x40, 0xFF] {
        file.write_all_at(&vec![fill; layout.lanes[0].data_bytes()], data)
            .unwrap();
        for committed in committed_words {
            file.write_all_at(&committed.to_ne_bytes(), control)
                .unwrap();
            for oldest in [0u64, 3, u64::MAX] {
                file.write_all_at(&oldest.to_ne_bytes(), control + 128)
                    .unwrap();
                let mut viewer = kstrace_ring::Viewer::new(lane.clone(), Default::default());
                for _ in 0..100 {
                    match viewer.next_record() {
                        Ok(None) => break,
                        Ok(Some(_)) => {}
                        Err(e) => {
                            assert!(matches!(e, Error::Corrupt { .. }), "{e}");
                            viewer.skip_packet();
                        }
                    }
                }
                let _ = lane.snapshot();
            }
        }
    }
    for committed in [1u64, 4, 4097, u64::MAX - 7] {
        let at = layout.metadata_control_offset as u64;
        file.write_all_at(&committed.to_ne_bytes(), at).unwrap();
        assert!(matches!(
            reader.metadata().next_fragment(),
            Err(Error::Corrupt { .. })
        ));
    }
}

#[test]
fn a_lying_recorder_hurts_nobody() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let liar = ring.attach_recorder(RecorderOptions::default()).unwrap();
    let honest = ring.attach_recorder(RecorderOptions::default()).unwrap();
    let mut recorder = honest.recorder(0).unwrap();
    let page = File::from(liar.page_fd().try_clone_to_owned().unwrap());
    assert!(
        page.set_len(0).is_err() && page.set_len(1 << 20).is_err(),
        "the page is sealed"
    );
    let mut bytes = Vec::new();
    let mut packets = 0;
    for (t, lie) in [u64::MAX, 0, 1, 4097, 1 << 63, 12_288, 0, u64::MAX - 4096]
        .into_iter()
        .cycle()
        .take(200)
        .enumerate()
    {
        page.write_all_at(&lie.to_ne_bytes(), 64).unwrap();
        let t = SessionTime::from_ns(t as u64);
        assert_eq!(writer.append(ClassId(0), 0, t, &[1; 3000]), Append::Written);
        assert!(writer.free_sub_buffers() <= 3);
        while let Some(packet) = recorder.next_packet().unwrap() {
            assert_eq!(packet.header().packet_seq_num, packets);
            bytes.clear();
            packet.copy_into(&mut bytes).unwrap();
            packet.release();
            packets += 1;
        }
        // The liar claimed everything at first, so only the honest one holds space.
        if t.as_ns() == 0 {
            page.write_all_at(&[0; 4096], 0).unwrap();
        }
    }
    assert_eq!(packets, 199);
    // What a liar claims to have consumed it never held; what it then "takes back" it does not get back.
    assert_eq!(writer.stats().dropped_ring_full, 0);
}

#[test]
fn a_stalled_recorder_makes_records_drop() {
    let ring = ring(1, Mode::Discard, 4096, 4);
    let mut writer = ring.lane_writer(0).unwrap();
    let stalled = ring.attach_recorder(RecorderOptions::default()).unwrap();
    for t in 0..100 {
        writer.append(ClassId(0), 0, SessionTime::from_ns(t), &[1; 3000]);
    }
    let s = writer.stats();
    assert_eq!((s.written, s.dropped_ring_full), (4, 96));
    // Killed: its slot is dropped, and whoever attaches next can go on.
    drop(stalled);
    let next = ring.attach_recorder(RecorderOptions::default()).unwrap();
    let mut recorder = next.recorder(0).unwrap();
    while let Some(packet) = recorder.next_packet().unwrap() {
        packet.release();
    }
    assert_eq!(
        writer.append(ClassId(0), 0, SessionTime::from_ns(100), &[1; 3000]),
        Append::Written
    );
    assert_eq!(writer.free_sub_buffers(), 3);
}

#[test]
fn a_recorder_page_of_another_ring_is_refused() {
    let two = ring(2, Mode::Discard, 4096, 4);
    let hundred = ring(100, Mode::Discard, 4096, 4);
    let slot = two.attach_recorder(RecorderOptions::default()).unwrap();
    let open = |ring: &Ring| {
        kstrace_ring::RemoteRecorder::open(
            ring.fd().try_clone_to_owned().unwrap(),
            slot.page_fd().try_clone_to_owned().unwrap(),
            slot.wake_fd().try_clone_to_owned().unwrap(),
        )
    };
    open(&two).unwrap();
    let e = open(&hundred).unwrap_err();
    assert!(
        matches!(e, Error::RecorderPage { field: "size", .. }),
        "{e}"
    );
    let e = open(&ring(3, Mode::Discard, 4096, 4)).unwrap_err();
    assert!(
        matches!(
            e,
            Error::RecorderPage {
                field: "version and lanes",
                ..
            }
        ),
        "{e}"
    );
    File::from(slot.page_fd().try_clone_to_owned().unwrap())
        .write_all_at(b"x", 0)
        .unwrap();
    let e = open(&two).unwrap_err();
    assert!(
        matches!(e, Error::RecorderPage { field: "magic", .. }),
        "{e}"
    );
}

#[test]
fn configurations_out_of_bounds_are_named() {
    let good = config(1, Mode::Discard, 4096, 4);
    let refuse = |change: &dyn Fn(&mut kstrace_ring::RingConfig), parts: [&str; 3]| {
        let mut c = good.clone();
        change(&mut c);
        let message = Ring::create(&c).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "'{message}' does not say '{part}'");
        }
    };
    refuse(&|c| c.lanes.clear(), ["lanes", "0", "1 to 8192"]);
    refuse(
        &|c| c.lanes[0].sub_buffer_bytes = 1000,
        ["sub_buffer_bytes", "1000", "power of two"],
    );
    refuse(
        &|c| c.lanes[0].sub_buffer_bytes = 1 << 31,
        ["sub_buffer_bytes", "2147483648", "1073741824"],
    );
    refuse(
        &|c| c.lanes[0].sub_buffers = 1,
        ["sub_buffers", "1", "2 to"],
    );
    refuse(&|c| c.metadata_bytes = 0, ["metadata_bytes", "0", "64 to"]);
    refuse(
        &|c| c.recorder_slots = 65,
        ["recorder_slots", "65", "0 to 64"],
    );
    refuse(
        &|c| c.clock.kind = kstrace_schema::ClockKind::Tsc,
        ["clock.kind", "tsc", "nanoseconds"],
    );
    refuse(
        &|c| {
            c.lanes[0].sub_buffer_bytes = 1 << 30;
            c.lanes[0].sub_buffers = 1 << 20;
            let lane = c.lanes[0].clone();
            c.lanes = vec![lane; 8192];
        },
        ["lanes", "too many bytes", "9223372036854775807"],
    );
}
