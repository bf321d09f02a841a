//! PMUs as sysfs tells of them: numbers, formats of terms, named events.

use crate::attr::Attr;
use std::fs;
use std::path::PathBuf;

/// The PMUs of a machine.
#[derive(Debug)]
pub struct Pmus {
    root: PathBuf,
}

impl Default for Pmus {
    fn default() -> Self {
        Pmus::at("/sys/bus/event_source/devices")
    }
}

/// A term's place in the attr: which word, and which of its bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    word: u8,
    bits: Vec<u32>,
}

impl Pmus {
    /// The PMUs below another directory, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Pmus { root: root.into() }
    }

    fn text(&self, pmu: &str, path: &str) -> Option<String> {
        let fits = |s: &str| !s.is_empty() && !s.contains('/') && s != "." && s != "..";
        if !fits(pmu) || !path.split('/').all(fits) {
            return None;
        }
        let text = fs::read_to_string(self.root.join(pmu).join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The number of a PMU for `perf_event_attr.type`.
    pub fn number(&self, pmu: &str) -> Option<u32> {
        self.text(pmu, "type")?.parse().ok()
    }

    /// The terms that a named event of a PMU stands for: `event=0x3c`.
    pub fn event(&self, pmu: &str, name: &str) -> Option<String> {
        self.text(pmu, &format!("events/{name}"))
    }

    /// A PMU that has a named event.
    pub fn with_event(&self, name: &str) -> Option<String> {
        let mut names: Vec<String> = fs::read_dir(&self.root)
            .ok()?
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
            .into_iter()
            .find(|pmu| self.event(pmu, name).is_some())
    }

    /// The names of the terms of a PMU.
    pub fn terms(&self, pmu: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(pmu).join("format")) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Puts a term's value where its format says. `None` if the PMU has no such
    /// term, `Some(false)` if the value does not fit.
    pub fn set(&self, pmu: &str, term: &str, value: u64, attr: &mut Attr) -> Option<bool> {
        let place = parse_format(&self.text(pmu, &format!("format/{term}"))?)?;
        let width = place.bits.len() as u32;
        if width < 64 && value >> width != 0 {
            return Some(false);
        }
        let word = match place.word {
            0 => &mut attr.config,
            1 => &mut attr.config1,
            2 => &mut attr.config2,
            _ => &mut attr.config3,
        };
        for (index, bit) in place.bits.iter().enumerate() {
            *word &= !(1 << bit);
            *word |= ((value >> index) & 1) << bit;
        }
        Some(true)
    }
}

/// `config:0-7,32-35`.
fn parse_format(text: &str) -> Option<Place> {
    let (word, ranges) = text.split_once(':')?;
    let word = match word {
        "config" => 0,
        "config1" => 1,
        "config2" => 2,
        "config3" => 3,
        _ => return None,
    };
    let mut bits = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last > 63 || bits.len() > 64 {
            return None;
        }
        bits.extend(first..=last);
    }
    Some(Place { word, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_go_where_their_format_says() {
        let dir = std::env::temp_dir().join(format!("kstrace-pmus-{}", std::process::id()));
        fs::create_dir_all(dir.join("cpu/format")).unwrap();
        fs::write(dir.join("cpu/type"), "4\n").unwrap();
        fs::write(dir.join("cpu/format/event"), "config:0-7,32-35\n").unwrap();
        fs::write(dir.join("cpu/format/ldlat"), "config1:0-15\n").unwrap();
        let pmus = Pmus::at(&dir);
        let mut attr = Attr::default();
        assert_eq!(pmus.number("cpu"), Some(4));
        assert_eq!(pmus.number("../x"), None);
        assert_eq!(pmus.set("cpu", "event", 0xabc, &mut attr), Some(true));
        assert_eq!(attr.config, 0xa_0000_00bc);
        assert_eq!(pmus.set("cpu", "event", 0x1000, &mut attr), Some(false));
        assert_eq!(pmus.set("cpu", "ldlat", 3, &mut attr), Some(true));
        assert_eq!(attr.config1, 3);
        assert_eq!(pmus.set("cpu", "nosuch", 3, &mut attr), None);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn formats_that_are_no_formats() {
        for bad in [
            "",
            "config",
            "config:",
            "config:7-3",
            "config9:1",
            "config:0-70",
        ] {
            assert_eq!(parse_format(bad), None, "{bad}");
        }
    }
}
