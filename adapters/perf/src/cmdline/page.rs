//! Documents made of the table: the page of parity and the manual page.

use super::option::{OptionSpec, Tier};
use super::table::OPTIONS;
use std::fmt::Write;

/// Options of the table's that are understood here, but whose work the real perf does.
const PASSED_ON: [&str; 3] = ["max-size", "timestamp-filename", "realtime"];

/// `-F`, `--freq <...>`, as help writes it, without the padding.
fn written(option: &OptionSpec) -> String {
    let mut text = match (option.short, option.long) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    match (option.shown, option.optional) {
        ("", _) => {}
        (shown, Some(_)) => text.push_str(&format!("[={shown}]")),
        (shown, None) => text.push_str(&format!(" {shown}")),
    }
    text
}

fn served_by(option: &OptionSpec) -> &'static str {
    match option.tier {
        Tier::RealPerf => "the real perf",
        Tier::Served if PASSED_ON.contains(&option.key()) => "the real perf",
        Tier::Served if option.key() == "delay" => "kstrace; ranges: the real perf",
        Tier::Served => "kstrace",
        Tier::Ignored => "read and passed over",
    }
}

/// `docs/perf-record.md`.
pub fn parity_page() -> String {
    let mut text = String::from(
        "# `kstrace perf record` beside `perf record`\n\n\
         This page is made from the table that also parses the options \
         (`adapters/perf/src/cmdline/table.rs`); a test keeps it current.\n\n\
         Every option of perf 6.1 and later is understood as perf understands it. What kstrace does \
         not serve is recorded by the real perf in its place: one line on standard error says so, and \
         `kstrace perf --stats` counts it. The real perf is the first other `perf` in `PATH`, or what \
         `KSTRACE_REAL_PERF` names. Other sub-commands are the real perf's too.\n\n\
         `kstrace perf --source perf record ...` takes everything through `perf_event_open`; without \
         it plain tracepoints come from ftrace's ring.\n\n\
         Abbreviations are those of perf 6.1: what a later perf brought takes no prefix from them.\n\n\
         | option | served by | since perf | what it does |\n| --- | --- | --- | --- |\n",
    );
    for option in OPTIONS {
        let since = match option.since {
            "" => "6.1 or before",
            since => since,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {since} | {} |",
            written(option).replace('|', "\\|"),
            served_by(option),
            option.help.replace('|', "\\|")
        );
    }
    text
}

/// The manual page `kstrace-perf-record(1)`, in man(7).
pub fn manual_page() -> String {
    let mut text = String::from(
        ".\\\" Made from the table of options; see docs/perf-record.md.\n\
         .TH KSTRACE-PERF-RECORD 1\n\
         .SH NAME\nkstrace\\-perf\\-record \\- record into a perf.data as perf record does\n\
         .SH SYNOPSIS\n.B kstrace perf record\n[\\fIoptions\\fR] [\\fB\\-\\-\\fR] [\\fIcommand\\fR]\n\
         .SH DESCRIPTION\nTakes the command lines of\n.BR perf\\-record (1)\nand writes the perf.data that \
         other perf commands read. What it does not serve is done by the real perf in its place, \
         which one line on standard error tells;\n.B kstrace perf \\-\\-stats\ncounts it.\n\
         .SH OPTIONS\n",
    );
    for option in OPTIONS {
        let _ = writeln!(
            text,
            ".TP\n.B {}\n{} ({})",
            roff(&written(option)),
            roff(option.help),
            roff(served_by(option))
        );
    }
    text.push_str(
        ".SH EXIT STATUS\nThe command's own; 129 after wrong usage; 255 if nothing could be recorded.\n\
         .SH ENVIRONMENT\n.TP\n.B KSTRACE_REAL_PERF\nThe real perf; otherwise the first other one in \
         PATH.\n.TP\n.B XDG_STATE_HOME\nWhere calls of the real perf are counted, in \
         kstrace/perf\\-calls.\n.SH SEE ALSO\n.BR perf\\-record (1)\n",
    );
    text
}

/// Text in which nothing is a request or an escape of man(7).
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Run with `KSTRACE_UPDATE_DOCS=1` to write them anew.
    #[test]
    fn the_pages_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (path, text) in [
            ("docs/perf-record.md", parity_page()),
            ("packaging/man/kstrace-perf-record.1", manual_page()),
        ] {
            let path = root.join(path);
            if std::env::var_os("KSTRACE_UPDATE_DOCS").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &text).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == text,
                "{}: not what the table says; run this with KSTRACE_UPDATE_DOCS=1",
                path.display()
            );
        }
    }
}
