//! CTF traces of any maker as input.
//!
//! The metadata ([`metadata`], then [`tsdl`](crate::tsdl) or
//! [`ctf2`](crate::ctf2)) becomes a [`TraceClass`](crate::ir::TraceClass), and
//! that, once, a plan for each stream ([`plan`]): which class of the model an
//! event is, and how its payload is got from the bits. A payload of whole bytes
//! is handed over as it stands in the file ([`skim`]); any other is written
//! anew ([`exec`]).

mod bits;
mod chunks;
mod clock;
mod describe;
mod discover;
mod exec;
mod fed;
mod header;
mod index;
mod map;
pub(crate) mod metadata;
mod model;
mod node;
mod plan;
mod reader;
mod skim;
mod stream;

pub(crate) use clock::{ns_of_cycles, offset_ns};
pub(crate) use describe::key;
pub use discover::is_ctf_trace;
pub(crate) use exec::{widened_bytes, widened_order};
pub use fed::{FedStream, FedTrace, metadata_text};
pub use reader::CtfReader;
