//! Canonical names: one name for an event and its fields, whichever tracer it comes from.
//!
//! The kernel's `sched:sched_switch` has a field `prev_pid`, LTTng's `sched_switch`
//! calls it `prev_tid`. Both are the canonical `sched_switch.prev_tid`, and a merged
//! trace can be asked for that. The table is `schema/v1/canonical.json`; native
//! names keep working.

use crate::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// The normative table as text.
pub const TABLE_JSON: &str = include_str!("../v1/canonical.json");

/// The whole table of canonical names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanonicalTable {
    /// Major and minor version of the table.
    pub version: (u16, u16),
    /// Fields that events of any kind have.
    pub common: Vec<CommonField>,
    /// The events.
    pub events: Vec<CanonicalEvent>,
}

/// A field that a tracer puts into every record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommonField {
    /// Its canonical name.
    pub name: String,
    /// What it means.
    pub role: Role,
    /// For people.
    pub description: String,
    /// What the tracers call it.
    pub native: Vec<NativeCommonField>,
}

/// What some tracers call a [`CommonField`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NativeCommonField {
    /// The tracers: words of [`namespace`](crate::namespace).
    pub namespaces: Vec<String>,
    /// The field's name there.
    pub field: String,
}

/// One canonical event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanonicalEvent {
    /// Its canonical name: no system, no tracer.
    pub name: String,
    /// The family it belongs to: `sched`, `irq`, `syscalls`, `timer`, `block`, `page_fault`.
    pub family: String,
    /// For people.
    pub description: String,
    /// Its fields. A tracer need not have them all.
    pub fields: Vec<CanonicalField>,
    /// What the tracers call it. The first entry that matches counts.
    pub native: Vec<NativeEvent>,
}

/// One field of a canonical event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanonicalField {
    /// Its canonical name.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it means, where a role says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What some tracers call a canonical event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NativeEvent {
    /// The tracers: words of [`namespace`](crate::namespace).
    pub namespaces: Vec<String>,
    /// The event's name there. One `*` at its end stands for any text: for a family
    /// of events that are one event here, such as one for each system call.
    pub event: String,
    /// Canonical field name to native field name.
    pub fields: BTreeMap<String, String>,
}

impl CanonicalEvent {
    /// The field of that canonical name.
    pub fn field(&self, name: &str) -> Option<&CanonicalField> {
        self.fields.iter().find(|f| f.name == name)
    }
}

/// A native event that has a canonical name.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalMatch<'n> {
    /// The canonical event.
    pub event: &'static CanonicalEvent,
    /// The entry of the table that matched.
    pub native: &'static NativeEvent,
    /// What the `*` of the entry stood for: `openat` of `syscalls:sys_enter_openat`.
    pub variant: Option<&'n str>,
}

impl CanonicalMatch<'_> {
    /// What this tracer calls a canonical field.
    pub fn native_field(&self, canonical: &str) -> Option<&'static str> {
        self.native.fields.get(canonical).map(String::as_str)
    }

    /// The canonical field of a native one.
    pub fn canonical_field(&self, native: &str) -> Option<&'static CanonicalField> {
        let (name, _) = self.native.fields.iter().find(|(_, n)| *n == native)?;
        self.event.field(name)
    }
}

/// What a query names; see [`resolve`].
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    /// The event.
    pub event: &'static CanonicalEvent,
    /// The field, if the query names one.
    pub field: Option<&'static CanonicalField>,
}

impl Resolved {
    /// Whether records of a native event are among those the query means.
    pub fn matches(&self, namespace: &str, native_event: &str) -> bool {
        event(namespace, native_event).is_some_and(|m| std::ptr::eq(m.event, self.event))
    }
}

struct Index {
    table: CanonicalTable,
    /// Native names without a `*`, by (namespace, name): positions of event and native entry.
    exact: HashMap<(String, String), (usize, usize)>,
    /// Native names with a `*`: (namespace, what stands before it), in the table's order.
    prefixes: Vec<(String, String, usize, usize)>,
    by_name: HashMap<String, usize>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    // The text is part of the program, and a test parses it: the default is never used.
    let table: CanonicalTable = serde_json::from_str(TABLE_JSON).unwrap_or_default();
    let mut exact = HashMap::new();
    let mut prefixes = Vec::new();
    let mut by_name = HashMap::new();
    for (e, event) in table.events.iter().enumerate() {
        by_name.entry(event.name.clone()).or_insert(e);
        for (n, native) in event.native.iter().enumerate() {
            for namespace in &native.namespaces {
                let namespace = namespace.clone();
                if let Some(prefix) = native.event.strip_suffix('*') {
                    prefixes.push((namespace, prefix.to_owned(), e, n));
                } else {
                    exact
                        .entry((namespace, native.event.clone()))
                        .or_insert((e, n));
                }
            }
        }
    }
    Index {
        table,
        exact,
        prefixes,
        by_name,
    }
});

/// The table.
pub fn table() -> &'static CanonicalTable {
    &INDEX.table
}

/// The canonical event of that canonical name.
pub fn by_name(name: &str) -> Option<&'static CanonicalEvent> {
    INDEX.table.events.get(*INDEX.by_name.get(name)?)
}

/// The canonical event that a tracer's event is.
///
/// `namespace` is one of [`namespace`](crate::namespace)'s words, `name` the event's
/// name as that tracer's users write it.
pub fn event<'n>(namespace: &str, name: &'n str) -> Option<CanonicalMatch<'n>> {
    let (e, n, variant) = match INDEX.exact.get(&(namespace.to_owned(), name.to_owned())) {
        Some((e, n)) => (*e, *n, None),
        None => INDEX.prefixes.iter().find_map(|(ns, prefix, e, n)| {
            let rest = name
                .strip_prefix(prefix.as_str())
                .filter(|rest| !rest.is_empty())?;
            (ns == namespace).then_some((*e, *n, Some(rest)))
        })?,
    };
    let event = INDEX.table.events.get(e)?;
    Some(CanonicalMatch {
        event,
        native: event.native.get(n)?,
        variant,
    })
}

/// The role of a field of a tracer's event.
pub fn role(namespace: &str, event_name: &str, field: &str) -> Option<Role> {
    let common = table().common.iter().find(|c| {
        c.native
            .iter()
            .any(|n| n.field == field && n.namespaces.iter().any(|have| have == namespace))
    });
    match common {
        Some(common) => Some(common.role),
        None => event(namespace, event_name)?.canonical_field(field)?.role,
    }
}

/// What a query means: a canonical name, or any tracer's own, with or without `.field`.
///
/// `sched_switch`, `sched_switch.prev_tid`, `sched:sched_switch.prev_pid` and
/// `lttng:sched_switch.prev_tid` all work. A field may be given by either name.
pub fn resolve(query: &str) -> Option<Resolved> {
    if let Some(event) = resolve_event(query) {
        return Some(Resolved {
            event: event.0,
            field: None,
        });
    }
    let (name, field) = query.rsplit_once('.')?;
    let (event, native) = resolve_event(name)?;
    let field = event
        .field(field)
        .or_else(|| {
            let (name, _) = native?.fields.iter().find(|(_, n)| *n == field)?;
            event.field(name)
        })
        .or_else(|| {
            let name = event.native.iter().find_map(|n| {
                n.fields
                    .iter()
                    .find(|(_, have)| *have == field)
                    .map(|(name, _)| name)
            })?;
            event.field(name)
        })?;
    Some(Resolved {
        event,
        field: Some(field),
    })
}

fn resolve_event(name: &str) -> Option<(&'static CanonicalEvent, Option<&'static NativeEvent>)> {
    use crate::namespace::{FTRACE, LTTNG, PERF};
    if let Some(event) = by_name(name) {
        return Some((event, None));
    }
    if let Some((namespace, rest)) = name.split_once(':')
        && let Some(found) = event(namespace, rest)
    {
        return Some((found.event, Some(found.native)));
    }
    [FTRACE, PERF, LTTNG]
        .into_iter()
        .find_map(|n| event(n, name))
        .map(|m| (m.event, Some(m.native)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{FTRACE, LTTNG, PERF};
    use std::collections::HashSet;

    #[test]
    fn the_table_is_whole_and_consistent() {
        let parsed: CanonicalTable = serde_json::from_str(TABLE_JSON).unwrap();
        assert_eq!(&parsed, table());
        for family in ["sched", "irq", "syscalls", "timer", "block", "page_fault"] {
            assert!(
                parsed.events.iter().any(|e| e.family == family),
                "no event of {family}"
            );
        }
        let mut names = HashSet::new();
        let mut natives = HashSet::new();
        for event in &parsed.events {
            assert!(names.insert(&event.name), "{} twice", event.name);
            assert!(!event.native.is_empty(), "{} is nobody's", event.name);
            let fields: HashSet<_> = event.fields.iter().map(|f| &f.name).collect();
            assert_eq!(
                fields.len(),
                event.fields.len(),
                "{}: a field twice",
                event.name
            );
            for native in &event.native {
                for namespace in &native.namespaces {
                    assert!(
                        [FTRACE, PERF, LTTNG].contains(&namespace.as_str()),
                        "{namespace}"
                    );
                    assert!(
                        natives.insert((namespace, &native.event)),
                        "{namespace}:{} twice",
                        native.event
                    );
                }
                for name in native.fields.keys() {
                    assert!(fields.contains(name), "{}: no field {name}", event.name);
                }
                assert!(
                    !native.event.trim_end_matches('*').contains('*'),
                    "{}",
                    native.event
                );
            }
        }
    }

    #[test]
    fn native_names_of_all_tracers_meet() {
        for (namespace, name, field) in [
            (FTRACE, "sched:sched_switch", "prev_pid"),
            (PERF, "sched:sched_switch", "prev_pid"),
            (LTTNG, "sched_switch", "prev_tid"),
        ] {
            let found = event(namespace, name).unwrap();
            assert_eq!(found.event.name, "sched_switch");
            assert_eq!(found.native_field("prev_tid"), Some(field));
            assert_eq!(
                found.canonical_field(field).unwrap().role,
                Some(Role::PrevTid)
            );
            assert_eq!(role(namespace, name, field), Some(Role::PrevTid));
        }
        assert_eq!(role(FTRACE, "any:event", "common_pid"), Some(Role::Tid));
        assert!(event(LTTNG, "sched:sched_switch").is_none());
        assert!(event(FTRACE, "nothing:like_it").is_none());
    }

    #[test]
    fn a_family_of_events_is_one_event() {
        let found = event(FTRACE, "syscalls:sys_enter_openat").unwrap();
        assert_eq!(
            (found.event.name.as_str(), found.variant),
            ("syscall_entry", Some("openat"))
        );
        let found = event(LTTNG, "syscall_exit_read").unwrap();
        assert_eq!(
            (found.event.name.as_str(), found.variant),
            ("syscall_exit", Some("read"))
        );
        let found = event(LTTNG, "syscall_entry_unknown").unwrap();
        assert_eq!(found.variant, None);
        assert!(event(FTRACE, "syscalls:sys_enter_").is_none());
    }

    #[test]
    fn queries_take_canonical_and_native_names() {
        for query in [
            "sched_switch.prev_tid",
            "sched:sched_switch.prev_pid",
            "ftrace:sched:sched_switch.prev_pid",
            "perf:sched:sched_switch.prev_tid",
            "lttng:sched_switch.prev_tid",
            "sched_switch.prev_pid",
        ] {
            let found = resolve(query).unwrap_or_else(|| panic!("{query}"));
            assert_eq!(found.event.name, "sched_switch", "{query}");
            assert_eq!(found.field.unwrap().name, "prev_tid", "{query}");
        }
        let found = resolve("syscall_entry").unwrap();
        assert!(found.field.is_none());
        assert!(found.matches(FTRACE, "syscalls:sys_enter_openat"));
        assert!(found.matches(LTTNG, "syscall_entry_openat"));
        assert!(!found.matches(FTRACE, "syscalls:sys_exit_openat"));
        assert!(resolve("sched_switch.nothing").is_none());
        assert!(resolve("nothing").is_none());
    }
}
