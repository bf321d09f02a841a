//! The progress line of a conversion, on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

/// One line that is written over again and again.
#[derive(Debug)]
pub(super) struct TransferProgress {
    on: bool,
    last: Instant,
    shown: bool,
}

impl TransferProgress {
    pub(super) fn new(wanted: bool) -> Self {
        TransferProgress {
            on: wanted && std::io::stderr().is_terminal(),
            last: Instant::now(),
            shown: false,
        }
    }

    pub(super) fn show(&mut self, read_bytes: u64, all_bytes: u64) {
        if !self.on || all_bytes == 0 || self.last.elapsed() < INTERVAL {
            return;
        }
        self.last = Instant::now();
        self.shown = true;
        let read_bytes = read_bytes.min(all_bytes);
        let done = (u128::from(read_bytes) * u128::from(WIDTH) / u128::from(all_bytes)) as usize;
        let percent = u128::from(read_bytes) * 100 / u128::from(all_bytes);
        let line = format!(
            "\r\x1b[K[{}{}] {percent} % of {} MiB",
            "#".repeat(done),
            " ".repeat(WIDTH as usize - done),
            all_bytes >> 20
        );
        // A terminal that went away is no reason to stop.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Leaves the line empty for what comes next.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
