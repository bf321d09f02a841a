//! The sub-buffers taken out of the kernel and not yet handed on.

/// One sub-buffer at hand.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Bytes that were read.
    len_bytes: usize,
    /// Records that the kernel lost right before it.
    lost_before: u64,
    /// The loss may reach to this time, ns; 0 if it ends with this sub-buffer's first record.
    lost_until_ns: u64,
}

/// A small buffer, filled again and again, so that it stays in the CPU's cache.
#[derive(Debug)]
pub(super) struct HotBuffer {
    bytes: Box<[u8]>,
    sub_buffer_size_bytes: usize,
    held: Vec<Held>,
    /// How many of `held` have been handed on.
    done: usize,
}

impl HotBuffer {
    /// Room for `count` sub-buffers.
    pub(super) fn new(sub_buffer_size_bytes: usize, count: usize) -> Self {
        HotBuffer {
            bytes: vec![0; sub_buffer_size_bytes * count].into_boxed_slice(),
            sub_buffer_size_bytes,
            held: Vec::with_capacity(count),
            done: 0,
        }
    }

    /// Makes the room of handed-on sub-buffers free again.
    pub(super) fn compact(&mut self) {
        if self.done == 0 {
            return;
        }
        let (from, to) = (self.done, self.held.len());
        self.bytes.copy_within(
            from * self.sub_buffer_size_bytes..to * self.sub_buffer_size_bytes,
            0,
        );
        self.held.drain(..self.done);
        self.done = 0;
    }

    /// Where the next sub-buffer can be read to; `None` if there is no room.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let at = self.held.len() * self.sub_buffer_size_bytes;
        self.bytes.get_mut(at..at + self.sub_buffer_size_bytes)
    }

    /// Keeps what was read to [`room`](Self::room).
    pub(super) fn keep(&mut self, len_bytes: usize, lost_before: u64, lost_until_ns: u64) {
        let len_bytes = len_bytes.min(self.sub_buffer_size_bytes);
        self.held.push(Held {
            len_bytes,
            lost_before,
            lost_until_ns,
        });
    }

    /// The oldest sub-buffer at hand.
    #[inline]
    pub(super) fn first(&self) -> Option<&[u8]> {
        let held = self.held.get(self.done)?;
        let at = self.done * self.sub_buffer_size_bytes;
        self.bytes.get(at..at + held.len_bytes)
    }

    /// The loss before the oldest one: how many, and until when at most. It is told once.
    #[inline]
    pub(super) fn take_loss(&mut self) -> Option<(u64, u64)> {
        let held = self.held.get_mut(self.done)?;
        let lost = std::mem::take(&mut held.lost_before);
        (lost > 0).then_some((lost, held.lost_until_ns))
    }

    /// The oldest one is handed on.
    pub(super) fn drop_first(&mut self) {
        self.done += 1;
        if self.done >= self.held.len() {
            self.held.clear();
            self.done = 0;
        }
    }

    /// The youngest sub-buffer at hand.
    pub(super) fn last(&self) -> Option<&[u8]> {
        let index = self.held.len().checked_sub(1).filter(|i| *i >= self.done)?;
        let at = index * self.sub_buffer_size_bytes;
        self.bytes.get(at..at + self.held.get(index)?.len_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut HotBuffer, byte: u8, lost: u64) -> bool {
        let Some(room) = buffer.room() else {
            return false;
        };
        room.fill(byte);
        buffer.keep(3, lost, 0);
        true
    }

    #[test]
    fn first_in_first_out_and_room_comes_back() {
        let mut buffer = HotBuffer::new(4, 3);
        assert!((1..=3).all(|b| put(&mut buffer, b, u64::from(b) - 1)));
        assert!(!put(&mut buffer, 9, 0));
        assert_eq!(
            (buffer.first(), buffer.last()),
            (Some(&[1u8; 3][..]), Some(&[3u8; 3][..]))
        );
        assert_eq!(buffer.take_loss(), None);
        buffer.drop_first();
        assert_eq!(buffer.take_loss(), Some((1, 0)));
        assert_eq!(buffer.take_loss(), None);
        buffer.compact();
        assert!(put(&mut buffer, 4, 0));
        for expected in 2..=4u8 {
            assert_eq!(buffer.first(), Some(&[expected; 3][..]));
            buffer.drop_first();
        }
        assert_eq!((buffer.first(), buffer.last()), (None, None));
    }
}
