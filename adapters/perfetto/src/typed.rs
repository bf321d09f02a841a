//! The events that Perfetto has messages of its own for.

/// `system:name field-number name=number-type...`, sorted; `tools/typed_events.py` makes it.
const TABLE: &str = include_str!("typed_events.txt");

/// Events that Perfetto's readers make tracks and states of, not only arguments. They
/// are written as their own message even where that lacks a field this kernel has.
const INTERPRETED: [&str; 31] = [
    "block:block_rq_complete",
    "block:block_rq_insert",
    "block:block_rq_issue",
    "block:block_rq_requeue",
    "ftrace:print",
    "irq:irq_handler_entry",
    "irq:irq_handler_exit",
    "irq:softirq_entry",
    "irq:softirq_exit",
    "irq:softirq_raise",
    "oom:mark_victim",
    "oom:oom_score_adj_update",
    "power:cpu_frequency",
    "power:cpu_idle",
    "raw_syscalls:sys_enter",
    "raw_syscalls:sys_exit",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "sched:sched_process_fork",
    "sched:sched_process_free",
    "sched:sched_switch",
    "sched:sched_wakeup",
    "sched:sched_wakeup_new",
    "sched:sched_waking",
    "signal:signal_deliver",
    "signal:signal_generate",
    "task:task_newtask",
    "task:task_rename",
    "workqueue:workqueue_execute_end",
    "workqueue:workqueue_execute_start",
    "workqueue:workqueue_queue_work",
];

/// Type of a field of a typed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypedKind {
    /// `string`
    Text,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
}

/// One field of a typed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypedField {
    /// The kernel's name of it.
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) kind: TypedKind,
    pub(crate) repeated: bool,
}

/// One typed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedEvent {
    /// The field of `FtraceEvent`.
    pub(crate) number: u32,
    pub(crate) fields: Vec<TypedField>,
    /// See [`INTERPRETED`].
    pub(crate) interpreted: bool,
}

/// The message of an event by the name that tracefs gives it, `system:name`.
pub(crate) fn find(name: &str) -> Option<TypedEvent> {
    let line = TABLE
        .lines()
        .find(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with(' ')))?;
    let mut words = line.split(' ').skip(1);
    let number = words.next()?.parse().ok()?;
    let fields = words.map(field).collect::<Option<_>>()?;
    Some(TypedEvent {
        number,
        fields,
        interpreted: INTERPRETED.contains(&name),
    })
}

/// `name=12u*`
fn field(word: &'static str) -> Option<TypedField> {
    let (name, rest) = word.split_once('=')?;
    let (rest, repeated) = match rest.strip_suffix('*') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let kind = match rest.chars().last()? {
        's' => TypedKind::Text,
        'i' => TypedKind::Int32,
        'I' => TypedKind::Int64,
        'u' => TypedKind::Uint32,
        'U' => TypedKind::Uint64,
        _ => return None,
    };
    Some(TypedField {
        name,
        number: rest[..rest.len() - 1].parse().ok()?,
        kind,
        repeated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        let names: Vec<_> = TABLE
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split(' ').next().unwrap())
            .collect();
        assert!(names.len() > 300);
        assert!(names.is_sorted());
        for name in &names {
            assert!(find(name).is_some(), "{name}");
        }
        for name in INTERPRETED {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn sched_switch() {
        let event = find("sched:sched_switch").unwrap();
        assert!(event.interpreted);
        assert_eq!((event.number, event.fields.len()), (4, 7));
        let state = TypedField {
            name: "prev_state",
            number: 4,
            kind: TypedKind::Int64,
            repeated: false,
        };
        assert_eq!(event.fields[3], state);
        assert_eq!(find("sched:sched_switc"), None);
        assert_eq!(find("# Events"), None);
    }
}
