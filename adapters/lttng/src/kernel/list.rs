//! The lists of what can be recorded, as the tracer writes them.
//!
//! A line is `event { name = sched_switch; };` or
//! `syscall { index = 257; name = openat; bitness = 64; };`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// A list of more bytes is not read to its end.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// The names in a list, each once, sorted.
pub(super) fn names(list: OwnedFd) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    File::from(list)
        .take(LIST_BYTES_MAX)
        .read_to_end(&mut text)?;
    Ok(names_in(&String::from_utf8_lossy(&text)))
}

fn names_in(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("name = ")?;
            let (name, _) = rest.split_once(';')?;
            Some(name.trim().to_owned())
        })
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_events_and_of_system_calls() {
        let text = "event { name = sched_switch; };\nevent { name = irq_entry; };\n";
        assert_eq!(names_in(text), ["irq_entry", "sched_switch"]);
        let text = "syscall { index = 0; name = read; bitness = 64; };\n\
                    syscall { index = 3; name = read; bitness = 32; };\nnonsense\n";
        assert_eq!(names_in(text), ["read"]);
    }
}
