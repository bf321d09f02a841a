//! Every interleaving, within bounds, of a lane's writer with its readers, on the
//! protocol alone: the bytes of a sub-buffer are stood for by two words.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p kstrace-ring --test loom --release`
#![cfg(loom)]

use kstrace_ring::protocol::{
    self, Geometry, Holders, LoadWord, Reuse, StoreWord, committed, publish, reclaim, release,
    still_intact,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A sub-buffer is two words long: a position is twice the packet, plus the words of it.
const G: Geometry = Geometry {
    sub_buffer_bytes: 2,
    sub_buffers: 2,
};

/// loom's `Arc` as a word.
#[derive(Clone)]
struct Shared(Arc<AtomicU64>);

impl LoadWord for Shared {
    fn load_relaxed(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl StoreWord for Shared {
    fn store_relaxed(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    fn store_release(&self, value: u64) {
        self.0.store(value, Release);
    }
}

/// Tells loom of accesses that must be ordered one after the other. (loom cannot show a load
/// that takes effect after a later store, which is what a missing order would do here.)
#[derive(Default)]
struct Ordered(UnsafeCell<()>);

// SAFETY: there is nothing in it.
#[expect(
    unsafe_code,
    reason = "loom's cell tracks accesses from several threads"
)]
unsafe impl Sync for Ordered {}

struct Lane {
    committed: AtomicU64,
    oldest: AtomicU64,
    safe_until: AtomicU64,
    data: [AtomicU64; 4],
    /// One a sub-buffer: read by recorders, written by a writer that has only recorders.
    held: [Ordered; 2],
    holders: Mutex<Holders<Shared>>,
}

impl Lane {
    fn new() -> Arc<Lane> {
        Arc::new(Lane {
            committed: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            safe_until: AtomicU64::new(0),
            data: Default::default(),
            held: Default::default(),
            holders: Mutex::new(Holders::new(G)),
        })
    }

    fn word(&self, position: u64) -> &AtomicU64 {
        let sub_buffer = G.sub_buffer_of(G.packet_of(position));
        &self.data[(sub_buffer * 2 + G.offset_of(position)) as usize]
    }

    fn attach(&self, id: u64) -> Recorder {
        let word = Shared(Arc::new(AtomicU64::new(0)));
        let mut holders = self.holders.lock().unwrap();
        let first = self.oldest.load(Relaxed);
        word.store_relaxed(G.position_of(first));
        holders.attach(id, word.clone(), first);
        Recorder { word, next: first }
    }

    /// The value of every word that is right: its position, plus one.
    fn read(&self, packet: u64, words: u64) -> Vec<u64> {
        (0..words)
            .map(|w| self.word(G.position_of(packet) + w).load(Relaxed))
            .collect()
    }
}

fn right(packet: u64, words: u64) -> Vec<u64> {
    (0..words).map(|w| G.position_of(packet) + w + 1).collect()
}

struct Recorder {
    word: Shared,
    next: u64,
}

impl Recorder {
    /// Takes the next packet if it is closed. Does not look at `oldest`: what it has not
    /// released must be whole.
    fn take(&mut self, lane: &Lane) -> bool {
        if self.next >= G.packet_of(committed(&lane.committed)) {
            return false;
        }
        assert_eq!(
            lane.read(self.next, 2),
            right(self.next, 2),
            "a recorder was overrun"
        );
        lane.held[G.sub_buffer_of(self.next) as usize]
            .0
            .with(|_| ());
        self.next += 1;
        release(&self.word, G.position_of(self.next));
        true
    }
}

/// Writes packets, a word each store, as `LaneWriter` does.
struct Writer {
    lane: Arc<Lane>,
    packet: u64,
    overwrite: bool,
}

impl Writer {
    fn open(&mut self) -> bool {
        if let Some(victim) = self.packet.checked_sub(G.sub_buffers) {
            let mut holders = self.lane.holders.lock().unwrap();
            match holders.may_reuse(victim, self.packet) {
                Reuse::Free => {}
                Reuse::Unrecorded if self.overwrite => {}
                Reuse::Unrecorded | Reuse::Held => return false,
            }
            reclaim(&self.lane.oldest, victim + 1);
        }
        true
    }

    fn put(&self, word: u64) {
        self.lane.held[G.sub_buffer_of(self.packet) as usize]
            .0
            .with_mut(|_| ());
        let position = G.position_of(self.packet) + word;
        self.lane.word(position).store(position + 1, Relaxed);
    }

    /// A whole packet, published word by word if `words`, else when it is closed.
    fn packet(&mut self, words: bool) -> bool {
        if !self.open() {
            return false;
        }
        self.put(0);
        if words {
            publish(&self.lane.committed, G.position_of(self.packet) + 1);
        }
        self.put(1);
        self.packet += 1;
        publish(&self.lane.committed, G.position_of(self.packet));
        true
    }
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(f);
}

#[test]
fn a_viewer_never_takes_a_torn_packet() {
    model(|| {
        let lane = Lane::new();
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: true,
        };
        let w = thread::spawn(move || {
            for _ in 0..3 {
                assert!(writer.packet(true));
            }
        });
        let position = committed(&lane.committed);
        let packet = lane.oldest.load(Relaxed);
        let words = if packet < G.packet_of(position) {
            2
        } else {
            G.offset_of(position)
        };
        let copy = lane.read(packet, words);
        if still_intact(&lane.oldest, packet) && packet <= G.packet_of(position) {
            assert_eq!(copy, right(packet, words));
        }
        w.join().unwrap();
    });
}

#[test]
fn a_snapshot_has_no_hole() {
    model(|| {
        let lane = Lane::new();
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: true,
        };
        let w = thread::spawn(move || {
            for _ in 0..4 {
                assert!(writer.packet(false));
            }
        });
        let end = G.packet_of(committed(&lane.committed));
        let mut packet = lane.oldest.load(Relaxed);
        let mut run: Vec<u64> = Vec::new();
        while packet < end {
            let copy = lane.read(packet, 2);
            if still_intact(&lane.oldest, packet) {
                assert_eq!(copy, right(packet, 2));
                run.push(packet);
            } else {
                run.clear();
            }
            packet += 1;
        }
        assert!(run.windows(2).all(|p| p[0] + 1 == p[1]));
        assert!(run.last().is_none_or(|p| p + 1 == end));
        w.join().unwrap();
    });
}

#[test]
fn a_recorder_is_never_overrun_and_misses_nothing() {
    for overwrite in [false, true] {
        model(move || {
            let lane = Lane::new();
            let mut recorder = lane.attach(1);
            let mut writer = Writer {
                lane: Arc::clone(&lane),
                packet: 0,
                overwrite,
            };
            let w = thread::spawn(move || {
                let mut written = 0;
                for _ in 0..4 {
                    written += u64::from(writer.packet(false));
                }
                written
            });
            recorder.take(&lane);
            recorder.take(&lane);
            let written = w.join().unwrap();
            while recorder.take(&lane) {}
            assert_eq!(recorder.next, written);
            // Two sub-buffers are free at the start, and each one released is free again.
            assert!(written >= 2);
        });
    }
}

#[test]
fn two_recorders_hold_space_for_the_slower() {
    model(|| {
        let lane = Lane::new();
        let mut fast = lane.attach(1);
        let mut slow = lane.attach(2);
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: true,
        };
        assert!(writer.packet(false) && writer.packet(false));
        let other = Arc::clone(&lane);
        let f = thread::spawn(move || {
            assert!(fast.take(&other));
            assert!(fast.take(&other));
        });
        let more = writer.packet(false);
        assert!(!more, "the slow one holds everything");
        f.join().unwrap();
        assert!(slow.take(&lane));
        assert!(writer.packet(false), "both have released the first");
        assert!(!writer.packet(false));
    });
}

#[test]
fn a_recorder_that_attaches_on_the_way_is_not_overrun() {
    model(|| {
        let lane = Lane::new();
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: true,
        };
        let w = thread::spawn(move || {
            let mut written = 0;
            for _ in 0..4 {
                written += u64::from(writer.packet(false));
            }
            written
        });
        let mut recorder = lane.attach(1);
        recorder.take(&lane);
        recorder.take(&lane);
        let written = w.join().unwrap();
        while recorder.take(&lane) {}
        assert_eq!(recorder.next, written);
    });
}

#[test]
fn a_recorder_that_lies_does_not_free_what_others_hold() {
    model(|| {
        let lane = Lane::new();
        let liar = lane.attach(1);
        let mut honest = lane.attach(2);
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: false,
        };
        let l = thread::spawn(move || {
            for lie in [u64::MAX, 0, 3] {
                liar.word.store_relaxed(lie);
            }
        });
        let mut written = 0;
        for _ in 0..3 {
            written += u64::from(writer.packet(false));
        }
        assert_eq!(written, 2, "the honest one has released nothing");
        honest.take(&lane);
        l.join().unwrap();
        written += u64::from(writer.packet(false));
        while honest.take(&lane) {}
        assert_eq!(honest.next, written);
        let free = lane.holders.lock().unwrap().held_from(written).unwrap();
        assert!(free <= written, "no claim goes past what is closed");
    });
}

#[test]
fn a_lie_never_goes_back_or_ahead() {
    model(|| {
        let lane = Lane::new();
        let liar = lane.attach(1);
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: false,
        };
        let l = thread::spawn(move || {
            for lie in [u64::MAX, 0, 3] {
                liar.word.store_relaxed(lie);
            }
        });
        let mut before = 0;
        for _ in 0..3 {
            writer.packet(false);
            let mut holders = lane.holders.lock().unwrap();
            let held = holders.held_from(writer.packet).unwrap();
            assert!(held >= before, "it went back");
            assert!(held <= writer.packet, "it went ahead");
            before = held;
        }
        l.join().unwrap();
    });
}

#[test]
fn nothing_older_than_safe_until_comes_later() {
    model(|| {
        let lane = Lane::new();
        let other = Arc::clone(&lane);
        let mut writer = Writer {
            lane: Arc::clone(&lane),
            packet: 0,
            overwrite: false,
        };
        let w = thread::spawn(move || {
            // Word `p` is the record of time `p`: after two are published, none before 2 comes.
            writer.packet(false);
            publish(&other.safe_until, 2);
            writer.packet(false);
            publish(&other.safe_until, 4);
        });
        let safe_until = protocol::committed(&lane.safe_until);
        let position = committed(&lane.committed);
        assert!(
            position >= safe_until,
            "a record before {safe_until} is still to come"
        );
        for p in 0..position {
            assert_eq!(lane.word(p).load(Relaxed), p + 1);
        }
        w.join().unwrap();
    });
}

#[test]
fn metadata_is_seen_whole_or_not_at_all() {
    model(|| {
        let lane = Lane::new();
        let other = Arc::clone(&lane);
        let w = thread::spawn(move || {
            for fragment in 0..2u64 {
                other.data[fragment as usize * 2].store(fragment + 1, Relaxed);
                other.data[fragment as usize * 2 + 1].store(fragment + 1, Relaxed);
                publish(&other.committed, (fragment + 1) * 2);
            }
        });
        let there = committed(&lane.committed);
        for p in 0..there {
            assert_eq!(lane.data[p as usize].load(Relaxed), p / 2 + 1);
        }
        w.join().unwrap();
        assert_eq!(lane.committed.load(Acquire), 4);
    });
}

/// The model must be able to fail: the same test without the fence that `reclaim` has.
#[test]
#[should_panic(expected = "left == right")]
fn without_reclaim_first_a_viewer_takes_a_torn_packet() {
    model(|| {
        let lane = Lane::new();
        let other = Arc::clone(&lane);
        let w = thread::spawn(move || {
            let mut writer = Writer {
                lane: Arc::clone(&other),
                packet: 0,
                overwrite: true,
            };
            assert!(writer.packet(false) && writer.packet(false));
            writer.put(0);
            writer.put(1);
            other.oldest.store(1, Relaxed);
        });
        if G.packet_of(committed(&lane.committed)) >= 1 {
            let copy = lane.read(0, 2);
            if still_intact(&lane.oldest, 0) {
                assert_eq!(copy, right(0, 2));
            }
        }
        w.join().unwrap();
    });
}
