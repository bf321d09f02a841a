//! Random use of a lane against a plain model of one.

use crate::support::{Seen, decode, ring};
use kstrace_ring::{
    Append, LaneWriter, Mode, Recorder, RecorderOptions, RecorderSlot, Ring, Start, Viewer,
};
use kstrace_schema::wire::record_size_bytes;
use kstrace_schema::{ClassId, SessionTime};
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Step {
    /// Payload length; time step, possibly back.
    Append(usize, i64),
    Publish,
    Flush,
    NoteLost(u64),
    /// Lets recorder `.0` (if attached) take `.1` packets.
    Record(usize, usize),
    View(usize),
    Attach(usize),
    Detach(usize),
    DrainInline,
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (prop_oneof![4 => 0usize..200, 2 => 200usize..3000, 1 => 3900usize..4200], -5i64..20)
            .prop_map(|(len, dt)| Step::Append(len, dt)),
        3 => Just(Step::Publish),
        2 => Just(Step::Flush),
        1 => (0u64..9).prop_map(Step::NoteLost),
        3 => (0usize..2, 0usize..5).prop_map(|(r, n)| Step::Record(r, n)),
        2 => (0usize..60).prop_map(Step::View),
        1 => (0usize..2).prop_map(Step::Attach),
        1 => (0usize..2).prop_map(Step::Detach),
        1 => Just(Step::DrainInline),
        1 => Just(Step::Snapshot),
    ]
}

/// A lane as one would write it without a care: a list of packets.
struct Model {
    mode: Mode,
    sub_buffers: usize,
    room: usize,
    /// Closed packets and, if `open`, the open one.
    packets: VecDeque<Vec<Seen>>,
    first: u64,
    open: bool,
    used: usize,
    last_ns: u64,
    least_begin_ns: u64,
    /// First packet that each recorder needs; the last is the inline one.
    needs: [Option<u64>; 3],
    released: u64,
    written: u64,
    full: u64,
    too_big: u64,
    overwritten: u64,
    late: u64,
}

impl Model {
    fn closed(&self) -> u64 {
        self.first + self.packets.len() as u64 - u64::from(self.open)
    }

    fn close(&mut self) {
        self.open = false;
        self.used = self.room;
    }

    fn append(&mut self, len: usize, ns: u64) -> Append {
        let size = record_size_bytes(len);
        if size > self.room {
            self.too_big += 1;
            return Append::TooBig;
        }
        let opens = !self.open || self.used + size > self.room;
        if opens {
            if self.open {
                self.close();
            }
            if let Some(held) = self.needs.iter().flatten().min() {
                self.released = self.released.max(*held);
            }
            if self.packets.len() == self.sub_buffers {
                let held = self.needs.iter().flatten().any(|n| *n <= self.first);
                let recorded = if self.needs.iter().flatten().next().is_some() {
                    !held
                } else {
                    self.first < self.released
                };
                if held || !recorded && self.mode == Mode::Discard {
                    self.full += 1;
                    return Append::RingFull;
                }
                let gone = self.packets.pop_front().unwrap();
                self.first += 1;
                if !recorded {
                    self.overwritten += gone.len() as u64;
                }
            }
            self.packets.push_back(Vec::new());
            self.open = true;
            self.used = 0;
        }
        let mut stamped = ns.max(self.last_ns);
        if opens {
            // No two packets begin at the same time.
            stamped = stamped.max(self.least_begin_ns);
            self.least_begin_ns = stamped + 1;
        }
        self.late += u64::from(stamped != ns);
        self.last_ns = stamped;
        let n = self.written;
        self.packets
            .back_mut()
            .unwrap()
            .push(record(n, len, stamped));
        self.used += size;
        self.written += 1;
        Append::Written
    }
}

fn record(n: u64, len: usize, ns: u64) -> Seen {
    Seen {
        class: n as u16,
        rest: (n >> 3) as u16,
        ns,
        payload: (0..len).map(|i| (n as usize * 13 + i) as u8).collect(),
    }
}

struct Attached {
    slot: RecorderSlot,
    recorder: Recorder,
}

struct Run {
    ring: Ring,
    writer: LaneWriter,
    model: Model,
    attached: [Option<Attached>; 2],
    viewer: Viewer,
    /// Every record that was ever written.
    all: Vec<Seen>,
    viewed: u64,
    now: u64,
}

impl Run {
    fn new(mode: Mode, sub_buffers: usize) -> Self {
        let ring = ring(1, mode, 4096, sub_buffers);
        let viewer = Viewer::new(ring.reader().lane(0).unwrap(), Start::Oldest);
        let room = 4096 - 88;
        Run {
            writer: ring.lane_writer(0).unwrap(),
            ring,
            model: Model {
                mode,
                sub_buffers,
                room,
                packets: VecDeque::new(),
                first: 0,
                open: false,
                used: room,
                last_ns: 0,
                least_begin_ns: 0,
                needs: [None; 3],
                released: 0,
                written: 0,
                full: 0,
                too_big: 0,
                overwritten: 0,
                late: 0,
            },
            attached: [None, None],
            viewer,
            all: Vec::new(),
            viewed: 0,
            now: 100,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(len, dt) => {
                self.now = self.now.saturating_add_signed(dt);
                let n = self.model.written;
                let r = record(n, len, 0);
                let time = SessionTime::from_ns(self.now);
                let got = self
                    .writer
                    .append(ClassId(r.class), r.rest, time, &r.payload);
                let room = self.writer.free_sub_buffers();
                assert_eq!(got, self.model.append(len, self.now));
                assert!(room <= self.model.sub_buffers);
                if got == Append::Written {
                    self.all.push(record(n, len, self.model.last_ns));
                }
            }
            Step::Publish => self.publish(),
            Step::Flush => {
                self.writer.flush();
                if self.model.open {
                    self.model.close();
                }
            }
            Step::NoteLost(n) => self.writer.note_lost(n),
            Step::Record(i, n) => {
                for _ in 0..n {
                    let Some(a) = &mut self.attached[i] else {
                        break;
                    };
                    let next = self.model.needs[i].unwrap();
                    let packet = a.recorder.next_packet().unwrap();
                    assert_eq!(packet.is_some(), next < self.model.closed());
                    let Some(packet) = packet else { break };
                    let mut bytes = Vec::new();
                    packet.copy_into(&mut bytes).unwrap();
                    packet.release();
                    let (header, records) = decode(&bytes);
                    assert_eq!(header.packet_seq_num, next);
                    assert_eq!(
                        records,
                        self.model.packets[(next - self.model.first) as usize]
                    );
                    self.model.needs[i] = Some(next + 1);
                }
            }
            Step::View(n) => self.view(n),
            Step::Attach(i) => {
                if self.attached[i].is_none() {
                    let slot = self
                        .ring
                        .attach_recorder(RecorderOptions::default())
                        .unwrap();
                    let recorder = slot.recorder(0).unwrap();
                    self.attached[i] = Some(Attached { slot, recorder });
                    self.model.needs[i] = Some(self.model.first);
                }
            }
            Step::Detach(i) => {
                // The writer learns how far a recorder came when it looks, which it does here.
                let _ = self.writer.free_sub_buffers();
                if let Some(held) = self.model.needs.iter().flatten().min() {
                    self.model.released = self.model.released.max(*held);
                }
                if let Some(a) = self.attached[i].take() {
                    drop(a.slot);
                }
                self.model.needs[i] = None;
            }
            Step::DrainInline => {
                let next = self.model.needs[2].unwrap_or(self.model.first);
                let mut packets = Vec::new();
                let taken = self
                    .writer
                    .drain_closed(|p| {
                        packets.push(decode(p));
                        Ok::<_, ()>(())
                    })
                    .unwrap();
                assert_eq!(next + taken as u64, self.model.closed());
                for (i, (header, records)) in packets.into_iter().enumerate() {
                    let packet = next + i as u64;
                    assert_eq!(header.packet_seq_num, packet);
                    assert_eq!(
                        records,
                        self.model.packets[(packet - self.model.first) as usize]
                    );
                }
                self.model.needs[2] = Some(next + taken as u64);
            }
            Step::Snapshot => {
                self.publish();
                let snapshot = self.writer.reader().snapshot().unwrap();
                let (headers, packets): (Vec<_>, Vec<_>) = snapshot
                    .packets
                    .iter()
                    .map(|p| decode(&snapshot.bytes[p.clone()]))
                    .unzip();
                let mut begins = headers.windows(2).map(|h| (h[0], h[1]));
                assert!(begins.all(|(a, b)| a.timestamp_begin_ns < b.timestamp_begin_ns));
                assert!(
                    headers
                        .windows(2)
                        .all(|h| h[0].timestamp_end_ns <= h[1].timestamp_begin_ns)
                );
                assert_eq!(snapshot.first_packet, self.model.first);
                assert_eq!(self.model.packets, packets);
            }
        }
        self.accounts();
    }

    fn publish(&mut self) {
        self.writer.publish();
        if self.model.open && self.model.used == self.model.room {
            self.model.close();
        }
    }

    fn view(&mut self, records: usize) {
        for _ in 0..records {
            let Some(r) = self.viewer.next_record().unwrap() else {
                break;
            };
            let seen = Seen {
                class: r.class.0,
                rest: r.rest_len_bytes,
                ns: r.time.as_ns(),
                payload: r.payload.to_vec(),
            };
            let n = self.viewed + self.viewer.lost();
            assert_eq!(seen, self.all[n as usize]);
            self.viewed += 1;
        }
    }

    fn accounts(&mut self) {
        let s = self.writer.stats();
        let m = &self.model;
        assert_eq!(s.written, m.written);
        assert_eq!(s.dropped_ring_full, m.full);
        assert_eq!(s.dropped_too_big, m.too_big);
        assert_eq!(s.overwritten_records, m.overwritten);
        assert_eq!(s.late, m.late);
        assert_eq!(s.packets, m.closed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_does_what_the_model_does(
        overwrite: bool,
        sub_buffers in 2usize..6,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mode = if overwrite { Mode::Overwrite } else { Mode::Discard };
        let mut run = Run::new(mode, sub_buffers);
        for step in &steps {
            run.step(step);
        }
        run.publish();
        run.view(usize::MAX);
        prop_assert_eq!(run.viewed + run.viewer.lost(), run.model.written);
        let s = run.writer.stats();
        let appends = steps.iter().filter(|s| matches!(s, Step::Append(..))).count() as u64;
        prop_assert_eq!(s.seen(), appends);
    }

    #[test]
    fn room_that_is_promised_is_there(
        overwrite: bool,
        before in prop::collection::vec(0usize..3000, 0..12),
        drained: bool,
        batch in prop::collection::vec(0usize..1900, 1..12),
    ) {
        let mode = if overwrite { Mode::Overwrite } else { Mode::Discard };
        let ring = ring(1, mode, 4096, 4);
        let mut writer = ring.lane_writer(0).unwrap();
        let append = |writer: &mut LaneWriter, len: usize| {
            writer.append(ClassId(0), 0, SessionTime::ZERO, &vec![0; len])
        };
        for len in before {
            append(&mut writer, len);
        }
        if drained {
            writer.drain_closed(|_| Ok::<_, ()>(())).unwrap();
        }
        let bytes = batch.iter().map(|len| LaneWriter::record_bytes(*len)).sum();
        if writer.has_room(bytes) {
            for len in batch {
                prop_assert_eq!(append(&mut writer, len), Append::Written);
            }
        }
    }

    #[test]
    fn no_header_is_parsed_into_a_panic(
        changes in prop::collection::vec((0usize..384, any::<u8>()), 1..12),
        len in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
        later_minor: bool,
    ) {
        let layout = ring(2, Mode::Discard, 4096, 4).layout().clone();
        let mut header = layout.header();
        header[14] = u8::from(later_minor);
        for (at, value) in changes {
            header[at] = value;
        }
        let len = len.unwrap_or(layout.total_bytes as u64);
        if let Ok(parsed) = kstrace_ring::Layout::parse(&header, len) {
            for lane in &parsed.lanes {
                prop_assert!(lane.data_offset as u64 + lane.data_bytes() as u64 <= len);
                prop_assert!(lane.control_offset as u64 + 384 <= len);
            }
        }
    }
}
