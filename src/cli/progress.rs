//! The progress line of a recording, on a terminal only.

use super::size::{bytes_text, grouped};
use crate::engine::StatsReading;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(500);

/// One line that is written over again and again.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    begun: Instant,
    last: Instant,
    last_records: u64,
    shown: bool,
}

impl Progress {
    pub(super) fn new(wanted: bool) -> Self {
        let now = Instant::now();
        Progress {
            on: wanted && std::io::stderr().is_terminal(),
            begun: now,
            last: now,
            last_records: 0,
            shown: false,
        }
    }

    /// How often it wants to be shown; `None` without a terminal.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.on.then_some(INTERVAL)
    }

    pub(super) fn show(&mut self, stats: StatsReading) {
        let since = self.last.elapsed();
        if !self.on || since < INTERVAL {
            return;
        }
        let rate = (stats.records - self.last_records) as f64 / since.as_secs_f64();
        let line = format!(
            "\r\x1b[K{:.1} s  {} records  {}/s  {}  {} lost",
            self.begun.elapsed().as_secs_f64(),
            grouped(stats.records),
            grouped(rate as u64),
            bytes_text(stats.bytes),
            grouped(stats.lost),
        );
        // A terminal that went away is no reason to stop recording.
        let _ = std::io::stderr().write_all(line.as_bytes());
        self.last = Instant::now();
        self.last_records = stats.records;
        self.shown = true;
    }

    /// Leaves the line empty for what comes next.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
