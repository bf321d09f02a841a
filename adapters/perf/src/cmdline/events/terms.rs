//! What stands between the slashes of an event.

use super::super::value;
use super::EventError;

/// A term that is about recording, not about which event it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Events to a sample.
    Period(u64),
    /// Samples in a second.
    Frequency(u64),
    /// With time or without.
    Time(bool),
    /// Mode of call stacks: `fp`, `dwarf`, `lbr`, `no`.
    CallGraph(String),
    /// Bytes of stack for `dwarf`.
    StackSize(u64),
    /// Greatest depth of a call stack.
    MaxStack(u64),
    /// Whether what the task starts is recorded too.
    Inherit(bool),
    /// Whether the newest take the place of the oldest.
    Overwrite(bool),
    /// Kinds of branches.
    BranchType(String),
}

/// `key=value` between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawTerm<'a> {
    pub(super) key: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) at: usize,
}

/// Splits the text between the slashes.
pub(super) fn split(text: &str, at: usize) -> Result<Vec<RawTerm<'_>>, EventError> {
    let mut terms = Vec::new();
    let mut place = at;
    if text.is_empty() {
        return Ok(terms);
    }
    for part in text.split(',') {
        if part.is_empty() {
            return Err(EventError::parser(place));
        } else {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            terms.push(RawTerm {
                key,
                value,
                at: place,
            });
        }
        place += part.len() + 1;
    }
    Ok(terms)
}

/// A number as in C.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

const KNOWN: &str = "config,config1,config2,name,period,freq,branch_type,time,call-graph,stack-size,no-inherit,inherit,max-stack,nr,no-overwrite,overwrite,driver-config,percore,aux-output,aux-sample-size,metric-id";

/// The error for a term that nobody knows.
pub(super) fn unknown(at: usize) -> EventError {
    EventError {
        help: format!("valid terms: {KNOWN}"),
        ..EventError::new(at, "unknown term")
    }
}

/// The error for a term that no tracepoint has.
pub(super) fn unknown_to_tracepoints(at: usize) -> EventError {
    EventError {
        help: "valid terms: call-graph,stack-size".to_owned(),
        ..EventError::new(at, "unknown term")
    }
}

/// What a term means, if it is one that every event can have.
pub(super) enum Meaning {
    Record(Term),
    Name(String),
    Config(u8, u64),
    /// Known, and served by the real perf only.
    RealPerf,
    /// The event's own, or unknown.
    Other,
}

/// Interprets a term.
pub(super) fn meaning(term: &RawTerm<'_>) -> Result<Meaning, EventError> {
    // At the value, or before where there is none.
    let after_key = term.at + term.key.len();
    let value_at = after_key + usize::from(term.value.is_some_and(|v| !v.is_empty()));
    let bad = || EventError::parser(value_at);
    let count = || number(term.value.unwrap_or("1")).ok_or_else(bad);
    let word = || {
        let value = term.value.filter(|v| !v.is_empty());
        value.map(str::to_owned).ok_or_else(bad)
    };
    Ok(match term.key {
        "period" => Meaning::Record(Term::Period(count()?)),
        "freq" => Meaning::Record(Term::Frequency(count()?)),
        "time" => match count()? {
            on @ (0 | 1) => Meaning::Record(Term::Time(on == 1)),
            _ => return Err(EventError::new(value_at, "expected 0 or 1")),
        },
        "call-graph" => Meaning::Record(Term::CallGraph(word()?)),
        "stack-size" => Meaning::Record(Term::StackSize(count()?)),
        "max-stack" => Meaning::Record(Term::MaxStack(count()?)),
        "inherit" => Meaning::Record(Term::Inherit(count()? != 0)),
        "no-inherit" => Meaning::Record(Term::Inherit(count()? == 0)),
        "overwrite" | "no-overwrite" => match (count()? != 0) == (term.key == "overwrite") {
            true => Meaning::RealPerf,
            false => Meaning::Record(Term::Overwrite(false)),
        },
        "branch_type" => {
            let words = word()?;
            if words != "no"
                && let Err(said) = value::branches(&words)
            {
                return Err(EventError {
                    said,
                    ..EventError::new(value_at, "invalid branch sample type")
                });
            }
            Meaning::Record(Term::BranchType(words))
        }
        "name" => Meaning::Name(word()?.trim_matches('\'').to_owned()),
        "config" => Meaning::Config(0, count()?),
        "config1" => Meaning::Config(1, count()?),
        "config2" => Meaning::Config(2, count()?),
        "config3" => Meaning::Config(3, count()?),
        "nr" | "driver-config" | "percore" | "aux-output" | "aux-sample-size" | "aux-action"
        | "metric-id" => Meaning::RealPerf,
        _ => Meaning::Other,
    })
}
