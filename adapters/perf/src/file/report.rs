//! What became of the records.

use std::collections::BTreeMap;

/// What an export kept, what it added and what the format has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversionReport {
    /// Records that are in the file, in whatever form.
    pub kept: u64,
    /// Records that were added so that readers of the file understand the others
    /// (names of tasks, marks of completed rounds).
    pub added: u64,
    /// Records that the file cannot hold, by `namespace:name` of their class.
    pub not_held: BTreeMap<String, u64>,
    /// Records larger than the 65,535 bytes of a perf record; among `not_held` too.
    pub too_long: u64,
    /// Records whose bytes are not what their class says; among `not_held` too.
    pub unparsable: u64,
    /// Records that came so late that a reader of the file shows them out of order.
    pub out_of_order: u64,
    /// Records lost before they came here, as told in the file's `LOST` records.
    pub lost: u64,
}

impl ConversionReport {
    /// All records that the file does not hold.
    pub fn not_held_total(&self) -> u64 {
        self.not_held.values().sum()
    }
}
