//! What tracefs tells of a tracepoint.

use crate::PerfError;
use kstrace_tracepoint::TracepointLayout;
use std::io;
use tracefs::format::EventFormat;
use tracefs::{EventCatalog, EventName, Tracefs};

/// A tracepoint as perf needs it.
#[derive(Clone, Debug)]
pub(crate) struct Tracepoint {
    /// `attr.config`.
    pub(crate) id: u16,
    /// The text of its format file.
    pub(crate) format: String,
    /// Its fields; `None` where the format file cannot be understood.
    pub(crate) layout: Option<TracepointLayout>,
}

/// Looks tracepoints up, finding tracefs when the first one is asked for.
#[derive(Debug, Default)]
pub(crate) struct Tracepoints {
    catalog: Option<EventCatalog>,
}

impl Tracepoints {
    pub(crate) fn look_up(&mut self, system: &str, name: &str) -> Result<Tracepoint, PerfError> {
        let event = EventName::new(system, name);
        let catalog = match &self.catalog {
            Some(catalog) => catalog,
            None => {
                let found = Tracefs::discover().and_then(|t| t.events());
                self.catalog
                    .insert(found.map_err(|e| from_tracefs(&event, e))?)
            }
        };
        // ftrace's own events are in no catalogue, and have ids all the same.
        if !catalog.has(&event) && catalog.id(&event).is_err() {
            // Asking for it gives the error with the names that come near.
            catalog
                .find(&event.to_string())
                .map_err(|e| from_tracefs(&event, e))?;
        }
        let id = catalog.id(&event).map_err(|e| from_tracefs(&event, e))?;
        let format = catalog
            .format(&event)
            .map_err(|e| from_tracefs(&event, e))?;
        let layout = EventFormat::parse(&format)
            .ok()
            .and_then(|parsed| TracepointLayout::describe(system, &parsed).ok());
        Ok(Tracepoint { id, format, layout })
    }
}

fn from_tracefs(event: &EventName, e: tracefs::Error) -> PerfError {
    let what = format!("event '{event}'");
    match &e {
        tracefs::Error::UnknownEvent { nearest, .. } => PerfError::UnknownEvent {
            name: event.to_string(),
            hint: match nearest.is_empty() {
                true => ": no such tracepoint".to_owned(),
                false => format!(": did you mean {}?", nearest.join(" or ")),
            },
        },
        _ if e.is_permission() => {
            let hint = e.to_string();
            let source = io::Error::from(io::ErrorKind::PermissionDenied);
            PerfError::Denied { what, hint, source }
        }
        _ => PerfError::Unsupported {
            what,
            reason: e.to_string(),
            source: None,
        },
    }
}
