//! `PERF_RECORD_SAMPLE`, shaped by the attr of its event.

use super::{array, blob, header, hex, hex_u64, read_members, rest, signed, unless_zero, unsigned};
use crate::attr::Attr;
use crate::uapi::*;
use kstrace_schema::{FieldClass, Member, Role, StructureClass};

/// What an attr says of the layout of its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleShape {
    /// `PERF_SAMPLE_*`.
    pub sample_type: u64,
    /// `PERF_FORMAT_*`.
    pub read_format: u64,
    /// `PERF_SAMPLE_BRANCH_*`.
    pub branch_sample_type: u64,
    /// User registers.
    pub sample_regs_user: u64,
    /// Registers at overflow.
    pub sample_regs_intr: u64,
}

/// How the raw part (`PERF_SAMPLE_RAW`) of a class's samples is described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RawPart {
    /// As bytes.
    #[default]
    Blob,
    /// As these fields and then so many bytes of padding: `raw_size` must be
    /// the sum of both.
    Fields {
        /// The fields.
        members: Vec<Member>,
        /// Padding after them.
        padding_bytes: u32,
    },
    /// As these fields and then whatever is left, which takes the class's rest
    /// as `_slack`. Only where nothing follows the raw part.
    FieldsAndRest {
        /// The fields.
        members: Vec<Member>,
    },
}

/// Where the size of the raw part stands in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawPlace {
    /// At this offset.
    At(usize),
    /// After the callchain whose count of addresses stands at this offset.
    AfterCallchain(usize),
}

/// What may stand before the raw part with a size of its own.
const DYNAMIC_BEFORE_RAW: u64 = PERF_SAMPLE_READ | PERF_SAMPLE_CALLCHAIN;

impl SampleShape {
    /// The shape of an attr's samples.
    pub fn of(attr: &Attr) -> Self {
        SampleShape {
            sample_type: attr.sample_type,
            read_format: attr.read_format,
            branch_sample_type: attr.branch_sample_type,
            sample_regs_user: attr.sample_regs_user,
            sample_regs_intr: attr.sample_regs_intr,
        }
    }

    fn has(&self, bit: u64) -> bool {
        self.sample_type & bit != 0
    }

    /// Offset of a fixed part that stands before `READ`: that of `bit`.
    fn fixed_offset(&self, bit: u64, before: u64) -> Option<usize> {
        self.has(bit)
            .then(|| HEADER_BYTES + 8 * (self.sample_type & before).count_ones() as usize)
    }

    /// Offset of the time stamp in the record.
    pub fn time_offset_bytes(&self) -> Option<usize> {
        self.fixed_offset(
            PERF_SAMPLE_TIME,
            PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID,
        )
    }

    /// Offset of the event's id: of `IDENTIFIER` if there is one, else of `ID`.
    pub fn id_offset_bytes(&self) -> Option<usize> {
        self.fixed_offset(PERF_SAMPLE_IDENTIFIER, 0).or_else(|| {
            self.fixed_offset(
                PERF_SAMPLE_ID,
                PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
            )
        })
    }

    /// Offset of `pid`, four bytes before `tid`.
    pub fn pid_offset_bytes(&self) -> Option<usize> {
        self.fixed_offset(PERF_SAMPLE_TID, PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP)
    }

    /// Offset of the CPU number.
    pub fn cpu_offset_bytes(&self) -> Option<usize> {
        self.fixed_offset(
            PERF_SAMPLE_CPU,
            PERF_SAMPLE_IDENTIFIER
                | PERF_SAMPLE_IP
                | PERF_SAMPLE_TID
                | PERF_SAMPLE_TIME
                | PERF_SAMPLE_ADDR
                | PERF_SAMPLE_ID
                | PERF_SAMPLE_STREAM_ID,
        )
    }

    /// Where `raw_size` stands, `None` without `PERF_SAMPLE_RAW` or behind group reads.
    pub fn raw_place(&self) -> Option<RawPlace> {
        if !self.has(PERF_SAMPLE_RAW) {
            return None;
        }
        let fixed = self.sample_type & (PERF_SAMPLE_PERIOD * 4 - 1) & !DYNAMIC_BEFORE_RAW;
        let identifier = u32::from(self.has(PERF_SAMPLE_IDENTIFIER));
        let mut at = HEADER_BYTES + 8 * (fixed.count_ones() + identifier) as usize;
        if self.has(PERF_SAMPLE_READ) {
            if self.read_format & PERF_FORMAT_GROUP != 0 {
                return None;
            }
            at += super::read::single_read_layout(self.read_format).0;
        }
        Some(if self.has(PERF_SAMPLE_CALLCHAIN) {
            RawPlace::AfterCallchain(at)
        } else {
            RawPlace::At(at)
        })
    }

    /// Whether nothing follows the raw part, so that it may end in a rest.
    pub fn raw_is_last(&self) -> bool {
        let before_or_at_raw = (PERF_SAMPLE_RAW * 2 - 1) | PERF_SAMPLE_IDENTIFIER;
        self.has(PERF_SAMPLE_RAW) && self.sample_type & !before_or_at_raw == 0
    }

    /// Whether this crate knows every bit, so that the class holds to the record's end.
    pub fn is_known(&self) -> bool {
        self.sample_type < PERF_SAMPLE_MAX && self.read_format < PERF_FORMAT_LOST * 2
    }

    /// The payload class of the samples.
    ///
    /// Where parts are unknown ([`is_known`](SampleShape::is_known)), what follows
    /// the known ones is a rest named `_unknown`. A [`RawPart::FieldsAndRest`] that
    /// is not last is described as a blob.
    pub fn payload(&self, raw: &RawPart) -> StructureClass {
        let mut m = vec![header()];
        let mut fixed = |bit: u64, members: Vec<Member>| {
            if self.has(bit) {
                m.extend(members);
            }
        };
        fixed(
            PERF_SAMPLE_IDENTIFIER,
            vec![unsigned("identifier", 8).with_role(Role::EventId)],
        );
        fixed(
            PERF_SAMPLE_IP,
            vec![hex("ip", 8).with_role(Role::InstructionPointer)],
        );
        fixed(
            PERF_SAMPLE_TID,
            vec![
                signed("pid", 4).with_role(Role::Pid),
                signed("tid", 4).with_role(Role::Tid),
            ],
        );
        fixed(
            PERF_SAMPLE_TIME,
            vec![unsigned("time", 8).with_role(Role::Time)],
        );
        fixed(
            PERF_SAMPLE_ADDR,
            vec![hex("addr", 8).with_role(Role::Address)],
        );
        let id = unsigned("id", 8);
        let id = if self.has(PERF_SAMPLE_IDENTIFIER) {
            id
        } else {
            id.with_role(Role::EventId)
        };
        fixed(PERF_SAMPLE_ID, vec![id]);
        fixed(PERF_SAMPLE_STREAM_ID, vec![unsigned("stream_id", 8)]);
        fixed(
            PERF_SAMPLE_CPU,
            vec![unsigned("cpu", 4).with_role(Role::Cpu), Member::padding(4)],
        );
        fixed(
            PERF_SAMPLE_PERIOD,
            vec![unsigned("period", 8).with_role(Role::Period)],
        );
        fixed(PERF_SAMPLE_READ, read_members(self.read_format));
        fixed(
            PERF_SAMPLE_CALLCHAIN,
            vec![
                unsigned("callchain_nr", 8),
                array("callchain", hex_u64(), "callchain_nr").with_role(Role::Callchain),
            ],
        );
        if self.has(PERF_SAMPLE_RAW) {
            self.push_raw(&mut m, raw);
        }
        if self.has(PERF_SAMPLE_BRANCH_STACK) {
            self.push_branches(&mut m);
        }
        if self.has(PERF_SAMPLE_REGS_USER) {
            push_registers(&mut m, "user_abi", "user_regs", self.sample_regs_user);
        }
        let mut fixed = |bit: u64, members: Vec<Member>| {
            if self.has(bit) {
                m.extend(members);
            }
        };
        fixed(
            PERF_SAMPLE_STACK_USER,
            vec![
                unsigned("stack_size", 8),
                blob("stack", "stack_size"),
                unless_zero("stack_dyn_size", unsigned("", 8).class, "stack_size"),
            ],
        );
        // The two kinds of weight exclude one another; both take eight bytes.
        if self.has(PERF_SAMPLE_WEIGHT_STRUCT) {
            let (low, high) = (
                unsigned("weight_var1", 4),
                [unsigned("weight_var2", 2), unsigned("weight_var3", 2)],
            );
            if cfg!(target_endian = "little") {
                fixed(
                    PERF_SAMPLE_WEIGHT_STRUCT,
                    [vec![low], high.to_vec()].concat(),
                );
            } else {
                let mut members: Vec<_> = high.into_iter().rev().collect();
                members.push(low);
                fixed(PERF_SAMPLE_WEIGHT_STRUCT, members);
            }
        } else {
            fixed(PERF_SAMPLE_WEIGHT, vec![unsigned("weight", 8)]);
        }
        fixed(PERF_SAMPLE_DATA_SRC, vec![hex("data_src", 8)]);
        fixed(PERF_SAMPLE_TRANSACTION, vec![hex("transaction", 8)]);
        if self.has(PERF_SAMPLE_REGS_INTR) {
            push_registers(&mut m, "intr_abi", "intr_regs", self.sample_regs_intr);
        }
        let mut fixed = |bit: u64, members: Vec<Member>| {
            if self.has(bit) {
                m.extend(members);
            }
        };
        fixed(PERF_SAMPLE_PHYS_ADDR, vec![hex("phys_addr", 8)]);
        fixed(PERF_SAMPLE_CGROUP, vec![unsigned("cgroup", 8)]);
        fixed(
            PERF_SAMPLE_DATA_PAGE_SIZE,
            vec![unsigned("data_page_size", 8)],
        );
        fixed(
            PERF_SAMPLE_CODE_PAGE_SIZE,
            vec![unsigned("code_page_size", 8)],
        );
        fixed(
            PERF_SAMPLE_AUX,
            vec![unsigned("aux_size", 8), blob("aux", "aux_size")],
        );
        let mut class = StructureClass::new(m);
        if !self.is_known() && !class.ends_with_rest() {
            class.members.push(rest("_unknown"));
        }
        class
    }

    fn push_raw(&self, m: &mut Vec<Member>, raw: &RawPart) {
        m.push(unsigned("raw_size", 4));
        match raw {
            RawPart::Fields {
                members,
                padding_bytes,
            } => {
                m.extend(members.iter().cloned());
                if *padding_bytes > 0 {
                    m.push(Member::padding(*padding_bytes));
                }
            }
            RawPart::FieldsAndRest { members } if self.raw_is_last() => {
                m.extend(members.iter().cloned());
                m.push(rest("_slack"));
            }
            RawPart::FieldsAndRest { .. } | RawPart::Blob => m.push(blob("raw", "raw_size")),
        }
    }

    fn push_branches(&self, m: &mut Vec<Member>) {
        m.push(unsigned("branch_nr", 8));
        if self.branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX != 0 {
            m.push(unsigned("branch_hw_idx", 8));
        }
        let entry = FieldClass::Structure(StructureClass::new(vec![
            hex("from", 8),
            hex("to", 8),
            hex("flags", 8),
        ]));
        m.push(array("branches", entry, "branch_nr"));
        if self.branch_sample_type & PERF_SAMPLE_BRANCH_COUNTERS != 0 {
            m.push(array("branch_counters", hex_u64(), "branch_nr"));
        }
    }
}

fn push_registers(m: &mut Vec<Member>, abi: &str, name: &str, mask: u64) {
    m.push(unsigned(abi, 8));
    if mask != 0 {
        let registers = FieldClass::StaticArray {
            element: Box::new(hex_u64()),
            count: mask.count_ones(),
        };
        m.push(unless_zero(name, registers, abi));
    }
}
