//! perf's own tests of the attrs that `perf record` makes: `test-record-*` of the
//! installed package, against what our command line makes of the same arguments.

use crate::support::{kstrace, stdout};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const DIR: &str = "/usr/lib/perf-core/tests/attr";

type Fields = BTreeMap<String, String>;

/// Sections of an INI file: name, base, fields.
fn sections(text: &str) -> Vec<(String, Option<String>, Fields)> {
    let mut all: Vec<(String, Option<String>, Fields)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let (name, base) = match head.split_once(':') {
                Some((name, base)) => (name, Some(base.to_owned())),
                None => (head, None),
            };
            all.push((name.to_owned(), base, Fields::new()));
        } else if let (false, Some((key, value)), Some(last)) =
            (line.starts_with('#'), line.split_once('='), all.last_mut())
        {
            last.2
                .insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    all
}

fn with_base(base: Option<&str>, own: &Fields) -> Fields {
    let mut fields = match base {
        None => Fields::new(),
        Some(name) => {
            let text = fs::read_to_string(Path::new(DIR).join(name)).expect("a base file");
            let (_, base, fields) = sections(&text).remove(0);
            with_base(base.as_deref(), &fields)
        }
    };
    fields.extend(own.clone());
    fields
}

/// `1|4|*` means any of these.
fn allows(expected: &str, found: &str) -> bool {
    expected.split('|').any(|one| one == "*" || one == found)
}

/// Fields that are not of the attr, or of opening alone.
const NOT_OF_THE_ATTR: [&str; 6] = ["fd", "flags", "cpu", "pid", "size", "optional"];

fn mismatches(expected: &Fields, found: &Fields) -> Vec<String> {
    let period = || found.get("sample_period").cloned();
    expected
        .iter()
        .filter(|(key, _)| !NOT_OF_THE_ATTR.contains(&key.as_str()))
        .filter_map(|(key, wanted)| {
            let value = match key.as_str() {
                // One word of the attr.
                "sample_freq" => period(),
                _ => found.get(key).cloned(),
            };
            match value {
                Some(value) if allows(wanted, &value) => None,
                Some(value) => Some(format!("{key}: expected {wanted}, is {value}")),
                None => Some(format!("{key}: not told")),
            }
        })
        .collect()
}

/// The words of a test's command line, without where its output goes.
fn words(args: &str) -> Vec<String> {
    args.split_whitespace()
        .take_while(|w| !w.contains('>'))
        .map(|w| w.trim_matches('\'').to_owned())
        .collect()
}

fn is_for_here(config: &Fields) -> bool {
    let arch = config.get("arch").map(String::as_str).unwrap_or("");
    match arch.strip_prefix('!') {
        _ if arch.is_empty() => true,
        Some(not) => not.split(',').all(|a| a != std::env::consts::ARCH),
        None => arch.split(',').any(|a| a == std::env::consts::ARCH),
    }
}

#[test]
fn perfs_own_attr_tests() {
    let mut tests: Vec<_> = fs::read_dir(DIR)
        .expect("perf's tests: install linux-perf")
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("test-record-"))
        .collect();
    tests.sort();
    let mut ran = 0;
    let mut failed = Vec::new();
    for test in &tests {
        let text = fs::read_to_string(Path::new(DIR).join(test)).unwrap();
        let all = sections(&text);
        let config = &all.iter().find(|s| s.0 == "config").expect("a config").2;
        // --pfm-events needs a library that no perf of Debian has.
        if !is_for_here(config) || test.contains("pfm") {
            continue;
        }
        ran += 1;
        let args = words(&config["args"]);
        let told = stdout(
            kstrace(["perf", "record"])
                .args(&args)
                .env("KSTRACE_PERF_DUMP_ATTRS", "1"),
        );
        let found: Vec<Fields> = sections(&told).into_iter().map(|s| s.2).collect();
        for (name, base, own) in all.iter().filter(|s| s.0.starts_with("event")) {
            let expected = with_base(base.as_deref(), own);
            let best = found
                .iter()
                .map(|event| mismatches(&expected, event))
                .min_by_key(Vec::len)
                .unwrap_or_default();
            if found.is_empty() || !best.is_empty() {
                failed.push(format!("{test} [{name}]: {}", best.join("; ")));
            }
        }
        let expected = all.iter().filter(|s| s.0.starts_with("event")).count();
        if found.len() != expected {
            failed.push(format!("{test}: {} events, not {expected}", found.len()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(
        ran >= 20,
        "{ran} of {} tests are for this machine",
        tests.len()
    );
}
