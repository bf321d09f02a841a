//! Holds version 1 to what is committed under `schema/v1/`.
//!
//! `KSTRACE_BLESS=1` rewrites the committed files if the change only adds;
//! `KSTRACE_BLESS=break` rewrites them whatever the change is, which only a new
//! major version may do. See `schema/v1/VERSIONING.md`.

mod additive;
mod examples;
mod fingerprints;
mod wire;

use serde_json::Value;
use std::path::PathBuf;

/// Compares a document with the committed file of that name.
fn compare(file: &str, generated: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("v1")
        .join(file);
    let mut text = serde_json::to_string_pretty(generated).unwrap();
    text.push('\n');
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == text {
        return;
    }
    let breaking = match serde_json::from_str::<Value>(&committed) {
        Ok(old) => additive::breaking_changes(&old, generated),
        Err(_) => Vec::new(),
    };
    match std::env::var("KSTRACE_BLESS").as_deref() {
        Ok("break") => std::fs::write(&path, text).unwrap(),
        Ok("1") if breaking.is_empty() => std::fs::write(&path, text).unwrap(),
        _ => {
            let line = committed
                .lines()
                .zip(text.lines())
                .position(|(a, b)| a != b);
            panic!(
                "{} differs from the types, first in line {}.\nBreaking: {breaking:#?}\n\
                 If v1/VERSIONING.md allows the change, run the test with KSTRACE_BLESS=1.",
                path.display(),
                line.map_or(0, |l| l + 1)
            );
        }
    }
}

#[test]
fn the_json_schema_of_the_model_is_the_committed_one() {
    compare(
        "model.schema.json",
        &kstrace_schema::model_schema::model_schema(),
    );
}

#[test]
fn the_json_schema_of_the_canonical_table_is_the_committed_one() {
    compare(
        "canonical.schema.json",
        &kstrace_schema::model_schema::canonical_schema(),
    );
}
