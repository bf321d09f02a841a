//! The LTTng live protocol, version 2.4: what a viewer asks a relay daemon.
//!
//! A viewer connects, lists the sessions, attaches to one, fetches the metadata, and then asks
//! stream by stream for the next packet's index and for the packet. All numbers are big-endian.
//! Source: `lttng-viewer-abi.h` of babeltrace and lttng-tools; `doc/live-reading-protocol.txt`
//! of lttng-tools.
//!
//! [`Server`] serves what a [`Hub`] has; it neither knows nor cares where that comes from.
//! [`LiveInput`] is a viewer: a trace that another relay daemon has, as an input.

mod client;
mod connection;
mod hub;
mod input;
#[cfg(test)]
mod input_tests;
mod metadata;
mod server;
mod stream;
mod url;
mod wire;

pub use hub::{Beginning, Hub, Next, PacketIndex, SessionSummary, Trace};
pub use input::{LiveInput, sessions};
pub use server::{Server, ServerHandle};
pub use url::LiveUrl;

/// The port at which viewers look for a relay daemon.
pub const DEFAULT_PORT: u16 = 5344;
