//! The options that choose records, the same for every verb that writes traces.

use crate::convert::Selection;
use crate::report::{CpuList, TimeBound};
use clap::Args;

/// Which records.
#[derive(Args, Clone, Debug)]
pub(super) struct SelectionArgs {
    /// Only events whose native or canonical name matches; repeat or separate by commas
    #[arg(short, long = "event", value_name = "GLOB", value_delimiter = ',')]
    event: Vec<String>,
    /// Only these CPUs, as 0-3,8
    #[arg(short = 'C', long, value_name = "LIST")]
    cpu: Option<CpuList>,
    /// Only these threads
    #[arg(long, value_name = "TID", value_delimiter = ',')]
    tid: Vec<i32>,
    /// Nothing older: seconds of the trace's clock, or +SECONDS from the first record
    #[arg(long, value_name = "TIME")]
    since: Option<TimeBound>,
    /// Nothing younger: seconds of the trace's clock, or +SECONDS from the first record
    #[arg(long, value_name = "TIME")]
    until: Option<TimeBound>,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            events: self.event.clone(),
            cpus: self.cpu.clone(),
            tids: self.tid.clone(),
            since: self.since,
            until: self.until,
        }
    }
}
