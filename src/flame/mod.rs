//! Stacks counted: folded stacks, and the flame graph drawn from them.
//!
//! [`FlameOutput`] is a [`Sink`](kstrace_schema::Sink) for both forms. It takes the samples of
//! one event, since the counts of different events cannot be added, resolves their stacks as
//! the report does, and counts equal ones. What it keeps grows with the number of different
//! stacks, not with that of records.
//!
//! # Folded stacks
//!
//! A line for each different stack, as `stackcollapse-perf.pl` writes them and the usual
//! tools read them: the task's name, then the frames from the outermost to the innermost, each
//! after a semicolon, then a space and the count. Lines are sorted by their frames. A frame
//! without a symbol is the name of its file in brackets, or `[unknown]`. Spaces in a
//! task's name become `_`, semicolons in a name `:`, control characters `?`.

mod folded;
#[cfg(test)]
mod live_tests;
mod options;
mod sink;
mod svg;
#[cfg(test)]
mod tests;
mod tree;

pub use options::{FlameForm, FlameOptions, SvgOptions, TaskLabel, Weight};
pub use sink::FlameOutput;
