//! Recording on the running kernel.

pub(crate) mod collect;
mod errors;
mod exclude;
mod inherit;
mod loss;
mod privilege;
mod sampling;
mod sideband;
pub(crate) mod tracepoints;
mod wakeup;
