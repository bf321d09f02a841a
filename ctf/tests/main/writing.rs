//! The directory: made, moved, refused; and whole after a kill at any instant.

use crate::support::{Collect, babeltrace2_ok, builder, class, int, record, session};
use kstrace_ctf::{TraceReader, TraceState, TraceWriter, TraceWriterOptions, is_kstrace_trace};
use kstrace_schema::{ErrorKind, FieldClass, Member};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn small_segments() -> TraceWriterOptions {
    TraceWriterOptions {
        first_segment_bytes: 16 << 10,
        max_segment_bytes: 1 << 20,
        ..TraceWriterOptions::default()
    }
}

/// A class whose records are large but short to print.
fn filler_class(id: u16) -> std::sync::Arc<kstrace_schema::EventRecordClass> {
    class(
        id,
        "filler",
        vec![
            Member::new("lane", int(4)),
            Member::new("number", int(4)),
            Member::new("text", FieldClass::StaticString { size_bytes: 3001 }),
        ],
    )
}

fn filler(lane: u32, number: u32) -> Vec<u8> {
    let mut payload = vec![0; 3009];
    payload[..4].copy_from_slice(&lane.to_ne_bytes());
    payload[4..8].copy_from_slice(&number.to_ne_bytes());
    payload
}

/// The numbers of each lane's records, which must be 0, 1, 2, ...
fn check(dir: &Path, least: [u32; 2]) {
    let mut reader = TraceReader::open(dir).unwrap();
    let mut sink = Collect::default();
    let summary = reader.read_into(&mut sink).unwrap();
    assert!(sink.records.is_sorted_by_key(|r| r.time_ns));
    let mut next = [0u32; 2];
    for record in &sink.records {
        let word = |at: usize| u32::from_ne_bytes(record.payload[at..at + 4].try_into().unwrap());
        let lane = word(0) as usize;
        assert_eq!(word(4), next[lane], "lane {lane} has a hole");
        next[lane] += 1;
    }
    for lane in 0..2 {
        assert!(
            next[lane] >= least[lane],
            "lane {lane}: {} of {}",
            next[lane],
            least[lane]
        );
    }
    let lines = babeltrace2_ok(dir);
    assert_eq!(lines.len() as u64, summary.records);
}

/// What the killed process runs; nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("KSTRACE_CTF_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    let restarts = std::env::var_os("KSTRACE_CTF_TEST_RESTARTS").is_some();
    let mut out = std::io::stdout().lock();
    let mut told = |text: String| {
        out.write_all(text.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    loop {
        let mut writer = TraceWriter::create(&dir, &session(), &small_segments()).unwrap();
        told("new\n".to_owned());
        let mut packets = [builder(0), builder(1)];
        let mut written = [0u32; 2];
        let mut time = 0;
        for round in 0..if restarts { 12 } else { u16::MAX } {
            // A class now and then, used at once.
            if round % 8 == 0 {
                writer.add_class(&filler_class(round / 8)).unwrap();
            }
            for (lane, packet) in packets.iter_mut().enumerate() {
                let mut number = written[lane];
                for _ in 0..1 + (u32::from(round) * 7 + lane as u32) % 40 {
                    time += 1;
                    packet.push(&record(time, round / 8, 0, &filler(lane as u32, number)));
                    number += 1;
                }
                packet
                    .take(|p| writer.append_packet(lane as u32, p))
                    .unwrap();
                written[lane] = number;
                told(format!("{lane} {number}\n"));
            }
        }
        writer.finish().unwrap();
        told("done\n".to_owned());
    }
}

struct Random(u64);

impl Random {
    /// The moment of the kill is random anyway.
    fn by_the_clock() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Random(u64::from(now.subsec_nanos()) | 1 << 40)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Runs the child and kills it after that time; gives what it said before it died.
fn kill_child(dir: &Path, restarts: bool, after: Duration) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "writing::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("KSTRACE_CTF_TEST_DIR", dir)
        .stdout(Stdio::piped());
    if restarts {
        command.env("KSTRACE_CTF_TEST_RESTARTS", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.trim_end().ends_with("new") {
        line.clear();
        assert!(
            out.read_line(&mut line).unwrap() > 0,
            "the child wrote nothing"
        );
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    rest.lines().map(str::to_owned).collect()
}

/// How often to kill; `KSTRACE_KILLS` asks for more than is quick.
fn kills() -> u32 {
    std::env::var("KSTRACE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12)
}

#[test]
fn killed_while_writing_it_is_whole() {
    let mut random = Random::by_the_clock();
    let dir = tempfile::tempdir().unwrap();
    for run in 0..kills() {
        let dir = dir.path().join(format!("{run}.kst"));
        let lines = kill_child(&dir, false, Duration::from_micros(random.below(25_000)));
        let mut least = [0u32; 2];
        for line in &lines {
            if let Some((lane, number)) = line.split_once(' ')
                && let (Ok(lane), Ok(number)) = (lane.parse::<usize>(), number.parse())
            {
                least[lane] = number;
            }
        }
        check(&dir, least);
        assert_eq!(
            TraceReader::open(&dir).unwrap().state(),
            TraceState::Recording
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn killed_while_starting_and_finishing_something_whole_is_there() {
    let mut random = Random::by_the_clock();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t.kst");
    let old = dir.path().join("t.kst.old");
    let mut complete = 0;
    for _ in 0..kills() {
        kill_child(&trace, true, Duration::from_micros(random.below(15_000)));
        assert!(trace.exists() || old.exists());
        for dir in [&trace, &old] {
            if dir.exists() {
                check(dir, [0, 0]);
                let reader = TraceReader::open(dir).unwrap();
                complete += u32::from(reader.state() == TraceState::Complete);
            }
        }
    }
    assert!(complete > 0, "no run was killed after finishing a trace");
}

/// A file system of a few MiB, where the test may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .status()
            .is_ok_and(|s| s.success());
        if !mounted {
            eprintln!("skipped: mounting a small tmpfs needs CAP_SYS_ADMIN");
            return None;
        }
        Some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_what_fits_is_whole() {
    for size in ["300k", "1000k", "3m"] {
        let Some(disk) = SmallDisk::mount(size) else {
            return;
        };
        let dir = disk.0.path().join("t.kst");
        let mut writer = TraceWriter::create(&dir, &session(), &small_segments()).unwrap();
        writer.add_class(&filler_class(0)).unwrap();
        let mut packet = builder(0);
        let mut number = 0;
        let error = loop {
            for i in 0..9 {
                let number = number + i;
                packet.push(&record(u64::from(number), 0, 0, &filler(0, number)));
            }
            if let Err(e) = packet.take(|p| writer.append_packet(0, p)) {
                break e;
            }
            number += 9;
            assert!(number < 10_000, "the disk never filled");
        };
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
        assert!(format!("{error:?}").contains("lane0_"), "{error:?}");
        check(&dir, [number, 0]);
        // Completing may fail for want of space; the trace stays whole.
        let _ = writer.finish();
        check(&dir, [number, 0]);
        assert_eq!(writer.records_written(), u64::from(number));
    }
}

#[test]
fn a_finished_trace_has_no_slack() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &small_segments()).unwrap();
    writer.add_class(&filler_class(0)).unwrap();
    let mut packet = builder(0);
    let mut bytes = 0;
    for number in 0..600 {
        packet.push(&record(u64::from(number), 0, 0, &filler(0, number)));
        if number % 10 == 9 {
            packet
                .take(|p| {
                    bytes += p.len() as u64;
                    writer.append_packet(0, p)
                })
                .unwrap();
        }
    }
    let accounts = writer.finish().unwrap().clone();
    assert_eq!((accounts.records, accounts.packets), (600, 60));
    let reader = TraceReader::open(&dir).unwrap();
    assert_eq!(reader.state(), TraceState::Complete);
    let on_disk: u64 = reader.files().map(|f| f.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, bytes);
    assert!(
        reader.files().count() > 3,
        "the files should have been many"
    );
    check(&dir, [600, 0]);
    let hidden = std::fs::read_dir(&dir)
        .unwrap()
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with('.')
        })
        .count();
    assert_eq!(hidden, 0);
}

#[test]
fn an_existing_trace_becomes_old_and_nothing_else_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t.kst");
    let create = || TraceWriter::create(&trace, &session(), &TraceWriterOptions::default());
    std::fs::create_dir(&trace).unwrap();
    // An empty directory will do.
    create().unwrap().finish().unwrap();
    std::fs::write(trace.join("note"), "first").unwrap();
    create().unwrap().finish().unwrap();
    let old = dir.path().join("t.kst.old");
    assert!(old.join("note").exists() && !trace.join("note").exists());
    create().unwrap().finish().unwrap();
    assert!(is_kstrace_trace(&old) && !old.join("note").exists());

    // Something else under the old name.
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::write(&old, "mine").unwrap();
    assert_eq!(create().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "mine");
    assert!(is_kstrace_trace(&trace));

    // Something else under the name.
    std::fs::remove_file(&old).unwrap();
    std::fs::remove_dir_all(&trace).unwrap();
    std::fs::create_dir(&trace).unwrap();
    std::fs::write(trace.join("thesis.tex"), "").unwrap();
    let error = create().unwrap_err();
    assert!(error.to_string().contains("not a kstrace trace"), "{error}");
    assert!(trace.join("thesis.tex").exists());
    std::fs::remove_dir_all(&trace).unwrap();
    std::os::unix::fs::symlink("/etc", &trace).unwrap();
    assert!(create().is_err());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "something was left behind"
    );

    for bad in ["/", "..", ""] {
        assert!(
            TraceWriter::create(Path::new(bad), &session(), &TraceWriterOptions::default())
                .is_err(),
            "'{bad}'"
        );
    }
    let nowhere = dir.path().join("no/such/t.kst");
    let error =
        TraceWriter::create(&nowhere, &session(), &TraceWriterOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn packets_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    writer.add_class(&filler_class(0)).unwrap();
    let mut packet = builder(0);
    packet.push(&record(1, 0, 0, &filler(0, 0)));
    let good = packet.take(<[u8]>::to_vec);
    // magic, uuid, stream class, content size, record count, payload length
    for at in [0usize, 5, 20, 48 + 3, 84, 88 + 14] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        let error = writer.append_packet(0, &bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "byte {at}");
    }
    for len in [0, 87, 88, 100, good.len() - 9] {
        assert!(
            writer.append_packet(0, &good[..len]).is_err(),
            "{len} bytes"
        );
    }
    writer.append_packet(0, &good).unwrap();
    writer.finish().unwrap();
    check(&dir, [1, 0]);
}
