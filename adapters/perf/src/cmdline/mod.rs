//! The command line of `perf record`: its options and its language of events.
//!
//! Knows what words mean and what perf makes of them, down to the
//! `perf_event_attr` of every event; opens nothing and records nothing.

mod config;
mod dump;
pub mod events;
pub mod option;
mod page;
pub mod parse;
mod settings;
pub mod table;
mod usage;
mod value;

pub use config::{Configured, Scope, configure};
pub use dump::dump;
pub use option::{Kind, OptionSpec, Tier};
pub use page::{manual_page, parity_page};
pub use parse::{Given, Stop, USAGE_STATUS, parse};
pub use settings::Settings;
pub use table::{OPTIONS, find};
pub use value::{CallGraph, Delay};

/// How `perf record` is used: what `--help` shows.
pub fn help() -> String {
    usage::full("", &[])
}
