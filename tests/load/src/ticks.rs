//! A clock that is cheap enough to time single system calls with.

use std::time::{Duration, Instant};

/// Now, in ticks of an unstated rate.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn now() -> u64 {
    #![expect(unsafe_code, reason = "the TSC has no safe form")]
    // SAFETY: every x86-64 has the TSC; Linux leaves it readable.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Now, in ticks of an unstated rate.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn now() -> u64 {
    monotonic_ns()
}

/// `CLOCK_MONOTONIC`, ns.
pub(crate) fn monotonic_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(|t| t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
        .unwrap_or(0)
}

/// Ticks per nanosecond, measured over 30 ms of computing.
pub(crate) fn per_ns() -> f64 {
    let (begin, begin_ticks) = (Instant::now(), now());
    while begin.elapsed() < Duration::from_millis(30) {
        std::hint::spin_loop();
    }
    let ticks = now() - begin_ticks;
    ticks as f64 / begin.elapsed().as_nanos() as f64
}
