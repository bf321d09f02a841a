//! The protocol between a lane's writer and its readers, apart from the memory it runs on.
//!
//! A lane is a circle of `n` sub-buffers; packet `p` lies in sub-buffer `p % n`.
//! Two words of the writer tell readers what they may read, one word of each
//! recorder tells the writer what it may reuse:
//!
//! - `committed` (writer): a *position*, `packet * sub_buffer_bytes + offset`.
//!   Everything before it is written. Packet `p` is closed when
//!   `committed >= (p + 1) * sub_buffer_bytes`.
//! - `oldest` (writer): sequence number of the oldest packet whose bytes are
//!   untouched. Raised *before* the sub-buffer of an older packet is written again.
//! - `consumed` (recorder): a position; the recorder needs nothing before it.
//!
//! Three pairings carry everything, and each function below names its partner:
//!
//! 1. [`publish`] / [`committed`]: bytes, then position / position, then bytes.
//! 2. [`reclaim`] / [`still_intact`]: raise `oldest`, then overwrite / copy the
//!    bytes, then look whether `oldest` has passed them. A copy that fails the
//!    test is thrown away. (The sequence lock of Boehm, "Can seqlocks get along
//!    with programming language memory models?", MSPC 2012, section 4.)
//! 3. [`release`] / [`Holders::held_from`]: copy the bytes, then release /
//!    see the release, then overwrite.
//!
//! `safe_until` is published like `committed` and read *before* it, so that a
//! reader that then finds the lane empty up to `committed` knows that no record
//! older than `safe_until` is missing.

use crate::sync::fence;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A shared 64-bit word that can be read.
pub trait LoadWord {
    /// Atomic load, relaxed. Ordering comes from fences, because anything
    /// stronger than a relaxed load is not allowed on memory mapped read-only.
    fn load_relaxed(&self) -> u64;
}

/// A shared 64-bit word that this side owns.
pub trait StoreWord: LoadWord {
    /// Atomic store, relaxed.
    fn store_relaxed(&self, value: u64);
    /// Atomic store, release.
    fn store_release(&self, value: u64);
}

macro_rules! atomic_words {
    ($atomic:ty) => {
        impl LoadWord for $atomic {
            #[inline]
            fn load_relaxed(&self) -> u64 {
                self.load(Ordering::Relaxed)
            }
        }

        impl StoreWord for $atomic {
            #[inline]
            fn store_relaxed(&self, value: u64) {
                self.store(value, Ordering::Relaxed);
            }

            #[inline]
            fn store_release(&self, value: u64) {
                self.store(value, Ordering::Release);
            }
        }
    };
}

atomic_words!(std::sync::atomic::AtomicU64);
#[cfg(loom)]
atomic_words!(loom::sync::atomic::AtomicU64);

impl<W: LoadWord> LoadWord for Arc<W> {
    fn load_relaxed(&self) -> u64 {
        (**self).load_relaxed()
    }
}

/// The shape of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a sub-buffer, a power of two.
    pub sub_buffer_bytes: u64,
    /// Sub-buffers.
    pub sub_buffers: u64,
}

impl Geometry {
    /// The packet that a position lies in.
    #[inline]
    pub fn packet_of(&self, position: u64) -> u64 {
        position >> self.sub_buffer_bytes.trailing_zeros()
    }

    /// The offset of a position within its packet.
    #[inline]
    pub fn offset_of(&self, position: u64) -> u64 {
        position & (self.sub_buffer_bytes - 1)
    }

    /// The position at which a packet begins.
    #[inline]
    pub fn position_of(&self, packet: u64) -> u64 {
        packet << self.sub_buffer_bytes.trailing_zeros()
    }

    /// The sub-buffer that a packet lies in.
    #[inline]
    pub fn sub_buffer_of(&self, packet: u64) -> u64 {
        packet % self.sub_buffers
    }
}

/// Writer: everything before `position` is written, readers may have it.
///
/// Release; pairs with the acquire in [`committed`]. Also used for `safe_until`.
#[inline]
pub fn publish(word: &impl StoreWord, position: u64) {
    word.store_release(position);
}

/// Reader: the position before which everything is written.
///
/// Acquire; pairs with the release in [`publish`].
#[inline]
pub fn committed(word: &impl LoadWord) -> u64 {
    let position = word.load_relaxed();
    fence(Ordering::Acquire);
    position
}

/// Writer: packets before `oldest_packet` are about to be overwritten.
///
/// The release fence pairs with the acquire fence in [`still_intact`]: a reader
/// that has seen one byte written after this call sees the new `oldest` too.
#[inline]
pub fn reclaim(oldest: &impl StoreWord, oldest_packet: u64) {
    oldest.store_relaxed(oldest_packet);
    fence(Ordering::Release);
}

/// Reader, after copying bytes of `packet`: whether the copy is whole.
///
/// The acquire fence pairs with the release fence in [`reclaim`].
#[inline]
pub fn still_intact(oldest: &impl LoadWord, packet: u64) -> bool {
    fence(Ordering::Acquire);
    oldest.load_relaxed() <= packet
}

/// Recorder: nothing before `position` is needed any more.
///
/// Release, so that the copying before it is done; pairs with the acquire
/// fence in [`Holders::held_from`].
#[inline]
pub fn release(consumed: &impl StoreWord, position: u64) {
    consumed.store_release(position);
}

/// One attached recorder as the writer knows it.
#[derive(Debug)]
struct Holder<W> {
    id: u64,
    consumed: W,
    /// The packet that it was last known to need first. Never falls and never
    /// passes the closed packets, whatever the recorder writes into its page.
    needs_packet: u64,
}

/// The recorders attached to one lane. Lives in the writer's process behind a
/// mutex that is taken when a recorder comes or goes and once a packet.
#[derive(Debug)]
pub struct Holders<W> {
    geometry: Geometry,
    holders: Vec<Holder<W>>,
    /// The first packet that the writer's own thread still has to record, if it records.
    inline_needs_packet: Option<u64>,
    /// Packets before this one were released by every recorder there was.
    released_packet: u64,
}

/// Whether the writer can have a sub-buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Nothing is lost: every recorder has released the packet in it.
    Free,
    /// The packet in it was never recorded and nobody holds it.
    Unrecorded,
    /// A recorder still needs the packet in it.
    Held,
}

impl<W: LoadWord> Holders<W> {
    /// No recorder yet.
    pub fn new(geometry: Geometry) -> Self {
        Holders {
            geometry,
            holders: Vec::new(),
            inline_needs_packet: None,
            released_packet: 0,
        }
    }

    /// Attaches a recorder that needs everything from `first_packet` on. The
    /// caller holds the lane's mutex, so `oldest` cannot rise meanwhile, and has
    /// stored the packet's position in `consumed`.
    pub fn attach(&mut self, id: u64, consumed: W, first_packet: u64) {
        self.holders.push(Holder {
            id,
            consumed,
            needs_packet: first_packet,
        });
    }

    /// Detaches a recorder; what it held is free.
    pub fn detach(&mut self, id: u64) {
        self.holders.retain(|h| h.id != id);
    }

    /// Says what the writer's own thread still has to record; `None` if it does not record.
    pub fn set_inline(&mut self, needs_packet: Option<u64>) {
        self.inline_needs_packet = needs_packet;
    }

    /// The first packet that any recorder needs, of the `closed` packets there
    /// are; `None` without a recorder.
    ///
    /// The acquire fence pairs with the release in [`release`].
    pub fn held_from(&mut self, closed_packets: u64) -> Option<u64> {
        let mut first = self.inline_needs_packet;
        for holder in &mut self.holders {
            let claimed = self.geometry.packet_of(holder.consumed.load_relaxed());
            // A position that goes back or ahead of the writer is a lie or a mistake: the
            // recorder keeps what it had, or has had all there is.
            holder.needs_packet = claimed.min(closed_packets).max(holder.needs_packet);
            first = Some(first.map_or(holder.needs_packet, |f| f.min(holder.needs_packet)));
        }
        fence(Ordering::Acquire);
        if let Some(first) = first {
            self.released_packet = self.released_packet.max(first);
        }
        first
    }

    /// Closed packets that the recorder has not released.
    pub fn outstanding(&self, id: u64, closed_packets: u64) -> u64 {
        self.holders
            .iter()
            .find(|h| h.id == id)
            .map_or(0, |h| closed_packets.saturating_sub(h.needs_packet))
    }

    /// Whether the sub-buffer of `victim`, the oldest packet, can be written again.
    pub fn may_reuse(&mut self, victim: u64, closed_packets: u64) -> Reuse {
        match self.held_from(closed_packets) {
            Some(first) if victim >= first => Reuse::Held,
            Some(_) => Reuse::Free,
            None if victim < self.released_packet => Reuse::Free,
            None => Reuse::Unrecorded,
        }
    }

    /// The first packet that may not be overwritten in [`Mode::Discard`](crate::Mode::Discard).
    pub fn keep_from(&mut self, closed_packets: u64) -> u64 {
        let held = self.held_from(closed_packets);
        held.unwrap_or(self.released_packet)
    }
}
