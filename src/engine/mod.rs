//! The engine: sources, clock, merge by CPU, ring, consumers.
//!
//! A [`RecordRequest`](request::RecordRequest) says what is wanted;
//! [`plan_for`] chooses the kernel interfaces; [`Session::open`] opens them;
//! [`Session::start`] gives a [`Running`] session whose thread drains the
//! sources into the ring until it is stopped.

mod constants;
mod consumer;
mod control;
mod drain;
pub mod host;
mod lane;
mod names;
mod open;
pub mod plan;
mod process;
mod recorder;
pub mod request;
pub mod resolve;
mod session;
mod stats;
mod workload;

pub use consumer::PacketConsumer;
pub use drain::Outcome;
pub use names::{LiveNames, facts, plan_for};
pub use recorder::Recorder;
pub use session::{CONSTANTS_ATTRIBUTE, Running, Session};
pub use stats::{Stats, StatsReading};
pub use workload::{Workload, exit_of};
