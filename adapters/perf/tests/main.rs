//! Recording on the running kernel. Skips, aloud, only where the machine does not
//! allow perf events at all.

mod collect;
mod errors;
mod exclude;
mod inherit;
mod loss;
mod sampling;
mod sideband;
mod tracepoints;
