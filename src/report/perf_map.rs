//! `/tmp/perf-PID.map`: symbols of code made at run time, as JIT compilers write them.

use std::io::Read;
use std::path::Path;

/// JITs of large programs write some tens of megabytes.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Symbols of one process, sorted by address.
#[derive(Debug, Default)]
pub(super) struct PerfMap(Vec<(u64, u64, Box<str>)>);

impl PerfMap {
    /// The map of a process; empty if there is none.
    pub(super) fn of_process(pid: i32) -> Self {
        Self::load(Path::new(&format!("/tmp/perf-{pid}.map")))
    }

    fn load(path: &Path) -> Self {
        // Anyone may write in /tmp: only a regular file, and not behind a link.
        if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
            return Self::default();
        }
        let mut text = Vec::new();
        match std::fs::File::open(path).and_then(|f| f.take(MAX_TEXT_BYTES).read_to_end(&mut text))
        {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let number = |s: &str| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok();
        let mut symbols: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let (start, rest) = line.split_once(' ')?;
                let (size, name) = rest.split_once(' ')?;
                Some((number(start)?, number(size)?, name.trim().into()))
            })
            .collect();
        // Code is replaced at run time: of several at one address the last is the newest.
        symbols.reverse();
        symbols.sort_by_key(|s: &(u64, u64, Box<str>)| s.0);
        symbols.dedup_by_key(|s| s.0);
        PerfMap(symbols)
    }

    /// Name and offset of the code at an address.
    pub(super) fn resolve(&self, address: u64) -> Option<(&str, u64)> {
        let after = self.0.partition_point(|s| s.0 <= address);
        let (start, size, name) = self.0.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < *size).then_some((name, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_names_with_spaces_and_replaced_code() {
        let map = PerfMap::parse("1000 20 old\n2000 10 two words\n1000 30 new\nnonsense\nzz 1 x\n");
        assert_eq!(map.resolve(0x1025), Some(("new", 0x25)));
        assert_eq!(map.resolve(0x200f), Some(("two words", 0xf)));
        assert_eq!(map.resolve(0x2010), None);
        assert_eq!(map.resolve(0xfff), None);
    }
}
