//! The formats that a file holds, by type number.

use super::attributes::value_of;
use super::meta::FormatText;
use crate::classes::Formats;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracefs::EventName;
use tracefs::format::EventFormat;

/// Name and format text by type number.
pub(super) type ById = BTreeMap<u16, (EventName, String)>;

/// The formats of a file, shared by its buffers.
#[derive(Clone, Debug)]
pub(super) struct FileFormats(pub(super) Arc<ById>);

impl Formats for FileFormats {
    fn with_id(&self, id: u16) -> Option<(EventName, String)> {
        self.0.get(&id).cloned()
    }
}

/// Sorts the texts by type number. Those that no class can be made of are the second part,
/// as an attribute.
pub(super) fn by_id(formats: Vec<FormatText>) -> (ById, Vec<Value>) {
    let mut found = ById::new();
    let mut others = Vec::new();
    for FormatText { system, text } in formats {
        let understood = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| EventFormat::parse(text).ok())
            .and_then(|format| Some((u16::try_from(format.id).ok()?, format.name)));
        match understood {
            Some((id, name)) if !found.contains_key(&id) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                found.insert(id, (EventName::new(system, name), text));
            }
            _ => others.push(json!({ "system": system, "format": value_of(&text) })),
        }
    }
    (found, others)
}
