//! The crate's integration tests, one binary.

mod decode;
mod golden;
