//! The input's packet context: out of payloads, back into packets.

use super::shape::{ContextMember, StreamShape};
use kstrace_schema::Cpu;
use kstrace_schema::decode::{Field, Value, Visitor, walk};
use std::ops::ControlFlow;

/// Ends of the members of the packet context in a payload.
pub(super) fn context_ends(
    class: &kstrace_schema::StructureClass,
    payload: &[u8],
) -> Option<Vec<usize>> {
    /// Notes where the fields begin that stand directly in the payload's first structure.
    struct Starts {
        depth: u32,
        starts: Vec<usize>,
        behind: Option<usize>,
    }
    impl Starts {
        fn field(&mut self, offset: usize) -> ControlFlow<()> {
            match self.depth {
                0 if !self.starts.is_empty() => {
                    self.behind = Some(offset);
                    return ControlFlow::Break(());
                }
                1 => self.starts.push(offset),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    impl<'a> Visitor<'a> for Starts {
        fn value(&mut self, field: &Field<'a>, _: Value<'a>) -> ControlFlow<()> {
            self.field(field.offset_bytes)
        }
        fn begin_structure(&mut self, field: &Field<'a>) -> ControlFlow<()> {
            let flow = self.field(field.offset_bytes);
            self.depth += 1;
            flow
        }
        fn end_structure(&mut self) -> ControlFlow<()> {
            self.depth = self.depth.saturating_sub(1);
            ControlFlow::Continue(())
        }
        fn begin_array(&mut self, field: &Field<'a>, _: usize) -> ControlFlow<()> {
            let flow = self.field(field.offset_bytes);
            self.depth += 1;
            flow
        }
        fn end_array(&mut self) -> ControlFlow<()> {
            self.end_structure()
        }
    }
    let mut starts = Starts {
        depth: 0,
        starts: Vec::new(),
        behind: None,
    };
    let taken = walk(class, payload, 0, &mut starts).ok()?;
    let end = starts.behind.unwrap_or(taken);
    let mut ends = starts.starts;
    ends.push(end);
    // What begins where the one before it ends.
    (!ends.is_empty()).then(|| ends.remove(0));
    Some(ends)
}

/// The bytes of a packet's context behind kstrace's own members.
pub(super) fn context_bytes(shape: &StreamShape, cpu: Cpu, data: &[u8], ends: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut ends = ends.iter();
    for member in &shape.context {
        match member {
            ContextMember::Cpu(int) => {
                let bytes = usize::from(crate::input::widened_bytes(int.size_bits));
                let value = u64::from(cpu.0);
                match crate::input::widened_order(int.size_bits, int.order) {
                    kstrace_schema::ByteOrder::LittleEndian => {
                        out.extend_from_slice(&value.to_le_bytes()[..bytes]);
                    }
                    kstrace_schema::ByteOrder::BigEndian => {
                        out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
                    }
                }
            }
            ContextMember::Data => {
                let end = ends.next().copied().unwrap_or(at);
                out.extend_from_slice(data.get(at..end).unwrap_or_default());
                at = end;
            }
        }
    }
    out
}
