//! The kernel's own text and its modules.

use super::encode::Mapping;
use crate::mmap::page_bytes;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};

/// Start and length of the kernel's text, from `/proc/kallsyms`.
///
/// `None` where `kernel.kptr_restrict` hides the addresses.
pub(crate) fn text_range() -> Option<(u64, u64)> {
    text_range_in(BufReader::new(fs::File::open("/proc/kallsyms").ok()?))
}

fn text_range_in(mut symbols: impl BufRead) -> Option<(u64, u64)> {
    const LIMIT_LINES: usize = 1 << 21;
    let mut start = None;
    let mut line = Vec::new();
    for _ in 0..LIMIT_LINES {
        line.clear();
        if symbols.read_until(b'\n', &mut line).ok()? == 0 {
            break;
        }
        // Only the two are looked at closely: there are hundreds of thousands.
        if !line.ends_with(b"text\n") {
            continue;
        }
        let text = std::str::from_utf8(&line).ok()?;
        let mut words = text.split_ascii_whitespace();
        let (address, _, name) = (words.next()?, words.next()?, words.next()?);
        let address = u64::from_str_radix(address, 16).ok().filter(|a| *a != 0)?;
        match name {
            "_text" | "_stext" => start = start.or(Some(address)),
            "_etext" => return Some((start?, address.checked_sub(start?)?)),
            _ => {}
        }
    }
    None
}

/// Name of the mapping of the kernel itself: its file and the symbol whose
/// address the mapping's file offset holds, so that relocation can be seen.
pub(crate) const KERNEL_NAME: &[u8] = b"[kernel.kallsyms]_text";

/// The loaded modules: path of the file (or `[name]`), address, length.
pub(crate) fn modules() -> Vec<(String, u64, u64)> {
    let Ok(text) = fs::read_to_string("/proc/modules") else {
        return Vec::new();
    };
    if text.is_empty() {
        return Vec::new();
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let root = format!("/lib/modules/{}", release.trim());
    let files = fs::read_to_string(format!("{root}/modules.dep")).unwrap_or_default();
    let files = module_files(&root, &files);
    text.lines()
        .filter_map(|line| module(line, &files))
        .collect()
}

/// A line of `/proc/modules`: `name size users dependencies state address`.
fn module(line: &str, files: &HashMap<String, String>) -> Option<(String, u64, u64)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (name, size, address) = (words.first()?, words.get(1)?, words.get(5)?);
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16)
        .ok()
        .filter(|a| *a != 0)?;
    let size: u64 = size.parse().ok()?;
    let path = files
        .get(*name)
        .cloned()
        .unwrap_or_else(|| format!("[{name}]"));
    Some((
        path,
        address,
        size.checked_next_multiple_of(page_bytes() as u64)?,
    ))
}

/// From a module's name as the kernel writes it to its file, by `modules.dep`.
fn module_files(root: &str, dependencies: &str) -> HashMap<String, String> {
    dependencies
        .lines()
        .filter_map(|line| {
            let (file, _) = line.split_once(':')?;
            let base = file.rsplit('/').next()?;
            let (name, _) = base.split_once(".ko")?;
            Some((name.replace('-', "_"), format!("{root}/{file}")))
        })
        .collect()
}

/// A mapping of kernel memory.
pub(crate) fn mapping(name: &[u8], start: u64, len: u64, file_offset: u64) -> Mapping<'_> {
    Mapping {
        start,
        len,
        file_offset,
        major: 0,
        minor: 0,
        inode: 0,
        protection: 0,
        flags: 0,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_lies_between_its_symbols() {
        let symbols = b"ffffffff81000000 T _text\nffffffff81000000 T _stext\n\
            ffffffff81000100 t foo\nffffffff82000000 T _etext\n0 T later\n";
        assert_eq!(
            text_range_in(&symbols[..]),
            Some((0xffff_ffff_8100_0000, 0x100_0000))
        );
        assert_eq!(text_range_in(&b"0000000000000000 T _text\n"[..]), None);
        assert_eq!(text_range_in(&b"x _text\n"[..]), None);
    }

    #[test]
    fn modules_have_files_or_names() {
        let files = module_files(
            "/lib/modules/x",
            "kernel/net/a-b.ko.xz: kernel/c.ko\nbroken\n",
        );
        assert_eq!(
            module("a_b 5000 0 - Live 0xffffffffc0000000", &files),
            Some((
                "/lib/modules/x/kernel/net/a-b.ko.xz".into(),
                0xffff_ffff_c000_0000,
                8192
            ))
        );
        assert_eq!(
            module("c 1 0 - Live 0xf000 (O)", &files),
            Some(("[c]".into(), 0xf000, 4096))
        );
        assert_eq!(module("hidden 1 0 - Live 0x0", &files), None);
        assert_eq!(module("short", &files), None);
    }
}
