//! Readings of a CTF clock as nanoseconds.

use crate::ir::{ClockClass, TraceClass};
use crate::packet::uuid_bytes;
use kstrace_schema::{ClockDescriptor, ClockKind, Error, ErrorKind, Result};
use std::str::FromStr;

const NS_PER_S: u64 = 1_000_000_000;

/// How a stream's clock becomes session time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockMap {
    pub(super) frequency_hz: u64,
    pub(super) shift_ns: u64,
}

impl ClockMap {
    /// Without a clock: what there is of times counts as nanoseconds.
    pub(super) const NONE: ClockMap = ClockMap {
        frequency_hz: NS_PER_S,
        shift_ns: 0,
    };

    #[inline(always)]
    pub(super) fn ns(self, reading: u64) -> u64 {
        if self.frequency_hz == NS_PER_S {
            reading.wrapping_add(self.shift_ns)
        } else {
            ns_of_cycles(reading, self.frequency_hz).saturating_add(self.shift_ns)
        }
    }
}

/// Cycles as nanoseconds, rounded as babeltrace2 rounds: in double precision, then down.
pub(crate) fn ns_of_cycles(cycles: u64, frequency_hz: u64) -> u64 {
    if frequency_hz == NS_PER_S {
        return cycles;
    }
    (1e9 * cycles as f64 / frequency_hz as f64) as u64
}

/// The clock's origin in nanoseconds since 1970, or since its own origin.
pub(crate) fn offset_ns(clock: &ClockClass) -> i128 {
    i128::from(clock.offset_s) * i128::from(NS_PER_S)
        + i128::from(ns_of_cycles(clock.offset_cycles, clock.frequency_hz))
}

/// Whether two clock classes are one clock.
pub(super) fn same(a: &ClockClass, b: &ClockClass) -> bool {
    a.uuid.is_some() && a.uuid == b.uuid && a.frequency_hz == b.frequency_hz
}

/// The session clock of several traces, and each trace's clocks in terms of it.
pub(super) fn session_clock(
    traces: &[&TraceClass],
) -> Result<(ClockDescriptor, Vec<Vec<ClockMap>>)> {
    let all = traces.iter().flat_map(|t| &t.clocks).collect::<Vec<_>>();
    let Some(first) = all.first() else {
        let descriptor = descriptor(None, None, 0);
        return Ok((descriptor, vec![Vec::new(); traces.len()]));
    };
    // LTTng's and kstrace's count from the boot, with the offset to 1970.
    let related = |trace: &TraceClass, clock: &ClockClass| {
        clock.absolute
            || trace
                .env_text("tracer_name")
                .is_some_and(|n| n.starts_with("lttng") || n == "kstrace")
    };
    let one_clock = all.iter().all(|c| same(first, c));
    if !one_clock && all.len() > 1 {
        for trace in traces {
            for clock in &trace.clocks {
                if !related(trace, clock)
                    && (clock.uuid.is_some() || traces.len() > 1)
                    && *clock != **first
                {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "clocks '{}' and '{}' of this trace cannot be related: neither has an origin that is known",
                            first.name, clock.name
                        ),
                    ));
                }
            }
        }
    }
    let base = if one_clock {
        offset_ns(first)
    } else {
        all.iter().map(|c| offset_ns(c)).min().unwrap_or(0)
    };
    let maps = traces
        .iter()
        .map(|trace| {
            let map = |clock: &ClockClass| ClockMap {
                frequency_hz: clock.frequency_hz,
                shift_ns: if one_clock {
                    0
                } else {
                    u64::try_from(offset_ns(clock) - base).unwrap_or(u64::MAX / 2)
                },
            };
            trace.clocks.iter().map(map).collect()
        })
        .collect();
    let trace = traces.iter().find(|t| !t.clocks.is_empty()).copied();
    Ok((descriptor(trace, Some(first), base), maps))
}

fn descriptor(
    trace: Option<&TraceClass>,
    clock: Option<&ClockClass>,
    offset: i128,
) -> ClockDescriptor {
    let tracer = trace.and_then(|t| t.env_text("tracer_name")).unwrap_or("");
    let uuid = clock
        .and_then(|c| c.uuid.clone())
        .filter(|u| uuid_bytes(u).is_some());
    let kind = match clock {
        Some(c) if c.frequency_hz != NS_PER_S => ClockKind::Foreign,
        Some(c) if tracer.starts_with("lttng") && c.name == "monotonic" => ClockKind::Monotonic,
        Some(c) if tracer == "kstrace" => {
            ClockKind::from_str(&c.name).unwrap_or(ClockKind::Foreign)
        }
        Some(c) if c.name == "perf_clock" => ClockKind::Sched,
        _ => ClockKind::Foreign,
    };
    let boot_id = match kind {
        ClockKind::Foreign | ClockKind::Sched => String::new(),
        _ => uuid.clone().unwrap_or_default(),
    };
    let native_name = match kind {
        ClockKind::Monotonic => None,
        _ => uuid.or_else(|| clock.map(|c| c.name.clone())),
    };
    ClockDescriptor {
        kind,
        native_name,
        counts_per_s: None,
        recorded_with: None,
        mapping_error_bound_ns: 0,
        offset_to_realtime_ns: i64::try_from(offset).unwrap_or(0),
        boot_id,
    }
}
