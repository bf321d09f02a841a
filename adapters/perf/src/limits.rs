//! The limits that decide whether events can be opened.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `kernel.perf_event_paranoid`.
pub(crate) fn paranoid() -> Option<i64> {
    number("/proc/sys/kernel/perf_event_paranoid")
}

/// Whether this process has `CAP_PERFMON` (Linux 5.8) or `CAP_SYS_ADMIN`, so that
/// a refusal is not for want of privilege.
pub(crate) fn is_privileged() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON: u64 = 1 << 38;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
        .is_some_and(|caps| caps & (CAP_SYS_ADMIN | CAP_PERFMON) != 0)
}

/// `kernel.perf_event_mlock_kb`.
pub(crate) fn mlock_kib() -> Option<i64> {
    number("/proc/sys/kernel/perf_event_mlock_kb")
}

/// `kernel.perf_event_max_sample_rate` in Hz.
pub(crate) fn max_sample_rate_hz() -> Option<u64> {
    number("/proc/sys/kernel/perf_event_max_sample_rate").and_then(|n| u64::try_from(n).ok())
}

/// `kernel.perf_event_max_stack`.
pub(crate) fn max_stack() -> Option<u16> {
    number("/proc/sys/kernel/perf_event_max_stack").and_then(|n| u16::try_from(n).ok())
}

/// The soft limit of open files, raised to the hard one. `Some` of the new soft
/// limit if there was room.
pub(crate) fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft < hard).then(|| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok())??;
    Some(hard)
}

/// The soft limit of open files.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}
