//! Where the parts of an ELF file go in memory: from offsets in the file to the
//! addresses that its symbol tables use.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The loaded parts of an ELF file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ElfLayout {
    /// Offset in the file, size there, address.
    segments: Vec<(u64, u64, u64)>,
}

const PT_LOAD: u64 = 1;
/// `PN_XNUM` and above mean that the number stands elsewhere; no mapped file has so many.
const MAX_HEADERS: u64 = 0xffff;

impl ElfLayout {
    /// Reads the program headers; empty for what is no ELF file.
    pub(super) fn read(path: &Path) -> Self {
        File::open(path)
            .ok()
            .and_then(|f| Self::from_file(&f))
            .unwrap_or_default()
    }

    fn from_file(file: &File) -> Option<Self> {
        let mut head = [0u8; 64];
        file.read_exact_at(&mut head, 0).ok()?;
        if &head[..4] != b"\x7fELF" {
            return None;
        }
        let form = Form {
            wide: head[4] == 2,
            big: head[5] == 2,
        };
        // Offsets of e_phoff, e_phentsize, e_phnum in both widths.
        let (table, entry_size, count) = if form.wide {
            (
                form.number(&head, 32, 8)?,
                form.number(&head, 54, 2)?,
                form.number(&head, 56, 2)?,
            )
        } else {
            (
                form.number(&head, 28, 4)?,
                form.number(&head, 42, 2)?,
                form.number(&head, 44, 2)?,
            )
        };
        let entry_min = if form.wide { 56 } else { 32 };
        if count >= MAX_HEADERS || entry_size < entry_min {
            return None;
        }
        let mut headers = vec![0u8; usize::try_from(entry_size * count).ok()?];
        file.read_exact_at(&mut headers, table).ok()?;
        let segments = headers
            .chunks_exact(usize::try_from(entry_size).ok()?)
            .filter_map(|h| form.segment(h))
            .collect();
        Some(ElfLayout { segments })
    }

    /// The address of the byte at that offset of the file.
    pub(super) fn address_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|(offset, size, address)| {
            let distance = file_offset.checked_sub(*offset)?;
            (distance < *size).then(|| address.wrapping_add(distance))
        })
    }
}

/// Width and byte order.
struct Form {
    wide: bool,
    big: bool,
}

impl Form {
    fn number(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at + size)?;
        let fold = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if self.big {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        })
    }

    /// One `Elf32_Phdr` or `Elf64_Phdr`.
    fn segment(&self, header: &[u8]) -> Option<(u64, u64, u64)> {
        if self.number(header, 0, 4)? != PT_LOAD {
            return None;
        }
        Some(if self.wide {
            (
                self.number(header, 8, 8)?,
                self.number(header, 32, 8)?,
                self.number(header, 16, 8)?,
            )
        } else {
            (
                self.number(header, 4, 4)?,
                self.number(header, 16, 4)?,
                self.number(header, 8, 4)?,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program() {
        let layout = ElfLayout::read(&std::env::current_exe().unwrap());
        // The first byte of a program is loaded at its lowest address.
        let first = layout.segments.iter().map(|s| s.2).min();
        assert!(layout.segments.len() >= 2);
        assert_eq!(layout.address_of(0), first);
        assert_eq!(layout.address_of(u64::MAX), None);
    }

    #[test]
    fn what_is_no_elf_has_no_segments() {
        for (name, bytes) in [
            ("empty", &b""[..]),
            ("short", b"\x7fELF\x02\x01"),
            ("zeros", &[0; 100]),
            ("ones", &[&b"\x7fELF\x02\x01"[..], &[0xff; 100]].concat()),
        ] {
            let path =
                std::env::temp_dir().join(format!("kstrace-elf-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(ElfLayout::read(&path), ElfLayout::default(), "{name}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
