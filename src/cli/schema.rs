//! `kstrace schema`: what events look like, and how that changed.

use super::output::print;
use crate::convert::{Change, SchemaDiff, collect_classes, open_input};
use anyhow::Result;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare what events look like.
#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    #[command(subcommand)]
    verb: SchemaVerb,
}

#[derive(Subcommand, Debug)]
enum SchemaVerb {
    /// How the events of two traces differ: same, additive, breaking. The status is 1 if a change
    /// breaks readers
    Diff {
        /// The older trace, of any form
        a: PathBuf,
        /// The newer one
        b: PathBuf,
        /// Also the events that are the same
        #[arg(short, long)]
        all: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
///
/// # Errors
/// When a trace cannot be read.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = SchemaArgs::from_arg_matches(matches)?;
    let SchemaVerb::Diff { a, b, all, json } = args.verb;
    let mut damaged = false;
    let mut classes = |path: &Path| -> Result<_> {
        let mut input = open_input(path)?;
        let (classes, outcome) = collect_classes(input.as_mut())?;
        for damage in &outcome.damage {
            damaged = true;
            eprintln!("kstrace: {}: {damage:?}", path.display());
        }
        Ok(classes)
    };
    let diff = SchemaDiff::of(&classes(&a)?, &classes(&b)?);
    print(&if json {
        as_json(&diff, all)
    } else {
        as_text(&diff, all)
    })?;
    Ok(if diff.is_compatible() && !damaged {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shown(diff: &SchemaDiff, all: bool) -> impl Iterator<Item = (&String, &Change)> {
    diff.events
        .iter()
        .filter(move |(_, change)| all || **change != Change::Same)
}

fn as_text(diff: &SchemaDiff, all: bool) -> String {
    let mut text = String::new();
    for (name, change) in shown(diff, all) {
        text += &format!("{:<9} {name}\n", change.word());
        for detail in change.details() {
            text += &format!("          {detail}\n");
        }
    }
    let breaking = diff
        .events
        .values()
        .filter(|c| matches!(c, Change::Breaking(_)))
        .count();
    text += &match breaking {
        0 => "compatible\n".to_owned(),
        1 => "1 event breaks its readers\n".to_owned(),
        n => format!("{n} events break their readers\n"),
    };
    text
}

fn as_json(diff: &SchemaDiff, all: bool) -> String {
    let events: serde_json::Map<String, serde_json::Value> = shown(diff, all)
        .map(|(name, change)| {
            let value = serde_json::json!({
                "change": change.word(),
                "details": change.details(),
            });
            (name.clone(), value)
        })
        .collect();
    format!(
        "{:#}\n",
        serde_json::json!({ "compatible": diff.is_compatible(), "events": events })
    )
}
