//! Describes the bytes of perf records in the event model.
//!
//! Knows nothing of where the records come from: a [`SampleShape`] is what an
//! attr says of its samples, a [`SampleIdShape`] what it says of the trailer of
//! every other record. Payloads are whole records, `perf_event_header` included.
//!
//! The order of the parts of a record is that of the comment above each
//! `PERF_RECORD_*` in `linux/perf_event.h`.

mod byte_order;
mod extent;
mod other;
mod raw;
mod read;
mod sample;
mod sample_id;
mod user;

pub use extent::SampleExtent;
pub use other::{RecordForm, RecordLayout};
pub use raw::{RawForm, SampleLayout};
pub use read::read_members;
pub use sample::{RawPart, RawPlace, SampleShape};
pub use sample_id::SampleIdShape;

use kstrace_schema::{
    FieldClass, FieldPath, IntegerClass, IntegerRange, Length, Member, StructureClass,
};

pub(crate) fn unsigned(name: &str, size_bytes: u8) -> Member {
    Member::new(
        name,
        FieldClass::Integer(IntegerClass::unsigned(size_bytes)),
    )
}

pub(crate) fn signed(name: &str, size_bytes: u8) -> Member {
    Member::new(name, FieldClass::Integer(IntegerClass::signed(size_bytes)))
}

pub(crate) fn hex(name: &str, size_bytes: u8) -> Member {
    Member::new(
        name,
        FieldClass::Integer(IntegerClass::unsigned(size_bytes).hex()),
    )
}

pub(crate) fn hex_u64() -> FieldClass {
    FieldClass::Integer(IntegerClass::unsigned(8).hex())
}

/// The bytes as many as an earlier field says.
pub(crate) fn blob(name: &str, length_field: &str) -> Member {
    let length = Length::Field(FieldPath::new([length_field]));
    Member::new(name, FieldClass::DynamicBlob { length })
}

/// As many elements as an earlier field says.
pub(crate) fn array(name: &str, element: FieldClass, length_field: &str) -> Member {
    let length = Length::Field(FieldPath::new([length_field]));
    Member::new(
        name,
        FieldClass::DynamicArray {
            element: Box::new(element),
            length,
        },
    )
}

/// Present unless an earlier unsigned field is zero.
pub(crate) fn unless_zero(name: &str, class: FieldClass, selector: &str) -> Member {
    Member::new(
        name,
        FieldClass::Optional {
            selector: FieldPath::new([selector]),
            ranges: vec![IntegerRange {
                first: 1,
                last: i128::from(u64::MAX),
            }],
            class: Box::new(class),
        },
    )
}

/// All that is left, as bytes.
pub(crate) fn rest(name: &str) -> Member {
    Member::new(
        name,
        FieldClass::DynamicBlob {
            length: Length::Rest,
        },
    )
}

/// All that is left, as text up to the first NUL.
pub(crate) fn rest_text(name: &str) -> Member {
    Member::new(
        name,
        FieldClass::DynamicString {
            length: Length::Rest,
        },
    )
}

/// `struct perf_event_header`.
pub(crate) fn header() -> Member {
    let members = vec![unsigned("type", 4), hex("misc", 2), unsigned("size", 2)];
    Member::new(
        "header",
        FieldClass::Structure(StructureClass::new(members)),
    )
}

#[cfg(test)]
mod tests;
