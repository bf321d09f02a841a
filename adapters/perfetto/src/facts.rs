//! What packets say of the session as a whole.

use crate::clock::Snapshot;
use crate::output::{MAIN_SEQUENCE, Output};
use kstrace_schema::{Result, SessionInfo};

/// Fields of `TracePacket`.
const CLOCK_SNAPSHOT: u32 = 6;
const FTRACE_STATS: u32 = 34;
const SYSTEM_INFO: u32 = 45;
const CPU_INFO: u32 = 67;
const FIRST_PACKET_ON_SEQUENCE: u32 = 87;
const TRACE_UUID: u32 = 89;
const TRACE_ATTRIBUTES: u32 = 126;

/// CPUs that are described one by one at most.
const MAX_CPUS: u32 = 1 << 13;

/// Writes the clocks of one moment. `primary` is the clock of the trace.
pub(crate) fn write_clocks(out: &mut Output, snapshot: &Snapshot, primary: u32) -> Result<()> {
    out.packet(MAIN_SEQUENCE, None, |p| {
        let message = p.open(CLOCK_SNAPSHOT);
        for (clock_id, time_ns) in snapshot {
            let clock = p.open(1);
            p.uint(1, (*clock_id).into());
            p.uint(2, *time_ns);
            p.close(clock);
        }
        p.uint(2, primary.into());
        p.close(message);
    })
}

/// Writes who recorded what, where.
pub(crate) fn write_session(out: &mut Output, session: &SessionInfo) -> Result<()> {
    let uuid = uuid_halves(&session.uuid);
    out.packet(MAIN_SEQUENCE, None, |p| {
        p.bool(FIRST_PACKET_ON_SEQUENCE, true);
        if let Some((high, low)) = uuid {
            let message = p.open(TRACE_UUID);
            p.uint(1, high);
            p.uint(2, low);
            p.close(message);
        }
    })?;
    let host = &session.host;
    out.packet(MAIN_SEQUENCE, None, |p| {
        let info = p.open(SYSTEM_INFO);
        let utsname = p.open(1);
        // The name that `uname -s` gives: readers choose the kernel's numbers of states by it.
        p.bytes(1, b"Linux");
        p.bytes(2, host.os_version.as_bytes());
        p.bytes(3, host.os_release.as_bytes());
        p.bytes(4, host.arch.as_bytes());
        p.close(utsname);
        p.bytes(4, concat!("kstrace ", env!("CARGO_PKG_VERSION")).as_bytes());
        p.uint(6, host.page_size_bytes.into());
        p.uint(8, host.cpus_available.into());
        p.uint(16, host.total_memory_kib.saturating_mul(1024));
        p.bytes(17, host.hostname.as_bytes());
        p.close(info);
    })?;
    if !host.cpu_description.is_empty() && (1..=MAX_CPUS).contains(&host.cpus_available) {
        out.packet(MAIN_SEQUENCE, None, |p| {
            let info = p.open(CPU_INFO);
            for _ in 0..host.cpus_available {
                let cpu = p.open(1);
                p.bytes(1, host.cpu_description.as_bytes());
                p.close(cpu);
            }
            p.close(info);
        })?;
    }
    write_attributes(out, session)
}

/// The rest of what is known, by name.
fn write_attributes(out: &mut Output, session: &SessionInfo) -> Result<()> {
    let host = &session.host;
    let mut texts: Vec<(String, String)> = vec![
        ("kstrace.uuid".into(), session.uuid.clone()),
        ("kstrace.clock".into(), session.clock.kind.to_string()),
        ("kstrace.boot_id".into(), session.clock.boot_id.clone()),
        ("kstrace.cpu_id".into(), host.cpu_id.clone()),
        (
            "kstrace.command_line".into(),
            session.capture.command_line.join(" "),
        ),
        (
            "kstrace.workload".into(),
            session.capture.workload.join(" "),
        ),
    ];
    if let Some(name) = &session.clock.native_name {
        texts.push(("kstrace.clock_name".into(), name.clone()));
    }
    for source in &session.sources {
        let key = format!("kstrace.source.{}.{}", source.id.0, source.kind);
        texts.push((key, source.description.clone()));
    }
    for (key, value) in &host.more {
        texts.push((format!("kstrace.host.{key}"), value.clone()));
    }
    out.packet(MAIN_SEQUENCE, None, |p| {
        let attributes = p.open(TRACE_ATTRIBUTES);
        for (key, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            let attribute = p.open(1);
            p.bytes(1, key.as_bytes());
            p.bytes(3, text.as_bytes());
            p.close(attribute);
        }
        for (key, number) in [
            ("kstrace.cpus_online", i64::from(host.cpus_online)),
            (
                "kstrace.clock_mapping_error_bound_ns",
                i64::try_from(session.clock.mapping_error_bound_ns).unwrap_or(i64::MAX),
            ),
        ] {
            let attribute = p.open(1);
            p.bytes(1, key.as_bytes());
            p.int(2, number);
            p.close(attribute);
        }
        p.close(attributes);
    })
}

fn uuid_halves(uuid: &str) -> Option<(u64, u64)> {
    let hex: String = uuid.chars().filter(|c| *c != '-').collect();
    let number = (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok())??;
    Some(((number >> 64) as u64, number as u64))
}

/// What became of one CPU's ftrace events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuStats {
    /// Overwritten before they were read.
    pub(crate) overrun: u64,
    /// Given up half-way.
    pub(crate) commit_overrun: u64,
    /// For want of room, in the kernel's ring or later.
    pub(crate) dropped: u64,
    /// In the trace.
    pub(crate) read: u64,
}

/// Writes `FtraceStats`: all zero at the start, so that readers see the difference.
pub(crate) fn write_ftrace_stats(
    out: &mut Output,
    at_end: bool,
    cpus: impl Iterator<Item = (usize, CpuStats)>,
) -> Result<()> {
    out.packet(MAIN_SEQUENCE, None, |p| {
        let stats = p.open(FTRACE_STATS);
        // `START_OF_TRACE`, `END_OF_TRACE`.
        p.uint(1, if at_end { 2 } else { 1 });
        for (cpu, of_cpu) in cpus {
            let message = p.open(2);
            p.uint(1, cpu as u64);
            p.uint(3, of_cpu.overrun);
            p.uint(4, of_cpu.commit_overrun);
            p.uint(8, of_cpu.dropped);
            p.uint(9, of_cpu.read);
            p.close(message);
        }
        p.close(stats);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let halves = Some((0x0011_2233_4455_6677, 0x8899_aabb_ccdd_eeff));
        assert_eq!(uuid_halves(text), halves);
        assert_eq!(uuid_halves("0011"), None);
        assert_eq!(uuid_halves(&text.replace('0', "g")), None);
    }
}
