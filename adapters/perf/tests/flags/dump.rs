//! What `perf script -D` says of each sample, and comparing it with the fields.

use super::fields::Fields;
use crate::perf_data::kit::perf;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A sample as perf shows it.
#[derive(Debug, Default)]
pub(crate) struct Dumped {
    /// Where it is in the file, and its size.
    pub(crate) offset: usize,
    pub(crate) size: usize,
    /// Numbers under the names that the fields have here.
    pub(crate) fields: Fields,
    /// Sizes of pages as perf writes them.
    pages: BTreeMap<&'static str, String>,
}

/// All samples of a file.
pub(crate) fn samples(path: &Path) -> Vec<Dumped> {
    // Names of functions are of no interest, and costly.
    let text = perf(
        &["script", "-D", "-F", "event", "--kallsyms=/dev/null"],
        path,
    );
    let mut all: Vec<Dumped> = Vec::new();
    let mut is_sample = false;
    let mut list = None;
    for line in text.lines() {
        if let Some((place, head)) = line.split_once("]: PERF_RECORD_") {
            is_sample = head.starts_with("SAMPLE(");
            list = None;
            if is_sample {
                all.push(head_of(place, head));
            }
            continue;
        }
        if line.contains("@") && line.contains("]: event: ") {
            is_sample = false;
        }
        if let (true, Some(sample)) = (is_sample, all.last_mut()) {
            part(line.trim(), sample, &mut list);
        }
    }
    all
}

fn hex(text: &str) -> u64 {
    let digits = text.trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `1 26402734919349 0x970 [0x3a0]: PERF_RECORD_SAMPLE(IP, 0x1): 7/8: 0xff period: 1 addr: 0`.
fn head_of(place: &str, head: &str) -> Dumped {
    let words: Vec<&str> = place.split_whitespace().collect();
    let [.., offset, size] = words[..] else {
        panic!("{place}")
    };
    let mut sample = Dumped {
        offset: hex(offset) as usize,
        size: hex(size.trim_start_matches('[')) as usize,
        ..Dumped::default()
    };
    // Before the place stand CPU and time, each if the event has it.
    sample.put(
        "_stamps",
        words[..words.len() - 2].iter().map(|w| w.parse().unwrap()),
    );
    let mut parts = head.split(": ").skip(1);
    let mut next = || parts.next().unwrap_or_else(|| panic!("{head}"));
    let (pid, tid) = next().split_once('/').unwrap();
    sample.put("pid", [pid.parse::<i32>().unwrap() as u64]);
    sample.put("tid", [tid.parse::<i32>().unwrap() as u64]);
    sample.put("ip", [hex(next().split_whitespace().next().unwrap())]);
    sample.put(
        "period",
        [next().split_whitespace().next().unwrap().parse().unwrap()],
    );
    sample.put("addr", [hex(next())]);
    sample
}

/// A line below the first.
fn part(line: &str, sample: &mut Dumped, list: &mut Option<&'static str>) {
    let after = |start: &str| line.strip_prefix(start).map(str::trim);
    if let Some(weight) = after("... weight: ") {
        let mut parts = weight.split(',');
        sample.put("weight", [parts.next().unwrap().parse().unwrap()]);
        sample.put("_weight_more", parts.map(hex));
    } else if let Some(value) = after(". data_src: ") {
        sample.put("data_src", [hex(value)]);
    } else if let Some(value) = after(".. phys_addr: ") {
        sample.put("phys_addr", [hex(value)]);
    } else if let Some(value) = after(".. data page size: ") {
        sample.pages.insert("data_page_size", value.to_owned());
    } else if let Some(value) = after(".. code page size: ") {
        sample.pages.insert("code_page_size", value.to_owned());
    } else if let Some(value) = after("... transaction: ") {
        sample.put("transaction", [hex(value)]);
    } else if let Some(value) = after("... ustack: size ") {
        let (size, _) = value.split_once(',').unwrap();
        sample.put("_stack_used", [size.parse().unwrap()]);
    } else if let Some(value) = after("...... time enabled ") {
        sample.put("read_time_enabled", [hex(value)]);
    } else if let Some(value) = after("...... time running ") {
        sample.put("read_time_running", [hex(value)]);
    } else if let Some(value) = after(".... group nr ") {
        sample.put("read_nr", [value.parse().unwrap()]);
        sample.put("_read", []);
    } else if let Some(value) = after("..... id ") {
        let mut numbers = value.split(", ");
        let id = hex(numbers.next().unwrap());
        let value = hex(numbers.next().unwrap().strip_prefix("value ").unwrap());
        let lost = numbers.next().map(|n| n.strip_prefix("lost ").unwrap());
        let lost = lost.map(|n| n.parse::<u64>().unwrap());
        let entries = sample.fields.entry("_read".to_owned()).or_default();
        entries.extend([value, id].into_iter().chain(lost));
    } else if line.starts_with("... FP chain: nr:") {
        *list = Some("callchain");
        sample.put("callchain", []);
    } else if line.starts_with("... branch stack") || line.starts_with("... branch callstack") {
        *list = Some("_branches");
        sample.put("_branches", []);
    } else if line.starts_with("... user regs:") {
        *list = Some("user_regs");
        sample.put("user_regs", []);
    } else if line.starts_with("... intr regs:") {
        *list = Some("intr_regs");
        sample.put("intr_regs", []);
    } else if let (Some(value), Some(name)) = (after("..... ").or(after(".... ")), *list) {
        // A register's name and value; or a number, a colon and an address or a branch.
        let words = value.split_whitespace().skip(1);
        let words = words.filter(|w| *w != "->");
        let count = if name == "_branches" { 2 } else { 1 };
        let numbers: Vec<u64> = words.take(count).map(hex).collect();
        sample.fields.get_mut(name).unwrap().extend(numbers);
    }
}

impl Dumped {
    fn put(&mut self, name: &str, numbers: impl IntoIterator<Item = u64>) {
        self.fields
            .insert(name.to_owned(), numbers.into_iter().collect());
    }

    /// Says which parts perf shows otherwise than `ours` says, and notes which it looked at.
    /// What an event does not record perf makes up: those parts do not count.
    pub(crate) fn differences(
        &self,
        ours: &Fields,
        compared: &mut BTreeSet<String>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |name: &str, theirs: &[u64], ours: &[u64]| {
            compared.insert(name.to_owned());
            if theirs != ours {
                found.push(format!("{name}: perf {theirs:x?}, here {ours:x?}"));
            }
        };
        let one = |name: &str| ours.get(name).and_then(|v| v.first()).copied();
        for (name, theirs) in &self.fields {
            let Some(value) = ours.get(name) else {
                continue;
            };
            match name.as_str() {
                _ if !name.starts_with('_') => check(name, theirs, value),
                _ => {}
            }
        }
        let stamps = &self.fields["_stamps"];
        let own: Vec<u64> = ["cpu", "time"].iter().filter_map(|n| one(n)).collect();
        if stamps.len() == own.len() {
            check("cpu and time", stamps, &own);
        }
        if let (Some(theirs), Some(low), Some(mid), Some(more)) = (
            self.fields.get("weight"),
            one("weight_var1"),
            one("weight_var2"),
            self.fields.get("_weight_more"),
        ) {
            check("weight", theirs, &[low]);
            // The third part has another meaning to each kind of machine.
            check("weight", &more[..1], &[mid]);
        }
        if let (Some(theirs), Some(used)) = (self.fields.get("_stack_used"), one("stack_dyn_size"))
        {
            check("stack", theirs, &[used]);
        }
        if let (Some(theirs), Some(values)) = (self.fields.get("_read"), ours.get("read_values")) {
            check("read_values", theirs, values);
        }
        if let (Some(theirs), Some(value)) = (self.fields.get("_read"), one("read_value")) {
            let own = [Some(value), one("read_id"), one("read_lost")];
            let own: Vec<u64> = own.into_iter().flatten().collect();
            check("read_value", theirs, &own);
        }
        if let (Some(theirs), Some(branches)) = (self.fields.get("_branches"), ours.get("branches"))
        {
            let ends: Vec<u64> = branches.chunks(3).flat_map(|b| [b[0], b[1]]).collect();
            check("branches", theirs, &ends);
        }
        for (name, theirs) in &self.pages {
            if let Some(own) = one(name) {
                check(name, &[page_size(theirs)], &[own]);
            }
        }
        found
    }
}

fn page_size(text: &str) -> u64 {
    let unit = |text: &str, unit| text.parse::<u64>().unwrap() * unit;
    match text.split_at(text.len() - 1) {
        ("N/", "A") => 0,
        (count, "K") => unit(count, 1 << 10),
        (count, "M") => unit(count, 1 << 20),
        (count, "G") => unit(count, 1 << 30),
        _ => text.parse().unwrap(),
    }
}
