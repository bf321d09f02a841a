//! Recording on the running kernel.

pub mod collect;
mod errors;
mod exclude;
mod inherit;
mod loss;
mod privilege;
mod sampling;
mod sideband;
pub mod tracepoints;
mod wakeup;
