//! From a format file to classes.

use crate::measure::{Shape, Tail};
use crate::members::{self, Names};
use crate::value_names::ValueNames;
use kstrace_schema::{
    ByteOrder, Error, ErrorKind, FieldClass, FieldPath, IntegerClass, Length, Member, Result,
    StructureClass, canonical, namespace,
};
use tracefs::format::{EventFormat, FieldKind, FormatField};
use tracefs::print_fmt::{Constants, NoConstants};

/// No entry is larger than this: lengths and offsets within it have 16 bits.
const MAX_FIXED_LEN_BYTES: u32 = 1 << 16;

/// How the entries of one tracepoint are laid out.
#[derive(Clone, Debug)]
pub struct TracepointLayout {
    /// The class of an entry that is as it should be.
    pub payload: StructureClass,
    /// The class of an odd entry: the fixed fields, and a last member `_rest`
    /// that takes all else.
    pub odd_payload: StructureClass,
    /// Length of the fixed fields, in bytes.
    pub fixed_len_bytes: u32,
    /// Length of every regular entry in bytes, if they are all equal.
    pub static_len_bytes: Option<u32>,
    pub(crate) shape: Shape,
    pub(crate) byte_order: ByteOrder,
}

impl TracepointLayout {
    /// Describes the entries of `system:format.name` as this machine's kernel writes them.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` if the fixed fields take more than 64 KiB.
    pub fn describe(system: &str, format: &EventFormat) -> Result<Self> {
        Self::describe_with(system, format, ByteOrder::NATIVE, &NoConstants)
    }

    /// Describes the entries of `system:format.name` of a machine of that byte order.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` if the fixed fields take more than 64 KiB.
    pub fn describe_in(system: &str, format: &EventFormat, byte_order: ByteOrder) -> Result<Self> {
        Self::describe_with(system, format, byte_order, &NoConstants)
    }

    /// Describes the entries of `system:format.name` of a machine of that byte order,
    /// with values for the kernel's constants that its print format names.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` if the fixed fields take more than 64 KiB.
    pub fn describe_with(
        system: &str,
        format: &EventFormat,
        byte_order: ByteOrder,
        constants: &dyn Constants,
    ) -> Result<Self> {
        if format.fixed_len_bytes() > MAX_FIXED_LEN_BYTES {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{system}:{}: fixed fields of {} bytes, at most {MAX_FIXED_LEN_BYTES} are possible",
                    format.name,
                    format.fixed_len_bytes()
                ),
            ));
        }
        let mut describer = Describer::new(system, format, byte_order);
        describer.value_names = ValueNames::of(format, constants);
        Ok(describer.describe())
    }

    /// Whether the regular class ends with a member that takes the rest.
    pub fn ends_with_rest(&self) -> bool {
        self.payload.ends_with_rest()
    }
}

struct Describer<'a> {
    event: String,
    format: &'a EventFormat,
    byte_order: ByteOrder,
    names: Names,
    members: Vec<Member>,
    /// Where the next member goes.
    end: u32,
    tails: Vec<(String, &'a FormatField, Tail)>,
    flexible: Option<&'a FormatField>,
    /// A dynamic field shares its bytes with another: no tail can be trusted.
    always_odd: bool,
    value_names: ValueNames,
}

impl<'a> Describer<'a> {
    fn new(system: &str, format: &'a EventFormat, byte_order: ByteOrder) -> Self {
        Describer {
            event: format!("{system}:{}", format.name),
            format,
            byte_order,
            names: Names::default(),
            members: Vec::new(),
            end: 0,
            tails: Vec::new(),
            flexible: None,
            always_odd: false,
            value_names: ValueNames::default(),
        }
    }

    fn describe(mut self) -> TracepointLayout {
        let counted = self.counted_array();
        let mut fields: Vec<&FormatField> = self
            .format
            .all_fields()
            .filter(|f| counted.is_none_or(|(_, array)| !std::ptr::eq(array, *f)))
            .collect();
        // Stable: fields at one offset (unions) stay in the order of the text.
        fields.sort_by_key(|f| f.offset_bytes);
        let mut rest = fields.as_slice();
        while let Some((first, after)) = rest.split_first() {
            if let FieldKind::FlexibleArray { .. } = first.kind {
                self.flexible = Some(first);
                rest = after;
                continue;
            }
            let mut end = first.end_bytes();
            let mut overlapping = 0;
            for field in after {
                if field.offset_bytes >= end || field.size_bytes == 0 {
                    break;
                }
                end = end.max(field.end_bytes());
                overlapping += 1;
            }
            let (group, others) = rest.split_at(overlapping + 1);
            rest = others;
            self.pad_to(first.offset_bytes);
            match group {
                [field] => self.fixed_field(field),
                _ => self.overlapping_fields(group, end - first.offset_bytes),
            }
            self.end = end;
        }
        if let Some((count, _)) = counted
            && let Some(member) = self.members.iter_mut().find(|m| m.name == count.name)
            && let FieldClass::Integer(class) = &mut member.class
        {
            // Declared `int`, but the length of an array is none that could be negative: CTF
            // readers refuse such a one.
            class.signed = false;
        }
        self.finish(counted)
    }

    /// The fields of ftrace's kernel stack: how many, and the addresses. The
    /// format file gives the addresses a fixed number that the entries do not have.
    fn counted_array(&self) -> Option<(&'a FormatField, &'a FormatField)> {
        if self.event != "ftrace:kernel_stack" {
            return None;
        }
        let count = self
            .format
            .field("size")
            .filter(|f| f.kind == FieldKind::Scalar)?;
        let array = self.format.field("caller")?;
        let is_array = matches!(
            array.kind,
            FieldKind::Array { .. } | FieldKind::FlexibleArray { .. }
        );
        let is_last = self
            .format
            .all_fields()
            .all(|f| f.offset_bytes <= array.offset_bytes);
        (is_array && is_last && count.end_bytes() <= array.offset_bytes).then_some((count, array))
    }

    fn pad_to(&mut self, offset: u32) {
        if offset > self.end {
            self.members.push(Member::padding(offset - self.end));
            self.end = offset;
        }
    }

    fn role(&self, field: &str) -> Option<kstrace_schema::Role> {
        canonical::role(namespace::FTRACE, &self.event, field)
    }

    fn fixed_field(&mut self, field: &'a FormatField) {
        let (relative, element) = match &field.kind {
            FieldKind::DataLoc { element } => (false, element),
            FieldKind::RelLoc { element } => (true, element),
            _ => {
                let name = self.names.unique(&field.name);
                let mut class = members::fixed_class(&self.event, field, self.byte_order);
                self.value_names.apply(field, &mut class);
                let role = self.role(&field.name);
                self.members.push(Member { name, class, role });
                return;
            }
        };
        let name = self.names.unique(&format!("_{}_loc", field.name));
        self.tails.push((
            name.clone(),
            field,
            Tail {
                word_offset: field.offset_bytes as usize,
                base: if relative {
                    field.end_bytes() as usize
                } else {
                    0
                },
                element_size_bytes: element.map_or(1, |e| e.size_bytes as usize),
            },
        ));
        let half = |name: &str| {
            let class = IntegerClass {
                byte_order: self.byte_order,
                ..IntegerClass::unsigned(2)
            };
            Member::new(name, FieldClass::Integer(class))
        };
        let halves = match self.byte_order {
            ByteOrder::LittleEndian => vec![half("offset"), half("length")],
            ByteOrder::BigEndian => vec![half("length"), half("offset")],
        };
        self.members.push(Member::new(
            name,
            FieldClass::Structure(StructureClass::new(halves)),
        ));
    }

    fn overlapping_fields(&mut self, group: &[&FormatField], size_bytes: u32) {
        self.always_odd |= group.iter().any(|f| f.kind.is_dynamic());
        let joined: Vec<&str> = group.iter().map(|f| f.name.as_str()).collect();
        let name = self.names.unique(&joined.join("_or_"));
        self.members
            .push(Member::new(name, FieldClass::StaticBlob { size_bytes }));
    }

    fn finish(mut self, counted: Option<(&FormatField, &FormatField)>) -> TracepointLayout {
        if let Some(at) = counted.map(|(_, array)| array).or(self.flexible) {
            self.pad_to(at.offset_bytes);
        }
        let fixed_len_bytes = self.end;
        let mut odd = self.members.clone();
        let rest = FieldClass::DynamicBlob {
            length: Length::Rest,
        };
        odd.push(Member::new(self.names.unique("_rest"), rest));
        let odd_payload = StructureClass::new(odd);

        let shape = self.tail_members(counted);
        let payload = match shape {
            Shape::AlwaysOdd => odd_payload.clone(),
            _ => StructureClass::new(self.members),
        };
        TracepointLayout {
            static_len_bytes: matches!(shape, Shape::Static).then_some(fixed_len_bytes),
            payload,
            odd_payload,
            fixed_len_bytes,
            shape,
            byte_order: self.byte_order,
        }
    }

    /// Adds what follows the fixed fields.
    fn tail_members(&mut self, counted: Option<(&FormatField, &FormatField)>) -> Shape {
        if self.always_odd || (self.flexible.is_some() && !self.tails.is_empty()) {
            return Shape::AlwaysOdd;
        }
        if let Some((count, array)) = counted {
            let element = members::element_class(&self.event, array, self.byte_order);
            let length = Length::Field(FieldPath::new([count.name.as_str()]));
            let element_size_bytes = element.static_size_bytes().unwrap_or(8) as usize;
            let name = self.names.unique(&array.name);
            let class = FieldClass::DynamicArray {
                element: Box::new(element),
                length,
            };
            self.members.push(Member {
                name,
                class,
                role: self.role(&array.name),
            });
            return Shape::Counted {
                count_offset: count.offset_bytes as usize,
                count_size_bytes: count.size_bytes as usize,
                element_size_bytes,
            };
        }
        if let Some(field) = self.flexible {
            return self.flexible_member(field);
        }
        if self.tails.is_empty() {
            return Shape::Static;
        }
        let tails = std::mem::take(&mut self.tails);
        for (loc, field, _) in &tails {
            let length = Length::Field(FieldPath::new([loc.as_str(), "length"]));
            let class = if field.known_type().is_some_and(|t| t.text) {
                FieldClass::DynamicString { length }
            } else {
                FieldClass::DynamicBlob { length }
            };
            let name = self.names.unique(&field.name);
            self.members.push(Member {
                name,
                class,
                role: self.role(&field.name),
            });
        }
        Shape::Tails(tails.into_iter().map(|(_, _, tail)| tail).collect())
    }

    fn flexible_member(&mut self, field: &FormatField) -> Shape {
        let name = self.names.unique(&field.name);
        let role = self.role(&field.name);
        let known = field.known_type();
        let (class, shape) = match known {
            Some(t) if t.text && self.event != "ftrace:raw_data" => {
                (FieldClass::NullTerminatedString, Shape::NulText)
            }
            Some(t) if t.size_bytes > 1 => {
                let element = members::element_class(&self.event, field, self.byte_order);
                let length = Length::Rest;
                (
                    FieldClass::DynamicArray {
                        element: Box::new(element),
                        length,
                    },
                    Shape::Rest {
                        element_size_bytes: t.size_bytes as usize,
                    },
                )
            }
            _ => (
                FieldClass::DynamicBlob {
                    length: Length::Rest,
                },
                Shape::Rest {
                    element_size_bytes: 1,
                },
            ),
        };
        self.members.push(Member { name, class, role });
        shape
    }
}
