//! Names and side files of a trace directory.

use kstrace_schema::{ClockPair, HopAccount, Loss, SessionInfo};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Marks a directory as one of ours.
pub(crate) const FORMAT: &str = "kstrace-trace";
/// Major and minor version of the directory's layout.
pub(crate) const FORMAT_VERSION: (u16, u16) = (1, 0);
/// The CTF metadata stream.
pub(crate) const METADATA: &str = "metadata";
/// What CTF has no place for. A directory, since CTF readers take every
/// visible regular file beside `metadata` for a data stream.
pub(crate) const SIDE: &str = "kstrace";

/// `kstrace/session.json`.
pub(crate) fn session_path(dir: &Path) -> PathBuf {
    dir.join(SIDE).join("session.json")
}

/// `kstrace/classes.jsonl`: one class a line, in the order of their ids.
pub(crate) fn classes_path(dir: &Path) -> PathBuf {
    dir.join(SIDE).join("classes.jsonl")
}

/// `kstrace/accounts.json`, written when the trace is complete.
pub(crate) fn accounts_path(dir: &Path) -> PathBuf {
    dir.join(SIDE).join("accounts.json")
}

/// File of one segment of a lane.
pub(crate) fn segment_name(lane: u32, segment: u32) -> String {
    format!("lane{lane}_{segment}")
}

/// Lane and segment of a file name that [`segment_name`] made.
pub(crate) fn parse_segment_name(name: &str) -> Option<(u32, u32)> {
    let (lane, segment) = name.strip_prefix("lane")?.split_once('_')?;
    let parsed = (lane.parse().ok()?, segment.parse().ok()?);
    (segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// Whether a trace was ended in an orderly way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceState {
    /// It is being written, or its writer was killed.
    Recording,
    /// Its writer finished.
    Complete,
}

/// What `kstrace/session.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionFile {
    /// [`FORMAT`]; must stay first.
    pub(crate) format: String,
    pub(crate) format_version: (u16, u16),
    pub(crate) model_version: (u16, u16),
    pub(crate) state: TraceState,
    pub(crate) session: SessionInfo,
}

/// What `kstrace/accounts.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The account of every hop.
    pub accounts: Vec<HopAccount>,
    /// The stretches of loss, added up by source, CPU, reason and class.
    pub losses: Vec<Loss>,
    /// Every reading of the clocks.
    pub clock_pairs: Vec<ClockPair>,
    /// Records in the trace, kstrace's own included.
    pub records: u64,
    /// Packets in the trace.
    pub packets: u64,
    /// Bytes of its data streams.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_go_both_ways_and_only_ours_do() {
        assert_eq!(parse_segment_name(&segment_name(12, 3)), Some((12, 3)));
        for other in [
            "lane1", "lane01_2", "lane1_", "lane+1_2", ".lane1_2", "metadata", "lane1_2x",
        ] {
            assert_eq!(parse_segment_name(other), None, "{other}");
        }
    }
}
