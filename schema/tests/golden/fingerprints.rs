//! Fingerprints are stored in traces: they may never change for the same layout.

use super::examples::every_field_class;
use kstrace_schema::{Fingerprint, Role, StructureClass, builtin};

#[test]
fn fingerprints_of_known_layouts() {
    let fingerprints = [
        (
            "empty",
            Fingerprint::of(&StructureClass::default()),
            "09612b07b5ecb5a5",
        ),
        (
            "every field class",
            Fingerprint::of(&every_field_class()),
            "06367082ace942bf",
        ),
        (
            "lost",
            builtin::lost_class().fingerprint,
            "e6c7681081f8df0c",
        ),
        (
            "clock pair",
            builtin::clock_pair_class().fingerprint,
            "37923ca217f2b00d",
        ),
        (
            "process",
            builtin::process_class().fingerprint,
            "5eec31a1f5eca1b9",
        ),
    ];
    let wrong: Vec<_> = fingerprints
        .iter()
        .filter(|(_, found, expected)| found.to_string() != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn roles_bases_and_names_of_values_are_no_part_of_it() {
    use kstrace_schema::{Base, FieldClass};
    let class = every_field_class();
    let mut other = class.clone();
    for member in &mut other.members {
        member.role = Some(Role::Cpu);
        if let FieldClass::Integer(integer) = &mut member.class {
            integer.base = Base::Octal;
            integer.mappings.clear();
        }
    }
    assert_eq!(Fingerprint::of(&class), Fingerprint::of(&other));
    other.members[0].name = "other".into();
    assert_ne!(Fingerprint::of(&class), Fingerprint::of(&other));
}
