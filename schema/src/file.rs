//! Files of traces: what they are as inputs and as outputs.

use crate::{Error, HopAccount, SessionInfo, Sink, Source};
use std::collections::BTreeMap;

/// A trace in a file or a stream, to be read.
///
/// Opening one reads what describes it, so that [`session`](FileInput::session) is complete;
/// its records are read by the streams. As everywhere, what is whole before a damage is delivered.
pub trait FileInput: Source {
    /// The session it holds, its sources included; those get the ids they have in the classes.
    fn session(&self) -> &SessionInfo;

    /// The accounts that the file itself states, of hops before it was written.
    fn stated_accounts(&self) -> Vec<HopAccount> {
        Vec::new()
    }

    /// What was handed on as bytes because it is not as the file itself describes it: samples
    /// that do not fit their event, events without a description that makes sense; and what
    /// is missing of the description itself. Complete when all streams have ended.
    fn misfits(&self) -> Vec<Error> {
        Vec::new()
    }

    /// How many bytes there are to read and how many are read by now, for a progress bar.
    /// `None` where that is not known.
    fn progress_bytes(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A trace file that is written.
pub trait FileOutput: Sink {
    /// What became of what was handed over so far; final after [`finish`](Sink::finish).
    fn report(&self) -> ConversionReport;
}

/// What an output kept, what it added, and what it has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversionReport {
    /// Records that are in the output, in whatever form.
    pub kept: u64,
    /// Records that were added so that readers of the file understand the others
    /// (names of tasks, marks of completed rounds).
    pub added: u64,
    /// Records that the output cannot hold, by `namespace:name` of their class.
    pub not_held: BTreeMap<String, u64>,
    /// What else it cannot hold, for people, each said once: `the callchain of perf:cpu-clock`,
    /// `the feature HEADER_NUMA_TOPOLOGY`.
    pub facts_not_held: Vec<String>,
    /// Records larger than the output can hold; among `not_held` too.
    pub too_long: u64,
    /// Records whose bytes are not what their class says; among `not_held` too.
    pub unparsable: u64,
    /// Records that came so late that a reader of the output shows them out of order.
    pub out_of_order: u64,
    /// Records lost before they came here, as the output tells in its own way.
    pub lost: u64,
}

impl ConversionReport {
    /// All records that the output does not hold.
    pub fn not_held_total(&self) -> u64 {
        self.not_held.values().sum()
    }

    /// Whether everything that was handed over is in the output.
    pub fn is_lossless(&self) -> bool {
        self.not_held.is_empty() && self.facts_not_held.is_empty()
    }
}
