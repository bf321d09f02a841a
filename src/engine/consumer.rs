//! Who gets the packets of the ring.

use kstrace_schema::{EventRecordClass, HopAccount, Result};
use std::sync::Arc;

/// Takes whole packets, as a recorder does.
///
/// In a recording without a daemon it runs in the engine's own thread, while
/// the packet is still in the cache.
pub trait PacketConsumer: Send {
    /// A class that packets to come may use.
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()>;

    /// A closed packet of a lane, as it stands in the ring.
    fn packet(&mut self, lane: u32, packet: &[u8]) -> Result<()>;

    /// The recording is over; these are the accounts of its hops.
    fn finish(&mut self, accounts: &[HopAccount]) -> Result<()>;
}
