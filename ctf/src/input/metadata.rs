//! The metadata file: text, or packets of text.

use kstrace_schema::{Error, ErrorKind, Result, ResultExt};
use std::io::Read;
use std::path::Path;

/// Magic of a metadata packet.
const MAGIC: u32 = 0x75d1_1d57;
/// Size of a packet's header.
const HEADER_BYTES: usize = 37;
/// More metadata is refused.
const METADATA_BYTES_MAX: u64 = 256 << 20;

/// The text of a trace's metadata, and what is wrong behind it.
pub(super) fn read(path: &Path) -> Result<(String, Option<String>)> {
    let what = || format!("read {}", path.display());
    let file = std::fs::File::open(path).context(what)?;
    let mut bytes = Vec::new();
    let read = file
        .take(METADATA_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .context(what)?;
    if read as u64 > METADATA_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{}: metadata of more than {METADATA_BYTES_MAX} bytes",
                path.display()
            ),
        ));
    }
    Ok(text(&bytes))
}

/// The text in the bytes of a metadata file, up to a packet that is none.
pub(crate) fn text(bytes: &[u8]) -> (String, Option<String>) {
    let first = bytes.get(..4).and_then(|b| b.try_into().ok());
    let big = match first {
        Some(magic) if u32::from_le_bytes(magic) == MAGIC => false,
        Some(magic) if u32::from_be_bytes(magic) == MAGIC => true,
        _ => return (plain(bytes.to_vec()), None),
    };
    let mut out = Vec::new();
    let damage = packets(bytes, big, &mut out).err();
    (plain(out), damage)
}

/// The text in packets.
fn packets(bytes: &[u8], big: bool, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    let mut at = 0usize;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(header) = rest.get(..HEADER_BYTES) else {
            return Err(format!(
                "metadata packet at byte {at}: header needs {HEADER_BYTES} bytes, {} are there",
                rest.len()
            ));
        };
        let number = |offset: usize| {
            let word = header
                .get(offset..offset + 4)
                .and_then(|b| b.try_into().ok())
                .unwrap_or_default();
            if big {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            }
        };
        if number(0) != MAGIC {
            return Err(format!(
                "metadata packet at byte {at}: magic is {:#010x}, not {MAGIC:#010x}",
                number(0)
            ));
        }
        let (content, packet) = (number(24) as usize / 8, number(28) as usize / 8);
        for (offset, what) in [(32, "compression"), (33, "encryption"), (34, "checksum")] {
            let scheme = header.get(offset).copied().unwrap_or(0);
            if scheme != 0 {
                return Err(format!(
                    "metadata packet at byte {at}: {what} scheme is {scheme}, allowed is 0"
                ));
            }
        }
        if content < HEADER_BYTES || content > packet || packet > rest.len() {
            // Cut: text that is there is text all the same.
            out.extend_from_slice(
                rest.get(HEADER_BYTES..content.min(rest.len()))
                    .unwrap_or_default(),
            );
            return Err(format!(
                "metadata packet at byte {at}: content and packet size are {content} and {packet} bytes, allowed are {HEADER_BYTES} to {}",
                rest.len()
            ));
        }
        out.extend_from_slice(rest.get(HEADER_BYTES..content).unwrap_or_default());
        at += packet;
    }
    Ok(())
}

fn plain(bytes: Vec<u8>) -> String {
    // Names in another encoding are no reason to refuse a trace.
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }
}
