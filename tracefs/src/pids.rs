//! Which tasks are traced.

use crate::Result;
use crate::trace_array::TraceArray;

impl TraceArray {
    /// Records events of these tasks only (`set_event_pid`); none of them for
    /// every task. Thread ids as `gettid` gives them; with the option
    /// `event-fork` their children are added as they are made.
    ///
    /// Minimum kernel version: 4.4.
    pub fn set_event_pids(&self, tids: &[i32]) -> Result<()> {
        self.set_pid_list("set_event_pid", tids)
    }

    /// Adds tasks to those whose events are recorded.
    pub fn add_event_pids(&self, tids: &[i32]) -> Result<()> {
        self.add_to_pid_list("set_event_pid", tids)
    }

    /// The tasks whose events are recorded; none means all.
    pub fn event_pids(&self) -> Result<Vec<i32>> {
        let text = self.directory.read("set_event_pid")?;
        Ok(text
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect())
    }

    /// Never records events of these tasks (`set_event_notrace_pid`). With the
    /// option `event-fork` their children are added as they are made.
    ///
    /// Minimum kernel version: 5.7.
    pub fn set_event_notrace_pids(&self, tids: &[i32]) -> Result<()> {
        self.set_pid_list("set_event_notrace_pid", tids)
    }

    /// Adds tasks to those whose events are never recorded.
    pub fn add_event_notrace_pids(&self, tids: &[i32]) -> Result<()> {
        self.add_to_pid_list("set_event_notrace_pid", tids)
    }

    /// Traces functions of these tasks only (`set_ftrace_pid`); with the option
    /// `function-fork` of their children too.
    pub fn set_function_pids(&self, tids: &[i32]) -> Result<()> {
        self.set_pid_list("set_ftrace_pid", tids)
    }

    /// Never traces functions of these tasks (`set_ftrace_notrace_pid`).
    ///
    /// Minimum kernel version: 5.7.
    pub fn set_function_notrace_pids(&self, tids: &[i32]) -> Result<()> {
        self.set_pid_list("set_ftrace_notrace_pid", tids)
    }

    fn set_pid_list(&self, file: &str, tids: &[i32]) -> Result<()> {
        // Opening with O_TRUNC empties the list.
        self.directory.write(file, &list(tids))
    }

    fn add_to_pid_list(&self, file: &str, tids: &[i32]) -> Result<()> {
        if tids.is_empty() {
            Ok(())
        } else {
            self.directory.append(file, &list(tids))
        }
    }
}

fn list(tids: &[i32]) -> String {
    tids.iter().map(|tid| format!("{tid}\n")).collect()
}
