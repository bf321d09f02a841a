//! TSDL, the metadata language of CTF 1.8.

mod field;
mod name;
mod selector;
mod write;

pub use write::{event_block, preamble};
