//! TSDL, the metadata language of CTF 1.8.

mod field;
mod name;
pub(crate) mod parse;
pub(crate) mod rewrite;
mod selector;
mod write;

pub use parse::TsdlError;
pub use write::{event_block, preamble};

pub(crate) use field::{aliases, payload_fields};
pub(crate) use name::literal;
