//! One field of an event.

use super::c_type::{CType, known_type};
use std::fmt;

/// What kind of thing a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// An integer of 1, 2, 4 or 8 bytes.
    Scalar,
    /// The value of a pointer; what it points to is not in the entry.
    Pointer,
    /// `char x[n]`: text that ends at its first NUL.
    String,
    /// A fixed number of equal integers (or pointers).
    Array {
        /// How many.
        count: u32,
        /// Size of each in bytes: 1, 2, 4 or 8.
        element_size_bytes: u32,
    },
    /// `x[]`: what is left of the entry.
    FlexibleArray {
        /// Size of an element in bytes, `None` if the type's name does not say it.
        element: Option<CType>,
    },
    /// `__data_loc T[] x`: a 32-bit word, length in bytes in its upper half and
    /// offset from the entry's start in its lower half.
    DataLoc {
        /// The element type, `None` if its name is not known.
        element: Option<CType>,
    },
    /// `__rel_loc T[] x`: as `__data_loc`, but the offset counts from the end of the word.
    RelLoc {
        /// The element type, `None` if its name is not known.
        element: Option<CType>,
    },
    /// Bytes of a type that is not an integer (a structure by value).
    Opaque,
}

impl FieldKind {
    /// Whether the field's data stand outside of the field itself.
    pub fn is_dynamic(&self) -> bool {
        matches!(self, FieldKind::DataLoc { .. } | FieldKind::RelLoc { .. })
    }
}

/// One field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatField {
    /// The C declaration as the text has it: `unsigned long args[6]`, `__data_loc char[] name`.
    pub declaration: String,
    /// The C type of the field or of its elements, without `__data_loc` and brackets.
    pub c_type: String,
    /// The field's name.
    pub name: String,
    /// Where it begins, in bytes from the entry's start.
    pub offset_bytes: u32,
    /// How long it is in bytes; 0 for a flexible array.
    pub size_bytes: u32,
    /// Whether its integers are signed.
    pub signed: bool,
    /// What kind of thing it is.
    pub kind: FieldKind,
}

impl FormatField {
    /// The byte after its last one.
    pub fn end_bytes(&self) -> u32 {
        self.offset_bytes.saturating_add(self.size_bytes)
    }

    /// What is known of its type, or of its elements', by name.
    pub fn known_type(&self) -> Option<CType> {
        known_type(&self.c_type)
    }

    /// Whether it is a pointer, or an array of pointers.
    pub fn is_pointer(&self) -> bool {
        self.c_type.contains('*')
    }
}

impl fmt::Display for FormatField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\tfield:{};\toffset:{};\tsize:{};\tsigned:{};",
            self.declaration,
            self.offset_bytes,
            self.size_bytes,
            u8::from(self.signed)
        )
    }
}
