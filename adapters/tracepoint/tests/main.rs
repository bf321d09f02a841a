//! Layouts of this kernel's tracepoints, and of invented ones.

mod layout;
mod live;
