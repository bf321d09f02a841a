//! The real perf, called in our place, and how often that happened.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Environment variable with the path of the real perf.
pub const REAL_PERF_VARIABLE: &str = "KSTRACE_REAL_PERF";
/// Status of a shell for a command that is not there.
const NOT_FOUND: u8 = 127;

/// Why the real perf is called.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// Only `record` is ours.
    Subcommand,
    /// An option or event of `record` that is not served here.
    NotServed(String),
}

/// Becomes the real perf.
pub(super) fn call(arguments: &[OsString], reason: Reason) -> ExitCode {
    let Some(path) = find() else {
        eprintln!("kstrace: no other perf was found in PATH; {REAL_PERF_VARIABLE} can name one");
        return ExitCode::from(NOT_FOUND);
    };
    let what = match &reason {
        Reason::Subcommand => arguments
            .first()
            .map_or("(nothing)".into(), |a| a.to_string_lossy().into_owned()),
        Reason::NotServed(what) => {
            eprintln!("kstrace: {what}: recorded by {}", path.display());
            format!("record {what}")
        }
    };
    count(&what);
    let error = Command::new(&path).args(arguments).exec();
    eprintln!("kstrace: cannot run {}: {error}", path.display());
    ExitCode::from(NOT_FOUND)
}

/// The first perf in PATH that is not this program.
fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(REAL_PERF_VARIABLE).filter(|p| !p.is_empty()) {
        return Some(PathBuf::from(path));
    }
    let own = fs::metadata("/proc/self/exe").ok()?;
    let is_other = |path: &Path| {
        fs::metadata(path).is_ok_and(|m| {
            m.is_file()
                && m.permissions().mode() & 0o111 != 0
                && (m.dev(), m.ino()) != (own.dev(), own.ino())
        })
    };
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join("perf"))
        .find(|path| is_other(path))
}

/// The file that counts calls of the real perf, a line each.
pub fn statistics_path() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .filter(|p| !p.is_empty())
        .map(PathBuf::from);
    let home = || {
        Some(PathBuf::from(
            std::env::var_os("HOME").filter(|h| !h.is_empty())?,
        ))
    };
    Some(
        state
            .or_else(|| Some(home()?.join(".local/state")))?
            .join("kstrace/perf-calls"),
    )
}

/// Larger than this the file is not let grow: who calls so often knows by then.
const MOST_BYTES: u64 = 1 << 20;

/// Counts; that it could not be counted is no reason to fail.
fn count(what: &str) {
    let Some(path) = statistics_path() else {
        return;
    };
    if let Some(dir) = path.parent()
        && fs::create_dir_all(dir).is_err()
    {
        return;
    }
    if fs::metadata(&path).is_ok_and(|m| m.len() > MOST_BYTES) {
        return;
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = file {
        let line = what.replace(['\n', '\r'], " ");
        let _ = writeln!(file, "{line}");
    }
}

/// `kstrace perf --stats`.
pub(super) fn print_statistics() -> ExitCode {
    let text = statistics_path()
        .and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_by_key(|(what, times)| (std::cmp::Reverse(*times), *what));
    let mut out = std::io::stdout().lock();
    let mut say = || -> std::io::Result<()> {
        if sorted.is_empty() {
            return writeln!(out, "the real perf was never called");
        }
        for (what, times) in &sorted {
            writeln!(out, "{times:8}  perf {what}")?;
        }
        Ok(())
    };
    // Whoever reads this has had enough.
    let _ = say();
    ExitCode::SUCCESS
}
