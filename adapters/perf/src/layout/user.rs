//! The records that perf itself puts into a perf.data: types 64 and up.
//!
//! Source: `tools/lib/perf/include/perf/event.h` of the kernel. Where a record has grown
//! over the years, or ends in an array whose elements have, the class says what all of
//! them have and leaves the others to a rest.

use super::{array, hex, rest, rest_text, signed, unsigned};
use kstrace_schema::{FieldClass, Member, Role, StructureClass};

/// `PERF_RECORD_ID_INDEX`.
pub(super) const ID_INDEX: u32 = 69;
/// Size of its entries.
pub(super) const ID_INDEX_ENTRY_BYTES: usize = 32;

/// `PERF_RECORD_*` of that number.
pub(super) fn name(record_type: u32) -> Option<&'static str> {
    const NAMES: [&str; 20] = [
        "PERF_RECORD_HEADER_ATTR",
        "PERF_RECORD_HEADER_EVENT_TYPE",
        "PERF_RECORD_HEADER_TRACING_DATA",
        "PERF_RECORD_HEADER_BUILD_ID",
        "PERF_RECORD_FINISHED_ROUND",
        "PERF_RECORD_ID_INDEX",
        "PERF_RECORD_AUXTRACE_INFO",
        "PERF_RECORD_AUXTRACE",
        "PERF_RECORD_AUXTRACE_ERROR",
        "PERF_RECORD_THREAD_MAP",
        "PERF_RECORD_CPU_MAP",
        "PERF_RECORD_STAT_CONFIG",
        "PERF_RECORD_STAT",
        "PERF_RECORD_STAT_ROUND",
        "PERF_RECORD_EVENT_UPDATE",
        "PERF_RECORD_TIME_CONV",
        "PERF_RECORD_HEADER_FEATURE",
        "PERF_RECORD_COMPRESSED",
        "PERF_RECORD_FINISHED_INIT",
        "PERF_RECORD_COMPRESSED2",
    ];
    let index = usize::try_from(record_type.checked_sub(64)?).ok()?;
    NAMES.get(index).copied()
}

fn structure(members: Vec<Member>) -> FieldClass {
    FieldClass::Structure(StructureClass::new(members))
}

/// What follows the header; `None` for a type that this crate does not know.
pub(super) fn members(record_type: u32) -> Option<Vec<Member>> {
    Some(match record_type {
        // BUILD_ID
        67 => vec![
            signed("pid", 4).with_role(Role::Pid),
            Member::new("build_id", FieldClass::StaticBlob { size_bytes: 20 }),
            unsigned("build_id_size", 1),
            Member::padding(3),
            rest_text("filename").with_role(Role::FileName),
        ],
        // FINISHED_ROUND, FINISHED_INIT
        68 | 82 => vec![],
        // ID_INDEX
        ID_INDEX => {
            let entry = ["id", "idx", "cpu", "tid"].map(|n| unsigned(n, 8)).to_vec();
            vec![
                unsigned("nr", 8),
                array("entries", structure(entry), "nr"),
                rest("_machines"),
            ]
        }
        // AUXTRACE_INFO
        70 => vec![
            unsigned("auxtrace_type", 4),
            Member::padding(4),
            rest("priv"),
        ],
        // AUXTRACE: its data follow the record.
        71 => vec![
            unsigned("data_size", 8),
            hex("offset", 8),
            hex("reference", 8),
            unsigned("idx", 4),
            signed("tid", 4).with_role(Role::Tid),
            signed("cpu", 4).with_role(Role::Cpu),
            Member::padding(4),
        ],
        // AUXTRACE_ERROR
        72 => vec![
            unsigned("error_type", 4),
            unsigned("code", 4),
            signed("cpu", 4).with_role(Role::Cpu),
            signed("pid", 4).with_role(Role::Pid),
            signed("tid", 4).with_role(Role::Tid),
            unsigned("fmt", 4),
            hex("ip", 8).with_role(Role::InstructionPointer),
            rest("_message"),
        ],
        // THREAD_MAP
        73 => {
            let entry = vec![
                unsigned("pid", 8),
                Member::new("comm", FieldClass::StaticString { size_bytes: 16 }),
            ];
            vec![unsigned("nr", 8), array("entries", structure(entry), "nr")]
        }
        // CPU_MAP
        74 => vec![unsigned("map_type", 2), rest("map")],
        // STAT_CONFIG
        75 => {
            let entry = vec![unsigned("tag", 8), unsigned("val", 8)];
            vec![unsigned("nr", 8), array("data", structure(entry), "nr")]
        }
        // STAT
        76 => vec![
            unsigned("id", 8).with_role(Role::EventId),
            unsigned("cpu", 4).with_role(Role::Cpu),
            signed("thread", 4),
            unsigned("val", 8),
            unsigned("ena", 8),
            unsigned("run", 8),
        ],
        // STAT_ROUND
        77 => vec![unsigned("round_type", 8), unsigned("time", 8)],
        // EVENT_UPDATE
        78 => vec![
            unsigned("update_type", 8),
            unsigned("id", 8).with_role(Role::EventId),
            rest("data"),
        ],
        // TIME_CONV
        79 => vec![
            unsigned("time_shift", 8),
            unsigned("time_mult", 8),
            unsigned("time_zero", 8),
            rest("_more"),
        ],
        // HEADER_FEATURE
        80 => vec![unsigned("feat_id", 8), rest("data")],
        _ => return None,
    })
}
