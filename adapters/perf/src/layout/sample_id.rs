//! `struct sample_id`: the trailer of every record that is no sample.

use super::{signed, unsigned};
use crate::uapi::*;
use kstrace_schema::{FieldClass, Member, Role, StructureClass};

/// The trailer that `sample_id_all` adds (Linux 2.6.38).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleIdShape {
    bits: u64,
}

const PARTS: u64 = PERF_SAMPLE_TID
    | PERF_SAMPLE_TIME
    | PERF_SAMPLE_ID
    | PERF_SAMPLE_STREAM_ID
    | PERF_SAMPLE_CPU
    | PERF_SAMPLE_IDENTIFIER;

impl SampleIdShape {
    /// No trailer.
    pub const NONE: SampleIdShape = SampleIdShape { bits: 0 };

    /// The trailer for a `sample_type`, provided `sample_id_all` is set.
    pub fn new(sample_type: u64) -> Self {
        SampleIdShape {
            bits: sample_type & PARTS,
        }
    }

    /// The `PERF_SAMPLE_*` bits that shape it.
    pub fn bits(self) -> u64 {
        self.bits
    }

    /// Its size: each part takes eight bytes.
    pub fn size_bytes(self) -> usize {
        8 * self.bits.count_ones() as usize
    }

    /// Distance of the time stamp from the record's end.
    pub fn time_from_end_bytes(self) -> Option<usize> {
        self.distance_from_end(
            PERF_SAMPLE_TIME,
            PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER,
        )
    }

    /// Distance of the event's id from the record's end: of `IDENTIFIER` if
    /// there is one, else of `ID`.
    pub fn id_from_end_bytes(self) -> Option<usize> {
        self.distance_from_end(PERF_SAMPLE_IDENTIFIER, 0)
            .or_else(|| {
                self.distance_from_end(PERF_SAMPLE_ID, PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU)
            })
    }

    /// Distance of the CPU number from the record's end.
    pub fn cpu_from_end_bytes(self) -> Option<usize> {
        self.distance_from_end(PERF_SAMPLE_CPU, PERF_SAMPLE_IDENTIFIER)
    }

    fn distance_from_end(self, part: u64, after: u64) -> Option<usize> {
        (self.bits & part != 0).then(|| 8 * (1 + (self.bits & after).count_ones() as usize))
    }

    /// The trailer as a member `sample_id`, `None` if there is none.
    pub fn member(self) -> Option<Member> {
        if self.bits == 0 {
            return None;
        }
        let mut members = Vec::new();
        let mut part = |bit: u64, fields: Vec<Member>| {
            if self.bits & bit != 0 {
                members.extend(fields);
            }
        };
        part(
            PERF_SAMPLE_TID,
            vec![
                signed("pid", 4).with_role(Role::Pid),
                signed("tid", 4).with_role(Role::Tid),
            ],
        );
        part(
            PERF_SAMPLE_TIME,
            vec![unsigned("time", 8).with_role(Role::Time)],
        );
        part(
            PERF_SAMPLE_ID,
            vec![unsigned("id", 8).with_role(Role::EventId)],
        );
        part(PERF_SAMPLE_STREAM_ID, vec![unsigned("stream_id", 8)]);
        part(
            PERF_SAMPLE_CPU,
            vec![unsigned("cpu", 4).with_role(Role::Cpu), Member::padding(4)],
        );
        part(
            PERF_SAMPLE_IDENTIFIER,
            vec![unsigned("identifier", 8).with_role(Role::EventId)],
        );
        Some(Member::new(
            "sample_id",
            FieldClass::Structure(StructureClass::new(members)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_places_its_parts_as_its_class_does() {
        let bits = [
            PERF_SAMPLE_TID,
            PERF_SAMPLE_TIME,
            PERF_SAMPLE_ID,
            PERF_SAMPLE_STREAM_ID,
            PERF_SAMPLE_CPU,
            PERF_SAMPLE_IDENTIFIER,
        ];
        for subset in 0u32..64 {
            let sample_type = bits
                .iter()
                .enumerate()
                .filter(|(i, _)| subset & (1 << i) != 0)
                .fold(PERF_SAMPLE_IP | PERF_SAMPLE_RAW, |all, (_, bit)| all | bit);
            let shape = SampleIdShape::new(sample_type);
            assert_eq!(shape.size_bytes(), 8 * subset.count_ones() as usize);
            let Some(member) = shape.member() else {
                assert_eq!(subset, 0);
                continue;
            };
            let FieldClass::Structure(class) = member.class else {
                panic!()
            };
            assert_eq!(class.static_size_bytes(), Some(shape.size_bytes() as u32));
            let from_end = |name: &str| {
                class
                    .static_offset_bytes(name)
                    .map(|at| shape.size_bytes() - at as usize)
            };
            assert_eq!(shape.time_from_end_bytes(), from_end("time"));
            assert_eq!(shape.cpu_from_end_bytes(), from_end("cpu"));
            assert_eq!(
                shape.id_from_end_bytes(),
                from_end("identifier").or(from_end("id"))
            );
        }
    }
}
