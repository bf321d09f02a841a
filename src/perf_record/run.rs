//! One `perf record`, from its command line to its exit status.

use super::SourceChoice;
use super::drain::{self, End, Waiting};
use super::exec_window::State;
use super::messages::Failure;
use super::output::{Output, plain};
use super::real_perf::{self, Reason};
use super::selection::select;
use super::session::{DEFAULT_RING_BYTES, Opening, Session, threads};
use super::signals;
use super::target::Whom;
use crate::engine::{Workload, exit_of};
use kstrace_perf::Target;
use kstrace_perf::cmdline::events::Machine;
use kstrace_perf::cmdline::{Configured, Scope, Settings, Stop, configure, dump, help};
use kstrace_schema::{Capture, ClockKind, Sink};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// Prints the attrs that would be opened, for tests, and records nothing.
const DUMP_VARIABLE: &str = "KSTRACE_PERF_DUMP_ATTRS";

/// Runs it: `arguments` are what follows the word `record`.
pub(super) fn record(arguments: &[OsString], choice: SourceChoice) -> ExitCode {
    // Where perf shows its manual page.
    if arguments.first().is_some_and(|a| a == "--help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::parse(arguments, &Machine::default()) {
        Ok(settings) => settings,
        Err(Stop::Error { text, status }) => {
            eprint!("{text}");
            return ExitCode::from(status);
        }
        Err(Stop::Listed(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
    };
    let dumps = std::env::var_os(DUMP_VARIABLE).is_some();
    let unserved = settings.real_perf.clone().filter(|_| !dumps);
    if let Some(what) = unserved.or_else(|| not_served(&settings)) {
        let mut words: Vec<OsString> = vec!["record".into()];
        words.extend_from_slice(arguments);
        return real_perf::call(&words, Reason::NotServed(what));
    }
    match run(arguments, &settings, choice, dumps) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprint!("{}", failure.text);
            ExitCode::from(failure.status)
        }
    }
}

/// What the options allow and nothing here does.
fn not_served(settings: &Settings) -> Option<String> {
    if settings.max_size_bytes.is_some() {
        return Some("--max-size".to_owned());
    }
    if settings.timestamp_filename {
        return Some("--timestamp-filename".to_owned());
    }
    if settings.realtime.is_some() {
        return Some("--realtime".to_owned());
    }
    let clock = settings.clock_id;
    if clock.is_some_and(|id| clock_kind(id).is_none()) {
        return Some(format!("--clockid {}", clock.unwrap_or_default()));
    }
    None
}

fn clock_kind(id: i32) -> Option<ClockKind> {
    Some(match id {
        0 => ClockKind::Realtime,
        1 => ClockKind::Monotonic,
        4 => ClockKind::MonotonicRaw,
        7 => ClockKind::Boottime,
        11 => ClockKind::Tai,
        _ => return None,
    })
}

fn run(
    arguments: &[OsString],
    settings: &Settings,
    choice: SourceChoice,
    dumps: bool,
) -> Result<u8, Failure> {
    let command = &arguments[settings.words..];
    let whom = Whom::of(settings, !command.is_empty())?;
    let (frequency_hz, said) = settings
        .frequency(kstrace_perf::max_sample_rate_hz())
        .map_err(stopped)?;
    say(settings, said.as_slice());
    say(settings, &settings.notes);
    let scope = Scope {
        on_cpus: whom.on_cpus,
        command_only: whom.is_command_only(),
    };
    let mut warnings = Vec::new();
    let configured = configure(settings, scope, frequency_hz, &mut warnings);
    say(settings, &warnings);
    if dumps {
        print!("{}", dump(&configured));
        return Ok(0);
    }
    if settings.dry_run {
        return Ok(0);
    }
    // Before any thread starts, so that only the descriptor gets them.
    let signals = signals::block()?;
    let mut output = Output::open(settings.output.as_deref(), !settings.no_buildid)?;
    let workload = match command.is_empty() {
        true => None,
        false => Some(
            Workload::prepare_as(command, "perf-exec")
                .map_err(|e| Failure::failed(format!("{}\n", super::messages::chain(&e))))?,
        ),
    };
    let target = whom.target(workload.as_ref().map(Workload::pid));
    let opening = opening(
        arguments,
        settings,
        &whom,
        target.clone(),
        configured,
        choice,
    )?;
    let mut session = Session::open(opening)?;
    for note in &session.notes {
        match note.strip_prefix("verbose: ") {
            Some(note) if settings.verbose > 0 && !settings.quiet => eprintln!("{note}"),
            Some(_) => {}
            None if !settings.quiet => eprintln!("{note}"),
            None => {}
        }
    }
    output.sink.session(&session.info)?;
    let mut state = window(&session, &target, &whom);
    for class in &session.classes {
        state.over(&mut output.sink).class(class)?;
    }
    output.sink.clock_pair(&kstrace_clock::read_pair())?;
    let enable_at = begin(settings);
    session.start()?;
    // What is there now is told as it is now, before the command takes its place.
    session.merger.round(&mut state.over(&mut output.sink))?;
    let event = session.first_event();
    let mut child = match workload.map(Workload::release).transpose() {
        Ok(child) => child,
        Err(e) => {
            let _ = session.stop();
            return Err(no_command(&event, command, &e));
        }
    };
    let waiting = Waiting {
        signals: &signals,
        child: child.as_mut(),
        exits: match (&whom.pids, &whom.tids) {
            (None, None) => Vec::new(),
            (pids, tids) => pids
                .iter()
                .chain(tids)
                .flatten()
                .filter_map(|p| exit_of(*p).ok())
                .collect(),
        },
        enable_at,
    };
    let mut wake_ups = 0;
    let end = drain::run(
        &mut session,
        &mut state,
        &mut output.sink,
        waiting,
        &mut wake_ups,
    );
    // The command is not left behind, whatever happened.
    let status = match &end {
        Ok(End::Command(status)) => Some(*status),
        _ => finish_command(child, &signals),
    };
    let end = end?;
    session.stop()?;
    let problems = drain::finish(&mut session, &mut state, &mut output.sink)?;
    output.sink.finish()?;
    for problem in &problems {
        eprintln!("kstrace: {problem}");
    }
    if !settings.quiet {
        eprintln!(
            "[ perf record: Woken up {} times to write data ]",
            wake_ups.max(1)
        );
        captured(settings, &output, state.samples);
    }
    Ok(exit_status(&end, status))
}

fn opening(
    arguments: &[OsString],
    settings: &Settings,
    whom: &Whom,
    target: Target,
    configured: Vec<Configured>,
    choice: SourceChoice,
) -> Result<Opening, Failure> {
    let has_tracepoint = configured.iter().any(|e| e.tracepoint.is_some());
    let clock = settings
        .clock_id
        .map_or(Some(ClockKind::Monotonic), clock_kind);
    let clock = clock.unwrap_or(ClockKind::Monotonic);
    // ftrace has no such clock.
    let ftrace_follows = clock != ClockKind::Realtime;
    let tracefs_is_usable =
        has_tracepoint && ftrace_follows && crate::engine::facts().tracefs.is_ok();
    let order = configured.iter().map(|e| match &e.tracepoint {
        Some((system, name)) => format!("{system}:{name}"),
        None => e.name.clone(),
    });
    let order = order.collect();
    let command = &arguments[settings.words..];
    let words = ["perf".to_owned(), "record".to_owned()];
    Ok(Opening {
        selection: select(configured, settings, whom, choice, tracefs_is_usable),
        threads: whom.tids.clone(),
        cpus: whom.cpus.clone(),
        ring_bytes: settings.mmap_bytes,
        clock,
        enable_at_start: !whom.is_command_only()
            && settings.delay.as_ref().is_none_or(|d| d.initial_ms == 0),
        capture: Capture {
            command_line: words
                .into_iter()
                .chain(arguments.iter().map(|a| a.to_string_lossy().into_owned()))
                .collect(),
            workload: command
                .iter()
                .map(|a| a.to_string_lossy().into_owned())
                .collect(),
            pids: match &target {
                Target::System => Vec::new(),
                Target::Pids(pids) => pids.clone(),
                Target::Command(pid) => vec![*pid],
            },
        },
        target,
        order,
    })
}

/// Which of ftrace's records are of the tasks recorded.
fn window(session: &Session, target: &Target, whom: &Whom) -> State {
    let number = |tid: &i32| u32::try_from(*tid).unwrap_or(0);
    match target {
        _ if session.ftrace.is_none() => State::everything(),
        Target::System => State::everything(),
        Target::Command(pid) => State::command(number(pid)),
        Target::Pids(pids) => {
            let tids = pids.iter().flat_map(|p| threads(*p));
            State::tasks(
                whom.tids
                    .clone()
                    .unwrap_or_else(|| tids.collect())
                    .iter()
                    .map(number),
            )
        }
    }
}

/// Tells when events begin, where that is not at the start.
fn begin(settings: &Settings) -> Option<Instant> {
    let delay = settings.delay.as_ref().filter(|d| d.initial_ms != 0)?;
    eprintln!("Events disabled");
    let after = u64::try_from(delay.initial_ms).ok()?;
    Some(Instant::now() + Duration::from_millis(after))
}

fn stopped(stop: Stop) -> Failure {
    match stop {
        Stop::Error { text, status } => Failure::new(text, status),
        Stop::Listed(text) => Failure::new(text, 0),
    }
}

fn say(settings: &Settings, texts: &[String]) {
    if !settings.quiet {
        texts.iter().for_each(|t| eprint!("{t}"));
    }
}

fn no_command(event: &str, command: &[OsString], e: &kstrace_schema::Error) -> Failure {
    let mut cause: Option<&dyn std::error::Error> = Some(e);
    let mut why = e.to_string();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            why = plain(io);
        }
        cause = error.source();
    }
    let name = command
        .first()
        .map(|c| c.to_string_lossy().into_owned())
        .unwrap_or_default();
    Failure::failed(format!(
        "Failed to collect '{event}' for the '{name}' workload: {why}\n"
    ))
}

/// A command that still runs is asked to end, as perf does, and waited for.
fn finish_command(child: Option<Child>, signals: &SignalFd) -> Option<ExitStatus> {
    let mut child = child?;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    // It may have ended by itself meanwhile.
    let _ = kill(pid, Signal::SIGTERM);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => {}
            Err(_) => return None,
        }
        match signals.read_signal() {
            Ok(Some(info)) if info.ssi_signo != Signal::SIGCHLD as u32 => {
                let _ = kill(pid, Signal::SIGKILL);
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn captured(settings: &Settings, output: &Output, samples: u64) {
    // perf too counts them only when it looks for build ids.
    let count = match settings.no_buildid || output.is_stream() || samples == 0 {
        true => String::new(),
        false => format!(" ({samples} samples)"),
    };
    let mib = output.size_bytes() as f64 / 1024.0 / 1024.0;
    eprintln!(
        "[ perf record: Captured and wrote {mib:.3} MB {}{count} ]",
        output.name
    );
    if settings.verbose > 0 {
        let bytes = settings.mmap_bytes.unwrap_or(DEFAULT_RING_BYTES);
        eprintln!("mmap size {bytes}B");
    }
}

/// The command's own status; of a signal, that signal.
fn exit_status(end: &End, status: Option<ExitStatus>) -> u8 {
    if let End::Signal(number) = end {
        signals::die_of(*number);
    }
    let Some(status) = status else { return 0 };
    let code = status
        .code()
        .or_else(|| status.signal().map(|s| 128 + s))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
