//! The official Python protos, which `tools/setup test` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the Python that has the protos.
const PYTHON: &str = "KSTRACE_JUDGE_PYTHON";

/// The Python that has them; where there is none, says why a test is skipped.
pub(crate) fn python() -> Option<PathBuf> {
    let python = match std::env::var_os(PYTHON) {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judge-python/bin/python3"),
    };
    let has_protos = Command::new(&python)
        .args(["-c", "import perfetto.protos.perfetto.trace"])
        .output()
        .is_ok_and(|o| o.status.success());
    if !has_protos {
        eprintln!(
            "skipped: {} does not have the perfetto wheel: run tools/setup test, or set {PYTHON}",
            python.display()
        );
    }
    has_protos.then_some(python)
}

/// Runs one of the judge's scripts; gives what it prints, and panics with what it objects to.
pub(crate) fn run(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(python)
        .arg(&script)
        .args(arguments)
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_table_of_typed_events_is_what_the_protos_say() {
    let Some(python) = python() else { return };
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/typed_events.txt");
    run(
        &python,
        "tools/typed_events.py",
        &[Path::new("--check"), &table],
    );
}
