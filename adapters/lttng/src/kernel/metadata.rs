//! The session's metadata, as the tracer gives them out: they grow, or are written anew.

use super::ring::Ring;
use super::session::Channel;
use kstrace_ctf::{FedTrace, metadata_text};
use kstrace_schema::{ClassRegistry, Error, ErrorKind, EventRecordClass, Result, SourceId};
use std::sync::Arc;

/// More metadata is refused.
const METADATA_BYTES_MAX: usize = 256 << 20;
/// The clock that records are stamped with. Modules can be told to use another one.
const CLOCK: &str = "monotonic";

/// The metadata so far, and what they describe.
#[derive(Debug)]
pub(super) struct Metadata {
    ring: Ring,
    /// Kept open as long as its ring.
    _channel: Channel,
    source: SourceId,
    registry: Arc<ClassRegistry>,
    version: u64,
    packets: Vec<u8>,
    trace: Option<FedTrace>,
}

impl Metadata {
    pub(super) fn new(
        channel: Channel,
        source: SourceId,
        registry: Arc<ClassRegistry>,
    ) -> Result<Metadata> {
        let ring = channel.rings()?.pop().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "LTTng's metadata channel has no stream",
            )
        })?;
        Ok(Metadata {
            ring,
            _channel: channel,
            source,
            registry,
            version: 0,
            packets: Vec::new(),
            trace: None,
        })
    }

    /// Takes in what is new. Everything that records taken before this refer to is then known.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let failed = |e| Error::io("LTTng's metadata cannot be read", e);
        let mut grown = false;
        loop {
            let before = self.packets.len();
            if !self.ring.take(&mut self.packets).map_err(failed)? {
                break;
            }
            grown = true;
            let version = self.ring.metadata_version().map_err(failed)?;
            if std::mem::replace(&mut self.version, version) != version {
                // Written anew: what was before it no longer counts.
                self.packets.drain(..before);
            }
            if self.packets.len() > METADATA_BYTES_MAX {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("LTTng's metadata have more than {METADATA_BYTES_MAX} bytes"),
                ));
            }
        }
        if !grown {
            return Ok(());
        }
        let text = self.text()?;
        match &mut self.trace {
            Some(trace) => {
                trace.grow(&text)?;
            }
            None => {
                let registry = Arc::clone(&self.registry);
                let trace = FedTrace::new(&text, self.source, registry)?;
                if let Some(other) = trace.clock_names().iter().find(|name| *name != CLOCK) {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "LTTng's modules stamp with clock '{other}', which kstrace cannot relate to \
                             CLOCK_MONOTONIC; allowed is '{CLOCK}' (is a clock plugin loaded?)"
                        ),
                    ));
                }
                self.trace = Some(trace);
            }
        }
        Ok(())
    }

    /// The text so far.
    pub(super) fn text(&self) -> Result<String> {
        metadata_text(&self.packets).map_err(|e| e.context("LTTng's metadata"))
    }

    /// What they describe; `None` before the session was started.
    pub(super) fn trace(&self) -> Option<&FedTrace> {
        self.trace.as_ref()
    }

    /// The classes known so far, from the `from`-th on.
    pub(super) fn classes(&self, from: usize) -> Vec<Arc<EventRecordClass>> {
        let known = self.trace.as_ref().map_or(&[][..], FedTrace::classes);
        known.get(from..).unwrap_or_default().to_vec()
    }
}
