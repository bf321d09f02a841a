//! Names of values, from print formats to mappings.

use kstrace_schema::{FieldClass, IntegerClass, IntegerRange, Mapping};
use std::collections::{HashMap, HashSet};
use tracefs::format::{EventFormat, FormatField};
use tracefs::print_fmt::{Constants, PrintFmt};

/// The names of an event's values, by their fields' offsets.
#[derive(Debug, Default)]
pub(crate) struct ValueNames(HashMap<u32, Vec<(u64, String)>>);

impl ValueNames {
    /// What the event's print format says; nothing if it cannot be compiled.
    pub(crate) fn of(format: &EventFormat, constants: &dyn Constants) -> Self {
        // Most print formats name no value, and this costs more than all the rest.
        if !format.print_fmt.contains("__print_symbolic") {
            return Self::default();
        }
        let Ok(print_fmt) = PrintFmt::compile_with(format, constants) else {
            return Self::default();
        };
        let of_field = |names: tracefs::print_fmt::ValueNames<'_>| {
            let mut seen = HashSet::new();
            names
                .iter()
                .filter(|(value, _)| seen.insert(*value))
                .filter_map(|(value, name)| {
                    Some((value, std::str::from_utf8(name).ok()?.to_owned()))
                })
                .collect()
        };
        let fields = print_fmt.value_names();
        ValueNames(
            fields
                .map(|(offset, names)| (offset, of_field(names)))
                .collect(),
        )
    }

    /// Gives an integer field's class its names.
    pub(crate) fn apply(&self, field: &FormatField, class: &mut FieldClass) {
        let FieldClass::Integer(class) = class else {
            return;
        };
        let Some(names) = self.0.get(&field.offset_bytes) else {
            return;
        };
        for (value, name) in names {
            let Some(value) = representable(*value, class) else {
                continue;
            };
            let range = IntegerRange {
                first: value,
                last: value,
            };
            match class.mappings.iter_mut().find(|m| m.name == *name) {
                Some(mapping) => mapping.ranges.push(range),
                None => class.mappings.push(Mapping {
                    name: name.clone(),
                    ranges: vec![range],
                }),
            }
        }
    }
}

/// The value as the field would hold it, if it can.
fn representable(value: u64, class: &IntegerClass) -> Option<i128> {
    let bits = 8 * u32::from(class.size_bytes.min(8));
    let (value, low, high) = if class.signed {
        (
            i128::from(value.cast_signed()),
            -(1i128 << (bits - 1)),
            (1i128 << (bits - 1)) - 1,
        )
    } else {
        (i128::from(value), 0, (1i128 << bits) - 1)
    };
    (low..=high).contains(&value).then_some(value)
}
