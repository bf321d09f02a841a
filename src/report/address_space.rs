//! What is mapped where in each process, as of the record being shown.

use super::tasks::TidMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Mappings kept per process; a process may have 65,530 (`vm.max_map_count`).
const MAX_MAPPINGS: usize = 1 << 17;

/// A file that was mapped.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub(super) struct DsoId(pub(super) u32);

/// A file that was mapped, by path and, where the record says it, build id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dso {
    /// As the kernel saw it: a path, or a word like `[vdso]` or `//anon`.
    pub(super) path: Arc<str>,
    pub(super) build_id: Option<Box<[u8]>>,
}

impl Dso {
    /// Whether it is a file and not a word of the kernel's.
    pub(super) fn is_file(&self) -> bool {
        self.path.starts_with('/')
            && !self.path.starts_with("//")
            && !self.path.starts_with("/memfd:")
            && !self.path.starts_with("/dev/zero")
            && !self.path.starts_with("/SYSV")
            && !self.path.ends_with(" (deleted)")
    }
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    end: u64,
    file_offset: u64,
    dso: DsoId,
}

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dso: DsoId,
    /// Offset in the file.
    pub(super) file_offset: u64,
}

type Space = BTreeMap<u64, Mapping>;

/// The address spaces of all processes.
#[derive(Default)]
pub(super) struct AddressSpaces {
    // Shared after a fork until one of the two maps something.
    spaces: TidMap<i32, Arc<Space>>,
    dsos: Vec<Dso>,
    ids: HashMap<Dso, DsoId>,
}

impl AddressSpaces {
    pub(super) fn dso(&self, id: DsoId) -> Option<&Dso> {
        self.dsos.get(id.0 as usize)
    }

    pub(super) fn map(&mut self, pid: i32, start: u64, len: u64, file_offset: u64, dso: Dso) {
        let Some(end) = start.checked_add(len).filter(|_| pid > 0 && len > 0) else {
            return;
        };
        let dso = match self.ids.get(&dso) {
            Some(id) => *id,
            None => {
                let id = DsoId(self.dsos.len() as u32);
                self.dsos.push(dso.clone());
                self.ids.insert(dso, id);
                id
            }
        };
        let space = Arc::make_mut(self.spaces.entry(pid).or_default());
        cut_out(space, start, end);
        if space.len() < MAX_MAPPINGS {
            space.insert(
                start,
                Mapping {
                    end,
                    file_offset,
                    dso,
                },
            );
        }
    }

    /// A new process begins with its parent's mappings.
    pub(super) fn fork(&mut self, parent: i32, child: i32) {
        if parent == child {
            return;
        }
        match self.spaces.get(&parent).cloned() {
            Some(space) => self.spaces.insert(child, space),
            None => self.spaces.remove(&child),
        };
    }

    /// A process that executes another program begins anew.
    pub(super) fn exec(&mut self, pid: i32) {
        self.spaces.remove(&pid);
    }

    pub(super) fn find(&self, pid: i32, address: u64) -> Option<Place> {
        let (start, m) = self.spaces.get(&pid)?.range(..=address).next_back()?;
        (address < m.end).then(|| Place {
            dso: m.dso,
            file_offset: (address - start).wrapping_add(m.file_offset),
        })
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

    fn dso(path: &str) -> Dso {
        Dso {
            path: path.into(),
            build_id: None,
        }
    }

    fn at(spaces: &AddressSpaces, pid: i32, address: u64) -> Option<(String, u64)> {
        let place = spaces.find(pid, address)?;
        Some((spaces.dso(place.dso)?.path.to_string(), place.file_offset))
    }

    #[test]
    fn a_later_mapping_cuts_into_an_earlier_one() {
        let mut s = AddressSpaces::default();
        s.map(1, 0x1000, 0x4000, 0x100, dso("/a"));
        s.map(1, 0x2000, 0x1000, 0, dso("/b"));
        assert_eq!(at(&s, 1, 0x1fff), Some(("/a".into(), 0x10ff)));
        assert_eq!(at(&s, 1, 0x2000), Some(("/b".into(), 0)));
        assert_eq!(at(&s, 1, 0x3000), Some(("/a".into(), 0x2100)));
        assert_eq!(at(&s, 1, 0x5000), None);
        s.map(1, 0, 0x10000, 0, dso("/c"));
        assert_eq!(at(&s, 1, 0x2000), Some(("/c".into(), 0x2000)));
    }

    #[test]
    fn fork_copies_exec_clears() {
        let mut s = AddressSpaces::default();
        s.map(1, 0x1000, 0x1000, 0, dso("/a"));
        s.fork(1, 2);
        s.map(2, 0x1000, 0x1000, 0, dso("/b"));
        assert_eq!(at(&s, 1, 0x1000), Some(("/a".into(), 0)));
        assert_eq!(at(&s, 2, 0x1000), Some(("/b".into(), 0)));
        s.exec(2);
        assert_eq!(at(&s, 2, 0x1000), None);
        assert_eq!(at(&s, 1, 0x1000), Some(("/a".into(), 0)));
    }

    #[test]
    fn hostile_mappings_do_no_harm() {
        let mut s = AddressSpaces::default();
        s.map(1, u64::MAX, 2, 0, dso("/a"));
        s.map(1, 5, 0, 0, dso("/a"));
        s.map(1, 0, u64::MAX, u64::MAX, dso("/a"));
        assert_eq!(at(&s, 1, 1), Some(("/a".into(), 0)));
    }
}
