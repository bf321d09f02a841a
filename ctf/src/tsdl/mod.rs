//! TSDL, the metadata language of CTF 1.8.

mod field;
mod name;
pub(crate) mod parse;
mod selector;
mod write;

pub use parse::TsdlError;
pub use write::{event_block, preamble};
