//! Describes tracepoints in the kstrace event model.
//!
//! The entry of a tracepoint is the same bytes in ftrace's ring and in the raw
//! data of a perf sample: the fixed fields of its tracefs `format` file, then the
//! data of its dynamic arrays, then some bytes of slack. [`TracepointLayout`]
//! turns a format file into the class of those bytes, and
//! [`TracepointLayout::measure`] tells of one entry how many of them the class covers.
//!
//! # Dynamic arrays
//!
//! A `__data_loc` field is a 32-bit word: length in its upper half, offset from
//! the entry's start in its lower half; with `__rel_loc` the offset counts from
//! the word's end. The class has a structure `_NAME_loc` of `offset` and `length`
//! in its place. The data are a *tail* `NAME` after the fixed fields: a
//! [`DynamicString`](kstrace_schema::FieldClass::DynamicString) for `char`, else a
//! [`DynamicBlob`](kstrace_schema::FieldClass::DynamicBlob), since the length is
//! in bytes whatever the element is.
//!
//! That holds only where the tails stand one after the other, in the order of
//! their fields, from the end of the fixed part on. The kernel's macros lay them
//! out so, but nothing promises it. `measure` checks it for every entry; an entry
//! that differs is *odd* and belongs to a second class, [`TracepointLayout::odd_payload`]:
//! the fixed fields and one BLOB `_rest` for all that follows.
//!
//! - A dynamic array of length 0 has no place: its offset is not looked at.
//! - A string need not hold a NUL: its length bounds it.
//! - A tail whose length is no multiple of its element's size makes the entry odd.
//! - A tail that ends behind the entry makes it odd.
//!
//! # Flexible arrays
//!
//! - `char x[]`: text up to a NUL (ftrace's `print`); without a NUL the entry is
//!   odd. What follows the NUL is slack. The `raw_data` of `trace_marker_raw` is not text.
//! - `kernel_stack`'s `caller`: as many return addresses as its `size` says,
//!   although the format file says 8.
//! - Any other one takes the rest of the entry.
//!
//! # Names of values
//!
//! Where the print format says `__print_symbolic(REC->field, ...)`, the field's class
//! has these names as its mappings. Some of them are constants of the kernel:
//! [`TracepointLayout::describe_with`] takes their values.
#![forbid(unsafe_code)]

mod base;
mod entry;
mod layout;
mod measure;
mod members;
pub mod synthetic;
mod value_names;

pub use entry::{AnyField, Entry};
pub use layout::TracepointLayout;
pub use measure::{MAX_SLACK_BYTES, Measured};
