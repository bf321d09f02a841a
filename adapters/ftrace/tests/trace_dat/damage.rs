//! Files of other machines, damaged files, and files that mean harm.

use super::fixture::{EVENTS, MACHINES, Machine, Order};
use super::kit::{self, Scratch};
use kstrace_ftrace::file::{Compression, TraceDatOptions, TraceDatReader};
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{ErrorKind, FileInput};
use proptest::prelude::*;

const HERE: Machine = MACHINES[0];

fn read(bytes: &[u8]) -> kstrace_schema::Result<(kit::Seen, Vec<kstrace_schema::Error>)> {
    let mut reader = TraceDatReader::from_reader(bytes, "made.dat")?;
    let mut seen = kit::Seen::default();
    let damage = kit::drive(&mut reader, &mut seen)?;
    Ok((seen, damage))
}

/// The fields of all records, in order.
fn fields(seen: &kit::Seen) -> Vec<(u64, u32, u64, i16, String)> {
    let field = |payload: &[u8], class: &kstrace_schema::EventRecordClass, name| {
        FieldAccess::by_name(&class.payload, name)
            .unwrap()
            .get_u64(payload)
            .unwrap()
    };
    seen.records
        .iter()
        .map(|record| {
            let class = &seen.classes[&record.class];
            assert_eq!(class.name, "sys:thing");
            let number = |name| field(&record.payload, class, name);
            let text = FieldAccess::by_name(&class.payload, "text").unwrap();
            let text = text.get_bytes(&record.payload).unwrap();
            (
                record.time.as_ns(),
                number("common_pid") as u32,
                number("big"),
                number("small") as i16,
                String::from_utf8(text.to_vec()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn every_kind_of_machine() {
    let scratch = Scratch::new();
    let wanted: Vec<_> = EVENTS
        .iter()
        .map(|e| (e.0, e.1, e.2, e.3, e.4.to_owned()))
        .collect();
    let mut said = Vec::new();
    for machine in MACHINES {
        let bytes = machine.file(&[]);
        let (seen, damage) = read(&bytes).unwrap();
        assert!(damage.is_empty(), "{machine:?} {damage:?}");
        assert_eq!(fields(&seen), wanted, "{machine:?}");
        assert_eq!(seen.losses.iter().map(|l| l.count).sum::<u64>(), 5);
        let path = scratch.path("made.dat");
        std::fs::write(&path, &bytes).unwrap();
        let text = kit::report(&path, &["-t"]);
        assert!(text.contains("CPU:1 [5 EVENTS DROPPED]"), "{text}");
        for version in [7, 6] {
            let options = TraceDatOptions {
                version,
                ..TraceDatOptions::default()
            };
            let written = scratch.path("written.dat");
            let report = kit::rewrite(&path, &written, options);
            assert!(report.is_lossless(), "{report:?}");
            kit::assert_same(
                &text,
                &kit::report(&written, &["-t"]),
                &format!("{machine:?}"),
            );
            let big = std::fs::read(&written).unwrap()[12] == 1;
            assert_eq!(big, machine.order.big);
        }
        said.push(text);
    }
    // trace-cmd agrees that the files say the same.
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn cycles_become_nanoseconds_as_trace_cmd_has_them() {
    let scratch = Scratch::new();
    for (mult, shift, offset) in [
        (419_430_400u32, 30u32, 0u64),
        (7, 3, 1_000),
        (1_717_986_918, 32, 5),
    ] {
        let mut data = HERE.u32(mult);
        data.extend(HERE.u32(shift));
        data.extend(HERE.u64(offset));
        let more = [(14, data), (7, b"-12345\0".to_vec())];
        let path = scratch.path("cycles.dat");
        std::fs::write(&path, HERE.file(&more)).unwrap();
        let said = kit::report(&path, &["-t"]);
        let (seen, _) = kit::read(&path).unwrap();
        for record in &seen.records {
            let ns = record.time.as_ns();
            let shown = format!(" {}.{:09}: ", ns / 1_000_000_000, ns % 1_000_000_000);
            assert!(said.contains(&shown), "{shown} in {said}");
        }
        let written = scratch.path("written.dat");
        assert!(kit::rewrite(&path, &written, TraceDatOptions::default()).is_lossless());
        kit::assert_same(&said, &kit::report(&written, &["-t"]), "cycles");
    }
}

#[test]
fn unknown_options_are_kept() {
    let scratch = Scratch::new();
    let path = scratch.path("unknown.dat");
    let more = [
        (77, b"\xffwhatever\0".to_vec()),
        (13, b"guest\0\x01\x02".to_vec()),
    ];
    std::fs::write(&path, HERE.file(&more)).unwrap();
    let written = scratch.path("written.dat");
    assert!(kit::rewrite(&path, &written, TraceDatOptions::default()).is_lossless());
    let options = |path| {
        let reader = TraceDatReader::open(path).unwrap();
        reader.session().sources[1].attributes["tracedat.options"].clone()
    };
    let kept = options(&written);
    for option in options(&path).as_array().unwrap() {
        assert!(
            kept.as_array().unwrap().contains(option),
            "{option} in {kept}"
        );
    }
}

#[test]
fn whatever_is_cut_off_what_is_whole_is_delivered() {
    let bytes = HERE.file(&[]);
    let whole = read(&bytes).unwrap().0.records;
    let data = bytes.len() - 2 * 4096;
    for len in (0..data).step_by(7).chain(data..bytes.len()) {
        match read(&bytes[..len]) {
            Ok((seen, damage)) => {
                // Behind the options there is only padding before the data.
                assert!(!damage.is_empty(), "{len}");
                for error in &damage {
                    assert!(error.to_string().contains("made.dat"), "{error}");
                    assert!(error.to_string().contains("data of CPU"), "{error}");
                }
                // A page that is there is there whole.
                let expected: usize = if len >= data + 4096 { 2 } else { 0 };
                assert!(
                    seen.records.len() >= expected,
                    "{len}: {}",
                    seen.records.len()
                );
                for record in &seen.records {
                    assert!(whole.contains(record), "{len}");
                }
            }
            Err(error) => {
                assert!(len < data, "{len} {error}");
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::Truncated | ErrorKind::InvalidData),
                    "{len} {error:?}"
                );
                assert!(error.to_string().contains("made.dat"), "{error}");
            }
        }
    }
}

/// One fault each, and the words that the error must have.
#[test]
fn single_faults_are_named() {
    let bytes = HERE.file(&[]);
    let at = |needle: &[u8]| {
        bytes
            .windows(needle.len())
            .position(|w| w == needle)
            .unwrap()
    };
    let options = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) as usize;
    let faults: [(&str, usize, Vec<u8>, &str); 9] = [
        ("other magic", 3, b"T".to_vec(), "no trace.dat"),
        ("version 8", 10, b"8".to_vec(), "version '8'"),
        ("byte order 2", 12, vec![2], "byte order is 2"),
        ("long of 3 bytes", 13, vec![3], "size of long is 3"),
        ("page size 0", 14, vec![0; 4], "page size is 0"),
        ("compression lzo", 18, b"lzo\0".to_vec(), "'lzo'"),
        ("options behind the end", 24, vec![0xff; 7], "needed"),
        (
            "a section of another id",
            options,
            vec![9],
            "id of the section is 9",
        ),
        (
            "header_page without timestamp",
            at(b"timestamp"),
            b"timestomp".to_vec(),
            "header_page",
        ),
    ];
    for (fault, place, with, words) in faults {
        let mut bad = bytes.clone();
        bad[place..place + with.len()].copy_from_slice(&with);
        let error = read(&bad).map(|_| ()).unwrap_err();
        let said = format!("{error:?}");
        assert!(said.contains(words), "{fault}: {said}");
        assert!(said.contains("made.dat"), "{fault}: {said}");
    }
    // A page whose event is longer than the page: the other CPU is unharmed.
    let page = bytes.len() - 2 * 4096;
    let mut bad = bytes.clone();
    bad[page + 8..page + 10].copy_from_slice(&20u16.to_le_bytes());
    let (seen, damage) = read(&bad).unwrap();
    assert_eq!(seen.records.len(), 2);
    assert_eq!(damage.len(), 1);
    let said = damage[0].to_string();
    assert!(
        said.contains("data of CPU 0") && said.contains(&format!("offset {page}")),
        "{said}"
    );
}

#[test]
fn options_that_chain_to_themselves_end() {
    let mut bytes = HERE.file(&[]);
    let options = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    // The last option of the section: where the next one is.
    let size = u64::from_le_bytes(bytes[options as usize + 8..][..8].try_into().unwrap());
    let next = (options + 16 + size - 8) as usize;
    bytes[next..next + 8].copy_from_slice(&options.to_le_bytes());
    let error = read(&bytes).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}

#[test]
fn lengths_without_end_cost_nothing() {
    // Sizes of all ones at every place where a size may stand.
    let bytes = HERE.file(&[]);
    let end = bytes.len() - 2 * 4096;
    for place in (10..end).step_by(3) {
        let mut bad = bytes.clone();
        let to = (place + 8).min(end);
        bad[place..to].fill(0xff);
        let _ = read(&bad);
    }
}

#[test]
fn more_cpus_than_memory_are_refused() {
    // A second buffer of 4096 CPUs with pages of a mebibyte.
    let place = HERE.file(&[]).len() as u64;
    let mut buffer = HERE.u64(place);
    buffer.extend(b"big\0mono\0");
    buffer.extend(HERE.u32(1 << 20));
    buffer.extend(HERE.u32(4096));
    for cpu in 0..4096u32 {
        buffer.extend(HERE.u32(cpu));
        buffer.extend(HERE.u64(0));
        buffer.extend(HERE.u64(4096));
    }
    let mut bytes = HERE.file(&[(3, buffer.clone())]);
    // The option is longer than what the first try knew of: say where its section is.
    let place = bytes.len() as u64;
    let at = bytes.windows(8).position(|w| w == b"big\0mono").unwrap();
    bytes[at - 8..at].copy_from_slice(&HERE.u64(place));
    bytes.extend(HERE.u16(3));
    bytes.extend([0; 14]);
    let error = read(&bytes).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("CPUs and page sizes"), "{error}");
}

#[test]
fn a_file_of_a_latency_tracer_is_refused_by_name() {
    let bytes = HERE.file(&[(22, HERE.u64(0))]);
    let error = read(&bytes).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("latency"), "{error}");
}

/// Compressed as trace-cmd does it, to be damaged.
fn packed() -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.path("made.dat");
    std::fs::write(&path, HERE.file(&[])).unwrap();
    let written = scratch.path("packed.dat");
    let options = TraceDatOptions {
        compression: Compression::Zstd,
        ..TraceDatOptions::default()
    };
    kit::rewrite(&path, &written, options);
    std::fs::read(&written).unwrap()
}

fn old() -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.path("made.dat");
    let big = Machine {
        order: Order { big: true },
        long: 4,
    };
    std::fs::write(&path, big.file(&[])).unwrap();
    let written = scratch.path("old.dat");
    let options = TraceDatOptions {
        version: 6,
        ..TraceDatOptions::default()
    };
    kit::rewrite(&path, &written, options);
    std::fs::read(&written).unwrap()
}

/// Makes the first inputs of the fuzz target `trace_dat`.
#[test]
#[ignore = "writes fuzz/corpus; run it by hand"]
fn write_fuzz_seeds() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/trace_dat");
    std::fs::create_dir_all(directory).unwrap();
    let big = MACHINES[3];
    for (name, bytes) in [
        ("little-endian-64", HERE.file(&[])),
        ("big-endian-32", big.file(&[])),
        ("zstd", packed()),
        ("version-6", old()),
        (
            "options",
            HERE.file(&[(1, b"0x12345\0".to_vec()), (7, b"-5\0".to_vec())]),
        ),
        ("cut", HERE.file(&[])[..1500].to_vec()),
    ] {
        std::fs::write(format!("{directory}/{name}"), bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_harms_the_reader(
        which in 0..3usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        thread_local! {
            static FILES: [Vec<u8>; 3] = [HERE.file(&[]), packed(), old()];
        }
        let mut bytes = FILES.with(|files| files[which].clone());
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read(&bytes);
    }

    #[test]
    fn nothing_in_a_page_harms_the_reader(
        words in prop::collection::vec(any::<u32>(), 1..200),
        time in any::<u64>(),
        flags in 0..4u64,
    ) {
        let mut bytes = HERE.file(&[]);
        let page = bytes.len() - 2 * 4096;
        let data: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes[page..page + 8].copy_from_slice(&time.to_le_bytes());
        let commit = data.len() as u64 | flags << 30;
        bytes[page + 8..page + 16].copy_from_slice(&commit.to_le_bytes());
        bytes[page + 16..page + 16 + data.len()].copy_from_slice(&data);
        let (seen, damage) = read(&bytes).unwrap();
        prop_assert!(damage.len() <= 1);
        prop_assert!(seen.records.len() >= 2);
    }
}
