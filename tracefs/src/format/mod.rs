//! Event format files: `events/<system>/<event>/format` of tracefs.
//!
//! [`EventFormat::parse`] reads one, and its `Display` writes the same bytes
//! back. What the text says about each field is kept, and what follows from it
//! (kind, element type, element count) is worked out once, here.
//!
//! The same text stands in trace.dat and in the tracing data of perf.data, so
//! nothing here touches the file system.

mod byte_order;
mod c_type;
mod error;
mod field;
mod parse;

pub use c_type::{CType, known_type};
pub use error::FormatError;
pub use field::{FieldKind, FormatField};

use std::fmt;

/// A parsed event format file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// The event's name without its system: `sched_switch`.
    pub name: String,
    /// The event's id: `common_type` of its entries, `config` of its perf event.
    pub id: u32,
    /// The fields that every event of the kernel begins with (`common_*`).
    pub common_fields: Vec<FormatField>,
    /// The event's own fields, in the order of the text.
    pub fields: Vec<FormatField>,
    /// What follows `print fmt: `, without the last newline.
    pub print_fmt: String,
    /// Whether the text ended with a newline, as the kernel's does.
    ends_with_newline: bool,
}

impl EventFormat {
    /// Reads a format file.
    ///
    /// # Errors
    /// [`FormatError`] with the line, what was found there and what was expected.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        parse::parse(text)
    }

    /// All fields, those common to all events first.
    pub fn all_fields(&self) -> impl Iterator<Item = &FormatField> {
        self.common_fields.iter().chain(&self.fields)
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&FormatField> {
        self.all_fields().find(|f| f.name == name)
    }

    /// End of the last fixed field, in bytes from the start of an entry.
    /// Dynamic arrays follow at or after this place.
    pub fn fixed_len_bytes(&self) -> u32 {
        self.all_fields()
            .map(FormatField::end_bytes)
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for EventFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name: {}\nID: {}\nformat:\n", self.name, self.id)?;
        for field in &self.common_fields {
            writeln!(f, "{field}")?;
        }
        f.write_str("\n")?;
        for field in &self.fields {
            writeln!(f, "{field}")?;
        }
        write!(f, "\nprint fmt: {}", self.print_fmt)?;
        if self.ends_with_newline {
            f.write_str("\n")
        } else {
            Ok(())
        }
    }
}

impl std::str::FromStr for EventFormat {
    type Err = FormatError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        EventFormat::parse(s)
    }
}
