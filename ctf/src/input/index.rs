//! LTTng's index of a stream file: where its packets lie.
//!
//! `index/NAME.idx` beside the stream file `NAME`: a header and, for each packet, an entry of integers, all big-endian.
//! Everything in it stands in the packets too; what only the index can tell is that packets at the end of the
//! file are missing. (lttng-tools, `ctf-index.h`, versions 1.0 and 1.1.)

use std::path::{Path, PathBuf};

const MAGIC: u32 = 0xc1f1_dcc1;
const MAJOR: u32 = 1;
/// Magic, major, minor, size of an entry.
const HEADER_BYTES: usize = 16;
/// Offset and packet size, which are all that is looked at, come first.
const ENTRY_BYTES_MIN: usize = 16;
const ENTRY_BYTES_MAX: usize = 4096;

/// What an index says of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) packets: u64,
    /// Where the last of them ends.
    pub(super) end_bytes: u64,
}

/// The index of a stream file, if there is a good one. One that is not is passed over: the packets say it all again.
pub(super) fn of(stream_file: &Path) -> Option<Indexed> {
    let path = index_path(stream_file)?;
    let file = std::fs::File::open(path).ok()?;
    read(std::io::BufReader::new(file))
}

fn index_path(stream_file: &Path) -> Option<PathBuf> {
    let mut name = stream_file.file_name()?.to_owned();
    name.push(".idx");
    Some(stream_file.parent()?.join("index").join(name))
}

fn read(mut index: impl std::io::Read) -> Option<Indexed> {
    let mut header = [0; HEADER_BYTES];
    index.read_exact(&mut header).ok()?;
    let word = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_be_bytes)
    };
    let size = word(12)? as usize;
    if word(0)? != MAGIC
        || word(4)? != MAJOR
        || !(ENTRY_BYTES_MIN..=ENTRY_BYTES_MAX).contains(&size)
    {
        return None;
    }
    let mut found = Indexed::default();
    let mut entry = vec![0; size];
    loop {
        // The last entry may not be written to its end yet.
        let mut have = 0;
        while have < size {
            match index.read(&mut entry[have..]) {
                Ok(0) => return Some(found),
                Ok(more) => have += more,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let long = |at: usize| {
            let bytes = entry.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map(u64::from_be_bytes)
        };
        let (offset, bits) = (long(0)?, long(8)?);
        // Packets lie back to back: an index that says otherwise is none.
        if offset != found.end_bytes || bits == 0 || !bits.is_multiple_of(8) {
            return None;
        }
        found.packets += 1;
        found.end_bytes = offset.checked_add(bits / 8)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC, 1, 1, 72] {
            bytes.extend(word.to_be_bytes());
        }
        for (offset, size) in entries {
            bytes.extend(offset.to_be_bytes());
            bytes.extend((size * 8).to_be_bytes());
            bytes.extend([0; 56]);
        }
        bytes
    }

    #[test]
    fn packets_back_to_back() {
        let good = index(&[(0, 4096), (4096, 8192)]);
        let found = Indexed {
            packets: 2,
            end_bytes: 12288,
        };
        assert_eq!(read(good.as_slice()), Some(found));
        let cut = &good[..good.len() - 1];
        assert_eq!(read(cut).map(|i| i.packets), Some(1));
    }

    #[test]
    fn what_is_no_index() {
        assert_eq!(read(index(&[(0, 4096), (0, 4096)]).as_slice()), None);
        assert_eq!(read(index(&[(0, 0)]).as_slice()), None);
        assert_eq!(read(&[0u8; 40][..]), None);
        assert_eq!(read(&[][..]), None);
        let mut other = index(&[]);
        other[7] = 2;
        assert_eq!(read(other.as_slice()), None);
    }
}
