//! Names of tasks, learned from records, for the section of command lines.

use std::collections::BTreeSet;

/// Largest tid that Linux gives out (`PID_MAX_LIMIT`).
const MAX_TID: u32 = 1 << 22;
const PAGE_TASKS: usize = 1 << 10;

/// A task's name, NUL-padded; all zero is unknown.
pub(super) type Comm = [u8; 16];

/// Names by tid, in pages of 1024: a look costs two loads.
#[derive(Debug, Default)]
pub(super) struct TaskNames {
    pages: Vec<Option<Box<[Comm; PAGE_TASKS]>>>,
}

impl TaskNames {
    fn get(&self, tid: u32) -> Option<&Comm> {
        let page = self.pages.get(tid as usize / PAGE_TASKS)?.as_deref()?;
        page.get(tid as usize % PAGE_TASKS)
    }

    /// Notes a name: bytes up to a NUL or the end. The last one that is told counts.
    #[inline]
    pub(super) fn set(&mut self, tid: u32, name: &[u8]) {
        // The idle tasks share tid 0, and every reader names them itself.
        if tid == 0 || tid > MAX_TID {
            return;
        }
        let comm = comm_of(name);
        if comm[0] == 0 || self.get(tid) == Some(&comm) {
            return;
        }
        self.put(tid, comm);
    }

    #[cold]
    fn put(&mut self, tid: u32, comm: Comm) {
        let index = tid as usize / PAGE_TASKS;
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, || None);
        }
        if let Some(page) = self.pages.get_mut(index) {
            let page = page.get_or_insert_with(|| Box::new([Comm::default(); PAGE_TASKS]));
            if let Some(place) = page.get_mut(tid as usize % PAGE_TASKS) {
                *place = comm;
            }
        }
    }

    /// A task was made by another one, whose name it has until told otherwise.
    pub(super) fn forked(&mut self, parent: u32, tid: u32) {
        if let Some(name) = self.get(parent).copied() {
            self.set(tid, &name);
        }
    }

    /// Notes the names of a `saved_cmdlines`.
    pub(super) fn learn(&mut self, lines: &[u8]) {
        for (tid, name) in numbered(lines) {
            // What the kernel shows for a name that it has forgotten.
            if name != b"<...>" {
                self.set(tid, name);
            }
        }
    }

    /// Lines as in `saved_cmdlines`: those given, and one for each other task.
    pub(super) fn lines(&self, given: &[u8]) -> Vec<u8> {
        let mut lines = given.to_vec();
        let known: BTreeSet<u32> = numbered(given).map(|(tid, _)| tid).collect();
        for (page, names) in self.pages.iter().enumerate() {
            for (at, comm) in names.iter().flat_map(|names| names.iter()).enumerate() {
                // Below MAX_TID.
                let tid = (page * PAGE_TASKS + at) as u32;
                if comm[0] == 0 || known.contains(&tid) {
                    continue;
                }
                if !lines.is_empty() && !lines.ends_with(b"\n") {
                    lines.push(b'\n');
                }
                lines.extend_from_slice(format!("{tid} ").as_bytes());
                let name = comm.iter().take_while(|c| **c != 0);
                // A line each: what would end it does not belong in a name.
                lines.extend(name.map(|c| if *c == b'\n' { b'?' } else { *c }));
                lines.push(b'\n');
            }
        }
        lines
    }
}

/// The lines of a `saved_cmdlines`: tid and name.
fn numbered(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    text.split(|c| *c == b'\n').filter_map(|line| {
        let line = line.trim_ascii_start();
        let end = line.iter().position(|c| *c == b' ')?;
        let (tid, name) = line.split_at_checked(end)?;
        let tid = std::str::from_utf8(tid).ok()?.parse().ok()?;
        Some((tid, name.get(1..).unwrap_or_default()))
    })
}

fn comm_of(bytes: &[u8]) -> Comm {
    let mut comm = Comm::default();
    // The last byte stays a NUL.
    for (to, from) in comm.iter_mut().take(15).zip(bytes) {
        if *from == 0 {
            break;
        }
        *to = *from;
    }
    comm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stays_as_it_is() {
        let mut names = TaskNames::default();
        assert_eq!(names.lines(b"5 make\n 7 cc1\n"), b"5 make\n 7 cc1\n");
        names.set(5, b"other");
        names.set(9, b"ld\0rubbish");
        names.forked(9, 70_000);
        names.forked(11, 12);
        names.set(70_000, b"a name that is too long");
        names.set(0, b"swapper");
        names.set(u32::MAX, b"x");
        assert_eq!(
            names.lines(b"5 make\n7 cc1"),
            b"5 make\n7 cc1\n9 ld\n70000 a name that is \n"
        );
    }
}
