//! What can be recorded beside every event.

use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// Every context by its name, with its number in the ABI.
///
/// Those that count hardware events (`perf:cpu:...`) are left out: perf samples have them.
const CONTEXTS: [(&str, u32); 35] = [
    ("pid", 0),
    ("procname", 2),
    ("prio", 3),
    ("nice", 4),
    ("vpid", 5),
    ("tid", 6),
    ("vtid", 7),
    ("ppid", 8),
    ("vppid", 9),
    ("hostname", 10),
    ("cpu_id", 11),
    ("interruptible", 12),
    ("preemptible", 13),
    ("need_reschedule", 14),
    ("migratable", 15),
    ("callstack-kernel", 16),
    ("callstack-user", 17),
    ("cgroup_ns", 18),
    ("ipc_ns", 19),
    ("mnt_ns", 20),
    ("net_ns", 21),
    ("pid_ns", 22),
    ("user_ns", 23),
    ("uts_ns", 24),
    ("uid", 25),
    ("euid", 26),
    ("suid", 27),
    ("gid", 28),
    ("egid", 29),
    ("sgid", 30),
    ("vuid", 31),
    ("vgid", 34),
    ("veuid", 32),
    ("vegid", 35),
    ("time_ns", 37),
];

/// A context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextKind {
    name: &'static str,
    number: u32,
}

impl ContextKind {
    /// LTTng's name for it.
    pub fn name(self) -> &'static str {
        self.name
    }

    pub(super) fn number(self) -> u32 {
        self.number
    }
}

impl fmt::Display for ContextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for ContextKind {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        CONTEXTS
            .into_iter()
            .find(|(name, _)| *name == word)
            .map(|(name, number)| ContextKind { name, number })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "LTTng's kernel tracer has no context '{word}', only {}",
                        context_names().collect::<Vec<_>>().join(", ")
                    ),
                )
            })
    }
}

/// The names of all contexts.
pub fn context_names() -> impl Iterator<Item = &'static str> {
    CONTEXTS.into_iter().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        assert_eq!("procname".parse::<ContextKind>().unwrap().number(), 2);
        assert_eq!("vtid".parse::<ContextKind>().unwrap().number(), 7);
        let text = "vtidd".parse::<ContextKind>().unwrap_err().to_string();
        assert!(text.contains("'vtidd'") && text.contains("vtid,"), "{text}");
    }
}
