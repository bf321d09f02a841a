//! How the events of two traces differ.

use super::collect::TraceClasses;
use kstrace_schema::{EventRecordClass, FieldClass, Member, StructureClass};
use std::collections::BTreeMap;

/// What became of an event between two traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same layout.
    Same,
    /// Other bytes, but every field that was there still is, of the same type: a reader that goes
    /// by names is not affected.
    Additive(Vec<String>),
    /// Fields are gone or mean something else.
    Breaking(Vec<String>),
    /// Only in the first.
    Removed,
    /// Only in the second.
    Added,
}

impl Change {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Change::Same => "same",
            Change::Additive(_) => "additive",
            Change::Breaking(_) => "breaking",
            Change::Removed => "removed",
            Change::Added => "added",
        }
    }

    /// What differs, for people.
    pub fn details(&self) -> &[String] {
        match self {
            Change::Additive(details) | Change::Breaking(details) => details,
            _ => &[],
        }
    }
}

/// The differences between the classes of two traces, by qualified name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaDiff {
    /// Every event of either.
    pub events: BTreeMap<String, Change>,
}

impl SchemaDiff {
    /// Compares. An event with several layouts is compared layout by layout, and the
    /// greatest change counts.
    pub fn of(a: &TraceClasses, b: &TraceClasses) -> SchemaDiff {
        let (a, b) = (by_name(a), by_name(b));
        let names = a
            .keys()
            .chain(b.keys())
            .collect::<std::collections::BTreeSet<_>>();
        let events = names
            .into_iter()
            .map(|name| {
                let change = match (a.get(name), b.get(name)) {
                    (Some(old), Some(new)) => compare_all(old, new),
                    (Some(_), None) => Change::Removed,
                    _ => Change::Added,
                };
                ((*name).clone(), change)
            })
            .collect();
        SchemaDiff { events }
    }

    /// Whether what could read the events of the first can read those of the second.
    pub fn is_compatible(&self) -> bool {
        !self
            .events
            .values()
            .any(|c| matches!(c, Change::Breaking(_)))
    }
}

fn by_name(classes: &TraceClasses) -> BTreeMap<String, Vec<&EventRecordClass>> {
    let mut names: BTreeMap<String, Vec<&EventRecordClass>> = BTreeMap::new();
    for (class, _) in classes.iter() {
        names.entry(class.qualified_name()).or_default().push(class);
    }
    names
}

/// One layout the second has too is as it was; else the first layouts are compared.
fn compare_all(old: &[&EventRecordClass], new: &[&EventRecordClass]) -> Change {
    let known = |c: &&EventRecordClass| new.iter().any(|n| n.fingerprint == c.fingerprint);
    if old.iter().any(known) {
        return Change::Same;
    }
    match (old.first(), new.first()) {
        (Some(old), Some(new)) => compare(&old.payload, &new.payload),
        _ => Change::Same,
    }
}

fn compare(old: &StructureClass, new: &StructureClass) -> Change {
    let (mut broken, mut added) = (Vec::new(), Vec::new());
    for member in named(old) {
        match new.member(&member.name) {
            None => broken.push(format!("{} is gone", member.name)),
            Some(now) if shape(&now.class) != shape(&member.class) => broken.push(format!(
                "{} was {} and is {}",
                member.name,
                shape(&member.class),
                shape(&now.class)
            )),
            Some(_) => {}
        }
    }
    for member in named(new) {
        if old.member(&member.name).is_none() {
            added.push(format!("{} is new", member.name));
        }
    }
    if !broken.is_empty() {
        broken.extend(added);
        return Change::Breaking(broken);
    }
    if added.is_empty() {
        added.push("fields moved".to_owned());
    }
    Change::Additive(added)
}

fn named(structure: &StructureClass) -> impl Iterator<Item = &Member> {
    structure
        .members
        .iter()
        .filter(|m| !matches!(m.class, FieldClass::Padding { .. }))
}

/// What a reader must know of a field, in words.
fn shape(class: &FieldClass) -> String {
    match class {
        FieldClass::Padding { size_bytes } => format!("{size_bytes} bytes of padding"),
        FieldClass::Integer(i) => format!(
            "{}-bit {}",
            u16::from(i.size_bytes) * 8,
            if i.signed { "signed" } else { "unsigned" }
        ),
        FieldClass::Float(f) => format!("{}-bit float", u16::from(f.size_bytes) * 8),
        FieldClass::Boolean => "boolean".to_owned(),
        FieldClass::NullTerminatedString | FieldClass::DynamicString { .. } => "text".to_owned(),
        FieldClass::StaticString { size_bytes } => format!("text in {size_bytes} bytes"),
        FieldClass::StaticArray { element, count } => format!("{count} of {}", shape(element)),
        FieldClass::DynamicArray { element, .. } => format!("a sequence of {}", shape(element)),
        FieldClass::StaticBlob { size_bytes } => format!("{size_bytes} bytes"),
        FieldClass::DynamicBlob { .. } => "bytes".to_owned(),
        FieldClass::Structure(s) => {
            let members: Vec<String> = named(s)
                .map(|m| format!("{}: {}", m.name, shape(&m.class)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        FieldClass::Variant { options, .. } => {
            let options: Vec<String> = options
                .iter()
                .map(|o| format!("{}: {}", o.name, shape(&o.class)))
                .collect();
            format!("one of {{{}}}", options.join(", "))
        }
        FieldClass::Optional { class, .. } => format!("optional {}", shape(class)),
        _ => "of an unknown kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_schema::IntegerClass;

    fn structure(members: &[(&str, u8)]) -> StructureClass {
        StructureClass {
            members: members
                .iter()
                .map(|(name, size)| {
                    Member::new(*name, FieldClass::Integer(IntegerClass::unsigned(*size)))
                })
                .collect(),
        }
    }

    #[test]
    fn a_new_field_is_additive_and_a_lost_or_changed_one_breaks() {
        let old = structure(&[("a", 4), ("b", 8)]);
        assert_eq!(
            compare(&old, &structure(&[("a", 4), ("c", 2), ("b", 8)])),
            Change::Additive(vec!["c is new".into()])
        );
        assert_eq!(
            compare(&old, &structure(&[("b", 8), ("a", 4)])),
            Change::Additive(vec!["fields moved".into()])
        );
        assert_eq!(
            compare(&old, &structure(&[("a", 4)])),
            Change::Breaking(vec!["b is gone".into()])
        );
        assert_eq!(
            compare(&old, &structure(&[("a", 8), ("b", 8)])),
            Change::Breaking(vec!["a was 32-bit unsigned and is 64-bit unsigned".into()])
        );
    }
}
