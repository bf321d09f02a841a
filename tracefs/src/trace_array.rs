//! A trace array: the top level or an instance, with its switches and buffers.

use crate::directory::Directory;
use crate::raw_pipe::RawPipe;
use crate::stats::StatsFile;
use crate::{Error, Result};
use std::path::PathBuf;

/// The top-level trace array or an [`Instance`](crate::Instance)'s.
///
/// Further operations are in the modules on events, pids and tracers.
#[derive(Clone, Debug)]
pub struct TraceArray {
    pub(crate) directory: Directory,
}

/// The trace clocks of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceClocks {
    /// All, in the kernel's order: `local`, `global`, `mono`, `x86-tsc`, ...
    pub available: Vec<String>,
    /// The one in use.
    pub current: String,
}

impl TraceArray {
    pub(crate) fn new(directory: Directory) -> Self {
        TraceArray { directory }
    }

    /// Its path, for messages.
    pub fn shown_path(&self) -> PathBuf {
        self.directory.shown("")
    }

    /// Turns recording into its buffers on or off (`tracing_on`).
    pub fn set_tracing_on(&self, on: bool) -> Result<()> {
        self.directory
            .write("tracing_on", if on { "1" } else { "0" })
    }

    /// Whether it records.
    pub fn tracing_on(&self) -> Result<bool> {
        Ok(self.directory.read("tracing_on")?.trim() == "1")
    }

    /// Empties its buffers (`trace`).
    pub fn clear(&self) -> Result<()> {
        // Opening for writing with O_TRUNC is what clears; the byte is for form.
        self.directory.write("trace", "\n")
    }

    /// The clocks there are and the one in use (`trace_clock`).
    pub fn clocks(&self) -> Result<TraceClocks> {
        let text = self.directory.read("trace_clock")?;
        let mut current = None;
        let available = text
            .split_ascii_whitespace()
            .map(|word| {
                let inner = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
                current = current.take().or(inner.map(str::to_owned));
                inner.unwrap_or(word).to_owned()
            })
            .collect();
        let current = current.ok_or_else(|| {
            Error::malformed(
                &self.directory.shown("trace_clock"),
                "no clock is marked as in use",
            )
        })?;
        Ok(TraceClocks { available, current })
    }

    /// Chooses the clock. This empties the buffers.
    pub fn set_clock(&self, name: &str) -> Result<()> {
        self.directory
            .write("trace_clock", name)
            .map_err(|e| match self.clocks() {
                Ok(clocks) if !clocks.available.iter().any(|c| c == name) => Error::NotOffered {
                    what: "trace clock",
                    wanted: name.to_owned(),
                    offered: clocks.available,
                },
                _ => e,
            })
    }

    /// Sets an option by its name in `options/`: `event-fork`, `function-fork`,
    /// `overwrite`, `stacktrace`, `record-cmd`, ...
    pub fn set_option(&self, name: &str, on: bool) -> Result<()> {
        self.directory
            .write(&format!("options/{name}"), if on { "1" } else { "0" })
    }

    /// Whether an option is on.
    pub fn option(&self, name: &str) -> Result<bool> {
        Ok(self.directory.read(&format!("options/{name}"))?.trim() == "1")
    }

    /// Every option with its state (`trace_options`).
    pub fn options(&self) -> Result<Vec<(String, bool)>> {
        let text = self.directory.read("trace_options")?;
        Ok(text
            .lines()
            .map(|line| match line.strip_prefix("no") {
                Some(name) => (name.to_owned(), false),
                None => (line.to_owned(), true),
            })
            .collect())
    }

    /// Sets the size of every CPU's buffer, in KiB (`buffer_size_kb`).
    pub fn set_buffer_size_kib(&self, kib: u64) -> Result<()> {
        self.directory
            .write("buffer_size_kb", &kib.to_string())
            .map_err(|e| e.or_hint("is there enough memory for this size on every CPU?"))
    }

    /// Sets the size of one CPU's buffer, in KiB.
    pub fn set_cpu_buffer_size_kib(&self, cpu: u32, kib: u64) -> Result<()> {
        self.directory.write(
            &format!("per_cpu/cpu{cpu}/buffer_size_kb"),
            &kib.to_string(),
        )
    }

    /// The size of one CPU's buffer, in KiB.
    pub fn cpu_buffer_size_kib(&self, cpu: u32) -> Result<u64> {
        // "1410", or "7 (expanded: 1410)" before first use.
        self.number(&format!("per_cpu/cpu{cpu}/buffer_size_kb"))
    }

    /// The size of the buffers of all CPUs together, in KiB.
    pub fn buffer_total_size_kib(&self) -> Result<u64> {
        self.number("buffer_total_size_kb")
    }

    /// Sets the size of a sub-buffer, in KiB, rounded up by the kernel to a
    /// power of two of pages. This empties the buffers.
    ///
    /// Minimum kernel version: 6.8.
    pub fn set_sub_buffer_size_kib(&self, kib: u32) -> Result<()> {
        self.directory
            .write("buffer_subbuf_size_kb", &kib.to_string())
            .map_err(|e| e.or_hint("sub-buffers of a chosen size need Linux 6.8 and room for two of them in the buffer"))
    }

    /// The size of a sub-buffer, in bytes: one page before Linux 6.8.
    pub fn sub_buffer_size_bytes(&self) -> Result<usize> {
        match self.number("buffer_subbuf_size_kb") {
            Ok(kib) => usize::try_from(kib.saturating_mul(1024)).map_err(|_| {
                Error::malformed(&self.directory.shown("buffer_subbuf_size_kb"), "too large")
            }),
            Err(e) if e.is_not_found() => {
                let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
                    .ok()
                    .flatten();
                Ok(size.and_then(|s| usize::try_from(s).ok()).unwrap_or(4096))
            }
            Err(e) => Err(e),
        }
    }

    /// Sets how full a buffer must be, in percent, for a pipe to become
    /// readable; 0 for any data. May be changed while tracing.
    ///
    /// Minimum kernel version: 4.20.
    pub fn set_buffer_percent(&self, percent: u8) -> Result<()> {
        self.directory
            .write("buffer_percent", &percent.min(100).to_string())
    }

    /// Restricts tracing to some CPUs (`tracing_cpumask`).
    pub fn set_cpus(&self, cpus: &[u32]) -> Result<()> {
        self.directory.write("tracing_cpumask", &cpu_mask(cpus))
    }

    /// The CPUs that have a buffer.
    pub fn buffer_cpus(&self) -> Result<Vec<u32>> {
        let mut cpus: Vec<u32> = self
            .directory
            .directories("per_cpu")?
            .iter()
            .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
            .collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    /// Opens the binary pipe of one CPU, non-blocking (`trace_pipe_raw`).
    pub fn open_raw_pipe(&self, cpu: u32) -> Result<RawPipe> {
        RawPipe::open(&self.directory, cpu)
    }

    /// Opens the counters of one CPU for repeated reading (`stats`).
    pub fn open_stats(&self, cpu: u32) -> Result<StatsFile> {
        StatsFile::open(&self.directory, cpu)
    }

    /// What the kernel had to say about refused filters, triggers and the like
    /// (`error_log`); empty if it keeps none (before Linux 5.2).
    pub fn error_log(&self) -> Result<String> {
        match self.directory.read("error_log") {
            Err(e) if e.is_not_found() => Ok(String::new()),
            other => other,
        }
    }

    /// Forgets the errors noted so far.
    pub fn clear_error_log(&self) -> Result<()> {
        self.directory.write("error_log", "\n")
    }

    /// The first number in a file.
    pub(crate) fn number(&self, relative: &str) -> Result<u64> {
        let text = self.directory.read_up_to(relative, 4096)?;
        let digits = text
            .split(|c: char| !c.is_ascii_digit())
            .find(|s| !s.is_empty());
        digits.and_then(|d| d.parse().ok()).ok_or_else(|| {
            Error::malformed(
                &self.directory.shown(relative),
                format!("no number in '{}'", text.trim()),
            )
        })
    }
}

/// A CPU set as the kernel's bitmaps are written: 32-bit words in hexadecimal,
/// most significant first, with commas.
fn cpu_mask(cpus: &[u32]) -> String {
    /// CPUs beyond this are left out: far above the kernel's own limit.
    const LIMIT: u32 = 1 << 16;
    let highest = cpus
        .iter()
        .copied()
        .filter(|c| *c < LIMIT)
        .max()
        .unwrap_or(0);
    let mut words = vec![0u32; (highest / 32 + 1) as usize];
    for cpu in cpus {
        if let Some(word) = words.get_mut((cpu / 32) as usize) {
            *word |= 1 << (cpu % 32);
        }
    }
    let parts: Vec<String> = words.iter().rev().map(|w| format!("{w:08x}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_written_as_the_kernel_reads_them() {
        assert_eq!(cpu_mask(&[0, 1]), "00000003");
        assert_eq!(cpu_mask(&[0, 33]), "00000002,00000001");
        assert_eq!(cpu_mask(&[]), "00000000");
    }
}
