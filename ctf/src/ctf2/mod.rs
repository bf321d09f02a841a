//! CTF 2 metadata: JSON fragments, from the model and back to it.
//!
//! The fragments describe a trace to any reader of CTF 2. What is kstrace's
//! own (the session, native descriptions, roles, fingerprints) stands in
//! attributes under [`ATTRIBUTES`], so that [`parse_fragment`] gives back
//! exactly what was written: the metadata lane of the ring consists of these.

mod field;
pub(crate) mod foreign;
mod parse;
mod write;

pub use foreign::ForeignError;
pub use parse::{Fragment, ParseError, parse_event_record_class, parse_fragment, parse_session};
pub use write::{event_record_class_fragment, session_fragments, text_sequence_item};

/// The namespace of kstrace's attributes.
pub const ATTRIBUTES: &str = "kstrace.org";
