//! The command line: one file a subcommand.

mod convert;
mod doctor;
mod events;
mod info;
mod list;
mod live;
mod merge;
mod output;
mod perf;
mod progress;
mod record;
mod recording;
mod report;
mod schema;
mod selection;
mod sessions;
mod size;
mod split;
mod summary;
mod transfer_progress;

use clap::{ArgMatches, Args, Command};
use std::process::ExitCode;

/// One subcommand: its name, its arguments, what it does.
struct Verb {
    command: fn() -> Command,
    run: fn(&ArgMatches) -> anyhow::Result<ExitCode>,
}

const VERBS: &[Verb] = &[
    Verb {
        command: || {
            record::RecordArgs::augment_args(Command::new("record"))
                .about("Record events of perf and ftrace into one trace")
        },
        run: record::run,
    },
    Verb {
        command: || {
            report::ReportArgs::augment_args(Command::new("report"))
                .about("Show a trace as one timeline, in text or JSON Lines")
        },
        run: report::run,
    },
    Verb {
        command: || {
            live::LiveArgs::augment_args(Command::new("live"))
                .about("Follow a session of LTTng's relay daemon or of kstraced, or list them")
        },
        run: live::run,
    },
    Verb {
        command: || {
            convert::ConvertArgs::augment_args(Command::new("convert"))
                .visible_alias("export")
                .about("Write a trace of any form in another one")
        },
        run: convert::run,
    },
    Verb {
        command: || {
            merge::MergeArgs::augment_args(Command::new("merge"))
                .about("Put several traces on one timeline")
        },
        run: merge::run,
    },
    Verb {
        command: || {
            split::SplitArgs::augment_args(Command::new("split"))
                .about("Deal a trace out to several, by CPU, thread, event, source or time")
        },
        run: split::run,
    },
    Verb {
        command: || {
            schema::SchemaArgs::augment_args(Command::new("schema"))
                .about("Compare what events look like in two traces")
        },
        run: schema::run,
    },
    Verb {
        command: || {
            info::InfoArgs::augment_args(Command::new("info"))
                .about("Show what a trace is made of: sources, clocks, classes, loss")
        },
        run: info::run,
    },
    Verb {
        command: || {
            list::ListArgs::augment_args(Command::new("list"))
                .about("List the events that can be recorded here")
        },
        run: list::run,
    },
    Verb {
        command: || {
            doctor::DoctorArgs::augment_args(Command::new("doctor"))
                .about("Tell what can be traced here, by whom, and how to allow the rest")
        },
        run: doctor::run,
    },
    Verb {
        command: perf::command,
        run: perf::run,
    },
    Verb {
        command: || {
            sessions::SessionsArgs::augment_args(Command::new("sessions"))
                .about("List the sessions of kstraced, or end one")
        },
        run: sessions::run,
    },
];

fn command() -> Command {
    Command::new("kstrace")
        .about("One timeline for perf, ftrace and LTTng")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(VERBS.iter().map(|v| (v.command)()))
}

/// Parses the command line, runs it, prints an error once with its causes.
///
/// Exit status: 0 done; 1 failed, or the input was damaged; 2 wrong usage; 3
/// with `--fail-on-loss` when records were lost; after a recorded command, its own.
pub fn main() -> ExitCode {
    if let Some(status) = perf::called_as_perf() {
        return status;
    }
    let matches = command().get_matches();
    let Some((name, arguments)) = matches.subcommand() else {
        return ExitCode::from(2);
    };
    let verb = VERBS.iter().find(|v| (v.command)().get_name() == name);
    let outcome = verb.map_or(Ok(ExitCode::from(2)), |v| (v.run)(arguments));
    match outcome {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kstrace: {}", explain(&error));
            ExitCode::from(exit_status(&error))
        }
    }
}

/// The error with its causes, each said once, and what can be done where that is known.
fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let out_of_descriptors = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.raw_os_error() == Some(libc::EMFILE))
    });
    if out_of_descriptors {
        text.push_str(" (raise the limit with 'ulimit -n')");
    }
    text
}

/// A mistake in the command line: status 2.
fn usage(message: impl Into<String>) -> anyhow::Error {
    kstrace_schema::Error::new(kstrace_schema::ErrorKind::InvalidInput, message).into()
}

/// Whoever read our output has had enough: that is not our failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn exit_status(error: &anyhow::Error) -> u8 {
    let usage = error.chain().any(|cause| {
        cause
            .downcast_ref::<kstrace_schema::Error>()
            .is_some_and(|e| e.kind() == kstrace_schema::ErrorKind::InvalidInput)
    });
    if usage { 2 } else { 1 }
}
