//! What is known of tasks: whose thread a tid is, and its name.

/// Largest tid that Linux gives out (`PID_MAX_LIMIT`).
const MAX_TID: u32 = 1 << 22;
const PAGE_TASKS: usize = 1 << 10;

/// A task's name, NUL-padded; all zero is unknown.
pub(super) type Comm = [u8; 16];

#[derive(Clone, Copy, Debug, Default)]
struct Task {
    /// Thread group, 0 for unknown.
    pid: u32,
    /// A fork was seen that told the thread group; the sched event of the same
    /// fork, which does not, is still to come.
    fork_told: bool,
    comm: Comm,
    /// The bytes that a record last had for the name: most have the same again.
    seen: Comm,
}

/// Tasks by tid, in pages of 1024: a lookup is two loads, and all 4 Mi tids that
/// there can be take 96 MiB at the very worst.
#[derive(Debug, Default)]
pub(super) struct TaskTable {
    pages: Vec<Option<Box<[Task; PAGE_TASKS]>>>,
}

impl TaskTable {
    /// The thread group of a tid; the tid itself if that is not known.
    #[inline]
    pub(super) fn pid(&self, tid: u32) -> u32 {
        match self.get(tid) {
            Some(task) if task.pid != 0 => task.pid,
            _ => tid,
        }
    }

    #[inline]
    fn get(&self, tid: u32) -> Option<&Task> {
        let page = self.pages.get(tid as usize / PAGE_TASKS)?.as_deref()?;
        page.get(tid as usize % PAGE_TASKS)
    }

    fn get_mut(&mut self, tid: u32) -> Option<&mut Task> {
        if tid > MAX_TID {
            return None;
        }
        let page = tid as usize / PAGE_TASKS;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page)?;
        let tasks = page.get_or_insert_with(|| Box::new([Task::default(); PAGE_TASKS]));
        tasks.get_mut(tid as usize % PAGE_TASKS)
    }

    /// Notes the thread group of a tid.
    pub(super) fn set_pid(&mut self, tid: u32, pid: u32) {
        if let Some(task) = self.get_mut(tid) {
            task.pid = pid;
        }
    }

    /// Whether a record had these very bytes for the name before.
    #[inline]
    pub(super) fn has_seen(&self, tid: u32, bytes: &Comm) -> bool {
        // The idle tasks share tid 0; their names are no news.
        tid == 0 || self.get(tid).is_some_and(|task| task.seen == *bytes)
    }

    /// Notes that a record had these bytes.
    pub(super) fn note_seen(&mut self, tid: u32, bytes: Comm) {
        if let Some(task) = self.get_mut(tid) {
            task.seen = bytes;
        }
    }

    /// Notes a name. True if it is news, and to be told to the reader of the file.
    pub(super) fn set_comm(&mut self, tid: u32, comm: Comm) -> bool {
        // perf names the idle tasks itself.
        if tid == 0 || comm[0] == 0 || self.get(tid).is_some_and(|task| task.comm == comm) {
            return false;
        }
        self.get_mut(tid).is_some_and(|task| {
            task.comm = comm;
            task.seen = comm;
            true
        })
    }

    /// A fork whose thread group is known.
    pub(super) fn forked(&mut self, tid: u32, pid: u32) {
        if let Some(task) = self.get_mut(tid) {
            task.pid = pid;
            task.fork_told = true;
        }
    }

    /// A fork whose thread group is not known: what the tid was before counts no
    /// more, unless this fork was told better just now.
    pub(super) fn forked_somewhere(&mut self, tid: u32) {
        if let Some(task) = self.get_mut(tid) {
            if !task.fork_told {
                task.pid = 0;
            }
            task.fork_told = false;
        }
    }

    /// All tasks with a name: tid and name.
    pub(super) fn named(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.pages.iter().enumerate().flat_map(|(page, tasks)| {
            tasks
                .iter()
                .flat_map(|tasks| tasks.iter())
                .enumerate()
                .filter_map(move |(at, task)| {
                    let length = task
                        .comm
                        .iter()
                        .position(|c| *c == 0)
                        .unwrap_or(task.comm.len());
                    // Below MAX_TID.
                    (length > 0).then_some(((page * PAGE_TASKS + at) as u32, &task.comm[..length]))
                })
        })
    }
}

/// A name from bytes that may be longer, and may be ended by a NUL.
pub(super) fn comm_of(bytes: &[u8]) -> Comm {
    let mut comm = Comm::default();
    let length = bytes
        .iter()
        .position(|c| *c == 0)
        .unwrap_or(bytes.len())
        .min(comm.len() - 1);
    comm[..length].copy_from_slice(&bytes[..length]);
    comm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once() {
        let mut tasks = TaskTable::default();
        assert!(tasks.set_comm(70_000, comm_of(b"make\0rubbish")));
        assert!(!tasks.set_comm(70_000, comm_of(b"make")));
        assert!(tasks.set_comm(70_000, comm_of(b"a name that is too long")));
        assert!(!tasks.set_comm(0, comm_of(b"swapper/1")));
        assert!(!tasks.set_comm(u32::MAX, comm_of(b"x")));
        assert!(tasks.named().eq([(70_000, &b"a name that is "[..])]));
    }

    #[test]
    fn a_tid_that_is_used_again_loses_its_old_group() {
        let mut tasks = TaskTable::default();
        assert_eq!(tasks.pid(12), 12);
        tasks.set_pid(12, 10);
        tasks.forked_somewhere(12);
        assert_eq!(tasks.pid(12), 12);
        tasks.forked(12, 9);
        tasks.forked_somewhere(12);
        assert_eq!(tasks.pid(12), 9);
        tasks.forked_somewhere(12);
        assert_eq!(tasks.pid(12), 12);
    }
}
