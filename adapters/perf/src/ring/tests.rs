//! A memfd plays the kernel's ring, so that wrap-around, disorder and nonsense
//! can be had at will.

use super::*;
use crate::attr::Attr;
use crate::layout::SampleIdShape;
use crate::mmap::page_bytes;
use crate::open::OpenedEvent;
use kstrace_schema::{ClassRegistry, EventRecordClass};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::pwrite;
use std::os::fd::OwnedFd;

const ID: u64 = 500;
const SAMPLE_TYPE: u64 = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN;
const TRAILER_BYTES: usize = 16;

struct Kernel {
    fd: OwnedFd,
    data_bytes: u64,
    head: u64,
}

impl Kernel {
    fn write(&mut self, bytes: &[u8]) {
        let page = page_bytes() as u64;
        for (i, word) in bytes.chunks(8).enumerate() {
            let at = (self.head + 8 * i as u64) & (self.data_bytes - 1);
            pwrite(&self.fd, word, (page + at) as i64).unwrap();
        }
        self.head += bytes.len() as u64;
    }

    fn publish(&self) {
        pwrite(&self.fd, &self.head.to_ne_bytes(), 1024).unwrap();
    }

    fn record(&mut self, record_type: u32, body: &[u8]) {
        let mut bytes = record_type.to_ne_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(u16::try_from(8 + body.len()).unwrap().to_ne_bytes());
        bytes.extend(body);
        self.write(&bytes);
    }

    /// A sample with `extra` addresses, each equal to `time`.
    fn sample(&mut self, id: u64, time: u64, extra: u64) {
        let words = [id, time, extra]
            .into_iter()
            .chain((0..extra).map(|_| time));
        let body: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        self.record(PERF_RECORD_SAMPLE, &body);
    }

    fn other(&mut self, record_type: u32, words: &[u64], time: u64) {
        let words = words.iter().copied().chain([time, ID]);
        let body: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        self.record(record_type, &body);
    }
}

fn event() -> OpenedEvent {
    let mut attr = Attr::new(1, 0);
    attr.sample_type = SAMPLE_TYPE;
    OpenedEvent {
        name: "e".into(),
        attr,
        tracepoint: None,
        filter: None,
        ids: vec![ID],
    }
}

fn pair(data_bytes: usize) -> (Kernel, RingStream) {
    let fd = memfd_create(c"fake perf ring", MFdFlags::MFD_CLOEXEC).unwrap();
    nix::unistd::ftruncate(&fd, (page_bytes() + data_bytes) as i64).unwrap();
    let registry = Arc::new(ClassRegistry::new());
    let source = SourceId(1);
    let trailer = SampleIdShape::new(SAMPLE_TYPE);
    assert_eq!(trailer.size_bytes(), TRAILER_BYTES);
    let shared = Shared {
        source,
        clock: ClockKind::Monotonic,
        grace_ns: 0,
        stopped: AtomicBool::new(false),
        late: AtomicU64::new(0),
        trailers: None,
        tells_loss: true,
        ids: IdTable::new(&[(ID, 0)]),
        samples: vec![SampleClasses::register(&event(), source, &registry).unwrap()],
        records: RecordClasses::new(source, &registry, trailer, None),
    };
    let ring = MappedRing::map(fd.as_fd(), data_bytes).unwrap();
    let events = CpuEvents {
        cpu: 3,
        ring_owner: fd.try_clone().unwrap(),
        events: Vec::new(),
    };
    let stream = RingStream::new(Arc::new(shared), Arc::new(events), ring);
    (
        Kernel {
            fd,
            data_bytes: data_bytes as u64,
            head: 0,
        },
        stream,
    )
}

#[derive(Default)]
struct Out {
    /// Class name, time, payload.
    records: Vec<(ClassId, u64, Vec<u8>)>,
    losses: Vec<Loss>,
    classes: Vec<Arc<EventRecordClass>>,
}

impl Sink for Out {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes.push(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, r: &EventRecord<'_>) -> Result<()> {
        self.records
            .push((r.class, r.time.as_ns(), r.payload.to_vec()));
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.losses.push(loss.clone());
        Ok(())
    }
}

impl Out {
    fn times(&self) -> Vec<u64> {
        self.records.iter().map(|r| r.1).collect()
    }
}

fn until(ns: u64) -> SessionTime {
    SessionTime::from_ns(ns)
}

#[test]
fn records_that_go_round_the_end_are_whole() {
    let (mut kernel, mut stream) = pair(4096);
    let mut out = Out::default();
    let mut time = 0;
    for round in 0..200u64 {
        for extra in 0..round % 13 {
            time += 1;
            kernel.sample(ID, time, extra * 3);
        }
        kernel.publish();
        let fill = stream.fill(&mut out).unwrap();
        assert!(!fill.more);
        stream.emit(until(time), &mut out).unwrap();
        assert_eq!(stream.ring.tail(), kernel.head, "all room is given back");
    }
    assert!(kernel.head > 20 * 4096);
    assert_eq!(out.times(), (1..=time).collect::<Vec<_>>());
    for (_, time, payload) in &out.records {
        assert_eq!(payload[16..24], time.to_ne_bytes());
        for address in payload[32..].chunks(8) {
            assert_eq!(address, time.to_ne_bytes());
        }
    }
    let account = stream.finish(&mut out).unwrap();
    assert_eq!((account.seen, account.written), (time, time));
}

#[test]
fn disorder_is_sorted_and_what_is_not_due_stays_in_the_ring() {
    let (mut kernel, mut stream) = pair(4096);
    let mut out = Out::default();
    for time in [10, 40, 20] {
        kernel.sample(ID, time, 0);
    }
    kernel.publish();
    stream.fill(&mut out).unwrap();
    assert_eq!(stream.peek(), Some(until(10)));
    assert_eq!(stream.emit(until(25), &mut out).unwrap(), 2);
    assert_eq!(out.times(), [10, 20]);
    assert_eq!(stream.peek(), Some(until(40)));
    kernel.sample(ID, 30, 0);
    kernel.publish();
    stream.fill(&mut out).unwrap();
    // The one at 40 stands before the one already handed over.
    assert_eq!(stream.ring.tail(), 32);
    stream.emit(until(100), &mut out).unwrap();
    assert_eq!(out.times(), [10, 20, 30, 40]);
    assert_eq!(stream.ring.tail(), kernel.head);
    assert_eq!(stream.shared.late.load(Ordering::Relaxed), 0);
}

#[test]
fn a_record_after_its_time_is_counted_and_never_goes_back() {
    let (mut kernel, mut stream) = pair(4096);
    let mut out = Out::default();
    kernel.sample(ID, 100, 0);
    kernel.publish();
    stream.fill(&mut out).unwrap();
    stream.emit(until(150), &mut out).unwrap();
    kernel.sample(ID, 120, 0);
    kernel.publish();
    stream.fill(&mut out).unwrap();
    stream.emit(until(200), &mut out).unwrap();
    assert_eq!(out.times(), [100, 150]);
    assert_eq!(
        out.records[1].2[16..24],
        120u64.to_ne_bytes(),
        "the payload keeps the truth"
    );
    assert_eq!(stream.shared.late.load(Ordering::Relaxed), 1);
}

#[test]
fn lost_records_become_loss_between_their_neighbours() {
    let (mut kernel, mut stream) = pair(4096);
    let mut out = Out::default();
    kernel.sample(ID, 10, 0);
    kernel.other(PERF_RECORD_LOST, &[ID, 7], 30);
    kernel.sample(ID, 31, 0);
    kernel.other(PERF_RECORD_LOST_SAMPLES, &[2], 40);
    kernel.publish();
    stream.fill(&mut out).unwrap();
    assert_eq!(stream.emit(until(100), &mut out).unwrap(), 2);
    let told: Vec<_> = out
        .losses
        .iter()
        .map(|l| (l.count, l.begin.as_ns(), l.end.as_ns()))
        .collect();
    assert_eq!(told, [(7, 10, 30), (2, 31, 40)]);
    assert!(
        out.losses
            .iter()
            .all(|l| l.cpu == Cpu(3) && l.certainty == Certainty::Exact)
    );
    let account = stream.finish(&mut out).unwrap();
    assert!(account.balances());
    assert_eq!((account.seen, account.written), (11, 2));
}

#[test]
fn what_is_unknown_is_kept() {
    let (mut kernel, mut stream) = pair(4096);
    let mut out = Out::default();
    kernel.sample(ID, 10, 0);
    kernel.sample(999, 77, 0);
    kernel.other(4000, &[1, 2, 3], 20);
    kernel.record(PERF_RECORD_SAMPLE, &[]);
    kernel.publish();
    stream.fill(&mut out).unwrap();
    stream.emit(until(100), &mut out).unwrap();
    // A sample of nobody's has no time that can be found: that of the one before.
    assert_eq!(out.times(), [10, 10, 20, 20]);
    let names: Vec<_> = out.classes.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["PERF_RECORD_SAMPLE", "PERF_RECORD_4000"]);
    assert!(out.losses.is_empty());
}

#[test]
fn nonsense_is_one_loss_and_the_stream_goes_on() {
    for nonsense in [[9u16, 0], [9, 4], [9, 12], [9, 64]] {
        let (mut kernel, mut stream) = pair(4096);
        let mut out = Out::default();
        kernel.sample(ID, 10, 0);
        let mut bytes = [0u8; 16];
        bytes[..2].copy_from_slice(&nonsense[0].to_ne_bytes());
        bytes[6..8].copy_from_slice(&nonsense[1].to_ne_bytes());
        kernel.write(&bytes);
        kernel.publish();
        stream.fill(&mut out).unwrap();
        stream.emit(until(50), &mut out).unwrap();
        kernel.sample(ID, 60, 0);
        kernel.publish();
        stream.fill(&mut out).unwrap();
        stream.emit(until(100), &mut out).unwrap();
        assert_eq!(out.times(), [10, 60], "{nonsense:?}");
        assert_eq!(out.losses.len(), 1);
        assert_eq!(out.losses[0].reason, LossReason::Unparsable);
        let account = stream.finish(&mut out).unwrap();
        assert_eq!(account.certainty, Certainty::AtLeast);
        assert!(account.balances());
    }
    let (mut kernel, mut stream) = pair(4096);
    kernel.head = 1 << 40;
    kernel.publish();
    assert!(stream.fill(&mut Out::default()).is_err());
}

#[test]
fn much_is_taken_in_by_pieces() {
    let (mut kernel, mut stream) = pair(4 << 20);
    let mut out = Out::default();
    const N: u64 = 60_000;
    for time in 1..=N {
        kernel.sample(ID, time, 1);
    }
    kernel.publish();
    let mut fills = 0;
    loop {
        let fill = stream.fill(&mut out).unwrap();
        fills += 1;
        stream.emit(fill.complete_until, &mut out).unwrap();
        if !fill.more {
            break;
        }
        assert!(
            fill.complete_until <= until(N),
            "the rest is younger than what is promised"
        );
    }
    assert!(fills > 5, "{fills}");
    assert_eq!(out.times(), (1..=N).collect::<Vec<_>>());
}

#[test]
fn random_disorder_within_the_grace_comes_out_sorted() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    const JITTER: u64 = 50;
    for _ in 0..20 {
        let (mut kernel, mut stream) = pair(8192);
        let mut out = Out::default();
        let mut sent = Vec::new();
        let mut clock = 1000;
        for _ in 0..100 {
            for _ in 0..random(12) {
                clock += random(20);
                let time = clock - random(JITTER);
                kernel.sample(ID, time, random(8));
                sent.push(time);
            }
            kernel.publish();
            stream.fill(&mut out).unwrap();
            // As an engine does that merges: never past what is known complete.
            stream
                .emit(until(clock - JITTER - random(20)), &mut out)
                .unwrap();
        }
        stream.fill(&mut out).unwrap();
        stream.emit(SessionTime::MAX, &mut out).unwrap();
        sent.sort_unstable();
        assert_eq!(out.times(), sent);
        assert_eq!(stream.shared.late.load(Ordering::Relaxed), 0);
        for (_, time, payload) in &out.records {
            assert_eq!(payload[16..24], time.to_ne_bytes());
        }
    }
}
