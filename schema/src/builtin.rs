//! kstrace's own classes: `kstrace:lost`, `kstrace:clock_pair`, `kstrace:process`, `kstrace:session`.
//!
//! Their payloads are fixed little structures, so that they can be read by
//! offset alone; `schema/v1/ring.md` lists them.

use crate::{
    Certainty, ClassId, ClockPair, Cpu, EventRecordClass, FieldClass, IntegerClass, IntegerRange,
    Loss, LossReason, Mapping, Member, NativeDescription, Role, SessionTime, SourceId,
    StructureClass, namespace,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the class of [`LostPayload`].
pub const LOST: &str = "kstrace:lost";
/// Name of the class of [`ClockPairPayload`].
pub const CLOCK_PAIR: &str = "kstrace:clock_pair";
/// Name of the class of [`ProcessPayload`].
pub const PROCESS: &str = "kstrace:process";

/// Payload of `kstrace:lost`. 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LostPayload {
    /// How many records.
    pub count: u64,
    /// No lost record is older, ns.
    pub begin_ns: u64,
    /// No lost record is younger, ns.
    pub end_ns: u64,
    /// [`LossReason`] as a number.
    pub reason: u32,
    /// The CPU, `u32::MAX` for none.
    pub cpu: u32,
    /// The source.
    pub source: u16,
    /// The class, `u16::MAX` for any.
    pub class_id: u16,
    /// 0 exact, 1 at least.
    pub certainty: u32,
}

impl From<&Loss> for LostPayload {
    fn from(l: &Loss) -> Self {
        LostPayload {
            count: l.count,
            begin_ns: l.begin.as_ns(),
            end_ns: l.end.as_ns(),
            reason: l.reason as u32,
            cpu: l.cpu.0,
            source: l.source.0,
            class_id: l.class.map_or(u16::MAX, |c| c.0),
            certainty: u32::from(l.certainty == Certainty::AtLeast),
        }
    }
}

impl From<&LostPayload> for Loss {
    fn from(p: &LostPayload) -> Self {
        Loss {
            source: SourceId(p.source),
            cpu: Cpu(p.cpu),
            reason: LossReason::from_number(p.reason).unwrap_or(LossReason::StatedByInput),
            count: p.count,
            certainty: if p.certainty == 0 {
                Certainty::Exact
            } else {
                Certainty::AtLeast
            },
            class: (p.class_id != u16::MAX).then_some(ClassId(p.class_id)),
            begin: SessionTime::from_ns(p.begin_ns),
            end: SessionTime::from_ns(p.end_ns),
        }
    }
}

/// Payload of `kstrace:clock_pair`. 56 bytes; the fields of [`ClockPair`] in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClockPairPayload {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, ns.
    pub realtime_ns: u64,
    /// `CLOCK_BOOTTIME`, ns.
    pub boottime_ns: u64,
    /// `CLOCK_MONOTONIC_RAW`, ns.
    pub monotonic_raw_ns: u64,
    /// `CLOCK_TAI`, ns.
    pub tai_ns: u64,
    /// TSC, cycles.
    pub tsc_cycles: u64,
    /// Greatest distance between two of the readings, ns.
    pub error_bound_ns: u64,
}

impl From<&ClockPair> for ClockPairPayload {
    fn from(p: &ClockPair) -> Self {
        ClockPairPayload {
            monotonic_ns: p.monotonic_ns,
            realtime_ns: p.realtime_ns,
            boottime_ns: p.boottime_ns,
            monotonic_raw_ns: p.monotonic_raw_ns,
            tai_ns: p.tai_ns,
            tsc_cycles: p.tsc_cycles,
            error_bound_ns: p.error_bound_ns,
        }
    }
}

impl From<&ClockPairPayload> for ClockPair {
    fn from(p: &ClockPairPayload) -> Self {
        ClockPair {
            monotonic_ns: p.monotonic_ns,
            realtime_ns: p.realtime_ns,
            boottime_ns: p.boottime_ns,
            monotonic_raw_ns: p.monotonic_raw_ns,
            tai_ns: p.tai_ns,
            tsc_cycles: p.tsc_cycles,
            error_bound_ns: p.error_bound_ns,
        }
    }
}

/// Payload of `kstrace:process`: a task that ran before the first record. 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessPayload {
    /// Thread group id.
    pub pid: i32,
    /// Thread id.
    pub tid: i32,
    /// Parent's thread group id.
    pub ppid: i32,
    /// 1 for a kernel thread.
    pub kernel: u32,
    /// Name, NUL-padded.
    pub comm: [u8; 16],
}

fn unsigned(name: &str, size_bytes: u8) -> Member {
    Member::new(
        name,
        FieldClass::Integer(IntegerClass::unsigned(size_bytes)),
    )
}

fn signed(name: &str, size_bytes: u8) -> Member {
    Member::new(name, FieldClass::Integer(IntegerClass::signed(size_bytes)))
}

fn class(name: &str, members: Vec<Member>) -> EventRecordClass {
    EventRecordClass::new(
        SourceId::KSTRACE,
        namespace::KSTRACE,
        name,
        StructureClass::new(members),
        NativeDescription::Kstrace,
    )
}

/// The class of `kstrace:lost`, not yet registered.
pub fn lost_class() -> EventRecordClass {
    let reasons = LossReason::ALL
        .iter()
        .map(|r| Mapping {
            name: r.word().to_owned(),
            ranges: vec![IntegerRange {
                first: *r as i128,
                last: *r as i128,
            }],
        })
        .collect();
    let reason = IntegerClass {
        mappings: reasons,
        ..IntegerClass::unsigned(4)
    };
    class(
        LOST,
        vec![
            unsigned("count", 8).with_role(Role::LostCount),
            unsigned("begin_ns", 8),
            unsigned("end_ns", 8),
            Member::new("reason", FieldClass::Integer(reason)),
            unsigned("cpu", 4),
            unsigned("source", 2),
            unsigned("class_id", 2),
            unsigned("certainty", 4),
        ],
    )
}

/// The class of `kstrace:clock_pair`, not yet registered.
pub fn clock_pair_class() -> EventRecordClass {
    class(
        CLOCK_PAIR,
        [
            "monotonic_ns",
            "realtime_ns",
            "boottime_ns",
            "monotonic_raw_ns",
            "tai_ns",
            "tsc_cycles",
            "error_bound_ns",
        ]
        .map(|n| unsigned(n, 8))
        .to_vec(),
    )
}

/// The class of `kstrace:process`, not yet registered.
pub fn process_class() -> EventRecordClass {
    class(
        PROCESS,
        vec![
            signed("pid", 4).with_role(Role::Pid),
            signed("tid", 4).with_role(Role::Tid),
            signed("ppid", 4),
            unsigned("kernel", 4),
            Member::new("comm", FieldClass::StaticString { size_bytes: 16 }).with_role(Role::Comm),
        ],
    )
}
