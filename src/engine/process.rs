//! `kstrace:process`: the tasks that were there before the first record.

use super::request::Target;
use kstrace_schema::builtin::ProcessPayload;
use kstrace_schema::{
    ClassId, Cpu, EventRecord, Fill, HopAccount, RecordStream, Result, SessionTime, Sink, SourceId,
};
use std::fs;
use std::path::Path;
use zerocopy::IntoBytes;

/// The running tasks as a stream of records, all of one time.
#[derive(Debug)]
pub(super) struct ProcessStream {
    class: ClassId,
    time: SessionTime,
    tasks: Vec<ProcessPayload>,
    account: HopAccount,
}

impl ProcessStream {
    /// Reads /proc. Tasks that vanish meanwhile are left out.
    pub(super) fn of(target: &Target, class: ClassId, time: SessionTime) -> Self {
        let tasks = match target {
            Target::System => all_pids().into_iter().flat_map(tasks_of).collect(),
            Target::Pids(pids) => pids.iter().copied().flat_map(tasks_of).collect(),
            Target::Command { pid } => tasks_of(*pid),
        };
        let account = HopAccount::new(SourceId::KSTRACE, "proc", Cpu::NONE);
        ProcessStream {
            class,
            time,
            tasks,
            account,
        }
    }
}

impl RecordStream for ProcessStream {
    fn source(&self) -> SourceId {
        SourceId::KSTRACE
    }

    fn cpu(&self) -> Cpu {
        Cpu::NONE
    }

    fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
        Ok(Fill {
            complete_until: SessionTime::MAX,
            more: false,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        (!self.tasks.is_empty()).then_some(self.time)
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        if until < self.time {
            return Ok(0);
        }
        let mut count = 0;
        for task in self.tasks.drain(..) {
            sink.record(&EventRecord {
                class: self.class,
                rest_len_bytes: 0,
                cpu: Cpu::NONE,
                time: self.time,
                payload: task.as_bytes(),
            })?;
            count += 1;
        }
        self.account.seen += count;
        self.account.written += count;
        Ok(count)
    }

    fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
        Ok(self.account.clone())
    }
}

fn all_pids() -> Vec<i32> {
    let mut pids = numbered_entries(Path::new("/proc"));
    pids.sort_unstable();
    pids
}

fn numbered_entries(directory: &Path) -> Vec<i32> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn tasks_of(pid: i32) -> Vec<ProcessPayload> {
    let mut tids = numbered_entries(Path::new(&format!("/proc/{pid}/task")));
    tids.sort_unstable();
    tids.into_iter().filter_map(|tid| task(pid, tid)).collect()
}

fn task(pid: i32, tid: i32) -> Option<ProcessPayload> {
    let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    parse_stat(&stat, pid, tid)
}

/// `proc_pid_stat(5)`: the name stands in parentheses and may contain anything.
fn parse_stat(stat: &[u8], pid: i32, tid: i32) -> Option<ProcessPayload> {
    let open = stat.iter().position(|b| *b == b'(')?;
    let close = stat.iter().rposition(|b| *b == b')')?;
    let name = stat.get(open + 1..close)?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let ppid = fields.nth(1)?.parse().ok()?;
    // Field 9, `flags`; the fields from 5 on follow ppid.
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let mut comm = [0u8; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name[..length]);
    /// `PF_KTHREAD`, include/linux/sched.h.
    const PF_KTHREAD: u32 = 0x0020_0000;
    Some(ProcessPayload {
        pid,
        tid,
        ppid,
        kernel: u32::from(flags & PF_KTHREAD != 0),
        comm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_contain_anything() {
        let stat = b"42 (a) (b) S 7 42 42 0 -1 2129984 0 0";
        let task = parse_stat(stat, 42, 42).unwrap();
        assert_eq!((task.ppid, task.kernel), (7, 1));
        assert_eq!(&task.comm[..7], b"a) (b\0\0");
        assert!(parse_stat(b"42 (x", 42, 42).is_none());
    }

    #[test]
    fn this_process_is_found() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let tasks = tasks_of(pid);
        assert!(tasks.iter().any(|t| t.tid == pid && t.kernel == 0));
        assert!(all_pids().contains(&pid));
    }
}
