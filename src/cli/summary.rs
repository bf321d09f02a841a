//! What is said at the end of a recording: how much, and the loss account.

use super::size::grouped;
use crate::engine::Outcome;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub(super) fn print(outcome: &Outcome, elapsed: Duration, output: &Path) {
    eprintln!(
        "[ kstrace record: {} records in {:.3} s to {} ]",
        grouped(outcome.records_written()),
        elapsed.as_secs_f64(),
        output.display()
    );
    for line in loss_lines(outcome) {
        eprintln!("[ kstrace record: {line} ]");
    }
}

/// One line for every hop and reason that lost something; one that says so if none did.
fn loss_lines(outcome: &Outcome) -> Vec<String> {
    let mut by_hop: BTreeMap<(&str, String), (u64, u64)> = BTreeMap::new();
    let mut unbalanced = Vec::new();
    for account in &outcome.accounts {
        for (reason, count) in &account.dropped {
            let entry = by_hop
                .entry((&account.hop, reason.to_string()))
                .or_default();
            entry.0 += count;
        }
        if !account.balances() {
            unbalanced.push(format!(
                "account of {} on CPU {} does not balance: seen {}, written {}, dropped {}",
                account.hop,
                account.cpu,
                grouped(account.seen),
                grouped(account.written),
                grouped(account.dropped_total())
            ));
        }
    }
    let mut lines: Vec<String> = by_hop
        .into_iter()
        .map(|((hop, reason), (count, _))| format!("lost {} at {hop} ({reason})", grouped(count)))
        .collect();
    if lines.is_empty() {
        lines.push("nothing lost".to_owned());
    }
    lines.extend(unbalanced);
    lines
}
