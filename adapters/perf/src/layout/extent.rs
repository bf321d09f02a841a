//! How long a sample is by its own numbers.
//!
//! A class with dynamic parts holds for a record only if these parts end where the
//! record does. The kernel sees to that; a file may say anything.

use super::SampleShape;
use super::byte_order::{u32_at, u64_at};
use crate::uapi::*;
use kstrace_schema::ByteOrder;

/// A part of a sample with a size of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many bytes.
    Fixed(usize),
    /// A count of eight bytes, `fixed` bytes, and so many elements.
    Counted { fixed: usize, element: usize },
    /// A size of four bytes and so many bytes.
    Raw,
    /// An ABI, and if it is not 0 so many bytes.
    Registers(usize),
    /// A size, so many bytes, and if it is not 0 eight more.
    Stack,
    /// A size of eight bytes and so many bytes.
    Sized,
}

/// Measures the samples of one shape.
#[derive(Clone, Debug)]
pub struct SampleExtent {
    parts: Box<[Part]>,
    byte_order: ByteOrder,
}

impl SampleExtent {
    /// For samples of that shape from a machine of that byte order.
    pub fn new(shape: &SampleShape, byte_order: ByteOrder) -> Self {
        let has = |bit: u64| shape.sample_type & bit != 0;
        let mut parts = vec![Part::Fixed(HEADER_BYTES)];
        let mut push = |part: Part| match (parts.last_mut(), part) {
            (Some(Part::Fixed(sum)), Part::Fixed(more)) => *sum += more,
            _ => parts.push(part),
        };
        let fixed = PERF_SAMPLE_IDENTIFIER
            | PERF_SAMPLE_IP
            | PERF_SAMPLE_TID
            | PERF_SAMPLE_TIME
            | PERF_SAMPLE_ADDR
            | PERF_SAMPLE_ID
            | PERF_SAMPLE_STREAM_ID
            | PERF_SAMPLE_CPU
            | PERF_SAMPLE_PERIOD;
        push(Part::Fixed(
            8 * (shape.sample_type & fixed).count_ones() as usize,
        ));
        if has(PERF_SAMPLE_READ) {
            let format = shape.read_format;
            if format & PERF_FORMAT_GROUP != 0 {
                let times = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
                let of_each = PERF_FORMAT_ID | PERF_FORMAT_LOST;
                push(Part::Counted {
                    fixed: 8 * (format & times).count_ones() as usize,
                    element: 8 + 8 * (format & of_each).count_ones() as usize,
                });
            } else {
                push(Part::Fixed(super::read::single_read_layout(format).0));
            }
        }
        if has(PERF_SAMPLE_CALLCHAIN) {
            push(Part::Counted {
                fixed: 0,
                element: 8,
            });
        }
        if has(PERF_SAMPLE_RAW) {
            push(Part::Raw);
        }
        if has(PERF_SAMPLE_BRANCH_STACK) {
            let with = |bit: u64| usize::from(shape.branch_sample_type & bit != 0);
            push(Part::Counted {
                fixed: 8 * with(PERF_SAMPLE_BRANCH_HW_INDEX),
                element: 24 + 8 * with(PERF_SAMPLE_BRANCH_COUNTERS),
            });
        }
        let registers = |mask: u64| Part::Registers(8 * mask.count_ones() as usize);
        if has(PERF_SAMPLE_REGS_USER) {
            push(registers(shape.sample_regs_user));
        }
        if has(PERF_SAMPLE_STACK_USER) {
            push(Part::Stack);
        }
        let weights = PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT;
        let after = PERF_SAMPLE_DATA_SRC | PERF_SAMPLE_TRANSACTION;
        push(Part::Fixed(
            8 * usize::from(has(weights)) + 8 * (shape.sample_type & after).count_ones() as usize,
        ));
        if has(PERF_SAMPLE_REGS_INTR) {
            push(registers(shape.sample_regs_intr));
        }
        let last = PERF_SAMPLE_PHYS_ADDR
            | PERF_SAMPLE_CGROUP
            | PERF_SAMPLE_DATA_PAGE_SIZE
            | PERF_SAMPLE_CODE_PAGE_SIZE;
        push(Part::Fixed(
            8 * (shape.sample_type & last).count_ones() as usize,
        ));
        if has(PERF_SAMPLE_AUX) {
            push(Part::Sized);
        }
        SampleExtent {
            parts: parts.into(),
            byte_order,
        }
    }

    /// Where the parts that this crate knows end, `None` if that is behind the record.
    #[inline]
    pub fn end_bytes(&self, record: &[u8]) -> Option<usize> {
        let mut at = 0usize;
        for part in &self.parts {
            let u64_here = || {
                u64_at(record, at, self.byte_order)
                    .map(usize::try_from)?
                    .ok()
            };
            let size = match *part {
                Part::Fixed(size) => size,
                Part::Counted { fixed, element } => {
                    u64_here()?.checked_mul(element)?.checked_add(8 + fixed)?
                }
                Part::Raw => 4 + u32_at(record, at, self.byte_order)? as usize,
                Part::Registers(size) => match u64_here()? {
                    0 => 8,
                    _ => 8 + size,
                },
                Part::Stack => match u64_here()? {
                    0 => 8,
                    size => size.checked_add(16)?,
                },
                Part::Sized => u64_here()?.checked_add(8)?,
            };
            at = at.checked_add(size).filter(|end| *end <= record.len())?;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RawPart;
    use kstrace_schema::decode::{Field, Value, Visitor, walk};
    use std::ops::ControlFlow;

    struct Ignore;
    impl<'a> Visitor<'a> for Ignore {
        fn value(&mut self, _: &Field<'a>, _: Value<'a>) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }

    /// For every flag and every pair of them: the class read field by field ends where this says.
    #[test]
    fn agrees_with_the_class_for_all_pairs_of_flags() {
        let mut record: Vec<u8> = Vec::new();
        let mut state = 1u32;
        for _ in 0..4096 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Small numbers in every 8 bytes, so that counts are plausible at any place.
            record.extend_from_slice(&u64::from(state >> 30).to_ne_bytes());
        }
        for one in 0..25 {
            for two in 0..25 {
                for read_format in [0, 1, 6, 31, 16, 8] {
                    for branch_sample_type in
                        [0, PERF_SAMPLE_BRANCH_HW_INDEX | PERF_SAMPLE_BRANCH_COUNTERS]
                    {
                        let shape = SampleShape {
                            sample_type: 1 << one | 1 << two | PERF_SAMPLE_TIME,
                            read_format,
                            branch_sample_type,
                            sample_regs_user: 0b1011,
                            sample_regs_intr: 0b11,
                        };
                        let class = shape.payload(&RawPart::Blob);
                        let walked = walk(&class, &record, 0, &mut Ignore).ok();
                        let extent = SampleExtent::new(&shape, ByteOrder::NATIVE);
                        assert_eq!(extent.end_bytes(&record), walked, "{shape:?}");
                        let Some(end) = walked else { continue };
                        assert_eq!(extent.end_bytes(&record[..end]), Some(end));
                        assert_eq!(extent.end_bytes(&record[..end - 1]), None);
                    }
                }
            }
        }
    }
}
