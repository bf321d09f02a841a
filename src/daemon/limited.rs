//! A connection whose messages have a size limit: zlink's own is 100 MB, which
//! is too much to hold for everybody who may connect.

use zlink::connection::socket::{ReadHalf, ReadResult, Socket};
use zlink::tokio::unix::Stream;

/// Longest message a client may send; the longest sensible request is a list of
/// a few thousand events.
const MOST_MESSAGE_BYTES: usize = 256 << 10;

/// A stream that breaks off when a message gets too long.
#[derive(Debug)]
pub(super) struct Limited(pub(super) Stream);

impl Socket for Limited {
    type ReadHalf = LimitedRead;
    type WriteHalf = <Stream as Socket>::WriteHalf;

    const CAN_TRANSFER_FDS: bool = Stream::CAN_TRANSFER_FDS;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (read, write) = self.0.split();
        (LimitedRead { read, since_end: 0 }, write)
    }
}

/// The half that reads.
#[derive(Debug)]
pub(super) struct LimitedRead {
    read: <Stream as Socket>::ReadHalf,
    /// Bytes since the zero byte that ended the last message.
    since_end: usize,
}

impl ReadHalf for LimitedRead {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink::Result<ReadResult> {
        let result = self.read.read(buffer).await?;
        let new = buffer.get(..result.bytes_read()).unwrap_or_default();
        self.since_end = length_since_end(self.since_end, new);
        if self.since_end > MOST_MESSAGE_BYTES {
            return Err(zlink::Error::BufferOverflow);
        }
        Ok(result)
    }
}

fn length_since_end(before: usize, new: &[u8]) -> usize {
    match new.iter().rposition(|b| *b == 0) {
        Some(end) => new.len() - end - 1,
        None => before + new.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::length_since_end;

    #[test]
    fn a_zero_byte_ends_a_message() {
        assert_eq!(length_since_end(10, b"abc"), 13);
        assert_eq!(length_since_end(10, b"abc\0"), 0);
        assert_eq!(length_since_end(10, b"a\0b\0cd"), 2);
        assert_eq!(length_since_end(7, b""), 7);
    }
}
