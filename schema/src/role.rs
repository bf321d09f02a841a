//! Roles: what a field means, whichever tracer it comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The meaning of a field across sources.
///
/// A consumer asks a record for its `tid`, not for `common_pid`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Kernel thread id of the task that caused the record (user space's tid).
    Tid,
    /// Thread group id of that task (user space's pid).
    Pid,
    /// Name of that task.
    Comm,
    /// CPU the record was made on.
    Cpu,
    /// Time stamp as the source wrote it.
    Time,
    /// Address of the sampled instruction.
    InstructionPointer,
    /// Stack of return addresses, innermost first, with `PERF_CONTEXT_*` marks.
    Callchain,
    /// Events that this sample stands for.
    Period,
    /// Data address.
    Address,
    /// perf event id that the record belongs to.
    EventId,
    /// Thread that leaves the CPU.
    PrevTid,
    /// Its name.
    PrevComm,
    /// Its state on leaving.
    PrevState,
    /// Its priority.
    PrevPriority,
    /// Thread that gets the CPU.
    NextTid,
    /// Its name.
    NextComm,
    /// Its priority.
    NextPriority,
    /// Thread that something is done to (woken, migrated, forked, ...).
    TargetTid,
    /// Its name.
    TargetComm,
    /// Its priority.
    TargetPriority,
    /// CPU that something is moved to.
    TargetCpu,
    /// Parent thread.
    ParentTid,
    /// Parent's name.
    ParentComm,
    /// System call number.
    SyscallNumber,
    /// System call arguments.
    SyscallArguments,
    /// System call result.
    SyscallResult,
    /// Interrupt line.
    IrqNumber,
    /// Name of the interrupt's handler or action.
    IrqName,
    /// What the handler returned.
    IrqResult,
    /// Softirq or tasklet vector.
    SoftirqVector,
    /// Timer object.
    Timer,
    /// When a timer is to expire.
    TimerExpires,
    /// Function called.
    Function,
    /// Block device number.
    BlockDevice,
    /// First sector.
    BlockSector,
    /// Length in sectors.
    BlockSectors,
    /// Kind of block operation.
    BlockOperation,
    /// Address that faulted.
    FaultAddress,
    /// Hardware's error code of a fault.
    FaultError,
    /// Path of a file.
    FileName,
    /// Start of a mapping.
    MapStart,
    /// Length of a mapping in bytes.
    MapLength,
    /// Offset of a mapping in its file, in bytes.
    MapFileOffset,
    /// Records lost.
    LostCount,
}

/// Reads a role; one that this version does not know is none.
pub(crate) fn known_or_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Role>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| serde_json::from_value(word.into()).ok()))
}
