//! Field classes: the description of a payload's bytes.
//!
//! A payload is described by one [`StructureClass`]. Its layout is strictly
//! sequential and byte-granular: member after member, no implicit alignment;
//! every hole is an explicit [`FieldClass::Padding`]. What has a dynamic size
//! says which earlier field holds its length.

use crate::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Byte order of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ByteOrder {
    /// Least significant byte first.
    LittleEndian,
    /// Most significant byte first.
    BigEndian,
}

impl ByteOrder {
    /// The byte order of the machine this runs on.
    pub const NATIVE: ByteOrder = if cfg!(target_endian = "little") {
        ByteOrder::LittleEndian
    } else {
        ByteOrder::BigEndian
    };
}

/// The base a person prefers to read an integer in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// 2
    Binary,
    /// 8
    Octal,
    /// 10
    #[default]
    Decimal,
    /// 16
    Hexadecimal,
}

/// An inclusive range of integer values.
///
/// Both ends are held as `i128` so that the whole of `i64` and of `u64` fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct IntegerRange {
    /// Smallest value of the range.
    pub first: i128,
    /// Largest value of the range.
    pub last: i128,
}

impl IntegerRange {
    /// Whether `value` lies in the range.
    pub fn contains(&self, value: i128) -> bool {
        self.first <= value && value <= self.last
    }
}

/// A name for some values of an integer (an enumeration's label).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Mapping {
    /// The name.
    pub name: String,
    /// The values that have it.
    pub ranges: Vec<IntegerRange>,
}

/// A fixed-length integer of 1, 2, 4 or 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct IntegerClass {
    /// Width in bytes: 1, 2, 4 or 8.
    pub size_bytes: u8,
    /// Two's complement if true.
    pub signed: bool,
    /// Byte order.
    pub byte_order: ByteOrder,
    /// Preferred display base.
    #[serde(default)]
    pub base: Base,
    /// Names of values; empty for a plain integer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
}

impl IntegerClass {
    /// An unsigned integer in native byte order.
    pub const fn unsigned(size_bytes: u8) -> Self {
        IntegerClass {
            size_bytes,
            signed: false,
            byte_order: ByteOrder::NATIVE,
            base: Base::Decimal,
            mappings: Vec::new(),
        }
    }

    /// A signed integer in native byte order.
    pub fn signed(size_bytes: u8) -> Self {
        IntegerClass {
            signed: true,
            ..Self::unsigned(size_bytes)
        }
    }

    /// The same integer, preferably read in hexadecimal.
    pub fn hex(mut self) -> Self {
        self.base = Base::Hexadecimal;
        self
    }
}

/// An IEEE 754 number of 4 or 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct FloatClass {
    /// Width in bytes: 4 or 8.
    pub size_bytes: u8,
    /// Byte order.
    pub byte_order: ByteOrder,
}

/// Names an integer field that was laid out earlier in the same payload.
///
/// Absolute, from the payload's root: `["nr"]`, `["_filename_loc", "length"]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// A path from its parts.
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Self {
        FieldPath(parts.into_iter().map(Into::into).collect())
    }
}

/// Where a dynamic length stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// The value of an earlier integer field: elements of a sequence, bytes of a string or BLOB.
    Field(FieldPath),
    /// All that is left of the payload, in bytes. Allowed only for the last
    /// member; the record header carries it as
    /// [`rest_len_bytes`](crate::EventRecord::rest_len_bytes).
    Rest,
}

/// One alternative of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct VariantOption {
    /// Its name.
    pub name: String,
    /// Selector values for which it is the one present.
    pub ranges: Vec<IntegerRange>,
    /// What it then is.
    pub class: FieldClass,
}

/// The class of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FieldClass {
    /// Bytes without meaning.
    Padding {
        /// How many bytes.
        size_bytes: u32,
    },
    /// An integer, possibly with named values.
    Integer(IntegerClass),
    /// A floating-point number.
    Float(FloatClass),
    /// One byte: 0 is false, all else true.
    Boolean,
    /// UTF-8 text up to and including a NUL.
    NullTerminatedString,
    /// Text in a fixed number of bytes, ended early by a NUL.
    StaticString {
        /// Room for the text in bytes.
        size_bytes: u32,
    },
    /// Text in a dynamic number of bytes, ended early by a NUL.
    DynamicString {
        /// Room for the text in bytes.
        length: Length,
    },
    /// A fixed number of equal elements.
    StaticArray {
        /// Class of each element.
        element: Box<FieldClass>,
        /// Number of elements.
        count: u32,
    },
    /// A dynamic number of equal elements.
    DynamicArray {
        /// Class of each element.
        element: Box<FieldClass>,
        /// Number of elements (`Rest`: bytes, all that is left).
        length: Length,
    },
    /// A fixed number of opaque bytes.
    StaticBlob {
        /// Size in bytes.
        size_bytes: u32,
    },
    /// A dynamic number of opaque bytes.
    DynamicBlob {
        /// Size in bytes.
        length: Length,
    },
    /// Fields one after the other.
    Structure(StructureClass),
    /// One of several classes, chosen by an earlier integer.
    Variant {
        /// The choosing field.
        selector: FieldPath,
        /// The alternatives; a selector value in none of them means zero bytes.
        options: Vec<VariantOption>,
    },
    /// A field that is present only for some values of an earlier integer.
    Optional {
        /// The choosing field.
        selector: FieldPath,
        /// Values for which the field is present.
        ranges: Vec<IntegerRange>,
        /// What it then is.
        class: Box<FieldClass>,
    },
}

impl FieldClass {
    /// The size in bytes, if it is the same in every record.
    pub fn static_size_bytes(&self) -> Option<u32> {
        match self {
            FieldClass::Padding { size_bytes }
            | FieldClass::StaticString { size_bytes }
            | FieldClass::StaticBlob { size_bytes } => Some(*size_bytes),
            FieldClass::Integer(c) => Some(c.size_bytes.into()),
            FieldClass::Float(c) => Some(c.size_bytes.into()),
            FieldClass::Boolean => Some(1),
            FieldClass::StaticArray { element, count } => {
                element.static_size_bytes()?.checked_mul(*count)
            }
            FieldClass::Structure(c) => c.static_size_bytes(),
            _ => None,
        }
    }
}

/// A named field of a structure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its name; empty for padding.
    pub name: String,
    /// Its class.
    pub class: FieldClass,
    /// What it means across sources, if that is known. A role of a later minor
    /// version counts as none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::role::known_or_none"
    )]
    pub role: Option<Role>,
}

impl Member {
    /// A member without a role.
    pub fn new(name: impl Into<String>, class: FieldClass) -> Self {
        Member {
            name: name.into(),
            class,
            role: None,
        }
    }

    /// An explicit hole.
    pub fn padding(size_bytes: u32) -> Self {
        Member::new("", FieldClass::Padding { size_bytes })
    }

    /// The same member with a role.
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }
}

/// Members laid out one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StructureClass {
    /// The members, in the order of their bytes.
    pub members: Vec<Member>,
}

impl StructureClass {
    /// A structure of these members.
    pub fn new(members: Vec<Member>) -> Self {
        StructureClass { members }
    }

    /// The size in bytes, if it is the same in every record.
    pub fn static_size_bytes(&self) -> Option<u32> {
        self.members
            .iter()
            .try_fold(0u32, |sum, m| sum.checked_add(m.class.static_size_bytes()?))
    }

    /// Byte offset of a direct member from the structure's start, if no
    /// dynamically sized member stands before it.
    pub fn static_offset_bytes(&self, name: &str) -> Option<u32> {
        let mut offset = 0u32;
        for member in &self.members {
            if member.name == name {
                return Some(offset);
            }
            offset = offset.checked_add(member.class.static_size_bytes()?)?;
        }
        None
    }

    /// The direct member of that name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.name == name)
    }

    /// The first direct member with that role.
    pub fn member_with_role(&self, role: Role) -> Option<&Member> {
        self.members.iter().find(|m| m.role == Some(role))
    }

    /// Whether the last member takes all that is left of the payload.
    pub fn ends_with_rest(&self) -> bool {
        matches!(
            self.members.last().map(|m| &m.class),
            Some(
                FieldClass::DynamicBlob {
                    length: Length::Rest
                } | FieldClass::DynamicString {
                    length: Length::Rest
                } | FieldClass::DynamicArray {
                    length: Length::Rest,
                    ..
                }
            )
        )
    }
}
