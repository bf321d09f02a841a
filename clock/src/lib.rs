//! Clocks: reading them, reading them together, and mapping one onto another.
//!
//! All readings are of the kernel's clocks as `clock_gettime(2)` names them,
//! plus the x86 time stamp counter. [`read_pair`] reads them all at one moment
//! and bounds the error; [`PiecewiseMap`] turns the readings of one clock into
//! another's by interpolating between pairs.

mod map;
mod read;

pub use map::PiecewiseMap;
pub use read::{SystemClock, read_ns, read_pair, read_tsc_and_ns, tsc_cycles};
