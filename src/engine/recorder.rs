//! The recorder: packets of the ring onto disk, as they are.

use super::consumer::PacketConsumer;
use kstrace_ctf::TraceWriter;
use kstrace_schema::{EventRecordClass, HopAccount, Result, SessionInfo};
use std::path::Path;
use std::sync::Arc;

/// Writes the native trace.
#[derive(Debug)]
pub struct Recorder {
    writer: TraceWriter,
}

impl Recorder {
    /// Makes the trace directory; an older trace of that name becomes `NAME.old`.
    ///
    /// # Errors
    /// When it cannot be made, or something else has that name.
    pub fn create(directory: &Path, session: &SessionInfo) -> Result<Self> {
        Ok(Recorder {
            writer: TraceWriter::create(directory, session, &Default::default())?,
        })
    }
}

impl PacketConsumer for Recorder {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.writer.add_class(class)
    }

    fn packet(&mut self, lane: u32, packet: &[u8]) -> Result<()> {
        self.writer.append_packet(lane, packet)
    }

    fn finish(&mut self, accounts: &[HopAccount]) -> Result<()> {
        for account in accounts {
            self.writer.account(account);
        }
        self.writer.finish()?;
        Ok(())
    }
}
