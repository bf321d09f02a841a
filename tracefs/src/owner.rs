//! Whose an instance is: the process and its start, written into the name.

use std::fs;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` of linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The process that made an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    /// Field 22 of `/proc/PID/stat`: a pid may be used again, with its start it is unique.
    start_ticks: u64,
    /// Pids of another namespace mean nothing here; zero stands for the initial one.
    pid_namespace: u64,
}

impl Owner {
    /// This process; `None` without a readable procfs.
    pub(crate) fn this_process() -> Option<Self> {
        let pid = std::process::id();
        Some(Owner {
            pid,
            start_ticks: start_ticks(pid)?,
            pid_namespace: pid_namespace(),
        })
    }

    /// The name of its `number`th instance: `PREFIX-PID-START-N`, with `.NAMESPACE`
    /// after the pid outside of the initial pid namespace.
    pub(crate) fn instance_name(&self, prefix: &str, number: u32) -> String {
        let Owner {
            pid,
            start_ticks,
            pid_namespace,
        } = self;
        match pid_namespace {
            0 => format!("{prefix}-{pid}-{start_ticks}-{number}"),
            _ => format!("{prefix}-{pid}.{pid_namespace}-{start_ticks}-{number}"),
        }
    }

    /// The owner that a name states, if it was made with `prefix`.
    pub(crate) fn of_name(name: &str, prefix: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(prefix)?.strip_prefix('-')?.split('-');
        let (who, start) = (parts.next()?, parts.next()?);
        let _number: u32 = parts.next()?.parse().ok()?;
        let (pid, pid_namespace) = match who.split_once('.') {
            Some((pid, namespace)) => (pid, namespace.parse().ok()?),
            None => (who, 0),
        };
        parts.next().is_none().then_some(())?;
        Some(Owner {
            pid: pid.parse().ok()?,
            start_ticks: start.parse().ok()?,
            pid_namespace,
        })
    }

    /// Whether the process is known to be gone.
    pub(crate) fn is_gone(&self) -> bool {
        // Without procfs nothing is known; in another namespace neither.
        fs::exists("/proc/self/stat").unwrap_or(false)
            && self.pid_namespace == pid_namespace()
            && start_ticks(self.pid) != Some(self.start_ticks)
    }
}

/// When a process that is alive was started, in clock ticks since boot.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_ticks(&String::from_utf8_lossy(&stat))
}

fn parse_start_ticks(stat: &str) -> Option<u64> {
    // Field 2 is the name in parentheses and may hold anything, so count from its end.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace();
    // A zombie holds nothing open any more.
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn pid_namespace() -> u64 {
    fs::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|link| {
            link.to_str()?
                .strip_prefix("pid:[")?
                .strip_suffix(']')?
                .parse::<u64>()
                .ok()
        })
        .filter(|inode| *inode != INITIAL_PID_NAMESPACE)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_foreign_names_are_nobodys() {
        let owner = Owner {
            pid: 7,
            start_ticks: 1234,
            pid_namespace: 0,
        };
        assert_eq!(owner.instance_name("kstrace", 3), "kstrace-7-1234-3");
        assert_eq!(Owner::of_name("kstrace-7-1234-3", "kstrace"), Some(owner));
        let inner = Owner {
            pid: 7,
            start_ticks: 1234,
            pid_namespace: 402,
        };
        assert_eq!(
            Owner::of_name(&inner.instance_name("a-b", 0), "a-b"),
            Some(inner)
        );
        for name in [
            "kstrace-7-1234",
            "kstrace-7-1234-3-9",
            "kstrace-x-1-1",
            "other-7-1234-3",
            "kstrace",
        ] {
            assert_eq!(Owner::of_name(name, "kstrace"), None, "{name}");
        }
    }

    #[test]
    fn a_living_process_is_not_gone_but_its_namesake_is() {
        let me = Owner::this_process().unwrap();
        assert!(!me.is_gone());
        assert!(
            Owner {
                start_ticks: me.start_ticks + 1,
                ..me
            }
            .is_gone()
        );
    }

    #[test]
    fn the_start_is_found_behind_a_hostile_name() {
        let fields: Vec<String> = (4..=30).map(|n| n.to_string()).collect();
        let stat = format!("12 (a) b) R) S {}", fields.join(" "));
        assert_eq!(parse_start_ticks(&stat), Some(22));
        assert_eq!(parse_start_ticks(&stat.replace(") S ", ") Z ")), None);
        assert_eq!(parse_start_ticks("12 (a"), None);
    }
}
