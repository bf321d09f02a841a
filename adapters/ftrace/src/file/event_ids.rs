//! One type number for each kind of event in the file.

use super::limits;
use std::collections::BTreeMap;

/// The formats that the file will hold.
#[derive(Debug, Default)]
pub(super) struct EventIds {
    by_id: BTreeMap<u16, Format>,
    /// Of format files that no class was made of: system and text.
    others: Vec<(String, Vec<u8>)>,
}

#[derive(Debug)]
struct Format {
    system: String,
    /// Empty for a number that must not be given to anything else.
    text: String,
}

/// Numbers that are made up begin here: above those that kernels give to their own events.
const FIRST_MADE_UP: u16 = 0x8000;

impl EventIds {
    /// Adds a format. Says which number it has in the file: `id`, if nothing else has it.
    /// `None` if no number is left, or the text is too long.
    pub(super) fn add(&mut self, system: &str, id: u16, text: &str) -> Option<u16> {
        if text.len() as u64 > limits::FORMAT_BYTES {
            return None;
        }
        let own = match self.by_id.get(&id) {
            None => id,
            Some(found) if found.system == system && found.text == text => return Some(id),
            Some(_) => {
                let neutral = with_id(text, 0);
                let again = self.by_id.iter().find(|(other, found)| {
                    **other != id && found.system == system && with_id(&found.text, 0) == neutral
                });
                if let Some((other, _)) = again {
                    return Some(*other);
                }
                self.unused()?
            }
        };
        let text = if own == id {
            text.to_owned()
        } else {
            with_id(text, own)
        };
        let system = system.to_owned();
        self.by_id.insert(own, Format { system, text });
        Some(own)
    }

    /// Adds a format that is made up: `text` gets the number.
    pub(super) fn make_up(
        &mut self,
        system: &str,
        text: impl FnOnce(u16) -> String,
    ) -> Option<u16> {
        let id = self.unused()?;
        let text = text(id);
        if text.len() as u64 > limits::FORMAT_BYTES {
            return None;
        }
        let system = system.to_owned();
        self.by_id.insert(id, Format { system, text });
        Some(id)
    }

    /// Keeps a format file as it is.
    pub(super) fn keep(&mut self, system: &str, text: Vec<u8>) {
        self.others.push((system.to_owned(), text));
    }

    fn unused(&self) -> Option<u16> {
        let made_up = FIRST_MADE_UP..u16::MAX;
        made_up
            .chain(1..FIRST_MADE_UP)
            .find(|id| !self.by_id.contains_key(id))
    }

    /// Texts by system, in the order of their numbers.
    pub(super) fn by_system(&self) -> BTreeMap<&str, Vec<&[u8]>> {
        let mut systems: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
        let numbered = self
            .by_id
            .values()
            .map(|format| (format.system.as_str(), format.text.as_bytes()));
        let others = self.others.iter().map(|(s, t)| (s.as_str(), t.as_slice()));
        for (system, text) in numbered.chain(others) {
            if !text.is_empty() {
                systems.entry(system).or_default().push(text);
            }
        }
        systems
    }
}

/// The `ID:` of a format file.
pub(super) fn id_of(format: &str) -> Option<u16> {
    let mut head = format.lines().take(8);
    let line = head.find_map(|line| line.strip_prefix("ID:"))?;
    line.trim().parse().ok()
}

/// The format file with another number.
fn with_id(format: &str, id: u16) -> String {
    let mut out = String::with_capacity(format.len() + 8);
    let mut replaced = false;
    for line in format.split_inclusive('\n') {
        if line.starts_with("ID:") && !replaced {
            replaced = true;
            out.push_str(&format!("ID: {id}\n"));
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let mut ids = EventIds::default();
        let text = |name: &str, id: u16| format!("name: {name}\nID: {id}\nformat:\n");
        assert_eq!(ids.add("a", 5, &text("x", 5)), Some(5));
        assert_eq!(ids.add("a", 5, &text("x", 5)), Some(5));
        assert_eq!(ids.add("a", 5, &text("y", 5)), Some(0x8000));
        assert_eq!(ids.add("a", 5, &text("y", 5)), Some(0x8000));
        assert_eq!(ids.add("unknown", 6, ""), Some(6));
        assert_eq!(ids.make_up("b", |id| text("z", id)), Some(0x8001));
        let systems = ids.by_system();
        assert_eq!(systems.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            id_of(std::str::from_utf8(systems["a"][1]).unwrap()),
            Some(0x8000)
        );
    }
}
