//! What is mapped where in each process, as of the record at hand.
//!
//! Filled from the records that carry [`Role::MapStart`](crate::Role::MapStart) and its
//! companions, and from forks and executions; asked by whoever names addresses.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Mappings kept per process; a process may have 65,530 (`vm.max_map_count`).
const MAX_MAPPINGS: usize = 1 << 17;
/// Processes kept; the kernel numbers no more (`PID_MAX_LIMIT`).
const MAX_PROCESSES: usize = 1 << 22;

/// A mapped file; [`AddressSpaces::file`] tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u32);

/// A file as the kernel saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MappedFile {
    /// A path, or a word like `[vdso]` or `//anon`.
    pub path: Arc<str>,
    /// Empty if the record did not say it.
    pub build_id: Box<[u8]>,
}

impl MappedFile {
    /// Whether it is a file and not a word of the kernel's.
    pub fn is_file(&self) -> bool {
        let words = ["//", "/memfd:", "/dev/zero", "/SYSV"];
        self.path.starts_with('/')
            && !words.iter().any(|w| self.path.starts_with(w))
            && !self.path.ends_with(" (deleted)")
    }
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    end: u64,
    file_offset: u64,
    file: FileId,
}

type Space = BTreeMap<u64, Mapping>;

/// The address spaces of all processes.
#[derive(Debug, Default)]
pub struct AddressSpaces {
    /// Shared after a fork until one of the two maps something.
    spaces: FxHashMap<i32, Arc<Space>>,
    files: Vec<MappedFile>,
    ids: FxHashMap<MappedFile, FileId>,
}

impl AddressSpaces {
    /// The file of that id; `None` for an id that is none of these address spaces'.
    pub fn file(&self, id: FileId) -> Option<&MappedFile> {
        self.files.get(id.0 as usize)
    }

    /// A mapping of `len` bytes at `start`, of the file from `file_offset` (bytes) on.
    /// What cannot be (no length, beyond the end of all addresses, a process without a
    /// number) is passed over.
    pub fn map(&mut self, pid: i32, start: u64, len: u64, file_offset: u64, file: MappedFile) {
        let Some(end) = start.checked_add(len).filter(|_| pid > 0 && len > 0) else {
            return;
        };
        if self.spaces.len() >= MAX_PROCESSES && !self.spaces.contains_key(&pid) {
            return;
        }
        let id = match self.ids.get(&file) {
            Some(id) => *id,
            None => {
                let id = FileId(self.files.len() as u32);
                self.files.push(file.clone());
                self.ids.insert(file, id);
                id
            }
        };
        let space = Arc::make_mut(self.spaces.entry(pid).or_default());
        cut_out(space, start, end);
        if space.len() < MAX_MAPPINGS {
            let mapping = Mapping {
                end,
                file_offset,
                file: id,
            };
            space.insert(start, mapping);
        }
    }

    /// A new process begins with its parent's mappings.
    pub fn fork(&mut self, parent: i32, child: i32) {
        if parent == child {
            return;
        }
        match self.spaces.get(&parent).cloned() {
            Some(space) => self.spaces.insert(child, space),
            None => self.spaces.remove(&child),
        };
    }

    /// A process that executes another program begins anew.
    pub fn exec(&mut self, pid: i32) {
        self.spaces.remove(&pid);
    }

    /// The file at an address, and the offset in it in bytes.
    pub fn find(&self, pid: i32, address: u64) -> Option<(FileId, u64)> {
        let (start, m) = self.spaces.get(&pid)?.range(..=address).next_back()?;
        (address < m.end).then(|| (m.file, (address - start).wrapping_add(m.file_offset)))
    }
}

/// A new mapping replaces what was there.
fn cut_out(space: &mut Space, start: u64, end: u64) {
    if let Some((before, m)) = space.range(..start).next_back().map(|(s, m)| (*s, *m))
        && m.end > start
    {
        if let Some(kept) = space.get_mut(&before) {
            kept.end = start;
        }
        if m.end > end {
            let file_offset = m.file_offset.wrapping_add(end - before);
            space.insert(end, Mapping { file_offset, ..m });
        }
    }
    while let Some((at, m)) = space.range(start..end).next().map(|(s, m)| (*s, *m)) {
        space.remove(&at);
        if m.end > end {
            let file_offset = m.file_offset.wrapping_add(end - at);
            space.insert(end, Mapping { file_offset, ..m });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> MappedFile {
        MappedFile {
            path: path.into(),
            build_id: Box::default(),
        }
    }

    fn at(spaces: &AddressSpaces, pid: i32, address: u64) -> Option<(&str, u64)> {
        let (id, offset) = spaces.find(pid, address)?;
        Some((&*spaces.file(id)?.path, offset))
    }

    #[test]
    fn mappings_cut_into_each_other_and_are_inherited() {
        let mut s = AddressSpaces::default();
        s.map(1, 0x1000, 0x4000, 0x100, file("/a"));
        s.map(1, 0x2000, 0x1000, 0, file("/b"));
        assert_eq!(at(&s, 1, 0x1fff), Some(("/a", 0x10ff)));
        assert_eq!(at(&s, 1, 0x2000), Some(("/b", 0)));
        assert_eq!(at(&s, 1, 0x3000), Some(("/a", 0x2100)));
        assert_eq!(at(&s, 1, 0x5000), None);
        s.fork(1, 2);
        s.map(1, 0x1000, 0x1000, 0, file("/c"));
        assert_eq!(at(&s, 2, 0x1000), Some(("/a", 0x100)));
        s.exec(2);
        assert_eq!(at(&s, 2, 0x1000), None);
    }

    #[test]
    fn hostile_mappings_do_no_harm() {
        let mut s = AddressSpaces::default();
        s.map(1, u64::MAX, 2, 0, file("/a"));
        s.map(1, 5, 0, 0, file("/a"));
        s.map(1, 0, u64::MAX, u64::MAX, file("/a"));
        assert_eq!(at(&s, 1, 1), Some(("/a", 0)));
    }
}
