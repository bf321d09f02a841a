//! Types in their place: every reference found, every tag's values known.
//!
//! A [`Type`](crate::ir::Type) may be used in many places and means something
//! else in each. A [`Node`] is one use. Integers that others refer to get a
//! slot, in which the decoder leaves their value.

use crate::ir::{
    ArrayLength, Encoding, IntType, Lookup, Origin, Roles, SequenceKind, StructType, Type, TypeKind,
};
use kstrace_schema::{ByteOrder, IntegerRange};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Slots of what all events of a stream share; an event's own come behind.
pub(super) const SHARED_SLOTS: u16 = 64;
/// Integers that the types of one event may refer to.
const EVENT_SLOTS_MAX: u16 = 4096;

/// Where an integer stands: its scope, then indices of members and options.
type Key = (Origin, Vec<u32>);

#[derive(Clone, Debug)]
pub(super) struct IntNode {
    pub(super) class: Arc<IntType>,
    pub(super) slot: Option<u16>,
    pub(super) variable: bool,
}

#[derive(Clone, Debug)]
pub(super) struct NodeMember {
    pub(super) name: String,
    pub(super) node: Node,
}

/// A reference to an integer.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) slot: u16,
    pub(super) origin: Origin,
    /// Names from its scope's root.
    pub(super) names: Vec<String>,
    pub(super) signed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Count {
    Static(u64),
    Dynamic(Reference),
}

#[derive(Clone, Debug)]
pub(super) struct NodeOption {
    pub(super) name: String,
    pub(super) ranges: Vec<IntegerRange>,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Int(IntNode),
    Float {
        size_bits: u32,
        align_bits: u32,
        order: ByteOrder,
    },
    Text(Encoding),
    Struct {
        members: Vec<NodeMember>,
        align_bits: u32,
    },
    Array {
        element: Box<Node>,
        count: Count,
        kind: SequenceKind,
        align_bits: u32,
        roles: Roles,
    },
    Variant {
        selector: Reference,
        options: Vec<NodeOption>,
        optional: bool,
    },
}

impl Node {
    pub(super) fn align_bits(&self) -> u32 {
        match self {
            Node::Int(int) => int.class.align_bits,
            Node::Float { align_bits, .. }
            | Node::Struct { align_bits, .. }
            | Node::Array { align_bits, .. } => *align_bits,
            Node::Text(_) => 8,
            Node::Variant { .. } => 1,
        }
    }

    /// Size in bits if it is the same wherever it stands at its alignment.
    pub(super) fn static_bits(&self) -> Option<u64> {
        match self {
            Node::Int(int) if int.variable => None,
            Node::Int(int) => Some(int.class.size_bits.into()),
            Node::Float { size_bits, .. } => Some((*size_bits).into()),
            Node::Text(_) | Node::Variant { .. } => None,
            Node::Struct { members, .. } => members.iter().try_fold(0u64, |at, m| {
                at.checked_next_multiple_of(m.node.align_bits().max(1).into())?
                    .checked_add(m.node.static_bits()?)
            }),
            Node::Array {
                element,
                count: Count::Static(count),
                ..
            } => {
                let size = element.static_bits()?;
                if *count == 0 {
                    return Some(0);
                }
                let step = size.checked_next_multiple_of(element.align_bits().max(1).into())?;
                step.checked_mul(count - 1)?.checked_add(size)
            }
            Node::Array { .. } => None,
        }
    }
}

/// What is wrong with a type where it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {reason}")]
pub(crate) struct Unresolved {
    pub(super) field: String,
    pub(super) reason: String,
}

/// A structure that is being resolved.
struct Frame<'t> {
    class: &'t StructType,
    path: Vec<u32>,
    names: Vec<String>,
}

/// The scopes that types can refer to, and the slots given out for it.
pub(super) struct Resolver<'t> {
    roots: [Option<&'t Type>; 6],
    shared: HashMap<Key, u16>,
    own: HashMap<Key, u16>,
}

fn place(origin: Origin) -> usize {
    origin as usize
}

impl<'t> Resolver<'t> {
    pub(super) fn new() -> Self {
        Resolver {
            roots: [None; 6],
            shared: HashMap::new(),
            own: HashMap::new(),
        }
    }

    /// Sets the type of a scope; slots of an event's own scopes are forgotten.
    pub(super) fn set(&mut self, origin: Origin, class: Option<&'t Type>) {
        self.roots[place(origin)] = class;
        if origin >= Origin::EventContext {
            self.own.clear();
        }
    }

    /// Slots in use.
    pub(super) fn slots(&self) -> u16 {
        SHARED_SLOTS + self.own.len() as u16
    }

    /// Whether integers of that scope are referred to from elsewhere, by their paths.
    pub(super) fn referred(&self, origin: Origin) -> HashSet<Vec<u32>> {
        let keys = self.shared.keys().chain(self.own.keys());
        keys.filter(|(o, _)| *o == origin)
            .map(|(_, path)| path.clone())
            .collect()
    }

    /// The scope's type with its references found.
    pub(super) fn resolve(&mut self, origin: Origin) -> Result<Option<Node>, Unresolved> {
        let Some(root) = self.roots[place(origin)] else {
            return Ok(None);
        };
        let mut work = Work {
            resolver: self,
            origin,
            frames: Vec::new(),
            path: Vec::new(),
            names: Vec::new(),
        };
        work.node(root).map(Some)
    }

    /// Gives the integers of a resolved scope their slots, once all references are known.
    pub(super) fn mark(&self, origin: Origin, node: &mut Node) {
        let mut path = Vec::new();
        self.mark_node(origin, node, &mut path);
    }

    fn mark_node(&self, origin: Origin, node: &mut Node, path: &mut Vec<u32>) {
        match node {
            Node::Int(int) => {
                let table = if origin >= Origin::EventContext {
                    &self.own
                } else {
                    &self.shared
                };
                int.slot = table.get(&(origin, path.clone())).copied();
            }
            Node::Struct { members, .. } => {
                for (index, member) in members.iter_mut().enumerate() {
                    path.push(index as u32);
                    self.mark_node(origin, &mut member.node, path);
                    path.pop();
                }
            }
            Node::Array { element, .. } => self.mark_node(origin, element, path),
            Node::Variant { options, .. } => {
                for (index, option) in options.iter_mut().enumerate() {
                    path.push(index as u32);
                    self.mark_node(origin, &mut option.node, path);
                    path.pop();
                }
            }
            Node::Float { .. } | Node::Text(_) => {}
        }
    }

    fn slot(&mut self, key: Key) -> Option<u16> {
        let shared = key.0 < Origin::EventContext;
        let table = if shared {
            &mut self.shared
        } else {
            &mut self.own
        };
        let used = table.len() as u16;
        if let Some(slot) = table.get(&key) {
            return Some(*slot);
        }
        let (base, limit) = if shared {
            (0, SHARED_SLOTS)
        } else {
            (SHARED_SLOTS, EVENT_SLOTS_MAX)
        };
        (used < limit).then(|| {
            table.insert(key, base + used);
            base + used
        })
    }
}

/// One scope being resolved.
struct Work<'r, 't> {
    resolver: &'r mut Resolver<'t>,
    origin: Origin,
    frames: Vec<Frame<'t>>,
    path: Vec<u32>,
    names: Vec<String>,
}

/// What a path leads to.
struct Target<'t> {
    key: Key,
    names: Vec<String>,
    int: &'t IntType,
}

impl<'t> Work<'_, 't> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, Unresolved> {
        Err(Unresolved {
            field: self.names.join("."),
            reason: reason.into(),
        })
    }

    fn node(&mut self, class: &'t Type) -> Result<Node, Unresolved> {
        match &class.kind {
            TypeKind::Int(int) => Ok(Node::Int(IntNode {
                class: Arc::new(int.clone()),
                slot: None,
                variable: false,
            })),
            TypeKind::VarInt(int) => Ok(Node::Int(IntNode {
                class: Arc::new(int.clone()),
                slot: None,
                variable: true,
            })),
            TypeKind::Float {
                size_bits,
                align_bits,
                order,
            } => Ok(Node::Float {
                size_bits: *size_bits,
                align_bits: *align_bits,
                order: *order,
            }),
            TypeKind::Text(encoding) => Ok(Node::Text(*encoding)),
            TypeKind::Struct(s) => self.structure(class, s),
            TypeKind::Array {
                element,
                length,
                kind,
                roles,
                ..
            } => {
                let count = match length {
                    ArrayLength::Static(count) => Count::Static(*count),
                    ArrayLength::Dynamic(lookup) => {
                        let (reference, _) = self.reference(lookup)?;
                        Count::Dynamic(reference)
                    }
                };
                Ok(Node::Array {
                    element: Box::new(self.node(element)?),
                    count,
                    kind: *kind,
                    align_bits: class.align_bits(),
                    roles: *roles,
                })
            }
            TypeKind::Variant {
                selector,
                options,
                optional,
            } => {
                let Some(lookup) = selector else {
                    return self.fail("a variant without a tag");
                };
                let (reference, int) = self.reference(lookup)?;
                let mut nodes = Vec::with_capacity(options.len());
                for (index, option) in options.iter().enumerate() {
                    let ranges = match &option.ranges {
                        Some(ranges) => ranges.clone(),
                        None => label_ranges(int, &option.written_name, &option.name),
                    };
                    self.path.push(index as u32);
                    self.names.push(option.name.clone());
                    let node = self.node(&option.class)?;
                    self.path.pop();
                    self.names.pop();
                    nodes.push(NodeOption {
                        name: option.name.clone(),
                        ranges,
                        node,
                    });
                }
                if int.mappings.is_none() && options.iter().any(|o| o.ranges.is_none()) {
                    return self.fail("a variant's tag must be an enum");
                }
                Ok(Node::Variant {
                    selector: reference,
                    options: nodes,
                    optional: *optional,
                })
            }
        }
    }

    fn structure(&mut self, class: &'t Type, s: &'t StructType) -> Result<Node, Unresolved> {
        self.frames.push(Frame {
            class: s,
            path: self.path.clone(),
            names: self.names.clone(),
        });
        let mut members = Vec::with_capacity(s.members.len());
        for (index, member) in s.members.iter().enumerate() {
            let name = member_name(s, index);
            self.path.push(index as u32);
            self.names.push(name.clone());
            let node = self.node(&member.class)?;
            self.path.pop();
            self.names.pop();
            members.push(NodeMember { name, node });
        }
        self.frames.pop();
        Ok(Node::Struct {
            members,
            align_bits: class.align_bits(),
        })
    }

    fn reference(&mut self, lookup: &Lookup) -> Result<(Reference, &'t IntType), Unresolved> {
        let Some(target) = self.find(lookup) else {
            let path = match lookup {
                Lookup::Absolute(_, path) | Lookup::Relative(path) | Lookup::Up(_, path) => path,
            };
            return self.fail(format!(
                "it names '{}', and there is no such integer before it",
                path.join(".")
            ));
        };
        let origin = target.key.0;
        match self.resolver.slot(target.key) {
            Some(slot) => Ok((
                Reference {
                    slot,
                    origin,
                    names: target.names,
                    signed: target.int.signed,
                },
                target.int,
            )),
            None => self.fail("too many lengths and tags"),
        }
    }

    fn find(&self, lookup: &Lookup) -> Option<Target<'t>> {
        match lookup {
            Lookup::Absolute(origin, path) => self.below_root(*origin, path),
            Lookup::Relative(path) => {
                for frame in self.frames.iter().rev() {
                    if let Some(found) = self.below_frame(frame, path) {
                        return Some(found);
                    }
                }
                Origin::ALL
                    .into_iter()
                    .filter(|o| *o < self.origin)
                    .rev()
                    .find_map(|o| self.below_root(o, path))
            }
            Lookup::Up(levels, path) => {
                let index = self.frames.len().checked_sub(1 + *levels as usize)?;
                self.below_frame(self.frames.get(index)?, path)
            }
        }
    }

    fn below_frame(&self, frame: &Frame<'t>, path: &[String]) -> Option<Target<'t>> {
        self.descend(
            self.origin,
            frame.class,
            path,
            frame.path.clone(),
            frame.names.clone(),
        )
    }

    fn below_root(&self, origin: Origin, path: &[String]) -> Option<Target<'t>> {
        let root = self.resolver.roots[place(origin)]?.as_struct()?;
        self.descend(origin, root, path, Vec::new(), Vec::new())
    }

    fn descend(
        &self,
        origin: Origin,
        class: &'t StructType,
        path: &[String],
        mut key: Vec<u32>,
        mut names: Vec<String>,
    ) -> Option<Target<'t>> {
        let (first, rest) = path.split_first()?;
        let index = class
            .members
            .iter()
            .position(|m| m.written_name == *first)
            .or_else(|| class.members.iter().position(|m| m.name == *first))?;
        key.push(index as u32);
        names.push(member_name(class, index));
        self.arrive(origin, &class.members[index].class, rest, key, names)
    }

    fn arrive(
        &self,
        origin: Origin,
        class: &'t Type,
        rest: &[String],
        key: Vec<u32>,
        names: Vec<String>,
    ) -> Option<Target<'t>> {
        match &class.kind {
            TypeKind::Int(int) | TypeKind::VarInt(int) if rest.is_empty() => {
                // It must have been read by then.
                (origin < self.origin || (origin == self.origin && key < self.path)).then_some(
                    Target {
                        key: (origin, key),
                        names,
                        int,
                    },
                )
            }
            TypeKind::Struct(s) => self.descend(origin, s, rest, key, names),
            TypeKind::Array { element, .. } => self.arrive(origin, element, rest, key, names),
            TypeKind::Variant { options, .. } => {
                // The option at hand, where we are within the variant; else one that is named.
                let within = (origin == self.origin && self.path.starts_with(&key))
                    .then(|| self.path.get(key.len()).map(|i| *i as usize))
                    .flatten();
                let named = rest.first().and_then(|name| {
                    options
                        .iter()
                        .position(|o| o.written_name == *name || o.name == *name)
                });
                let (index, rest) = match (within, named) {
                    (Some(index), named) if named == Some(index) => (index, &rest[1..]),
                    (Some(index), _) => (index, rest),
                    (None, Some(index)) => (index, &rest[1..]),
                    (None, None) if options.len() == 1 => (0, rest),
                    (None, None) => return None,
                };
                let option = options.get(index)?;
                let (mut key, mut names) = (key, names);
                key.push(index as u32);
                names.push(option.name.clone());
                self.arrive(origin, &option.class, rest, key, names)
            }
            _ => None,
        }
    }
}

/// A member's name, unlike those before it.
fn member_name(class: &StructType, index: usize) -> String {
    let Some(member) = class.members.get(index) else {
        return String::new();
    };
    let before = class.members.get(..index).unwrap_or_default();
    if member.name.is_empty() || before.iter().any(|m| m.name == member.name) {
        return if member.written_name.is_empty() || member.written_name == member.name {
            format!("{}_{index}", member.name)
        } else {
            member.written_name.clone()
        };
    }
    member.name.clone()
}

fn label_ranges(int: &IntType, written: &str, shown: &str) -> Vec<IntegerRange> {
    let of = |label: &str| -> Vec<IntegerRange> {
        let mappings = int.mappings.iter().flatten();
        mappings
            .filter(|m| m.name == label)
            .flat_map(|m| m.ranges.iter().copied())
            .collect()
    };
    let ranges = of(written);
    if ranges.is_empty() { of(shown) } else { ranges }
}
