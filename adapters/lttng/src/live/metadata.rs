//! Metadata in packets, as LTTng's own metadata streams are (CTF 1.8.3, section 7.1).

use zerocopy::{Immutable, IntoBytes};

/// A packet of metadata begins with this.
const MAGIC: u32 = 0x75d1_1d57;
/// The packet's header, without the padding of [`Header`].
const HEADER_BYTES: usize = 37;

/// In the trace's byte order, which is this machine's: readers tell it by the magic.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    magic: u32,
    uuid: [u8; 16],
    checksum: u32,
    content_size_bits: u32,
    packet_size_bits: u32,
    compression_scheme: u8,
    encryption_scheme: u8,
    checksum_scheme: u8,
    major: u8,
    minor: u8,
    padding: [u8; 3],
}

/// `text` as one packet, at most 512 MiB.
pub(super) fn packet(uuid: [u8; 16], text: &str) -> Vec<u8> {
    let bits = ((HEADER_BYTES + text.len()) * 8) as u32;
    let header = Header {
        magic: MAGIC,
        uuid,
        checksum: 0,
        content_size_bits: bits,
        packet_size_bits: bits,
        compression_scheme: 0,
        encryption_scheme: 0,
        checksum_scheme: 0,
        major: 1,
        minor: 8,
        padding: [0; 3],
    };
    let mut packet = header.as_bytes().to_vec();
    packet.truncate(HEADER_BYTES);
    packet.extend_from_slice(text.as_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_its_size() {
        let packet = packet([7; 16], "/* CTF 1.8 */");
        assert_eq!(packet.len(), 37 + 13);
        assert_eq!(packet[..4], MAGIC.to_ne_bytes());
        assert_eq!(packet[24..28], (50u32 * 8).to_ne_bytes());
        assert_eq!(packet[35..37], [1, 8]);
        assert_eq!(&packet[37..], b"/* CTF 1.8 */");
    }
}
