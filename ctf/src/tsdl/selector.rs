//! Tags: integers that choose between the options of variants and optionals.
//!
//! In the model any earlier integer may choose, by ranges of its values, and
//! several fields may go by the same integer. In TSDL the tag must be an
//! enumeration whose labels are the options' names. So the values of a
//! choosing integer are divided into *cases*, within which every field that
//! goes by it makes the same choice; each case is a label.

use super::name::option_name;
use kstrace_schema::{FieldClass, FieldPath, IntegerClass, IntegerRange, StructureClass};
use std::collections::{BTreeSet, HashMap, HashSet};

/// More boundaries than this in one selector's ranges are not described.
const CASES_MAX: usize = 4096;

/// One label of a tag.
#[derive(Debug)]
pub(super) struct Case {
    /// Its name.
    pub(super) label: String,
    /// Its values.
    pub(super) ranges: Vec<IntegerRange>,
    /// For each user of the tag, in order of appearance, which option is
    /// present; `None` for none of them.
    pub(super) choices: Vec<Option<usize>>,
}

/// What goes by one integer: each user's options as lists of ranges.
type Users = Vec<Vec<(String, Vec<IntegerRange>)>>;

/// The selectors of a payload, by path from its root.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    users: HashMap<Vec<String>, Users>,
    /// Number of each user among those of its selector, by the address of its
    /// `selector`: the one thing that tells equal fields apart.
    numbers: HashMap<usize, usize>,
}

impl Selectors {
    /// Collects the selectors that the fields of `structure` name.
    pub(super) fn of(structure: &StructureClass) -> Self {
        let mut selectors = Selectors::default();
        selectors.structure(structure);
        selectors
    }

    /// The cases of the integer at `path`; `None` if nothing goes by it.
    pub(super) fn cases(&self, path: &[String], class: &IntegerClass) -> Option<Vec<Case>> {
        self.users.get(path).and_then(|users| cases(users, class))
    }

    /// Which user of its selector the field is.
    pub(super) fn user(&self, selector: &FieldPath) -> Option<usize> {
        self.numbers.get(&address(selector)).copied()
    }

    fn add(&mut self, selector: &FieldPath, user: Vec<(String, Vec<IntegerRange>)>) {
        let users = self.users.entry(selector.0.clone()).or_default();
        self.numbers.insert(address(selector), users.len());
        users.push(user);
    }

    fn structure(&mut self, structure: &StructureClass) {
        for member in &structure.members {
            self.class(&member.class);
        }
    }

    fn class(&mut self, class: &FieldClass) {
        match class {
            FieldClass::Structure(s) => self.structure(s),
            FieldClass::StaticArray { element, .. } | FieldClass::DynamicArray { element, .. } => {
                self.class(element);
            }
            FieldClass::Optional {
                selector,
                ranges,
                class,
            } => {
                self.add(selector, vec![("present".to_owned(), ranges.clone())]);
                self.class(class);
            }
            FieldClass::Variant { selector, options } => {
                let user = options
                    .iter()
                    .map(|o| (o.name.clone(), o.ranges.clone()))
                    .collect();
                self.add(selector, user);
                for option in options {
                    self.class(&option.class);
                }
            }
            _ => {}
        }
    }
}

fn address(selector: &FieldPath) -> usize {
    std::ptr::from_ref(selector).addr()
}

/// The values an integer can have.
pub(super) fn domain(class: &IntegerClass) -> Option<(i128, i128)> {
    let bits = u32::from(class.size_bytes)
        .checked_mul(8)
        .filter(|b| (8..=64).contains(b))?;
    Some(if class.signed {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    })
}

fn cases(users: &Users, class: &IntegerClass) -> Option<Vec<Case>> {
    let (first, last) = domain(class)?;
    // Values at which any choice may change.
    let mut starts = BTreeSet::from([first]);
    for range in users.iter().flatten().flat_map(|(_, ranges)| ranges) {
        if range.first > first && range.first <= last {
            starts.insert(range.first);
        }
        if range.last >= first && range.last < last {
            starts.insert(range.last + 1);
        }
    }
    if starts.len() > CASES_MAX {
        return None;
    }
    let starts = starts.into_iter().collect::<Vec<_>>();
    let mut by_choices: HashMap<Vec<Option<usize>>, usize> = HashMap::new();
    let mut cases: Vec<Case> = Vec::new();
    let mut taken = HashSet::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(last, |next| next - 1);
        let choices = users
            .iter()
            .map(|options| {
                options
                    .iter()
                    .position(|(_, ranges)| ranges.iter().any(|r| r.contains(*start)))
            })
            .collect::<Vec<_>>();
        let at = *by_choices.entry(choices.clone()).or_insert_with(|| {
            let label = label(users, &choices, &mut taken);
            cases.push(Case {
                label,
                ranges: Vec::new(),
                choices,
            });
            cases.len() - 1
        });
        cases[at].ranges.push(IntegerRange {
            first: *start,
            last: end,
        });
    }
    Some(cases)
}

fn label(users: &Users, choices: &[Option<usize>], taken: &mut HashSet<String>) -> String {
    let words = users
        .iter()
        .zip(choices)
        .filter_map(|(options, choice)| choice.and_then(|c| options.get(c)))
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>();
    if words.is_empty() {
        // `option_name` never gives out this word: it is reserved there.
        return "absent".to_owned();
    }
    option_name(&words.join("_"), taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_schema::Member;

    fn range(first: i128, last: i128) -> IntegerRange {
        IntegerRange { first, last }
    }

    #[test]
    fn cases_cover_every_value_once() {
        let int = || FieldClass::Integer(IntegerClass::unsigned(1));
        let optional = |first, last| FieldClass::Optional {
            selector: FieldPath::new(["n"]),
            ranges: vec![range(first, last)],
            class: Box::new(int()),
        };
        let structure = StructureClass::new(vec![
            Member::new("n", int()),
            Member::new("a", optional(1, 10)),
            Member::new("b", optional(5, 900)),
        ]);
        let selectors = Selectors::of(&structure);
        let cases = selectors
            .cases(&["n".to_owned()], &IntegerClass::unsigned(1))
            .unwrap();
        for value in 0..=255 {
            let hits = cases
                .iter()
                .filter(|c| c.ranges.iter().any(|r| r.contains(value)))
                .collect::<Vec<_>>();
            assert_eq!(hits.len(), 1, "{value}");
            let expected = [
                (1..=10).contains(&value).then_some(0),
                (value >= 5).then_some(0),
            ];
            assert_eq!(hits[0].choices, expected, "{value}");
        }
        assert!(
            selectors
                .cases(&["m".to_owned()], &IntegerClass::unsigned(1))
                .is_none()
        );
    }
}
