//! The language of `-e`.
//!
//! A list of events, some in groups: `cycles:u`, `{a,b}:S`, `sched:sched_*`,
//! `mem:0x1000/8:rw`, `r1a8`, `cpu/event=0x3c,umask=1/pp`, `cpu-clock/period=1000/`.

mod breakpoint;
mod modifier;
mod parse;
mod pmu;
mod terms;
mod tracepoint;

use crate::attr::Attr;
use crate::uapi::flag;
pub(crate) use modifier::suffix;
pub use parse::parse;
pub use pmu::Pmus;
pub use terms::Term;
pub use tracepoint::TracepointNames;

/// An event as written, before what the rest of the command line makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name for people: as written, or as its term `name` says.
    pub name: String,
    /// Type, config, breakpoint, and the bits that modifiers set.
    pub attr: Attr,
    /// System and name, for a tracepoint.
    pub tracepoint: Option<(String, String)>,
    /// The number of its group in the command line.
    pub group: Option<u32>,
    /// `:S`: only the group's leader samples, and reads the others.
    pub sample_read: bool,
    /// `:P`: the instruction pointer as exact as the hardware can.
    pub precise_max: bool,
    /// Host or guest were named.
    pub(crate) names_guest: bool,
    /// Terms that are about recording.
    pub terms: Vec<Term>,
    /// The kernel's filter.
    pub filter: Option<String>,
    /// Which `-e` it came with, and which element of its list: a glob gives several events of one.
    pub(crate) origin: (u32, u32),
}

impl Event {
    pub(crate) fn new(name: &str, kind: u32, config: u64) -> Self {
        let mut attr = Attr::new(kind, config);
        attr.flags |= flag::EXCLUDE_GUEST;
        Event {
            name: name.to_owned(),
            attr,
            tracepoint: None,
            group: None,
            sample_read: false,
            precise_max: false,
            names_guest: false,
            terms: Vec::new(),
            filter: None,
            origin: (0, 0),
        }
    }

    /// What perf records when no event is named: cycles, as exact as the hardware can.
    pub fn default_cycles() -> Self {
        Event {
            precise_max: true,
            ..Event::new("cycles", crate::uapi::PERF_TYPE_HARDWARE, 0)
        }
    }

    /// The event that never fires and tells of tasks and their mappings.
    pub(crate) fn dummy() -> Self {
        let mut event = Event::new(
            "dummy:HG",
            crate::uapi::PERF_TYPE_SOFTWARE,
            crate::uapi::PERF_COUNT_SW_DUMMY,
        );
        event.attr.flags &= !flag::EXCLUDE_GUEST;
        event
    }

    /// Adds a condition to the filter.
    pub(crate) fn and_filter(&mut self, filter: &str) {
        self.filter = Some(match self.filter.take() {
            None => filter.to_owned(),
            Some(first) => format!("({first}) && ({filter})"),
        });
    }
}

/// What this machine offers, as far as the meaning of names depends on it.
#[derive(Debug, Default)]
pub struct Machine {
    /// Its tracepoints.
    pub tracepoints: TracepointNames,
    /// Its PMUs.
    pub pmus: Pmus,
}

/// Why a list of events was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    /// Where in the list.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
    /// More about it.
    pub help: String,
    /// What is said before all else.
    pub(crate) said: String,
    /// The words are right, but only the real perf serves them.
    pub real_perf: bool,
}

/// An error is shown at most so far to the right.
const SHOWN_AT: usize = 13;

impl EventError {
    pub(crate) fn new(at: usize, reason: impl Into<String>) -> Self {
        EventError {
            at,
            reason: reason.into(),
            help: String::new(),
            said: String::new(),
            real_perf: false,
        }
    }

    pub(crate) fn parser(at: usize) -> Self {
        EventError::new(at, "parser error")
    }

    pub(crate) fn real_perf(reason: impl Into<String>) -> Self {
        EventError {
            real_perf: true,
            ..EventError::new(0, reason)
        }
    }

    /// As perf shows it, with a mark below the place.
    pub fn shown(&self, list: &str) -> String {
        let (shown, at) = match self.at.checked_sub(SHOWN_AT) {
            Some(beyond) if beyond > 0 => {
                let tail: String = list.chars().skip(beyond + 2).collect();
                (format!("..{tail}"), SHOWN_AT)
            }
            _ => (list.to_owned(), self.at),
        };
        let head = "event syntax error: '";
        let mut text = format!(
            "{}{head}{shown}'\n{:width$}\\___ {}\n",
            self.said,
            "",
            self.reason,
            width = head.len() + at
        );
        if !self.help.is_empty() {
            text.push_str(&format!("\n{}\n", self.help));
        }
        text.push_str("Run 'perf list' for a list of valid events\n");
        text
    }
}
