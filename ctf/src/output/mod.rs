//! Plain CTF as output: traces without anything of kstrace's beside them.
//!
//! Records of a CTF input go back into streams, scopes and an environment as
//! they came from ([`copy`]); all others are described by what the model
//! knows ([`plain`]).

mod copy;
mod plain;
mod sink;

pub use sink::{CtfOptions, CtfSink};
