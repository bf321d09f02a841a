//! Every trace of the corpus in every form: what is said, and what can be read back.

use super::support::*;
use std::fs;
use std::path::{Path, PathBuf};

const FORMS: [&str; 10] = [
    "kst",
    "ctf",
    "ctf2",
    "perf.data",
    "trace.dat",
    "perfetto",
    "jsonl",
    "text",
    "folded",
    "svg",
];
/// Lines of a text that are kept as they are; the rest by its hash.
const FIRST_LINES: usize = 4;

pub(crate) fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name)
}

/// FNV-1a: a change anywhere shows.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn summary(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .take(FIRST_LINES)
        .map(|l| format!("  {}", l.chars().take(200).collect::<String>()))
        .collect();
    lines.push(format!(
        "  {} lines, {:016x}",
        text.lines().count(),
        hash(text.as_bytes())
    ));
    lines.join("\n")
}

/// Converts, and tells what happened in a way that is the same everywhere.
pub(crate) fn told(input: &Path, form: &str, dir: &Path) -> String {
    let out = dir.join(format!("out.{form}"));
    let output = kstrace(["convert", "--no-symbols", "--to", form])
        .arg(input)
        .arg(&out)
        .output()
        .expect("kstrace");
    let said = String::from_utf8_lossy(&output.stderr)
        .replace(&input.display().to_string(), "INPUT")
        .replace(&dir.display().to_string(), "DIR");
    let read_back = match form {
        // Its bytes name the input's place; kstrace does not read it back.
        "perfetto" => {
            assert!(fs::metadata(&out).is_ok_and(|m| m.len() > 100));
            "  written".to_owned()
        }
        "jsonl" | "text" | "folded" | "svg" => {
            summary(&fs::read_to_string(&out).unwrap_or_default())
        }
        _ => {
            let report = kstrace(["report", "--no-symbols"])
                .arg(&out)
                .output()
                .expect("kstrace");
            summary(&String::from_utf8_lossy(&report.stdout))
        }
    };
    let status = output.status.code().unwrap_or(-1);
    format!("== {form}: status {status}\n{said}{read_back}\n")
}

fn matrix(name: &str) {
    let dir = scratch();
    let text: String = FORMS
        .iter()
        .map(|form| told(&corpus(name), form, dir.path()))
        .collect();
    let snapshot = format!("corpus_{}", name.replace('.', "_"));
    check(&snapshot, &text);
}

pub(crate) fn check(snapshot: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(snapshot.to_owned(), text));
}

#[test]
fn samples_of_perf() {
    matrix("samples.data");
}

#[test]
fn tracepoints_of_perf() {
    matrix("tracepoints.data");
}

#[test]
fn a_group_compressed_by_perf() {
    matrix("group_compressed.data");
}

#[test]
fn a_stream_of_perf() {
    matrix("stream.data");
}

#[test]
fn version_7_trace_dat() {
    matrix("v7.dat");
}

#[test]
fn version_6_trace_dat() {
    matrix("v6.dat");
}

#[test]
fn perf_data_of_a_big_endian_machine() {
    matrix("big_endian.data");
}

#[test]
fn trace_dat_of_a_big_endian_32_bit_machine() {
    matrix("big_endian_32_bit.dat");
}
