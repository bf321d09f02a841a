//! The print format.

use super::Synthetic;
use kstrace_schema::{Base, IntegerClass};
use std::fmt::Write as _;

/// How the print format shows a field.
pub(super) enum Show {
    Decimal {
        signed: bool,
        size_bytes: u8,
    },
    Hexadecimal {
        size_bytes: u8,
    },
    Names(Vec<(i128, String)>),
    FixedText,
    Text,
    /// Number and size of the elements.
    FixedArray(usize, usize),
    Array(usize),
}

impl Show {
    pub(super) fn of(class: &IntegerClass) -> Show {
        let mut names = Vec::new();
        for mapping in &class.mappings {
            let name: String = mapping
                .name
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '"' | '\\' | '%'))
                .collect();
            let single = mapping.ranges.iter().filter(|r| r.first == r.last);
            names.extend(single.map(|range| (range.first, name.clone())));
        }
        // A long list of names is better than none, but not without end.
        names.truncate(256);
        if !names.is_empty() {
            Show::Names(names)
        } else if class.base == Base::Hexadecimal {
            Show::Hexadecimal {
                size_bytes: class.size_bytes,
            }
        } else {
            Show::Decimal {
                signed: class.signed,
                size_bytes: class.size_bytes,
            }
        }
    }
}

impl Synthetic {
    pub(super) fn show(&mut self, name: &str, show: &Show) {
        if !self.print.is_empty() {
            self.print.push(' ');
        }
        let (directive, argument) = match show {
            Show::Decimal { signed, size_bytes } => {
                let directive = match (size_bytes, signed) {
                    // libtraceevent extends no sign by itself.
                    (1, true) => "%hhd",
                    (2, true) => "%hd",
                    (8, true) => "%lld",
                    (8, false) => "%llu",
                    (_, true) => "%d",
                    (_, false) => "%u",
                };
                (directive, format!("REC->{name}"))
            }
            Show::Hexadecimal { size_bytes } => {
                let directive = if *size_bytes == 8 { "0x%llx" } else { "0x%x" };
                (directive, format!("REC->{name}"))
            }
            Show::Names(names) => {
                let list: Vec<String> = names
                    .iter()
                    .map(|(value, name)| format!("{{ {value}, \"{name}\" }}"))
                    .collect();
                let list = list.join(", ");
                ("%s", format!("__print_symbolic(REC->{name}, {list})"))
            }
            Show::FixedText => ("%s", format!("REC->{name}")),
            Show::Text => ("%s", format!("__get_str({name})")),
            Show::FixedArray(count, size) => {
                ("%s", format!("__print_array(REC->{name}, {count}, {size})"))
            }
            Show::Array(size) => {
                let count = match size {
                    1 => format!("__get_dynamic_array_len({name})"),
                    // libtraceevent knows operators behind a function only in parentheses.
                    size => format!("(__get_dynamic_array_len({name}) / {size})"),
                };
                let array = format!("__get_dynamic_array({name})");
                ("%s", format!("__print_array({array}, {count}, {size})"))
            }
        };
        let _ = write!(self.print, "{name}={directive}");
        let _ = write!(self.arguments, ", {argument}");
    }
}
