//! What is not as the file itself describes it, and is handed on as bytes.

use super::ReadStatistics;
use super::damage::Place;
use super::events::FileEvent;
use super::feature::Features;
use super::tracing_text::TracingText;
use crate::uapi;
use std::collections::BTreeSet;
use tracefs::format::EventFormat;

/// Feature sections and format files that make no sense.
pub(super) fn of_description(
    place: &Place,
    events: &[FileEvent],
    features: &Features,
    texts: &TracingText,
) -> Vec<String> {
    let mut found: Vec<String> = features
        .odd
        .iter()
        .map(|section| {
            let what = "its parts are longer than the section; kept as bytes";
            misfit(place, format!("{section}: {what}"))
        })
        .collect();
    let mut told = BTreeSet::new();
    for event in events {
        let fault = match &event.format {
            Some((_, text)) => EventFormat::parse(text).err().map(|e| e.to_string()),
            None if event.attr.kind == uapi::PERF_TYPE_TRACEPOINT && !texts.formats.is_empty() => {
                Some("is not there".to_owned())
            }
            None => None,
        };
        if let Some(fault) = fault
            && told.insert(event.attr.config)
        {
            let (name, id) = (event.event_name(), event.attr.config);
            found.push(misfit(
                place,
                format!(
                    "HEADER_TRACING_DATA (1), format of {name} (id {id}): {fault}; its raw data \
                     are kept as bytes"
                ),
            ));
        }
    }
    found
}

/// Records that were met.
pub(super) fn of_records(place: &Place, counts: ReadStatistics) -> Vec<String> {
    let mut found = Vec::new();
    if counts.unknown_ids > 0 {
        let n = counts.unknown_ids;
        found.push(misfit(
            place,
            format!("{n} samples have an id that no event of the file has; kept as bytes"),
        ));
    }
    if counts.opaque > 0 {
        let n = counts.opaque;
        found.push(misfit(
            place,
            format!(
                "{n} records are not as long as their event or their type says; kept as bytes, \
                 in the classes whose names end in :opaque"
            ),
        ));
    }
    found
}

fn misfit(place: &Place, what: String) -> String {
    format!("{}: {what}", place.file())
}
