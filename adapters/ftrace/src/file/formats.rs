//! The formats that a file holds, by type number.

use super::attributes::value_of;
use super::meta::FormatText;
use crate::classes::Formats;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tracefs::EventName;
use tracefs::format::EventFormat;

/// Name and format text by type number.
pub(super) type ById = BTreeMap<u16, (EventName, String)>;

/// The formats of a file, shared by its buffers.
#[derive(Clone, Debug)]
pub(super) struct FileFormats {
    pub(super) by_id: Arc<ById>,
    /// Type numbers of records that have none.
    missing: Arc<Mutex<BTreeSet<u16>>>,
}

impl FileFormats {
    pub(super) fn new(by_id: ById) -> Self {
        FileFormats {
            by_id: Arc::new(by_id),
            missing: Arc::default(),
        }
    }

    /// Type numbers that records had and no format, so far.
    pub(super) fn missing(&self) -> BTreeSet<u16> {
        let missing = self.missing.lock();
        missing.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Formats for FileFormats {
    fn with_id(&self, id: u16) -> Option<(EventName, String)> {
        let found = self.by_id.get(&id).cloned();
        if found.is_none() {
            let missing = self.missing.lock();
            missing.unwrap_or_else(PoisonError::into_inner).insert(id);
        }
        found
    }
}

/// Format files of which no class can be made.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// All of them, as an attribute.
    pub(super) kept: Vec<Value>,
    /// What is wrong with those that are no format files.
    pub(super) faults: Vec<String>,
}

/// Sorts the texts by type number. Those that no class can be made of are the second part,
/// as an attribute.
pub(super) fn by_id(formats: Vec<FormatText>) -> (ById, Others) {
    let mut found = ById::new();
    let mut others = Others::default();
    for FormatText { system, text } in formats {
        let parsed = std::str::from_utf8(&text)
            .map_err(|e| e.to_string())
            .and_then(|text| EventFormat::parse(text).map_err(|e| e.to_string()))
            .and_then(|format| match u16::try_from(format.id) {
                Ok(id) => Ok((id, format.name)),
                Err(_) => Err(format!("ID: {} is more than 16 bits hold", format.id)),
            });
        if let Err(e) = &parsed {
            let fault = format!("a format of the system '{system}': {e}");
            others.faults.push(fault);
        }
        match parsed {
            Ok((id, name)) if !found.contains_key(&id) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                found.insert(id, (EventName::new(system, name), text));
            }
            _ => others
                .kept
                .push(json!({ "system": system, "format": value_of(&text) })),
        }
    }
    (found, others)
}
