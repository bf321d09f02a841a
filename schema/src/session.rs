//! What is known of a session and of the machine it ran on.

use crate::{ClockDescriptor, SourceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a session captures, as the user asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// The command line of the tool that recorded.
    #[serde(default)]
    pub command_line: Vec<String>,
    /// The traced command, if one was started.
    #[serde(default)]
    pub workload: Vec<String>,
    /// The traced processes, empty for the whole system.
    #[serde(default)]
    pub pids: Vec<i32>,
}

/// Facts about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// `uname -n`.
    pub hostname: String,
    /// `uname -r`.
    pub os_release: String,
    /// `uname -v`.
    #[serde(default)]
    pub os_version: String,
    /// `uname -m`.
    pub arch: String,
    /// CPUs online.
    pub cpus_online: u32,
    /// CPUs that may ever be there.
    pub cpus_available: u32,
    /// Model name of the first CPU.
    #[serde(default)]
    pub cpu_description: String,
    /// The CPU's id as perf.data states it (`vendor,family,model,stepping`).
    #[serde(default)]
    pub cpu_id: String,
    /// Memory in KiB.
    #[serde(default)]
    pub total_memory_kib: u64,
    /// Page size in bytes.
    pub page_size_bytes: u32,
    /// Whatever else is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, String>,
}

/// One source of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceInfo {
    /// Its id.
    pub id: SourceId,
    /// Which adapter: one of [`namespace`](crate::namespace)'s words.
    pub kind: String,
    /// For people.
    pub description: String,
    /// Whatever the adapter wants kept, by its own key: `ftrace.header_page`, `perf.kallsyms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, serde_json::Value>,
}

/// A session, or the trace made of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    /// Random 128-bit id in lower-case hexadecimal with dashes (RFC 9562).
    pub uuid: String,
    /// The session clock.
    pub clock: ClockDescriptor,
    /// The machine.
    pub host: HostInfo,
    /// What was asked for.
    pub capture: Capture,
    /// The sources, kstrace itself first.
    pub sources: Vec<SourceInfo>,
}
