//! Every record that is no sample.

use super::byte_order::{self, u16_at, u64_at};
use super::user;
use super::{
    SampleIdShape, array, header, hex, hex_u64, read_members, rest, rest_text, signed, unsigned,
};
use crate::uapi::*;
use kstrace_schema::{ByteOrder, FieldClass, FieldPath, Length, Member, Role, StructureClass};

/// Which of a record type's forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordForm {
    /// `PERF_RECORD_*`.
    pub record_type: u32,
    /// `PERF_RECORD_MMAP2` with a build id in place of device and inode
    /// (`PERF_RECORD_MISC_MMAP_BUILD_ID`, Linux 5.12).
    pub build_id: bool,
}

impl RecordForm {
    /// From the record's header.
    pub fn of(record_type: u32, misc: u16) -> Self {
        RecordForm {
            record_type,
            build_id: record_type == PERF_RECORD_MMAP2
                && misc & PERF_RECORD_MISC_MMAP_BUILD_ID != 0,
        }
    }

    /// Name of its class.
    pub fn class_name(self) -> String {
        let name = record_name(self.record_type).or_else(|| user::name(self.record_type));
        match (name, self.build_id) {
            (Some(name), true) => format!("{name}:build_id"),
            (Some(name), false) => name.to_owned(),
            (None, _) => format!("PERF_RECORD_{}", self.record_type),
        }
    }
}

fn pid() -> Member {
    signed("pid", 4).with_role(Role::Pid)
}

fn tid() -> Member {
    signed("tid", 4).with_role(Role::Tid)
}

fn mapping_start() -> [Member; 3] {
    [
        hex("addr", 8).with_role(Role::MapStart),
        hex("len", 8).with_role(Role::MapLength),
        hex("pgoff", 8).with_role(Role::MapFileOffset),
    ]
}

/// The layout of one form of record that is no sample.
///
/// Records that end in a text of no stated length are described up to the text;
/// the text's padding and the `sample_id` trailer belong to the rest then, after
/// the NUL. Types that this crate does not know are a header and a rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLayout {
    /// Which form.
    pub form: RecordForm,
    /// The payload class.
    pub payload: StructureClass,
    rest_at: Option<usize>,
    byte_order: ByteOrder,
}

impl RecordLayout {
    /// The layout of `form` with that trailer. `read_format` matters for
    /// `PERF_RECORD_READ` alone.
    pub fn new(form: RecordForm, trailer: SampleIdShape, read_format: u64) -> Self {
        Self::new_in(form, trailer, read_format, ByteOrder::NATIVE)
    }

    /// The same for records of a machine of that byte order.
    pub fn new_in(
        form: RecordForm,
        trailer: SampleIdShape,
        read_format: u64,
        byte_order: ByteOrder,
    ) -> Self {
        let (mut payload, rest_at) = record_payload(form, trailer, read_format);
        byte_order::set(&mut payload, byte_order);
        RecordLayout {
            form,
            payload,
            rest_at,
            byte_order,
        }
    }

    /// A header and a rest: for records that are not as their type says.
    pub fn opaque(form: RecordForm, byte_order: ByteOrder) -> Self {
        let mut payload = StructureClass::new(vec![header(), rest("_unknown")]);
        byte_order::set(&mut payload, byte_order);
        RecordLayout {
            form,
            payload,
            rest_at: Some(HEADER_BYTES),
            byte_order,
        }
    }

    /// How many bytes at the end of `record` fall to the class's rest.
    ///
    /// `None` if the record is too short for its type.
    pub fn rest_len_bytes(&self, record: &[u8]) -> Option<u16> {
        u16::try_from(rest_len_bytes(
            self.form,
            self.rest_at,
            record,
            self.byte_order,
        )?)
        .ok()
    }

    /// How many bytes at the end of `record` fall to the class's rest, provided that the
    /// record is what the class describes, to its very end.
    pub fn checked_rest_len_bytes(&self, record: &[u8]) -> Option<u16> {
        if let Some(size) = self.payload.static_size_bytes() {
            return (record.len() == size as usize).then_some(0);
        }
        let rest = self.rest_len_bytes(record)?;
        if self.rest_at.is_some() {
            return Some(rest);
        }
        let end =
            kstrace_schema::decode::walk(&self.payload, record, rest, &mut super::raw::Ignore);
        (end.ok()? == record.len()).then_some(rest)
    }
}

fn record_payload(
    form: RecordForm,
    trailer: SampleIdShape,
    read_format: u64,
) -> (StructureClass, Option<usize>) {
    let mut m = vec![header()];
    match form.record_type {
        PERF_RECORD_MMAP => {
            m.extend([pid(), tid()]);
            m.extend(mapping_start());
            m.push(rest_text("filename").with_role(Role::FileName));
        }
        PERF_RECORD_MMAP2 => {
            m.extend([pid(), tid()]);
            m.extend(mapping_start());
            if form.build_id {
                let bytes = FieldClass::StaticBlob { size_bytes: 20 };
                m.push(unsigned("build_id_size", 1));
                m.push(Member::padding(3));
                m.push(Member::new("build_id", bytes));
            } else {
                m.extend([unsigned("maj", 4), unsigned("min", 4)]);
                m.extend([unsigned("ino", 8), unsigned("ino_generation", 8)]);
            }
            m.extend([hex("prot", 4), hex("flags", 4)]);
            m.push(rest_text("filename").with_role(Role::FileName));
        }
        PERF_RECORD_LOST => {
            m.push(unsigned("id", 8).with_role(Role::EventId));
            m.push(unsigned("lost", 8).with_role(Role::LostCount));
        }
        PERF_RECORD_COMM => {
            m.extend([pid(), tid()]);
            m.push(rest_text("comm").with_role(Role::Comm));
        }
        PERF_RECORD_EXIT | PERF_RECORD_FORK => {
            m.extend([pid(), signed("ppid", 4)]);
            m.extend([tid(), signed("ptid", 4).with_role(Role::ParentTid)]);
            m.push(unsigned("time", 8).with_role(Role::Time));
        }
        PERF_RECORD_THROTTLE | PERF_RECORD_UNTHROTTLE => {
            m.push(unsigned("time", 8).with_role(Role::Time));
            m.push(unsigned("id", 8).with_role(Role::EventId));
            m.push(unsigned("stream_id", 8));
        }
        PERF_RECORD_READ => {
            m.extend([pid(), tid()]);
            m.extend(read_members(read_format));
        }
        PERF_RECORD_AUX => {
            m.extend([
                hex("aux_offset", 8),
                unsigned("aux_size", 8),
                hex("flags", 8),
            ]);
        }
        PERF_RECORD_ITRACE_START => m.extend([pid(), tid()]),
        PERF_RECORD_LOST_SAMPLES => {
            m.push(unsigned("lost", 8).with_role(Role::LostCount));
        }
        PERF_RECORD_SWITCH => {}
        PERF_RECORD_SWITCH_CPU_WIDE => {
            m.extend([signed("next_prev_pid", 4), signed("next_prev_tid", 4)]);
        }
        PERF_RECORD_NAMESPACES => {
            m.extend([pid(), tid(), unsigned("nr_namespaces", 8)]);
            let link = StructureClass::new(vec![unsigned("dev", 8), unsigned("inode", 8)]);
            m.push(array(
                "namespaces",
                FieldClass::Structure(link),
                "nr_namespaces",
            ));
        }
        PERF_RECORD_KSYMBOL => {
            m.push(hex("addr", 8).with_role(Role::Address));
            m.extend([
                unsigned("len", 4),
                unsigned("ksym_type", 2),
                hex("flags", 2),
            ]);
            m.push(rest_text("name"));
        }
        PERF_RECORD_BPF_EVENT => {
            m.extend([unsigned("bpf_type", 2), hex("flags", 2), unsigned("id", 4)]);
            m.push(Member::new("tag", FieldClass::StaticBlob { size_bytes: 8 }));
        }
        PERF_RECORD_CGROUP => {
            m.push(unsigned("id", 8));
            m.push(rest_text("path").with_role(Role::FileName));
        }
        PERF_RECORD_TEXT_POKE => {
            m.push(hex("addr", 8).with_role(Role::Address));
            m.extend([unsigned("old_len", 2), unsigned("new_len", 2)]);
            for (name, length) in [("old_bytes", "old_len"), ("new_bytes", "new_len")] {
                let length = Length::Field(FieldPath::new([length]));
                m.push(Member::new(name, FieldClass::DynamicBlob { length }));
            }
            m.push(rest("_trailer"));
        }
        PERF_RECORD_AUX_OUTPUT_HW_ID => m.push(hex("hw_id", 8)),
        PERF_RECORD_CALLCHAIN_DEFERRED => {
            m.extend([hex("cookie", 8), unsigned("callchain_nr", 8)]);
            m.push(array("callchain", hex_u64(), "callchain_nr").with_role(Role::Callchain));
        }
        user_type => m.extend(user::members(user_type).unwrap_or_else(|| vec![rest("_unknown")])),
    }
    let mut class = StructureClass::new(m);
    if class.ends_with_rest() {
        // TEXT_POKE's rest begins where two of its fields say, not at a fixed place.
        let name = class.members.last().map_or("", |last| last.name.as_str());
        let at = class.static_offset_bytes(name).map(|at| at as usize);
        return (class, at);
    }
    class.members.extend(trailer.member());
    (class, None)
}

fn rest_len_bytes(
    form: RecordForm,
    rest_at: Option<usize>,
    record: &[u8],
    byte_order: ByteOrder,
) -> Option<usize> {
    if let Some(at) = rest_at {
        return record.len().checked_sub(at);
    }
    if form.record_type == PERF_RECORD_TEXT_POKE {
        let length = |at: usize| u16_at(record, at, byte_order).map(usize::from);
        return record.len().checked_sub(20 + length(16)? + length(18)?);
    }
    if form.record_type == user::ID_INDEX {
        let count = usize::try_from(u64_at(record, HEADER_BYTES, byte_order)?).ok()?;
        let end = count.checked_mul(user::ID_INDEX_ENTRY_BYTES)?;
        return record.len().checked_sub(end.checked_add(HEADER_BYTES + 8)?);
    }
    Some(0)
}
