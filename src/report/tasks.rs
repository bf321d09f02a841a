//! Names and thread groups of tasks, as of the record being shown.

use rustc_hash::FxHashMap;

/// A task's name: up to 15 bytes, as `TASK_COMM_LEN` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comm {
    bytes: [u8; 16],
    len: u8,
}

impl Comm {
    pub(super) fn new(name: &[u8]) -> Self {
        let mut comm = Comm::default();
        // What a terminal would act upon is no part of a name.
        for (to, from) in comm.bytes.iter_mut().zip(name) {
            *to = if *from < b' ' || *from == 0x7f {
                b'?'
            } else {
                *from
            };
        }
        comm.len = name.len().min(16) as u8;
        comm
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Task {
    /// Thread group id.
    pub(super) pid: Option<i32>,
    pub(super) comm: Option<Comm>,
}

/// More tasks than the kernel can number (`PID_MAX_LIMIT`) can only be made up.
const MAX_TASKS: usize = 1 << 22;

/// All threads by id.
#[derive(Default)]
pub(super) struct Tasks(FxHashMap<i32, Task>);

impl Tasks {
    /// What is known of a thread now.
    #[inline]
    pub(super) fn get(&self, tid: i32) -> Task {
        self.0.get(&tid).copied().unwrap_or_default()
    }

    #[inline]
    fn entry(&mut self, tid: i32) -> Option<&mut Task> {
        // The idle tasks share id 0 and have a name of their own in every output.
        if tid <= 0 || (self.0.len() >= MAX_TASKS && !self.0.contains_key(&tid)) {
            return None;
        }
        Some(self.0.entry(tid).or_default())
    }

    #[inline]
    pub(super) fn set_comm(&mut self, tid: i32, comm: &[u8]) {
        if let Some(task) = self.entry(tid).filter(|_| !comm.is_empty()) {
            task.comm = Some(Comm::new(comm));
        }
    }

    pub(super) fn set_pid(&mut self, tid: i32, pid: i32) {
        if let Some(task) = self.entry(tid).filter(|_| pid > 0) {
            task.pid = Some(pid);
        }
    }

    /// A new thread takes its parent's name; its id may have been another's before.
    pub(super) fn fork(&mut self, parent: i32, child: i32, child_pid: Option<i32>) {
        let comm = self.get(parent).comm;
        if let Some(task) = self.entry(child) {
            *task = Task {
                pid: child_pid,
                comm: comm.or(task.comm),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_its_parents_name_until_it_takes_its_own() {
        let mut tasks = Tasks::default();
        tasks.set_comm(10, b"make");
        tasks.fork(10, 11, Some(11));
        assert_eq!(tasks.get(11).comm.unwrap().as_bytes(), b"make");
        tasks.set_comm(11, b"cc1");
        assert_eq!(tasks.get(11).comm.unwrap().as_bytes(), b"cc1");
        assert_eq!(tasks.get(10).comm.unwrap().as_bytes(), b"make");
        assert_eq!(tasks.get(11).pid, Some(11));
        // The id comes again as a thread of another process.
        tasks.fork(10, 11, Some(10));
        assert_eq!(tasks.get(11).pid, Some(10));
    }

    #[test]
    fn names_are_fit_for_a_terminal() {
        assert_eq!(Comm::new(b"a\x1b[2Jb").as_bytes(), b"a?[2Jb");
        assert_eq!(Comm::new(&[b'x'; 40]).as_bytes(), [b'x'; 16]);
    }
}
