//! Fetching one field, compiled once per class.

use super::value::{Value, fixed_value, read_integer, until_nul};
use super::{MAX_NESTING, in_ranges, resolve};
use crate::{
    FieldClass, FieldPath, IntegerClass, IntegerRange, Length, Member, Role, StructureClass,
};

/// Integers that lengths and selectors may refer to on the way to one field.
const MAX_SLOTS: usize = 32;

/// A compiled way to one field of a class.
///
/// It belongs to the class it was compiled from; with payloads of another one
/// it gives nonsense or `None`, never a panic. A payload must hold exactly the
/// bytes that its class describes, as [`EventRecord`](crate::EventRecord) says.
#[derive(Clone, Debug)]
pub struct FieldAccess {
    /// What must be passed to get to the field; empty if it stands at a static offset.
    steps: Box<[Step]>,
    /// Offset from where the steps end.
    offset: usize,
    /// The field itself.
    class: FieldClass,
    size: Size,
}

/// How many bytes the field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Fixed(usize),
    /// Value of a slot times so many bytes.
    Slot(usize, usize),
    Rest,
    UntilNul,
}

/// One step on the way through a payload.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes of no interest.
    Fixed(usize),
    /// An integer that a later step needs.
    Load(usize, IntegerClass),
    /// An array: a slot's value times so many bytes.
    Counted(usize, usize),
    /// Text up to a NUL.
    UntilNul,
    /// All that is left.
    Rest,
    /// Elements of differing size, a fixed number of them.
    Repeat(u32, Box<[Step]>),
    /// Elements of differing size, a slot's value of them.
    RepeatSlot(usize, Box<[Step]>),
    /// The first alternative whose ranges contain the slot's value, if any.
    Choose(usize, Vec<(Vec<IntegerRange>, Box<[Step]>)>),
    /// The way ends here unless the slot's value is in these ranges.
    Require(usize, Vec<IntegerRange>),
}

impl FieldAccess {
    /// The way to the first field with that role, outermost structures first.
    ///
    /// `None` if the class has no such field, or if the way to it is of a kind
    /// that no tracer makes (inside an array, or a variant; past more than 32 lengths).
    pub fn by_role(class: &StructureClass, role: Role) -> Option<Self> {
        let mut path = Vec::new();
        find_role(class, role, &mut path, 0).then(|| Self::by_path(class, &path))?
    }

    /// The way to the field with that path from the payload's root.
    ///
    /// `None` as for [`by_role`](Self::by_role).
    pub fn by_path<S: AsRef<str>>(class: &StructureClass, path: &[S]) -> Option<Self> {
        let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        let mut compiler = Compiler {
            root: class,
            slots: Vec::new(),
            steps: Vec::new(),
        };
        // First which integers matter, then the way: it is short, so the whole class will do.
        collect_slots(class, class, &mut compiler.slots, 0)?;
        let (field, size) = compiler.descend(class, &path, 0)?;
        let mut steps = compiler.steps;
        let needed: Vec<usize> = slots_used(&steps, size);
        drop_unused_loads(&mut steps, &needed);
        merge_fixed(&mut steps);
        let offset = match steps.last() {
            Some(Step::Fixed(n)) => {
                let n = *n;
                steps.pop();
                n
            }
            _ => 0,
        };
        Some(FieldAccess {
            steps: steps.into(),
            offset,
            class: field,
            size,
        })
    }

    /// The way to the field with that name, dots between the parts of a path.
    pub fn by_name(class: &StructureClass, name: &str) -> Option<Self> {
        // A name may itself contain dots; the path wins.
        Self::by_path(class, &name.split('.').collect::<Vec<_>>())
            .or_else(|| Self::by_path(class, &[name]))
    }

    /// Class of the field; of what is present, for an optional.
    pub fn class(&self) -> &FieldClass {
        &self.class
    }

    /// Byte offset of the field if it is the same in every record.
    pub fn static_offset_bytes(&self) -> Option<usize> {
        self.steps.is_empty().then_some(self.offset)
    }

    /// Where in `payload` the field lies. `None` if it is absent or cut off.
    #[inline]
    pub fn locate(&self, payload: &[u8]) -> Option<std::ops::Range<usize>> {
        if self.steps.is_empty() {
            let start = self.offset;
            if let Size::Fixed(size) = self.size {
                let end = start.saturating_add(size);
                return (end <= payload.len()).then_some(start..end);
            }
            return self.end_at(start, &[], payload);
        }
        // Not loaded yet is no valid length and in no sensible range.
        let mut slots = [i128::MIN; MAX_SLOTS];
        let start = run(&self.steps, 0, payload, &mut slots)?.checked_add(self.offset)?;
        self.end_at(start, &slots, payload)
    }

    fn end_at(
        &self,
        start: usize,
        slots: &[i128],
        payload: &[u8],
    ) -> Option<std::ops::Range<usize>> {
        let left = payload.get(start..)?;
        let size = match self.size {
            Size::Fixed(n) => n,
            Size::Slot(slot, unit) => usize::try_from(*slots.get(slot)?).ok()?.checked_mul(unit)?,
            Size::Rest => left.len(),
            Size::UntilNul => left.iter().position(|b| *b == 0)? + 1,
        };
        (size <= left.len()).then(|| start..start + size)
    }

    /// The field's bytes as they are.
    #[inline]
    pub fn get_raw<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        payload.get(self.locate(payload)?)
    }

    /// The field's value; `None` also for structures.
    pub fn get<'a>(&'a self, payload: &'a [u8]) -> Option<Value<'a>> {
        let bytes = self.get_raw(payload)?;
        match self.class {
            FieldClass::NullTerminatedString => Some(Value::Str(until_nul(bytes))),
            _ => fixed_value(&self.class, bytes),
        }
    }

    /// The value of an integer or boolean; signed ones are sign-extended.
    #[inline]
    pub fn get_u64(&self, payload: &[u8]) -> Option<u64> {
        match &self.class {
            FieldClass::Integer(i) => read_integer(i, self.get_raw(payload)?),
            FieldClass::Boolean => self.get_raw(payload)?.first().map(|b| u64::from(*b != 0)),
            _ => None,
        }
    }

    /// The value of an integer or boolean; unsigned ones beyond `i64::MAX` wrap.
    #[inline]
    pub fn get_i64(&self, payload: &[u8]) -> Option<i64> {
        self.get_u64(payload).map(|v| v as i64)
    }

    /// Text up to its NUL, or the bytes of a BLOB, an array or a structure.
    /// `None` for numbers. An array of single bytes counts as text only if its
    /// class says so.
    #[inline]
    pub fn get_bytes<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match &self.class {
            FieldClass::Integer(_) | FieldClass::Float(_) | FieldClass::Boolean => None,
            FieldClass::NullTerminatedString
            | FieldClass::StaticString { .. }
            | FieldClass::DynamicString { .. } => self.get_raw(payload).map(until_nul),
            _ => self.get_raw(payload),
        }
    }
}

fn find_role<'a>(
    class: &'a StructureClass,
    role: Role,
    path: &mut Vec<&'a str>,
    depth: usize,
) -> bool {
    if depth > MAX_NESTING {
        return false;
    }
    if let Some(member) = class.member_with_role(role) {
        path.push(&member.name);
        return true;
    }
    class.members.iter().any(|member| {
        let mut inner = &member.class;
        while let FieldClass::Optional { class, .. } = inner {
            inner = class;
        }
        let FieldClass::Structure(s) = inner else {
            return false;
        };
        path.push(&member.name);
        find_role(s, role, path, depth + 1) || {
            path.pop();
            false
        }
    })
}

/// Which integers of the whole class lengths and selectors refer to, by address.
fn collect_slots<'a>(
    root: &'a StructureClass,
    structure: &'a StructureClass,
    slots: &mut Vec<&'a IntegerClass>,
    depth: usize,
) -> Option<()> {
    structure
        .members
        .iter()
        .try_for_each(|m| collect_class(root, &m.class, slots, depth))
}

fn collect_class<'a>(
    root: &'a StructureClass,
    class: &'a FieldClass,
    slots: &mut Vec<&'a IntegerClass>,
    depth: usize,
) -> Option<()> {
    if depth > MAX_NESTING {
        return None;
    }
    let mut refer = |path: &FieldPath| {
        // What cannot be resolved fails later, and only for fields behind it.
        if let Some(class) = resolve(root, path)
            && !slots.iter().any(|s| std::ptr::eq(*s, class))
        {
            slots.push(class);
        }
    };
    match class {
        FieldClass::DynamicString { length } | FieldClass::DynamicBlob { length } => {
            if let Length::Field(path) = length {
                refer(path);
            }
        }
        FieldClass::DynamicArray { element, length } => {
            if let Length::Field(path) = length {
                refer(path);
            }
            collect_class(root, element, slots, depth + 1)?;
        }
        FieldClass::StaticArray { element, .. } => collect_class(root, element, slots, depth + 1)?,
        FieldClass::Structure(s) => collect_slots(root, s, slots, depth + 1)?,
        FieldClass::Variant { selector, options } => {
            refer(selector);
            for option in options {
                collect_class(root, &option.class, slots, depth + 1)?;
            }
        }
        FieldClass::Optional {
            selector, class, ..
        } => {
            refer(selector);
            collect_class(root, class, slots, depth + 1)?;
        }
        _ => {}
    }
    Some(())
}

struct Compiler<'a> {
    root: &'a StructureClass,
    slots: Vec<&'a IntegerClass>,
    steps: Vec<Step>,
}

impl<'a> Compiler<'a> {
    fn slot(&self, path: &FieldPath) -> Option<usize> {
        let class = resolve(self.root, path)?;
        self.slots
            .iter()
            .position(|s| std::ptr::eq(*s, class))
            .filter(|s| *s < MAX_SLOTS)
    }

    /// Steps up to the field, its class and its size.
    fn descend(
        &mut self,
        structure: &'a StructureClass,
        path: &[&str],
        depth: usize,
    ) -> Option<(FieldClass, Size)> {
        let (first, deeper) = path.split_first()?;
        let at = structure
            .members
            .iter()
            .position(|m: &Member| m.name == *first)?;
        for member in &structure.members[..at] {
            let steps = self.skip(&member.class, depth)?;
            self.steps.extend(steps);
        }
        self.arrive(&structure.members[at].class, deeper, depth)
    }

    fn arrive(
        &mut self,
        class: &'a FieldClass,
        deeper: &[&str],
        depth: usize,
    ) -> Option<(FieldClass, Size)> {
        if depth > MAX_NESTING {
            return None;
        }
        match class {
            FieldClass::Optional {
                selector,
                ranges,
                class,
            } => {
                self.steps
                    .push(Step::Require(self.slot(selector)?, ranges.clone()));
                return self.arrive(class, deeper, depth + 1);
            }
            FieldClass::Structure(s) if !deeper.is_empty() => {
                return self.descend(s, deeper, depth + 1);
            }
            _ if !deeper.is_empty() => return None,
            _ => {}
        }
        let dynamic = |this: &Self, length: &Length, unit: usize| {
            Some(match length {
                Length::Rest => Size::Rest,
                Length::Field(path) => Size::Slot(this.slot(path)?, unit),
            })
        };
        let size = match class {
            FieldClass::NullTerminatedString => Size::UntilNul,
            FieldClass::DynamicString { length } | FieldClass::DynamicBlob { length } => {
                dynamic(self, length, 1)?
            }
            FieldClass::DynamicArray { element, length } => {
                dynamic(self, length, element.static_size_bytes()? as usize)?
            }
            _ => Size::Fixed(class.static_size_bytes()? as usize),
        };
        Some((class.clone(), size))
    }

    /// Steps that pass a field.
    fn skip(&self, class: &'a FieldClass, depth: usize) -> Option<Vec<Step>> {
        if depth > MAX_NESTING {
            return None;
        }
        Some(match class {
            FieldClass::Integer(i) => {
                match self
                    .slots
                    .iter()
                    .position(|s| std::ptr::eq(*s, i))
                    .filter(|s| *s < MAX_SLOTS)
                {
                    Some(slot) => vec![Step::Load(
                        slot,
                        IntegerClass {
                            mappings: Vec::new(),
                            ..i.clone()
                        },
                    )],
                    None => vec![Step::Fixed(i.size_bytes.into())],
                }
            }
            FieldClass::NullTerminatedString => vec![Step::UntilNul],
            FieldClass::DynamicString { length } | FieldClass::DynamicBlob { length } => {
                vec![self.skip_length(length, 1)?]
            }
            FieldClass::DynamicArray { element, length } => match element.static_size_bytes() {
                Some(size) => vec![self.skip_length(length, size as usize)?],
                None => {
                    let Length::Field(path) = length else {
                        return None;
                    };
                    vec![Step::RepeatSlot(
                        self.slot(path)?,
                        self.skip(element, depth + 1)?.into(),
                    )]
                }
            },
            FieldClass::StaticArray { element, count } => match class.static_size_bytes() {
                Some(size) => vec![Step::Fixed(size as usize)],
                None => vec![Step::Repeat(*count, self.skip(element, depth + 1)?.into())],
            },
            FieldClass::Structure(s) => {
                let mut steps = Vec::new();
                for member in &s.members {
                    steps.extend(self.skip(&member.class, depth + 1)?);
                }
                steps
            }
            FieldClass::Variant { selector, options } => {
                let options = options
                    .iter()
                    .map(|o| Some((o.ranges.clone(), self.skip(&o.class, depth + 1)?.into())))
                    .collect::<Option<_>>()?;
                vec![Step::Choose(self.slot(selector)?, options)]
            }
            FieldClass::Optional {
                selector,
                ranges,
                class,
            } => {
                let steps = self.skip(class, depth + 1)?.into();
                vec![Step::Choose(
                    self.slot(selector)?,
                    vec![(ranges.clone(), steps)],
                )]
            }
            _ => vec![Step::Fixed(class.static_size_bytes()? as usize)],
        })
    }

    fn skip_length(&self, length: &Length, unit: usize) -> Option<Step> {
        Some(match length {
            Length::Rest => Step::Rest,
            Length::Field(path) => Step::Counted(self.slot(path)?, unit),
        })
    }
}

fn slots_used(steps: &[Step], size: Size) -> Vec<usize> {
    fn collect(steps: &[Step], used: &mut Vec<usize>) {
        for step in steps {
            match step {
                Step::Counted(slot, _) | Step::Require(slot, _) => used.push(*slot),
                Step::RepeatSlot(slot, inner) => {
                    used.push(*slot);
                    collect(inner, used);
                }
                Step::Repeat(_, inner) => collect(inner, used),
                Step::Choose(slot, options) => {
                    used.push(*slot);
                    options.iter().for_each(|(_, inner)| collect(inner, used));
                }
                _ => {}
            }
        }
    }
    let mut used = Vec::new();
    collect(steps, &mut used);
    if let Size::Slot(slot, _) = size {
        used.push(slot);
    }
    used
}

fn drop_unused_loads(steps: &mut [Step], needed: &[usize]) {
    for step in steps {
        match step {
            Step::Load(slot, i) if !needed.contains(slot) => {
                *step = Step::Fixed(i.size_bytes.into());
            }
            Step::Repeat(_, inner) | Step::RepeatSlot(_, inner) => drop_unused_loads(inner, needed),
            Step::Choose(_, options) => {
                options
                    .iter_mut()
                    .for_each(|(_, inner)| drop_unused_loads(inner, needed));
            }
            _ => {}
        }
    }
}

fn merge_fixed(steps: &mut Vec<Step>) {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        match (merged.last_mut(), step) {
            (Some(Step::Fixed(sum)), Step::Fixed(n)) => *sum = sum.saturating_add(n),
            (_, step) => merged.push(step),
        }
    }
    *steps = merged;
}

/// Runs the steps from `at`; gives where they end, which may be one past any
/// offset but never past the payload.
fn run(
    steps: &[Step],
    mut at: usize,
    payload: &[u8],
    slots: &mut [i128; MAX_SLOTS],
) -> Option<usize> {
    for step in steps {
        let left = payload.get(at..)?;
        let size = match step {
            Step::Fixed(n) => *n,
            Step::Load(slot, class) => {
                let raw = read_integer(class, left)?;
                slots[*slot] = if class.signed {
                    i128::from(raw as i64)
                } else {
                    i128::from(raw)
                };
                class.size_bytes.into()
            }
            Step::Counted(slot, unit) => usize::try_from(slots[*slot])
                .ok()?
                .checked_mul(*unit)
                .filter(|n| *n <= left.len())?,
            Step::UntilNul => left.iter().position(|b| *b == 0)? + 1,
            Step::Rest => left.len(),
            Step::Repeat(count, inner) => {
                repeat(u64::from(*count), inner, at, payload, slots)? - at
            }
            Step::RepeatSlot(slot, inner) => {
                repeat(u64::try_from(slots[*slot]).ok()?, inner, at, payload, slots)? - at
            }
            Step::Choose(slot, options) => {
                match options
                    .iter()
                    .find(|(ranges, _)| in_ranges(ranges, slots[*slot]))
                {
                    Some((_, inner)) => run(inner, at, payload, slots)? - at,
                    None => 0,
                }
            }
            Step::Require(slot, ranges) => {
                if !in_ranges(ranges, slots[*slot]) {
                    return None;
                }
                0
            }
        };
        at = at.checked_add(size)?;
    }
    (at <= payload.len()).then_some(at)
}

fn repeat(
    count: u64,
    inner: &[Step],
    mut at: usize,
    payload: &[u8],
    slots: &mut [i128; MAX_SLOTS],
) -> Option<usize> {
    // As in `walk`: elements of differing size must not be more than there are bytes.
    if count > (payload.len() - at) as u64 {
        return None;
    }
    for _ in 0..count {
        at = run(inner, at, payload, slots)?;
    }
    Some(at)
}
