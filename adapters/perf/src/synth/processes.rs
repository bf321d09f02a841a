//! Tasks and mappings, as `/proc` tells of them.

use super::encode::Mapping;
use std::fs;

/// `/proc/PID/maps` is read up to this; a line has about 100 bytes.
const MAPS_LIMIT_BYTES: u64 = 64 << 20;

/// The processes that run now.
pub(crate) fn all_pids() -> Vec<i32> {
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// The name of a thread, `None` if it has gone.
pub(crate) fn comm(pid: i32, tid: i32) -> Option<Vec<u8>> {
    let mut name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(name)
}

/// The text of a process's mappings, empty if it has gone or may not be read.
pub(crate) fn maps(pid: i32) -> Vec<u8> {
    use std::io::Read;
    let mut text = Vec::new();
    let _ = fs::File::open(format!("/proc/{pid}/maps"))
        .and_then(|file| file.take(MAPS_LIMIT_BYTES).read_to_end(&mut text));
    text
}

/// A line of `/proc/PID/maps`:
/// `7f00-7f10 r-xp 0000b000 fe:00 1234    /usr/lib/libc.so.6`.
///
/// `None` for what is not executable and for what is no such line.
pub(crate) fn executable_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    const PROT_READ: u32 = 1;
    const PROT_WRITE: u32 = 2;
    const PROT_EXEC: u32 = 4;
    const MAP_SHARED: u32 = 1;
    const MAP_PRIVATE: u32 = 2;
    let mut rest = line;
    let mut word = || {
        let from = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
        let text = &rest[from..];
        let to = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
        rest = &text[to..];
        std::str::from_utf8(&text[..to]).ok()
    };
    let (start, end) = word()?.split_once('-')?;
    let permissions = word()?.as_bytes();
    let [r, w, b'x', sharing] = permissions else {
        return None;
    };
    let file_offset = u64::from_str_radix(word()?, 16).ok()?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?.parse().ok()?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let name = rest.trim_ascii_start();
    let bit = |letter: &u8, wanted: u8, bit: u32| if *letter == wanted { bit } else { 0 };
    Some(Mapping {
        start,
        len: u64::from_str_radix(end, 16).ok()?.checked_sub(start)?,
        file_offset,
        major: u32::from_str_radix(major, 16).ok()?,
        minor: u32::from_str_radix(minor, 16).ok()?,
        inode,
        protection: bit(r, b'r', PROT_READ) | bit(w, b'w', PROT_WRITE) | PROT_EXEC,
        flags: if *sharing == b's' {
            MAP_SHARED
        } else {
            MAP_PRIVATE
        },
        // The kernel's own word for memory without a file in such records.
        name: if name.is_empty() { b"//anon" } else { name },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let m = executable_mapping(
            b"7fddc5dbe000-7fddc5f14000 r-xp 00026000 fe:00 326279      /usr/lib/a file.so (deleted)",
        )
        .unwrap();
        assert_eq!((m.start, m.len), (0x7fdd_c5db_e000, 0x15_6000));
        assert_eq!((m.major, m.minor, m.inode), (0xfe, 0, 326279));
        assert_eq!((m.protection, m.flags, m.file_offset), (5, 2, 0x26000));
        assert_eq!(m.name, b"/usr/lib/a file.so (deleted)");
        let m = executable_mapping(b"1000-2000 rwxs 00000000 00:00 0 ").unwrap();
        assert_eq!((m.name, m.protection, m.flags), (&b"//anon"[..], 7, 1));
        for other in [
            &b"1000-2000 rw-p 00000000 00:00 0 [heap]"[..],
            b"2000-1000 r-xp 00000000 00:00 0 x",
            b"",
            b"1000 r-xp 0 0:0 0",
            b"1000-2000 r-xp 0 0 0",
            b"\xff-\xff r-xp 0 0:0 0",
        ] {
            assert_eq!(executable_mapping(other), None);
        }
    }
}
