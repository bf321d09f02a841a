//! `struct read_format`: counter values in samples, `PERF_RECORD_READ` and `read(2)`.

use super::{array, unsigned};
use crate::uapi::*;
use kstrace_schema::{FieldClass, Member, Role, StructureClass};

/// The members of counter values by `read_format`, names beginning with `read_`.
///
/// With `PERF_FORMAT_GROUP` each of `read_nr` members of the group has an entry
/// in `read_values`.
pub fn read_members(read_format: u64) -> Vec<Member> {
    let has = |bit: u64| read_format & bit != 0;
    let mut members = Vec::new();
    let group = has(PERF_FORMAT_GROUP);
    members.push(if group {
        unsigned("read_nr", 8)
    } else {
        unsigned("read_value", 8)
    });
    if has(PERF_FORMAT_TOTAL_TIME_ENABLED) {
        members.push(unsigned("read_time_enabled", 8));
    }
    if has(PERF_FORMAT_TOTAL_TIME_RUNNING) {
        members.push(unsigned("read_time_running", 8));
    }
    let prefix = if group { "" } else { "read_" };
    let mut of_each = Vec::new();
    if group {
        of_each.push(unsigned("value", 8));
    }
    if has(PERF_FORMAT_ID) {
        let id = unsigned(&format!("{prefix}id"), 8);
        of_each.push(if group {
            id
        } else {
            id.with_role(Role::EventId)
        });
    }
    if has(PERF_FORMAT_LOST) {
        of_each.push(unsigned(&format!("{prefix}lost"), 8));
    }
    if group {
        let element = FieldClass::Structure(StructureClass::new(of_each));
        members.push(array("read_values", element, "read_nr"));
    } else {
        members.append(&mut of_each);
    }
    members
}

/// Bytes of a single counter's values with `read_format`, and where `lost` stands in them.
pub(crate) fn single_read_layout(read_format: u64) -> (usize, Option<usize>) {
    let before_lost = 1
        + (read_format
            & (PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_ID))
            .count_ones() as usize;
    match read_format & PERF_FORMAT_LOST != 0 {
        true => (8 * (before_lost + 1), Some(8 * before_lost)),
        false => (8 * before_lost, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_without_group() {
        for read_format in (0u64..32).filter(|f| f & PERF_FORMAT_GROUP == 0) {
            let class = StructureClass::new(read_members(read_format));
            let (size, lost) = single_read_layout(read_format);
            assert_eq!(class.static_size_bytes(), Some(size as u32));
            assert_eq!(
                class.static_offset_bytes("read_lost"),
                lost.map(|l| l as u32)
            );
            let names: Vec<_> = class.members.iter().map(|m| m.name.as_str()).collect();
            let expected: Vec<_> = [
                (true, "read_value"),
                (read_format & 1 != 0, "read_time_enabled"),
                (read_format & 2 != 0, "read_time_running"),
                (read_format & 4 != 0, "read_id"),
                (read_format & 16 != 0, "read_lost"),
            ]
            .into_iter()
            .filter_map(|(there, name)| there.then_some(name))
            .collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn every_combination_with_group() {
        for read_format in (0u64..32).filter(|f| f & PERF_FORMAT_GROUP != 0) {
            let members = read_members(read_format);
            let before = 1 + (read_format & 3).count_ones() as usize;
            assert_eq!(members.len(), before + 1);
            let FieldClass::DynamicArray { element, .. } = &members[before].class else {
                panic!()
            };
            let each = 1 + (read_format & 0b1_0100).count_ones();
            assert_eq!(element.static_size_bytes(), Some(8 * each));
        }
    }
}
