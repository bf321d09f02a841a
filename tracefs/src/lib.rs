//! Typed access to the Linux tracefs. Under construction.

pub mod format;
