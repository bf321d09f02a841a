//! Samples of tracepoints: which class fits a record.

use super::byte_order::{self, u32_at, u64_at};
use super::{RawPart, RawPlace, SampleShape};
use crate::uapi::HEADER_BYTES;
use kstrace_schema::{ByteOrder, FieldClass, Member, StructureClass};
use kstrace_tracepoint::{Measured, TracepointLayout};

/// Which of the classes of an event a sample belongs to.
///
/// The kernel pads raw data to 8 bytes with the 4 of `raw_size` before it, and
/// the entry itself to its C structure's alignment, which the format file does
/// not tell. So the padding is foretold, looked at in each record, and described
/// another way where it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RawForm {
    /// As foretold.
    Regular,
    /// The fields as foretold, followed by other padding.
    Slack,
    /// Dynamic data that stand elsewhere: see [`TracepointLayout::odd_payload`].
    Odd,
    /// Raw data that do not hold the event's fields.
    Blob,
}

impl RawForm {
    /// All of them.
    pub const ALL: [RawForm; 4] = [
        RawForm::Regular,
        RawForm::Slack,
        RawForm::Odd,
        RawForm::Blob,
    ];
}

/// The layout of one event's samples.
#[derive(Clone, Debug)]
pub struct SampleLayout {
    shape: SampleShape,
    tracepoint: Option<Box<TracepointLayout>>,
    place: Option<RawPlace>,
    /// `raw_size` of each regular sample, if they are all equal.
    static_raw_size: Option<u32>,
    byte_order: ByteOrder,
}

impl SampleLayout {
    /// Samples of that shape. `tracepoint` describes the raw data, if they are a tracepoint's.
    ///
    /// Without one, or where the raw part is not last, raw data are bytes.
    pub fn new(shape: SampleShape, tracepoint: Option<TracepointLayout>) -> Self {
        Self::new_in(shape, tracepoint, ByteOrder::NATIVE)
    }

    /// The same for samples of a machine of that byte order, which must be `tracepoint`'s too.
    pub fn new_in(
        shape: SampleShape,
        tracepoint: Option<TracepointLayout>,
        byte_order: ByteOrder,
    ) -> Self {
        let describes = shape.raw_is_last() && shape.raw_place().is_some();
        let tracepoint = tracepoint.filter(|_| describes).map(Box::new);
        let static_raw_size = tracepoint.as_deref().and_then(|t| {
            let fields = t.static_len_bytes?;
            let alignment = natural_alignment(&t.payload);
            Some((fields.next_multiple_of(alignment) + 4).next_multiple_of(8) - 4)
        });
        SampleLayout {
            shape,
            place: shape.raw_place(),
            tracepoint,
            static_raw_size,
            byte_order,
        }
    }

    /// The shape of the samples.
    pub fn shape(&self) -> &SampleShape {
        &self.shape
    }

    /// The payload class of a form; of samples without described raw data all
    /// forms are the regular one.
    pub fn payload(&self, form: RawForm) -> StructureClass {
        let mut class = self.shape.payload(&self.raw_part(form));
        byte_order::set(&mut class, self.byte_order);
        class
    }

    fn raw_part(&self, form: RawForm) -> RawPart {
        let Some(tracepoint) = &self.tracepoint else {
            return RawPart::Blob;
        };
        let members = tracepoint.payload.members.clone();
        match (form, self.static_raw_size, tracepoint.static_len_bytes) {
            (RawForm::Regular, Some(raw), Some(fields)) => RawPart::Fields {
                members,
                padding_bytes: raw.saturating_sub(fields),
            },
            (RawForm::Regular | RawForm::Slack, ..) if tracepoint.ends_with_rest() => {
                RawPart::Fields {
                    members,
                    padding_bytes: 0,
                }
            }
            (RawForm::Regular | RawForm::Slack, ..) => RawPart::FieldsAndRest { members },
            (RawForm::Odd, ..) => RawPart::Fields {
                members: tracepoint.odd_payload.members.clone(),
                padding_bytes: 0,
            },
            (RawForm::Blob, ..) => RawPart::Blob,
        }
    }

    /// For samples whose regular form has one size: where `raw_size` stands and
    /// what it must be for the regular form, without a rest. A reader that has
    /// checked this need not [`classify`](SampleLayout::classify).
    #[inline]
    pub fn static_raw(&self) -> Option<(RawPlace, u32)> {
        self.place.zip(self.static_raw_size)
    }

    /// Whether every sample is of the regular form and has no rest.
    #[inline]
    pub fn is_always_regular(&self) -> bool {
        self.tracepoint.is_none() && self.shape.is_known()
    }

    /// The form of a sample, and how many bytes at its end fall to the class's rest.
    ///
    /// `None` if the record is cut off within its raw data.
    pub fn classify(&self, record: &[u8]) -> Option<(RawForm, u16)> {
        let (Some(tracepoint), Some(place)) = (&self.tracepoint, self.place) else {
            return Some((RawForm::Regular, self.unknown_rest(record)?));
        };
        let size_at = raw_size_offset(place, record, self.byte_order)?;
        let size = u32_at(record, size_at, self.byte_order)?;
        let data_at = size_at + 4;
        let data_end = data_at.checked_add(usize::try_from(size).ok()?)?;
        let entry = record.get(data_at..data_end)?;
        let after_entry = record.len() - data_end;
        let rest = |from_entry: usize| u16::try_from(after_entry + from_entry).ok();
        // Of unknown parts behind the bytes the class has a rest.
        let blob_rest = match self.shape.is_known() {
            true => Some(0),
            false => rest(0),
        };
        let (form, rest) = match tracepoint.measure(entry) {
            Measured::Regular {
                len_bytes,
                rest_len_bytes,
            } => {
                let slack = entry.len() - len_bytes;
                if self.static_raw_size == Some(size) && after_entry == 0 {
                    (RawForm::Regular, Some(0))
                } else if tracepoint.ends_with_rest() {
                    // What follows the last whole element has no place behind a rest.
                    let whole = slack == 0 && after_entry == 0;
                    match whole {
                        true => (RawForm::Regular, Some(rest_len_bytes)),
                        false => (RawForm::Blob, blob_rest),
                    }
                } else if self.static_raw_size.is_some() {
                    (RawForm::Slack, rest(slack))
                } else {
                    (RawForm::Regular, rest(slack))
                }
            }
            Measured::Odd { rest_len_bytes, .. } => {
                (RawForm::Odd, rest(usize::from(rest_len_bytes)))
            }
            Measured::TooShort | Measured::TooLong => (RawForm::Blob, blob_rest),
        };
        Some((form, rest?))
    }

    /// What follows the parts that this crate knows.
    fn unknown_rest(&self, record: &[u8]) -> Option<u16> {
        if self.shape.is_known() {
            return Some(0);
        }
        let known = self.payload(RawForm::Regular);
        let len = kstrace_schema::decode::walk(&known, record, 0, &mut Ignore).ok()?;
        u16::try_from(record.len().checked_sub(len)?).ok()
    }
}

/// Where `raw_size` stands in this record.
fn raw_size_offset(place: RawPlace, record: &[u8], byte_order: ByteOrder) -> Option<usize> {
    match place {
        RawPlace::At(at) => Some(at),
        RawPlace::AfterCallchain(at) => {
            let count = usize::try_from(u64_at(record, at, byte_order)?)
                .ok()
                .filter(|n| *n <= record.len() / 8)?;
            Some(at + 8 + 8 * count)
        }
    }
}

pub(super) struct Ignore;

impl<'a> kstrace_schema::decode::Visitor<'a> for Ignore {
    fn value(
        &mut self,
        _: &kstrace_schema::decode::Field<'a>,
        _: kstrace_schema::decode::Value<'a>,
    ) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
}

/// The alignment of the C structure with these fields, at least that of
/// `common_pid`: 4, or 8 if any field is a number of 8 bytes.
fn natural_alignment(class: &StructureClass) -> u32 {
    fn has_eight(class: &FieldClass) -> bool {
        match class {
            FieldClass::Integer(i) => i.size_bytes == 8,
            FieldClass::Float(f) => f.size_bytes == 8,
            FieldClass::StaticArray { element, .. } => has_eight(element),
            FieldClass::Structure(s) => s.members.iter().any(|m: &Member| has_eight(&m.class)),
            _ => false,
        }
    }
    if class.members.iter().any(|m| has_eight(&m.class)) {
        8
    } else {
        4
    }
}

const _: () = assert!(HEADER_BYTES == 8);
