//! What to show of a trace, and how.

use kstrace_schema::{Cpu, Error, ErrorKind, Result};
use std::str::FromStr;

/// Text or JSON Lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A line a record, stack frames below it.
    #[default]
    Text,
    /// A JSON object a line.
    JsonLines,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Time, seconds and nanoseconds of the session clock.
    Time,
    /// The CPU.
    Cpu,
    /// Name of the task at that time.
    Comm,
    /// Thread id.
    Tid,
    /// Thread group id.
    Pid,
    /// Name of the event.
    Event,
    /// The tracer it came through.
    Source,
    /// The event's own text.
    Text,
    /// The stack, in lines of its own (an array in JSON).
    Stack,
    /// The field of that name.
    Field(String),
}

impl Column {
    /// Columns from a list with commas. Words that are no column are names of fields.
    ///
    /// # Errors
    /// `ErrorKind::InvalidInput` for an empty word.
    pub fn list(text: &str) -> Result<Vec<Column>> {
        text.split(',')
            .map(|word| {
                Ok(match word.trim() {
                    "time" => Column::Time,
                    "cpu" => Column::Cpu,
                    "comm" => Column::Comm,
                    "tid" => Column::Tid,
                    "pid" => Column::Pid,
                    "event" => Column::Event,
                    "source" => Column::Source,
                    "text" => Column::Text,
                    "stack" => Column::Stack,
                    "" => {
                        return Err(invalid(format!(
                            "an empty field in '{text}': allowed are time, cpu, comm, tid, pid, \
                             event, source, text, stack and names of fields"
                        )));
                    }
                    field => Column::Field(field.to_owned()),
                })
            })
            .collect()
    }
}

/// A point in time as the user gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBound {
    /// Nanoseconds of the session clock.
    Absolute(u64),
    /// Nanoseconds from the trace's first record.
    FromStart(u64),
}

impl TimeBound {
    /// Nanoseconds of the session clock, given when the trace begins.
    pub fn resolve_ns(self, start_ns: u64) -> u64 {
        match self {
            TimeBound::Absolute(ns) => ns,
            TimeBound::FromStart(ns) => start_ns.saturating_add(ns),
        }
    }
}

impl FromStr for TimeBound {
    type Err = Error;

    /// `12.5` is seconds of the session clock, `+0.25` seconds from the first record.
    fn from_str(text: &str) -> Result<Self> {
        let (relative, number) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let ns = seconds_to_ns(number).ok_or_else(|| {
            invalid(format!(
                "'{text}' is no time: seconds such as 12.5, or +0.25 from the trace's start"
            ))
        })?;
        Ok(if relative {
            TimeBound::FromStart(ns)
        } else {
            TimeBound::Absolute(ns)
        })
    }
}

/// Decimal seconds, exactly: a float would lose nanoseconds after a few months of uptime.
fn seconds_to_ns(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let nanoseconds = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
    whole.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// A set of CPUs as users write it: `0,2-3`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList(Vec<(u32, u32)>);

impl CpuList {
    /// Whether the CPU is in the list.
    #[inline]
    pub fn contains(&self, cpu: Cpu) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&cpu.0))
    }
}

impl FromStr for CpuList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            invalid(format!(
                "'{text}' is no list of CPUs: allowed are forms like 0,2-3"
            ))
        };
        text.split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
                (range.0 <= range.1).then_some(range)
            })
            .collect::<Option<Vec<_>>>()
            .map(CpuList)
            .ok_or_else(bad)
    }
}

/// Which records to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Patterns of event names, native or canonical; empty for all.
    pub events: Vec<String>,
    /// CPUs, `None` for all.
    pub cpus: Option<CpuList>,
    /// Thread ids; empty for all.
    pub tids: Vec<i32>,
    /// Thread group ids; empty for all.
    pub pids: Vec<i32>,
    /// Nothing older.
    pub since: Option<TimeBound>,
    /// Nothing younger.
    pub until: Option<TimeBound>,
    /// Also what only serves to understand the rest: mappings, names of tasks, clock pairs.
    pub bookkeeping: bool,
}

/// What to show of a trace, and how.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Text or JSON Lines.
    pub format: OutputFormat,
    /// Which parts of a record, in that order; `None` for the usual ones.
    pub columns: Option<Vec<Column>>,
    /// Which records.
    pub filter: Filter,
    /// Whether addresses are resolved to symbols.
    pub symbols: bool,
    /// Ends after so many records.
    pub limit: Option<u64>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions {
            format: OutputFormat::Text,
            columns: None,
            filter: Filter::default(),
            symbols: true,
            limit: None,
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(
            "12.5".parse::<TimeBound>().unwrap(),
            TimeBound::Absolute(12_500_000_000)
        );
        assert_eq!(
            "+.000000001".parse::<TimeBound>().unwrap(),
            TimeBound::FromStart(1)
        );
        assert_eq!(
            "9007199254.740993001".parse::<TimeBound>().unwrap(),
            TimeBound::Absolute(9_007_199_254_740_993_001)
        );
        for bad in ["", "+", ".", "-1", "1e3", "1.2.3", "99999999999999"] {
            assert!(bad.parse::<TimeBound>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cpu_lists() {
        let list: CpuList = "0,2-3".parse().unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|c| list.contains(Cpu(c))),
            [true, false, true, true, false]
        );
        assert!(!list.contains(Cpu::NONE));
        for bad in ["", "a", "3-1", "1-", "0,,1"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn columns_and_fields() {
        assert_eq!(
            Column::list("time,prev_comm").unwrap(),
            [Column::Time, Column::Field("prev_comm".into())]
        );
        assert!(Column::list("time,,cpu").is_err());
    }
}
