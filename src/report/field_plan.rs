//! All fields of a class as steps, worked out once: most lines are made of the same names around
//! other values.
//!
//! A plan does what [`walk`](kstrace_schema::decode::walk) with a visitor does, for classes without
//! variants, optionals, and arrays of structures. Where a record turns out not to be as its class
//! says, the plan gives up, and the walk tells what is wrong.

use super::fields_text::{self, FieldsText};
use super::json::{self, FieldsJson};
use kstrace_schema::decode::{Field, Value, Visitor, read_integer};
use kstrace_schema::{
    Base, ByteOrder, FieldClass, FieldPath, IntegerClass, Length, Role, StructureClass,
};
use std::sync::OnceLock;
use tracefs::digits::{Label, NUMBER_BYTES, Room, SURPLUS_BYTES};

/// Lengths that a record's later parts may depend on.
const MAX_SLOTS: usize = 16;
/// Numbers of an array that are written as a plan.
const MAX_ELEMENTS: usize = 64;
/// More is not made room for at once.
const MAX_ROOM_BYTES: usize = 4096;
/// Structures nest at most this deep in a plan.
const MAX_DEPTH: usize = 16;

/// How the names around the values are written, and the values.
pub(super) trait Style<'a>: Visitor<'a> {
    /// The field's name and what comes before its value; false if it is not shown.
    fn name_of(&mut self, field: &Field<'a>) -> bool;

    /// Takes what was written so far.
    fn take_written(&mut self) -> Vec<u8>;
}

/// The plans of a class, each made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct FieldPlans {
    text: OnceLock<Option<FieldPlan>>,
    json: OnceLock<Option<FieldPlan>>,
    entry_json: OnceLock<Option<FieldPlan>>,
}

impl FieldPlans {
    /// As [`FieldsText`] writes them; `perf` as there.
    pub(super) fn text(&self, class: &StructureClass, perf: bool) -> Option<&FieldPlan> {
        let make = || {
            let mut scratch = Vec::new();
            FieldPlan::new(Form::Text, class, &mut FieldsText::new(&mut scratch, perf))
        };
        self.text.get_or_init(make).as_ref()
    }

    /// As [`FieldsJson`] writes them; `without_raw` as there.
    pub(super) fn json(&self, class: &StructureClass, without_raw: bool) -> Option<&FieldPlan> {
        let make = || {
            let mut scratch = Vec::new();
            let mut style = FieldsJson::new(&mut scratch, true, without_raw);
            FieldPlan::new(Form::Json, class, &mut style)
        };
        self.json.get_or_init(make).as_ref()
    }

    /// The same for the tracepoint's entry within a record.
    pub(super) fn entry_json(&self, class: &StructureClass) -> Option<&FieldPlan> {
        let make = || {
            let mut scratch = Vec::new();
            let mut style = FieldsJson::new(&mut scratch, true, false);
            FieldPlan::new(Form::Json, class, &mut style)
        };
        self.entry_json.get_or_init(make).as_ref()
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// The steps through a payload.
#[derive(Debug)]
pub(super) struct FieldPlan {
    form: Form,
    parts: Box<[Part]>,
    /// What is written behind the last value.
    end: Box<[u8]>,
    /// It writes something.
    writes: bool,
}

/// Neighbours that are all numbers, and what room they take at most; or a step that is not.
#[derive(Debug)]
enum Part {
    Numbers {
        steps: Box<[Step]>,
        room_bytes: usize,
    },
    Other(Step),
}

#[derive(Debug)]
struct Step {
    /// Written before the value.
    before: Label,
    shown: bool,
    /// Where the value is kept for a later length, plus one.
    slot: u8,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A plain integer.
    Integer(Plain),
    /// So many of them.
    Integers(Plain, usize),
    /// Of fixed size.
    Fixed(FieldClass, usize),
    /// Up to a NUL and past it.
    Text,
    /// A length times so many bytes.
    Counted(FieldClass, From, usize),
    /// Bytes without meaning.
    Hole(usize),
}

#[derive(Clone, Copy, Debug)]
struct Plain {
    size: u8,
    signed: bool,
    swapped: bool,
    hex: bool,
}

/// Where a length comes from.
#[derive(Clone, Copy, Debug)]
enum From {
    Slot { place: u8, signed: bool },
    Rest,
}

impl FieldPlan {
    /// The plan of a class; `None` if it needs a walk.
    fn new<'a>(
        form: Form,
        class: &'a StructureClass,
        style: &mut impl Style<'a>,
    ) -> Option<FieldPlan> {
        let mut maker = Maker {
            form,
            style,
            path: Vec::new(),
            integers: Vec::new(),
            steps: Vec::new(),
            slots: 0,
        };
        maker.members(class)?;
        let end = maker.style.take_written();
        let is_empty = |step: &Step| step.before.as_bytes().is_empty() && !step.shown;
        Some(FieldPlan {
            form,
            writes: !end.is_empty() || !maker.steps.iter().all(is_empty),
            parts: grouped(maker.steps).into(),
            end: end.into(),
        })
    }

    /// Whether it writes anything at all.
    pub(super) fn writes_anything(&self) -> bool {
        self.writes
    }

    /// Writes all fields of a payload. `None` if it is not as its class says: what was written
    /// then has no meaning.
    pub(super) fn write(
        &self,
        payload: &[u8],
        rest_len_bytes: u16,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut slots = [0u64; MAX_SLOTS];
        let mut left = payload;
        for part in &self.parts {
            match part {
                Part::Numbers { steps, room_bytes } => {
                    let start = out.len();
                    out.resize(start + room_bytes + SURPLUS_BYTES, 0);
                    let mut room = Room::new(out.get_mut(start..)?);
                    left = self.numbers(steps, left, &mut slots, &mut room)?;
                    let len = room.finish()?;
                    out.truncate(start + len);
                }
                Part::Other(step) => {
                    out.extend_from_slice(step.before.as_bytes());
                    left = self.other(step, left, rest_len_bytes, &mut slots, out)?;
                }
            }
        }
        out.extend_from_slice(&self.end);
        Some(())
    }

    /// Writes numbers; gives what is behind them.
    fn numbers<'p>(
        &self,
        steps: &[Step],
        mut left: &'p [u8],
        slots: &mut [u64; MAX_SLOTS],
        room: &mut Room<'_>,
    ) -> Option<&'p [u8]> {
        for step in steps {
            room.label(&step.before);
            match &step.what {
                What::Integer(plain) => {
                    let value;
                    (value, left) = plain.load(left)?;
                    if let Some(place) = slots.get_mut(usize::from(step.slot).wrapping_sub(1)) {
                        *place = value;
                    }
                    if step.shown {
                        plain.write(value, room);
                    }
                }
                What::Integers(plain, count) => {
                    let mut all;
                    (all, left) = left.split_at_checked(count * usize::from(plain.size))?;
                    if !step.shown {
                        continue;
                    }
                    room.byte(b'[');
                    for i in 0..*count {
                        let value;
                        (value, all) = plain.load(all)?;
                        match (i, self.form) {
                            (0, _) => {}
                            (_, Form::Text) => room.text(b", "),
                            (_, Form::Json) => room.byte(b','),
                        }
                        plain.write(value, room);
                    }
                    room.byte(b']');
                }
                What::Hole(size) => left = left.get(*size..)?,
                What::Fixed(..) | What::Text | What::Counted(..) => return None,
            }
        }
        Some(left)
    }

    /// Writes what is no plain number; gives what is behind it.
    fn other<'p>(
        &self,
        step: &Step,
        left: &'p [u8],
        rest_len_bytes: u16,
        slots: &mut [u64; MAX_SLOTS],
        out: &mut Vec<u8>,
    ) -> Option<&'p [u8]> {
        let (class, size) = match &step.what {
            What::Fixed(class, size) => (class, *size),
            What::Text => {
                let len = left.iter().position(|b| *b == 0)?;
                let (text, rest) = left.split_at_checked(len)?;
                if step.shown {
                    self.text(text, out);
                }
                return rest.get(1..);
            }
            What::Counted(class, from, unit) => {
                let size = match from {
                    From::Rest => usize::from(rest_len_bytes),
                    From::Slot { place, signed } => {
                        let count = slots.get(usize::from(*place)).copied()?;
                        if *signed && (count as i64) < 0 {
                            return None;
                        }
                        usize::try_from(count).ok()?.checked_mul(*unit)?
                    }
                };
                if !size.is_multiple_of(*unit) {
                    return None;
                }
                (class, size)
            }
            What::Integer(_) | What::Integers(..) | What::Hole(_) => return None,
        };
        let (bytes, rest) = left.split_at_checked(size)?;
        if let (Some(place), FieldClass::Integer(integer)) =
            (slots.get_mut(usize::from(step.slot).wrapping_sub(1)), class)
        {
            *place = read_integer(integer, bytes)?;
        }
        if step.shown {
            self.value(class, bytes, out)?;
        }
        Some(rest)
    }

    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        match self.form {
            Form::Text => fields_text::escaped(out, text),
            Form::Json => json::string(out, text),
        }
    }

    fn value(&self, class: &FieldClass, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let value = Value::of(class, bytes)?;
        match (self.form, value) {
            (_, Value::Str(text)) => self.text(text, out),
            (Form::Text, value) => fields_text::write_value(out, class, value),
            (Form::Json, value) => json::value(out, value),
        }
        Some(())
    }
}

impl Plain {
    fn of(class: &IntegerClass, form: Form) -> Option<Self> {
        let hex = match (form, class.base) {
            (Form::Json, _) | (_, Base::Decimal) => false,
            (_, Base::Hexadecimal) => true,
            _ => return None,
        };
        // JSON has numbers where text has names.
        if form == Form::Text && !class.mappings.is_empty() {
            return None;
        }
        matches!(class.size_bytes, 1 | 2 | 4 | 8).then_some(Plain {
            size: class.size_bytes,
            signed: class.signed,
            swapped: class.byte_order != ByteOrder::NATIVE,
            hex,
        })
    }

    /// The value, sign-extended if it is signed, and what is behind it.
    #[inline]
    fn load<'p>(&self, bytes: &'p [u8]) -> Option<(u64, &'p [u8])> {
        macro_rules! load {
            ($unsigned:ty, $signed:ty) => {{
                let (raw, rest) = bytes.split_first_chunk()?;
                let raw = <$unsigned>::from_ne_bytes(*raw);
                let raw = if self.swapped { raw.swap_bytes() } else { raw };
                let value = if self.signed {
                    i64::from(raw as $signed) as u64
                } else {
                    u64::from(raw)
                };
                Some((value, rest))
            }};
        }
        match self.size {
            1 => load!(u8, i8),
            2 => load!(u16, i16),
            4 => load!(u32, i32),
            _ => load!(u64, i64),
        }
    }

    #[inline]
    fn write(&self, value: u64, room: &mut Room<'_>) {
        if self.hex {
            room.text(b"0x");
            // A negative number has no more digits than its width.
            let unused = 64 - 8 * u32::from(self.size);
            room.hex(value << unused >> unused);
        } else if self.signed {
            room.signed_decimal(value as i64);
        } else {
            room.decimal(value);
        }
    }
}

impl Step {
    /// Room for what it writes, if it is written into room at all.
    fn room_bytes(&self) -> Option<usize> {
        let value = match &self.what {
            What::Integer(_) => NUMBER_BYTES,
            What::Integers(_, count) => 2 + count * (NUMBER_BYTES + 2),
            What::Hole(_) => 0,
            What::Fixed(..) | What::Text | What::Counted(..) => return None,
        };
        Some(self.before.as_bytes().len() + value)
    }
}

fn grouped(steps: Vec<Step>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut run = Vec::new();
    let mut room_bytes = 0;
    let close = |run: &mut Vec<Step>, room_bytes: usize, parts: &mut Vec<Part>| {
        if !run.is_empty() {
            let steps = std::mem::take(run).into();
            parts.push(Part::Numbers { steps, room_bytes });
        }
    };
    for step in steps {
        match step.room_bytes() {
            Some(bytes) if room_bytes <= MAX_ROOM_BYTES => {
                room_bytes += bytes;
                run.push(step);
            }
            Some(bytes) => {
                close(&mut run, room_bytes, &mut parts);
                room_bytes = bytes;
                run.push(step);
            }
            None => {
                close(&mut run, room_bytes, &mut parts);
                room_bytes = 0;
                parts.push(Part::Other(step));
            }
        }
    }
    close(&mut run, room_bytes, &mut parts);
    parts
}

struct Maker<'a, 's, S> {
    form: Form,
    style: &'s mut S,
    /// Names of the structures that are open.
    path: Vec<&'a str>,
    /// Integers so far: their paths, steps, and whether they are signed.
    integers: Vec<(Vec<&'a str>, usize, bool)>,
    steps: Vec<Step>,
    slots: u8,
}

impl<'a, S: Style<'a>> Maker<'a, '_, S> {
    fn members(&mut self, class: &'a StructureClass) -> Option<()> {
        class
            .members
            .iter()
            .try_for_each(|m| self.field(&m.name, &m.class, m.role))
    }

    fn field(&mut self, name: &'a str, class: &'a FieldClass, role: Option<Role>) -> Option<()> {
        let field = Field {
            name,
            class,
            role,
            offset_bytes: 0,
        };
        let what = match class {
            FieldClass::Structure(inner) => {
                if self.path.len() >= MAX_DEPTH {
                    return None;
                }
                let _ = self.style.begin_structure(&field);
                self.path.push(name);
                self.members(inner)?;
                self.path.pop();
                let _ = self.style.end_structure();
                return Some(());
            }
            FieldClass::Padding { size_bytes } => {
                self.push(None, What::Hole(*size_bytes as usize));
                return Some(());
            }
            FieldClass::Integer(integer) => {
                let mut path = self.path.clone();
                path.push(name);
                self.integers.push((path, self.steps.len(), integer.signed));
                match Plain::of(integer, self.form) {
                    Some(plain) => What::Integer(plain),
                    None => What::Fixed(class.clone(), integer.size_bytes.into()),
                }
            }
            FieldClass::NullTerminatedString => What::Text,
            FieldClass::DynamicString { length } | FieldClass::DynamicBlob { length } => {
                What::Counted(class.clone(), self.length(length)?, 1)
            }
            FieldClass::DynamicArray { element, length } => {
                What::Counted(class.clone(), self.length(length)?, element_bytes(element)?)
            }
            FieldClass::StaticArray { element, count } => {
                let size = element_bytes(element)?.checked_mul(*count as usize)?;
                let plain = match &**element {
                    FieldClass::Integer(integer) => Plain::of(integer, self.form),
                    _ => None,
                };
                match plain.filter(|_| *count as usize <= MAX_ELEMENTS) {
                    Some(plain) => What::Integers(plain, *count as usize),
                    None => What::Fixed(class.clone(), size),
                }
            }
            FieldClass::Float(_)
            | FieldClass::Boolean
            | FieldClass::StaticString { .. }
            | FieldClass::StaticBlob { .. } => {
                What::Fixed(class.clone(), class.static_size_bytes()? as usize)
            }
            _ => return None,
        };
        self.push(Some(&field), what);
        Some(())
    }

    fn push(&mut self, field: Option<&Field<'a>>, what: What) {
        let shown = field.is_some_and(|field| self.style.name_of(field));
        self.steps.push(Step {
            before: Label::new(&self.style.take_written()),
            shown,
            slot: 0,
            what,
        });
    }

    fn length(&mut self, length: &Length) -> Option<From> {
        let Length::Field(FieldPath(path)) = length else {
            return Some(From::Rest);
        };
        let (_, step, signed) = self
            .integers
            .iter()
            .find(|(known, ..)| known.iter().copied().eq(path.iter().map(String::as_str)))?;
        let step = self.steps.get_mut(*step)?;
        if step.slot == 0 {
            self.slots += 1;
            if usize::from(self.slots) > MAX_SLOTS {
                return None;
            }
            step.slot = self.slots;
        }
        Some(From::Slot {
            place: step.slot - 1,
            signed: *signed,
        })
    }
}

/// Size of an element of an array that is shown as one value.
fn element_bytes(element: &FieldClass) -> Option<usize> {
    match element {
        FieldClass::Structure(_) | FieldClass::StaticArray { .. } => None,
        element => element
            .static_size_bytes()
            .map(|size| size as usize)
            .filter(|size| *size > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_schema::decode::walk;
    use kstrace_schema::{FloatClass, IntegerRange, Mapping, Member};

    fn array(element: FieldClass, count: u32) -> FieldClass {
        FieldClass::StaticArray {
            element: Box::new(element),
            count,
        }
    }

    /// A class with one of each, and a payload of it.
    fn example() -> (StructureClass, Vec<u8>) {
        let integer = |size| FieldClass::Integer(IntegerClass::unsigned(size));
        let swapped = IntegerClass {
            byte_order: ByteOrder::BigEndian,
            ..IntegerClass::signed(4)
        };
        let named = IntegerClass {
            mappings: vec![Mapping {
                name: "seven".to_owned(),
                ranges: vec![IntegerRange { first: 7, last: 7 }],
            }],
            ..IntegerClass::unsigned(1)
        };
        let by = |path: &[&str]| Length::Field(FieldPath::new(path.iter().copied()));
        let class = StructureClass::new(vec![
            Member::new("common_type", integer(2)),
            Member::new("signed", FieldClass::Integer(IntegerClass::signed(8))),
            Member::new("hex", FieldClass::Integer(IntegerClass::signed(2).hex())),
            Member::padding(3),
            Member::new("swapped", FieldClass::Integer(swapped)),
            Member::new("named", FieldClass::Integer(named)),
            Member::new("numbers", array(integer(2), 3)),
            Member::new("none", array(integer(2), 0)),
            Member::new("truth", FieldClass::Boolean),
            Member::new(
                "float",
                FieldClass::Float(FloatClass {
                    size_bytes: 8,
                    byte_order: ByteOrder::NATIVE,
                }),
            ),
            Member::new(
                "a rather long name for a field, longer than others",
                integer(1),
            ),
            Member::new(
                "inner",
                FieldClass::Structure(StructureClass::new(vec![
                    Member::new("len", FieldClass::Integer(IntegerClass::signed(4))),
                    Member::new("comm", FieldClass::StaticString { size_bytes: 8 })
                        .with_role(Role::Comm),
                ])),
            ),
            Member::new("ip", integer(8)).with_role(Role::InstructionPointer),
            Member::new("text", FieldClass::NullTerminatedString),
            Member::new(
                "raw",
                FieldClass::DynamicBlob {
                    length: by(&["inner", "len"]),
                },
            ),
            Member::new(
                "words",
                FieldClass::DynamicArray {
                    element: Box::new(integer(4)),
                    length: by(&["common_type"]),
                },
            ),
            Member::new(
                "rest",
                FieldClass::DynamicString {
                    length: Length::Rest,
                },
            ),
        ]);
        let mut payload = 2u16.to_ne_bytes().to_vec();
        payload.extend(i64::MIN.to_ne_bytes());
        payload.extend((-2i16).to_ne_bytes());
        payload.extend([9; 3]);
        payload.extend((-70_000i32).to_be_bytes());
        payload.push(7);
        payload.extend([1u16, 20, 300].iter().flat_map(|v| v.to_ne_bytes()));
        payload.push(1);
        payload.extend(1.5f64.to_ne_bytes());
        payload.push(200);
        payload.extend(3i32.to_ne_bytes());
        payload.extend(b"ba\"sh\n\0\0");
        payload.extend(0xffff_ffff_8100_0000u64.to_ne_bytes());
        payload.extend(b"te\xffxt\0");
        payload.extend([0xab, 0xcd, 0xef]);
        payload.extend([5u32, 6].iter().flat_map(|v| v.to_ne_bytes()));
        payload.extend(b"rest");
        (class, payload)
    }

    #[test]
    fn a_plan_writes_what_a_walk_writes() {
        let (class, payload) = example();
        for perf in [false, true] {
            let mut walked = Vec::new();
            let mut visitor = FieldsText::new(&mut walked, perf);
            walk(&class, &payload, 4, &mut visitor).unwrap();
            let mut planned = Vec::new();
            let plans = FieldPlans::default();
            let plan = plans.text(&class, perf).unwrap();
            plan.write(&payload, 4, &mut planned).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&planned),
                String::from_utf8_lossy(&walked)
            );
        }
        for without_raw in [false, true] {
            let mut walked = Vec::new();
            let mut visitor = FieldsJson::new(&mut walked, true, without_raw);
            walk(&class, &payload, 4, &mut visitor).unwrap();
            let mut planned = Vec::new();
            let plans = FieldPlans::default();
            let plan = plans.json(&class, without_raw).unwrap();
            plan.write(&payload, 4, &mut planned).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&planned),
                String::from_utf8_lossy(&walked)
            );
        }
    }

    #[test]
    fn a_plan_gives_up_where_a_walk_finds_fault() {
        let (class, payload) = example();
        let plans = FieldPlans::default();
        let plan = plans.text(&class, false).unwrap();
        for len in 0..payload.len() {
            assert!(plan.write(&payload[..len], 4, &mut Vec::new()).is_none());
        }
        let mut negative = payload.clone();
        let at = negative.windows(4).position(|w| w == 3i32.to_ne_bytes());
        negative[at.unwrap()..][..4].copy_from_slice(&(-3i32).to_ne_bytes());
        assert!(plan.write(&negative, 4, &mut Vec::new()).is_none());
    }
}
