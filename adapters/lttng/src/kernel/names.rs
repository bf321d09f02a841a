//! From what was written after `lttng:` to the events that are meant.

use kstrace_schema::{Error, ErrorKind, Result};

/// An event to record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chosen {
    /// Tracepoints: a name of the tracer's list.
    Tracepoint(String),
    /// System calls, entry and exit: a name of the tracer's list, or `*` for all.
    Syscall(String),
}

impl std::fmt::Display for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Chosen::Tracepoint(name) => write!(f, "lttng:{name}"),
            Chosen::Syscall(name) => write!(f, "lttng:syscall:{name}"),
        }
    }
}

/// The events that `spec` (without its `lttng:`) means: the name of a tracepoint, or
/// `syscall:` and the name of a system call, each with `*` for any characters.
///
/// # Errors
/// When it matches nothing, with what is there.
pub fn choose(spec: &str, tracepoints: &[String], syscalls: &[String]) -> Result<Vec<Chosen>> {
    if let Some(pattern) = spec.strip_prefix("syscall:") {
        if pattern == "*" {
            // One enabler for all, those that this kernel has no name for included.
            return Ok(vec![Chosen::Syscall("*".to_owned())]);
        }
        return matching(pattern, syscalls, Chosen::Syscall, "system call");
    }
    matching(spec, tracepoints, Chosen::Tracepoint, "tracepoint")
}

fn matching(
    pattern: &str,
    names: &[String],
    make: fn(String) -> Chosen,
    what: &str,
) -> Result<Vec<Chosen>> {
    let found: Vec<Chosen> = names
        .iter()
        .filter(|name| matches(pattern, name))
        .cloned()
        .map(make)
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let advice = match names.is_empty() {
        true => {
            "none is there: its probe modules are not loaded, as lttng-sessiond does at its start \
                 (modprobe -a lttng-probe-sched ...)"
                .to_owned()
        }
        false => format!(
            "`kstrace list 'lttng:*'` shows the {} there are",
            names.len()
        ),
    };
    Err(Error::new(
        ErrorKind::NotFound,
        format!("LTTng's kernel tracer has no {what} '{pattern}' ({advice})"),
    ))
}

/// Whether a name matches a pattern whose `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last star does not match.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(byte) if name.get(n) == Some(byte) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, at)) => {
                    retry = Some((star, at + 1));
                    p = star + 1;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        assert!(matches("*", "sched_switch"));
        assert!(matches("sched_*", "sched_switch"));
        assert!(matches("*_sw*ch", "sched_switch"));
        assert!(matches("sched_switch", "sched_switch"));
        assert!(!matches("sched_switch", "sched_switch2"));
        assert!(!matches("sched_*x", "sched_switch"));
        assert!(!matches("", "a"));
        assert!(matches("", ""));
    }

    #[test]
    fn tracepoints_and_system_calls() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let tracepoints = names(&["irq_handler_entry", "sched_switch", "sched_wakeup"]);
        let syscalls = names(&["openat", "read"]);
        let chosen = |spec| choose(spec, &tracepoints, &syscalls);
        let text = |found: Vec<Chosen>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(chosen("sched_*").unwrap()),
            ["lttng:sched_switch", "lttng:sched_wakeup"]
        );
        assert_eq!(
            text(chosen("syscall:open*").unwrap()),
            ["lttng:syscall:openat"]
        );
        assert_eq!(text(chosen("syscall:*").unwrap()), ["lttng:syscall:*"]);
        let error = chosen("sched_swich").unwrap_err().to_string();
        assert!(error.contains("no tracepoint 'sched_swich'"), "{error}");
        let error = choose("x", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("modprobe"), "{error}");
    }
}
