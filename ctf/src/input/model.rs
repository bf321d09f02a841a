//! Nodes as the model's classes.
//!
//! Two ways. *Verbatim*: the class describes the record's own bytes, with
//! holes as padding; possible where everything is whole bytes and every
//! alignment can be proven to fall at one place. *Widened*: the class
//! describes what [`exec`](super::exec) writes.

use super::exec::{widened_bytes, widened_order};
use super::node::{Count, IntNode, Node, NodeMember, Reference};
use super::skim::Op;
use crate::ir::{Encoding, Origin, SequenceKind};
use kstrace_schema::{
    ByteOrder, FieldClass, FieldPath, FloatClass, IntegerClass, IntegerRange, Length, Mapping,
    Member, StructureClass, VariantOption,
};

/// What is known of a place in a record: its bit offset is `offset` modulo `modulus`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    modulus: u64,
    offset: u64,
}

impl Place {
    /// The hole in bytes that `align` makes here, if it is always the same.
    fn align(&mut self, align_bits: u32) -> Option<u64> {
        let align = u64::from(align_bits.max(1));
        if align > self.modulus {
            return None;
        }
        let hole = self.offset.next_multiple_of(align) - self.offset;
        self.advance(hole);
        hole.is_multiple_of(8).then_some(hole / 8)
    }

    fn advance(&mut self, bits: u64) {
        self.offset = self.offset.wrapping_add(bits) % self.modulus;
    }

    /// On by an unknown number of units.
    fn advance_units(&mut self, unit_bits: u64) {
        let known = 1u64 << unit_bits.max(1).trailing_zeros().min(32);
        self.modulus = self.modulus.min(known);
        self.offset %= self.modulus;
    }
}

/// The names that the scopes have in a payload.
#[derive(Clone, Debug, Default)]
pub(super) struct ScopeNames(pub(super) [String; 6]);

impl ScopeNames {
    /// Names that no field has.
    pub(super) fn unlike(fields: Option<&Node>) -> Self {
        let taken = |name: &str| matches!(fields, Some(Node::Struct { members, .. }) if members.iter().any(|m| m.name == name));
        let words = [
            "packet_header",
            "packet_context",
            "event_header",
            "stream_context",
            "event_context",
            "",
        ];
        ScopeNames(words.map(|word| {
            let mut name = word.to_owned();
            while !name.is_empty() && taken(&name) {
                name.push('_');
            }
            name
        }))
    }

    pub(super) fn of(&self, origin: Origin) -> &str {
        &self.0[origin as usize]
    }
}

/// Makes the classes of one event.
pub(super) struct ModelMaker<'n> {
    pub(super) names: &'n ScopeNames,
    /// `None`: widened.
    place: Option<Place>,
}

/// A class that describes a record's own bytes.
pub(super) struct Verbatim {
    pub(super) members: Vec<Member>,
    pub(super) ops: Vec<Op>,
    /// What the payload's start is aligned to.
    pub(super) align_bits: u64,
}

/// The scopes of a record as members of its payload, verbatim; `None` if that cannot be.
/// `whole_start`: what is before it always ends with a whole byte.
pub(super) fn verbatim(
    names: &ScopeNames,
    scopes: &[(Origin, &Node)],
    whole_start: bool,
) -> Option<Verbatim> {
    let least_bits = if whole_start { 8 } else { 1 };
    let align_bits = start_alignment(scopes).max(least_bits);
    let mut maker = ModelMaker {
        names,
        place: Some(Place {
            modulus: align_bits,
            offset: 0,
        }),
    };
    let mut members = Vec::new();
    let mut ops = Vec::new();
    for (origin, node) in scopes {
        maker.scope(*origin, node, &mut members, &mut ops)?;
    }
    Some(Verbatim {
        members,
        ops: super::skim::joined(ops),
        align_bits,
    })
}

/// The alignment at which the first byte stands, whatever is before.
fn start_alignment(scopes: &[(Origin, &Node)]) -> u64 {
    let mut align = 1u64;
    let _ = scopes
        .iter()
        .any(|(_, node)| first_alignment(node, &mut align));
    align
}

/// Adds the alignments before the first byte; true once that is reached.
fn first_alignment(node: &Node, align: &mut u64) -> bool {
    *align = (*align).max(node.align_bits().max(1).into());
    match node {
        Node::Struct { members, .. } => members.iter().any(|m| first_alignment(&m.node, align)),
        Node::Array { element, count, .. } => match count {
            Count::Static(0) => false,
            Count::Static(_) => first_alignment(element, align),
            Count::Dynamic(_) => true,
        },
        _ => true,
    }
}

/// The scopes of a record as members of its payload, widened; `None` if the model has no class for it.
pub(super) fn widened(names: &ScopeNames, scopes: &[(Origin, &Node)]) -> Option<Vec<Member>> {
    let mut maker = ModelMaker { names, place: None };
    let mut members = Vec::new();
    let mut ops = Vec::new();
    for (origin, node) in scopes {
        maker.scope(*origin, node, &mut members, &mut ops)?;
    }
    Some(members)
}

impl ModelMaker<'_> {
    fn scope(
        &mut self,
        origin: Origin,
        node: &Node,
        members: &mut Vec<Member>,
        ops: &mut Vec<Op>,
    ) -> Option<()> {
        let (hole, class) = self.node(node, ops)?;
        push_hole(members, hole);
        match class {
            FieldClass::Structure(s) if origin == Origin::Fields => members.extend(s.members),
            class => members.push(Member::new(self.names.of(origin), class)),
        }
        Some(())
    }

    /// Bytes of the hole before the node, and its class.
    fn node(&mut self, node: &Node, ops: &mut Vec<Op>) -> Option<(u64, FieldClass)> {
        let hole = match &mut self.place {
            Some(place) => place.align(node.align_bits())?,
            None => 0,
        };
        push_skip(ops, hole);
        let class = match node {
            Node::Int(int) => self.int(int, ops)?,
            Node::Float {
                size_bits, order, ..
            } => {
                let size_bits = match (self.place.as_mut(), size_bits) {
                    (Some(_), 16) => return None,
                    (None, 16) => 32,
                    (place, bits) => {
                        if let Some(place) = place {
                            whole_bytes(place)?;
                            place.advance(u64::from(*bits));
                        }
                        *bits
                    }
                };
                push_skip(ops, u64::from(size_bits / 8));
                FieldClass::Float(FloatClass {
                    size_bytes: (size_bits / 8) as u8,
                    byte_order: *order,
                })
            }
            Node::Text(encoding) => {
                if let Some(place) = &mut self.place {
                    if *encoding != Encoding::Utf8 {
                        return None;
                    }
                    whole_bytes(place)?;
                    place.advance_units(8);
                }
                ops.push(Op::Text);
                FieldClass::NullTerminatedString
            }
            Node::Struct { members, .. } => FieldClass::Structure(self.structure(members, ops)?),
            Node::Array {
                element,
                count,
                kind,
                ..
            } => self.array(element, count, *kind, ops)?,
            Node::Variant {
                selector,
                options,
                optional,
            } => self.variant(selector, options, *optional, ops)?,
        };
        Some((hole, class))
    }

    fn int(&mut self, node: &IntNode, ops: &mut Vec<Op>) -> Option<FieldClass> {
        let class = &*node.class;
        let bits = class.size_bits;
        let (size_bytes, byte_order) = match &mut self.place {
            Some(place) => {
                if node.variable || !matches!(bits, 8 | 16 | 32 | 64) {
                    return None;
                }
                whole_bytes(place)?;
                place.advance(bits.into());
                ((bits / 8) as u8, class.order)
            }
            None if node.variable => (8, ByteOrder::NATIVE),
            None => (widened_bytes(bits), widened_order(bits, class.order)),
        };
        match node.slot {
            Some(slot) => ops.push(Op::Load {
                slot,
                bytes: size_bytes,
                order: byte_order,
                signed: class.signed,
            }),
            None => push_skip(ops, size_bytes.into()),
        }
        if class.boolean && size_bytes == 1 && node.slot.is_none() {
            return Some(FieldClass::Boolean);
        }
        let mut mappings = class.mappings.clone().unwrap_or_default();
        if class.boolean {
            let range = |first, last| vec![IntegerRange { first, last }];
            let mapping = |name: &str, ranges| Mapping {
                name: name.to_owned(),
                ranges,
            };
            mappings = vec![
                mapping("false", range(0, 0)),
                mapping("true", range(1, (1 << (u32::from(size_bytes) * 8)) - 1)),
            ];
        }
        Some(FieldClass::Integer(IntegerClass {
            size_bytes,
            signed: class.signed,
            // The order of one byte is no order.
            byte_order: if size_bytes == 1 {
                ByteOrder::NATIVE
            } else {
                byte_order
            },
            base: class.base,
            mappings,
        }))
    }

    fn structure(&mut self, members: &[NodeMember], ops: &mut Vec<Op>) -> Option<StructureClass> {
        let mut out = Vec::with_capacity(members.len());
        for member in members {
            let (hole, class) = self.node(&member.node, ops)?;
            push_hole(&mut out, hole);
            out.push(Member::new(member.name.clone(), class));
        }
        Some(StructureClass::new(out))
    }

    fn path(&self, reference: &Reference) -> FieldPath {
        let scope = self.names.of(reference.origin);
        let scope = (!scope.is_empty()).then(|| scope.to_owned());
        FieldPath(
            scope
                .into_iter()
                .chain(reference.names.iter().cloned())
                .collect(),
        )
    }

    fn array(
        &mut self,
        element: &Node,
        count: &Count,
        kind: SequenceKind,
        ops: &mut Vec<Op>,
    ) -> Option<FieldClass> {
        let utf8 = match kind {
            SequenceKind::Text(Encoding::Utf8) => true,
            SequenceKind::Text(_) if self.place.is_some() => return None,
            // Written as UTF-8 with a NUL.
            SequenceKind::Text(_) => return Some(FieldClass::NullTerminatedString),
            _ => false,
        };
        let outer = self.place.clone();
        let mut inner = Vec::new();
        // Elements after the first stand where the one before them ends.
        let static_bits = element.static_bits();
        if let Some(place) = &outer {
            let align = u64::from(element.align_bits().max(1));
            let stride_known = static_bits.is_some_and(|s| s.is_multiple_of(align.max(8)));
            self.place = Some(Place {
                modulus: if stride_known { align.max(8) } else { 8 },
                offset: 0,
            });
            if !stride_known && align > 8 {
                return None;
            }
            whole_bytes(place)?;
        }
        let (hole, class) = self.node(element, &mut inner)?;
        self.place = outer;
        if hole != 0 {
            return None;
        }
        let inner = super::skim::joined(inner);
        let element_bytes = super::skim::fixed_bytes(&inner);
        let element_bits = element_bytes.map(|b| b.saturating_mul(8));
        let class = Box::new(class);
        Some(match count {
            Count::Static(count) => {
                let size = u32::try_from(*count).ok()?;
                match element_bytes {
                    Some(bytes) => push_skip(ops, bytes.checked_mul(*count)?),
                    None => ops.push(Op::Repeat {
                        count: *count,
                        element: inner,
                    }),
                }
                if let Some(place) = &mut self.place {
                    match element_bits {
                        Some(bits) => place.advance(bits.checked_mul(*count)?),
                        None => place.advance_units(8),
                    }
                }
                match kind {
                    SequenceKind::Text(_) if utf8 => FieldClass::StaticString { size_bytes: size },
                    SequenceKind::Blob => FieldClass::StaticBlob { size_bytes: size },
                    _ => FieldClass::StaticArray {
                        element: class,
                        count: size,
                    },
                }
            }
            Count::Dynamic(reference) => {
                ops.push(match element_bytes {
                    Some(bytes) => Op::Sequence {
                        slot: reference.slot,
                        signed: reference.signed,
                        element_bytes: bytes,
                    },
                    None => Op::RepeatSlot {
                        slot: reference.slot,
                        signed: reference.signed,
                        element: inner,
                    },
                });
                if let Some(place) = &mut self.place {
                    place.advance_units(element_bits.filter(|b| *b > 0).unwrap_or(8));
                }
                let length = Length::Field(self.path(reference));
                match kind {
                    SequenceKind::Text(_) if utf8 => FieldClass::DynamicString { length },
                    SequenceKind::Blob => FieldClass::DynamicBlob { length },
                    _ => FieldClass::DynamicArray {
                        element: class,
                        length,
                    },
                }
            }
        })
    }

    fn variant(
        &mut self,
        selector: &Reference,
        options: &[super::node::NodeOption],
        optional: bool,
        ops: &mut Vec<Op>,
    ) -> Option<FieldClass> {
        let start = self.place.clone();
        let mut after: Option<Option<Place>> = None;
        let mut classes = Vec::with_capacity(options.len());
        let mut choices = Vec::with_capacity(options.len());
        for option in options {
            self.place.clone_from(&start);
            if let Some(place) = &mut self.place {
                whole_bytes(place)?;
            }
            let mut inner = Vec::new();
            let (hole, class) = self.node(&option.node, &mut inner)?;
            if hole != 0 {
                return None;
            }
            after = Some(match after {
                None => self.place.clone(),
                Some(before) if before == self.place => before,
                Some(_) => self.place.as_ref().map(|_| Place {
                    modulus: 8,
                    offset: 0,
                }),
            });
            choices.push((option.ranges.clone(), super::skim::joined(inner)));
            classes.push(VariantOption {
                name: option.name.clone(),
                ranges: option.ranges.clone(),
                class,
            });
        }
        self.place = after.unwrap_or(start);
        if optional && let Some(place) = &mut self.place {
            place.advance_units(8);
        }
        ops.push(Op::Choose {
            slot: selector.slot,
            signed: selector.signed,
            options: choices,
            optional,
        });
        let selector = self.path(selector);
        Some(match (optional, classes.len()) {
            (true, 1) => {
                let option = classes.pop()?;
                FieldClass::Optional {
                    selector,
                    ranges: option.ranges,
                    class: Box::new(option.class),
                }
            }
            _ => FieldClass::Variant {
                selector,
                options: classes,
            },
        })
    }
}

fn whole_bytes(place: &Place) -> Option<()> {
    (place.modulus >= 8 && place.offset.is_multiple_of(8)).then_some(())
}

fn push_hole(members: &mut Vec<Member>, bytes: u64) {
    if let Ok(bytes @ 1..) = u32::try_from(bytes) {
        members.push(Member::padding(bytes));
    }
}

fn push_skip(ops: &mut Vec<Op>, bytes: u64) {
    if bytes > 0 {
        ops.push(Op::Skip(bytes));
    }
}
