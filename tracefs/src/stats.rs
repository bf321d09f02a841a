//! The counters of one CPU's buffer.

use crate::directory::Directory;
use crate::{Error, Result};
use nix::fcntl::OFlag;
use nix::sys::uio::pread;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What `per_cpu/cpuN/stats` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Records in the buffer, not yet read.
    pub entries: u64,
    /// Records overwritten unread, in overwrite mode.
    pub overrun: u64,
    /// Records given up because interrupts had filled the buffer meanwhile.
    pub commit_overrun: u64,
    /// Bytes in the buffer.
    pub bytes: u64,
    /// Time of the oldest record, where stated.
    pub oldest_event: Option<StatsTime>,
    /// The trace clock now, where stated.
    pub now: Option<StatsTime>,
    /// Records not taken because the buffer was full, without overwrite mode.
    pub dropped: u64,
    /// Records read.
    pub read: u64,
}

/// A time as `stats` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsTime {
    /// Of a clock in nanoseconds, printed in whole microseconds.
    Ns(u64),
    /// Of a counter, in its units.
    Raw(u64),
}

impl CpuStats {
    /// Parses the text of a stats file; lines it does not know are skipped.
    /// The error names the counter that is missing or wrong.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut stats = CpuStats::default();
        let mut found = 0u32;
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let counter = match name {
                "entries" => &mut stats.entries,
                "overrun" => &mut stats.overrun,
                "commit overrun" => &mut stats.commit_overrun,
                "bytes" => &mut stats.bytes,
                "dropped events" => &mut stats.dropped,
                "read events" => &mut stats.read,
                "oldest event ts" => {
                    stats.oldest_event = parse_time(value);
                    continue;
                }
                "now ts" => {
                    stats.now = parse_time(value);
                    continue;
                }
                _ => continue,
            };
            *counter = value
                .parse()
                .map_err(|_| format!("'{name}' is '{value}', not a number"))?;
            found += 1;
        }
        if found < 6 {
            Err(format!("{found} counters, expected 6"))
        } else {
            Ok(stats)
        }
    }
}

fn parse_time(value: &str) -> Option<StatsTime> {
    match value.split_once('.') {
        Some((seconds, micros)) if micros.len() == 6 => {
            let seconds: u64 = seconds.trim().parse().ok()?;
            let micros: u64 = micros.parse().ok()?;
            Some(StatsTime::Ns(
                seconds
                    .checked_mul(1_000_000_000)?
                    .checked_add(micros * 1000)?,
            ))
        }
        Some(_) => None,
        None => value.parse().ok().map(StatsTime::Raw),
    }
}

/// A stats file held open: reading it again costs one system call.
#[derive(Debug)]
pub struct StatsFile {
    fd: OwnedFd,
    path: PathBuf,
}

impl StatsFile {
    pub(crate) fn open(directory: &Directory, cpu: u32) -> Result<Self> {
        let relative = format!("per_cpu/cpu{cpu}/stats");
        Ok(StatsFile {
            fd: directory.open(&relative, OFlag::O_RDONLY)?,
            path: directory.shown(&relative),
        })
    }

    /// Reads the counters as they are now.
    pub fn read(&self) -> Result<CpuStats> {
        let mut text = [0u8; 1024];
        let n =
            pread(&self.fd, &mut text, 0).map_err(|e| Error::file("read", &self.path, e.into()))?;
        let text = String::from_utf8_lossy(text.get(..n).unwrap_or_default());
        CpuStats::parse(&text).map_err(|reason| Error::malformed(&self.path, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_a_real_file() {
        let text = "entries: 3\noverrun: 4\ncommit overrun: 1\nbytes: 204\n\
                    oldest event ts:     0.000000\nnow ts:  1637.961934\ndropped events: 9\nread events: 12\n";
        let stats = CpuStats::parse(text).unwrap();
        assert_eq!(
            stats,
            CpuStats {
                entries: 3,
                overrun: 4,
                commit_overrun: 1,
                bytes: 204,
                oldest_event: Some(StatsTime::Ns(0)),
                now: Some(StatsTime::Ns(1_637_961_934_000)),
                dropped: 9,
                read: 12
            }
        );
        let cycles = text.replace("1637.961934", "98765432101");
        assert_eq!(
            CpuStats::parse(&cycles).unwrap().now,
            Some(StatsTime::Raw(98_765_432_101))
        );
        assert!(
            CpuStats::parse("entries: 3\n")
                .unwrap_err()
                .contains("expected 6")
        );
        assert!(CpuStats::parse(&text.replace("overrun: 4", "overrun: x")).is_err());
    }
}
