//! The kernel's constants that print formats name and format files do not tell.

use kstrace_schema::{EventRecordClass, NativeDescription};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracefs::format::EventFormat;
use tracefs::print_fmt::{BtfConstants, Constants, PrintFmt};

/// Values, taken from the running kernel's BTF, of the names that these classes'
/// print formats leave open; so that a report shows names also on another machine.
/// What the kernel does not tell stays out: then the report shows numbers.
pub(super) fn of_classes(classes: &[Arc<EventRecordClass>]) -> BTreeMap<String, i64> {
    let wanted: BTreeSet<String> = classes.iter().flat_map(|c| missing(c)).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let Ok(known) = BtfConstants::running_kernel(|name| wanted.contains(name)) else {
        return BTreeMap::new();
    };
    wanted
        .into_iter()
        .filter_map(|name| known.value(&name).map(|value| (name, value)))
        .collect()
}

fn missing(class: &EventRecordClass) -> Vec<String> {
    let format = match &class.native {
        NativeDescription::TracefsFormat { format } => format,
        NativeDescription::PerfSample {
            format: Some(format),
            ..
        } => format,
        _ => return Vec::new(),
    };
    EventFormat::parse(format)
        .ok()
        .and_then(|format| PrintFmt::compile(&format).ok())
        .map(|print| print.missing_constants().map(str::to_owned).collect())
        .unwrap_or_default()
}
