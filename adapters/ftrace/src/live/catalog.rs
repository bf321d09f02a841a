//! Formats of the running kernel's events.

use super::border;
use crate::classes::{ClassBook, Formats};
use kstrace_schema::Result;
use tracefs::format::EventFormat;
use tracefs::{EventCatalog, EventName};

/// The events of this kernel.
#[derive(Debug)]
pub(super) struct KernelFormats(pub(super) EventCatalog);

impl Formats for KernelFormats {
    fn with_id(&self, id: u16) -> Option<(EventName, String)> {
        let event = self.0.with_id(id)?;
        let text = self.0.format(&event).unwrap_or_default();
        Some((event, text))
    }
}

/// Registers the class of an event that is going to be recorded.
pub(super) fn announce(book: &ClassBook, catalog: &EventCatalog, event: &EventName) -> Result<()> {
    let failed = |e| border(format!("event {event}"), e);
    let text = catalog.format(event).map_err(failed)?;
    let stated = EventFormat::parse(&text).ok().map(|format| format.id);
    let id = match stated.and_then(|id| u16::try_from(id).ok()) {
        Some(id) => id,
        None => catalog.id(event).map_err(failed)?,
    };
    book.add(event, id, text)
}
