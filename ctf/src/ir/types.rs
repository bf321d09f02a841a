//! Types of fields.

use kstrace_schema::{Base, ByteOrder, IntegerRange, Mapping};
use std::sync::Arc;

/// Metadata may make one type of this many parts; more can only be hostile.
pub(crate) const PARTS_MAX: u64 = 1 << 16;
/// Types may nest this deep.
pub(crate) const DEPTH_MAX: u32 = 32;

/// What a field means to a reader of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles(pub(crate) u16);

impl Roles {
    pub(crate) const MAGIC: Roles = Roles(1);
    pub(crate) const STREAM_CLASS: Roles = Roles(1 << 1);
    pub(crate) const STREAM_INSTANCE: Roles = Roles(1 << 2);
    pub(crate) const CONTENT_SIZE: Roles = Roles(1 << 3);
    pub(crate) const PACKET_SIZE: Roles = Roles(1 << 4);
    pub(crate) const BEGIN: Roles = Roles(1 << 5);
    pub(crate) const END: Roles = Roles(1 << 6);
    pub(crate) const DISCARDED: Roles = Roles(1 << 7);
    pub(crate) const SEQUENCE: Roles = Roles(1 << 8);
    pub(crate) const CPU: Roles = Roles(1 << 9);
    pub(crate) const EVENT_CLASS: Roles = Roles(1 << 10);
    /// Updates the stream's clock.
    pub(crate) const CLOCK: Roles = Roles(1 << 11);
    pub(crate) const UUID: Roles = Roles(1 << 12);

    pub(crate) fn has(self, other: Roles) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn with(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// How text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16(ByteOrder),
    Utf32(ByteOrder),
}

impl Encoding {
    pub(crate) fn unit_bytes(self) -> u64 {
        match self {
            Encoding::Utf8 => 1,
            Encoding::Utf16(_) => 2,
            Encoding::Utf32(_) => 4,
        }
    }
}

/// The scopes that a field can stand in, in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    PacketHeader,
    PacketContext,
    EventHeader,
    StreamContext,
    EventContext,
    Fields,
}

impl Origin {
    pub(crate) const ALL: [Origin; 6] = [
        Origin::PacketHeader,
        Origin::PacketContext,
        Origin::EventHeader,
        Origin::StreamContext,
        Origin::EventContext,
        Origin::Fields,
    ];
}

/// How another field is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// From a scope's root.
    Absolute(Origin, Vec<String>),
    /// From the nearest structure outwards, then through the earlier scopes.
    Relative(Vec<String>),
    /// CTF 2 without an origin: up so many structures, then down.
    Up(u32, Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntType {
    pub(crate) size_bits: u32,
    pub(crate) align_bits: u32,
    pub(crate) signed: bool,
    pub(crate) order: ByteOrder,
    pub(crate) base: Base,
    /// 8-bit integers with an encoding are letters.
    pub(crate) encoding: Option<Encoding>,
    /// The clock it is a reading of.
    pub(crate) clock: Option<Arc<str>>,
    /// Names of values; `Some` makes it an enumeration.
    pub(crate) mappings: Option<Vec<Mapping>>,
    pub(crate) roles: Roles,
    /// CTF 2's boolean: 0 is false.
    pub(crate) boolean: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberType {
    /// As people write it: in TSDL without the leading underscore.
    pub(crate) name: String,
    /// As the metadata has it.
    pub(crate) written_name: String,
    pub(crate) class: Arc<Type>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StructType {
    pub(crate) members: Vec<MemberType>,
    /// At least this alignment, whatever the members'.
    pub(crate) align_bits: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OptionType {
    pub(crate) name: String,
    pub(crate) written_name: String,
    /// Selector values, where the metadata gives them; else the tag's labels do.
    pub(crate) ranges: Option<Vec<IntegerRange>>,
    pub(crate) class: Arc<Type>,
}

/// Number of elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ArrayLength {
    Static(u64),
    Dynamic(Lookup),
}

/// What an array is to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SequenceKind {
    Array,
    /// Text; the length counts bytes.
    Text(Encoding),
    /// Bytes.
    Blob,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TypeKind {
    Int(IntType),
    Float {
        size_bits: u32,
        align_bits: u32,
        order: ByteOrder,
    },
    /// Ended by a NUL.
    Text(Encoding),
    Struct(StructType),
    Array {
        element: Arc<Type>,
        length: ArrayLength,
        kind: SequenceKind,
        align_bits: u32,
        roles: Roles,
    },
    Variant {
        /// `None`: not yet said; a TSDL variant can be named before its tag is.
        selector: Option<Lookup>,
        options: Vec<OptionType>,
        optional: bool,
    },
    /// LEB128.
    VarInt(IntType),
}

/// A type with what keeps hostile metadata in bounds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Type {
    pub(crate) kind: TypeKind,
    /// Parts it has, shared ones counted as often as they are used.
    pub(crate) parts: u64,
    pub(crate) depth: u32,
}

impl Type {
    /// A type, or `None` if it has too many parts or is nested too deeply.
    pub(crate) fn new(kind: TypeKind) -> Option<Arc<Type>> {
        let mut parts = 1u64;
        let mut depth = 0;
        let mut add = |inner: &Type| {
            parts = parts.saturating_add(inner.parts);
            depth = depth.max(inner.depth + 1);
        };
        match &kind {
            TypeKind::Struct(s) => s.members.iter().for_each(|m| add(&m.class)),
            TypeKind::Array { element, .. } => add(element),
            TypeKind::Variant { options, .. } => options.iter().for_each(|o| add(&o.class)),
            TypeKind::Int(i) | TypeKind::VarInt(i) => {
                parts += i.mappings.as_ref().map_or(0, |m| m.len() as u64) / 16;
            }
            _ => {}
        }
        (parts <= PARTS_MAX && depth <= DEPTH_MAX).then(|| Arc::new(Type { kind, parts, depth }))
    }

    /// Alignment in bits.
    pub(crate) fn align_bits(&self) -> u32 {
        match &self.kind {
            TypeKind::Int(i) => i.align_bits,
            TypeKind::VarInt(_) => 8,
            TypeKind::Float { align_bits, .. } => *align_bits,
            TypeKind::Text(_) => 8,
            TypeKind::Struct(s) => s
                .members
                .iter()
                .map(|m| m.class.align_bits())
                .fold(s.align_bits.max(1), u32::max),
            TypeKind::Array {
                element,
                align_bits,
                ..
            } => element.align_bits().max(*align_bits),
            // Its alternatives align themselves.
            TypeKind::Variant { .. } => 1,
        }
    }

    pub(crate) fn as_struct(&self) -> Option<&StructType> {
        match &self.kind {
            TypeKind::Struct(s) => Some(s),
            _ => None,
        }
    }
}
