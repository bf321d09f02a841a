//! What the benches work on. Always the same, so that counts can be compared.

pub mod formats;
pub mod page;
pub mod streams;

/// Records that a bench of records handles.
pub const RECORDS: u64 = 10_000;

/// The payload of a record of 64 bytes.
pub const PAYLOAD: [u8; 48] = *b"sched_switch prev=1234 next=5678 prio=120 state=";
