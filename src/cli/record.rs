//! `kstrace record`: from live sources to a trace.

use super::events::event_requests;
use super::progress::Progress;
use super::recording::{Opened, Recording};
use super::size::{parse_buffer_size, parse_duration};
use super::summary;
use crate::engine::request::{self, Mode, RecordRequest, SourceChoice, Target};
use crate::engine::{Recorder, Workload, exit_of, host};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_schema::{Capture, ClockKind};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// Record events of perf and ftrace into one trace.
#[derive(Args, Debug)]
pub(super) struct RecordArgs {
    /// An event: a tracepoint (`sched:sched_switch`, `syscalls:*`), a software or hardware event
    /// (`cpu-clock`, `page-faults`, `cycles`), `ftrace:function`, `ftrace:function_graph`; repeat
    /// or separate by commas. EVENT/stack/ and EVENT/nostack/ overrule -g
    #[arg(short, long = "event", value_name = "EVENT", action = clap::ArgAction::Append)]
    event: Vec<String>,
    /// A kernel filter for the event before it, such as 'prev_pid != 0'
    #[arg(long, value_name = "FILTER", action = clap::ArgAction::Append, allow_hyphen_values = true)]
    filter: Vec<String>,
    /// The whole system (the default without -p and without a command); with a command, for as long as it runs
    #[arg(short = 'a', long, conflicts_with = "pid")]
    all_cpus: bool,
    /// Running processes, with all their threads and what they start
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<i32>,
    /// Only these CPUs, as 0-3,8
    #[arg(short = 'C', long, value_name = "LIST")]
    cpu: Option<String>,
    /// Samples a second for events that are sampled [default: 4000]
    #[arg(short = 'F', long, value_name = "HZ")]
    freq: Option<u64>,
    /// Events to one sample
    #[arg(short = 'c', long, value_name = "N", conflicts_with = "freq")]
    count: Option<u64>,
    /// Stacks: for the sampled events, or for all if none is sampled
    #[arg(short = 'g')]
    callchain: bool,
    /// Functions for ftrace:function and ftrace:function_graph, as a glob; repeat for more
    #[arg(long, value_name = "GLOB", action = clap::ArgAction::Append)]
    function_filter: Vec<String>,
    /// What LTTng's kernel tracer records beside each of its events: procname, vtid, pid, tid, ...
    #[arg(long, value_name = "CONTEXT", value_delimiter = ',', action = clap::ArgAction::Append)]
    context: Vec<String>,
    /// Clock: monotonic, monotonic_raw, boottime, tai, realtime; tsc is the cheapest for the traced
    /// program and is mapped to monotonic
    #[arg(long, value_name = "CLOCK", default_value = "monotonic", value_parser = parse_clock)]
    clock: ClockKind,
    /// Kernel buffer a CPU: bytes as 64M, or a number of pages
    #[arg(short = 'm', long, value_name = "SIZE", default_value = "8M", value_parser = parse_buffer_size)]
    mmap_size: u64,
    /// kstrace's own ring a CPU [default: 1M, 16M with --mode overwrite]
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_size)]
    ring_size: Option<u64>,
    /// What goes when kstrace's ring is full: the newest records, or the oldest (flight recorder,
    /// written at the end)
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// The kernel interface for plain tracepoints; `both` records each of them twice
    #[arg(long, value_enum, default_value_t)]
    source: SourceChoice,
    /// The trace to write
    #[arg(short, long, value_name = "DIR", default_value = "trace.kst")]
    output: PathBuf,
    /// Record what a session of a relay daemon has had and still gets, until it ends:
    /// net://HOST[:PORT]/host/TRACED_HOST/SESSION
    #[arg(long, value_name = "URL", conflicts_with_all = ["event", "all_cpus", "pid", "cpu", "duration", "command"])]
    from: Option<PathBuf>,
    /// Stop after so long: 10, 500ms, 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Trace in this process even if kstraced is running
    #[arg(long)]
    no_daemon: bool,
    /// Print what would be opened, and why, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Exit with status 3 if any record was lost
    #[arg(long)]
    fail_on_loss: bool,
    /// No progress line and no summary
    #[arg(short, long)]
    quiet: bool,
    /// A command to run and record
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn parse_clock(text: &str) -> Result<ClockKind, String> {
    text.parse()
        .map_err(|e: kstrace_schema::Error| e.to_string())
}

/// Why recording ended.
enum End {
    Workload(ExitStatus),
    Signal,
    /// All the processes named have ended.
    TargetsGone,
    Duration,
    EngineStopped,
}

/// Runs it.
///
/// # Errors
/// When recording cannot begin, or fails on the way (a full disk).
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = RecordArgs::from_arg_matches(matches)?;
    if let Some(url) = &args.from {
        return super::convert::record_from(url, &args.output, args.quiet, args.fail_on_loss);
    }
    let mut request = request_of(&args, matches)?;
    if args.dry_run {
        // The pid of the command to come is not part of the plan.
        if !args.command.is_empty() && !args.all_cpus {
            request.target = Target::Command { pid: 0 };
        }
        print!("{}", crate::engine::plan_for(&request)?);
        return Ok(ExitCode::SUCCESS);
    }
    // Blocked before any thread starts, so that only the signalfd gets them.
    let signals = block_signals()?;
    let workload = match args.command.is_empty() {
        true => None,
        false => Some(Workload::prepare(&args.command)?),
    };
    if let Some(workload) = &workload
        && !args.all_cpus
    {
        request.target = Target::Command {
            pid: workload.pid(),
        };
    }
    let capture = Capture {
        command_line: std::env::args_os()
            .map(|a| a.to_string_lossy().into_owned())
            .collect(),
        workload: args
            .command
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect(),
        pids: match &request.target {
            Target::System => Vec::new(),
            Target::Pids(pids) => pids.clone(),
            Target::Command { pid } => vec![*pid],
        },
    };
    let session = Opened::open(&request, capture, !args.no_daemon)?;
    for note in session.notes() {
        eprintln!("kstrace: {note}");
    }
    let recorder = Recorder::create(&args.output, session.info())
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    let begun = Instant::now();
    let mut running = session.start(Box::new(recorder))?;
    let mut child = match workload.map(Workload::release).transpose() {
        Ok(child) => child,
        Err(error) => {
            let _ = running.stop();
            return Err(error.into());
        }
    };
    let mut progress = Progress::new(!args.quiet);
    // One that ended since is not waited for.
    let exits = args
        .pid
        .iter()
        .filter_map(|pid| exit_of(*pid).ok())
        .collect();
    let end = wait(
        &args,
        &signals,
        exits,
        &mut child,
        &mut running,
        &mut progress,
    )?;
    progress.clear();
    if matches!(end, End::Signal) {
        // From here on a second one ends this process at once; the trace stays readable.
        unblock_ending_signals()?;
    }
    let stopped = running.stop();
    let status = finish_workload(end, child, &signals)?;
    let outcome =
        stopped.with_context(|| format!("recording to {} stopped", args.output.display()))?;
    for problem in &outcome.problems {
        eprintln!("kstrace: {:#}", anyhow::anyhow!("{problem:?}"));
    }
    if !args.quiet {
        summary::print(&outcome, begun.elapsed(), &args.output);
    }
    let lost = outcome.lost_total() > 0;
    Ok(match status {
        Some(status) if !status.success() => ExitCode::from(exit_byte(status)),
        _ if lost && args.fail_on_loss => ExitCode::from(3),
        _ if !outcome.problems.is_empty() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn request_of(args: &RecordArgs, matches: &ArgMatches) -> Result<RecordRequest> {
    let target = match (args.pid.is_empty(), args.command.is_empty()) {
        (false, false) => return Err(super::usage("-p and a command exclude each other")),
        (false, true) => Target::Pids(args.pid.clone()),
        (true, _) => Target::System,
    };
    let cpus =
        match &args.cpu {
            None => None,
            Some(text) => Some(host::parse_cpu_list(text).ok_or_else(|| {
                super::usage(format!("-C: '{text}' is no CPU list such as 0-3,8"))
            })?),
        };
    if args.count == Some(0) || args.freq == Some(0) {
        return Err(super::usage(
            "a sampling frequency or period of 0 makes no sense",
        ));
    }
    Ok(RecordRequest {
        events: event_requests(matches)?,
        target,
        cpus,
        frequency_hz: args.freq,
        period: args.count,
        callchain: args.callchain,
        function_filter: args.function_filter.clone(),
        lttng_contexts: args.context.clone(),
        clock: args.clock,
        kernel_buffer_bytes_per_cpu: args.mmap_size,
        ring_bytes_per_cpu: args.ring_size.unwrap_or(match args.mode {
            Mode::Discard => request::default_ring(),
            Mode::Overwrite => 16 << 20,
        }),
        mode: args.mode,
        source: args.source,
        exclude_pids: vec![i32::try_from(std::process::id()).unwrap_or(0)],
    })
}

fn block_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        Signal::SIGUSR2,
    ] {
        set.add(signal);
    }
    set.thread_block().context("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("make a signalfd")
}

fn unblock_ending_signals() -> Result<()> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_unblock().context("unblock signals")
}

fn wait(
    args: &RecordArgs,
    signals: &SignalFd,
    mut exits: Vec<OwnedFd>,
    child: &mut Option<Child>,
    running: &mut Recording,
    progress: &mut Progress,
) -> Result<End> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let deadline = args.duration.map(|d| Instant::now() + d);
    loop {
        let now = Instant::now();
        if deadline.is_some_and(|d| now >= d) {
            return Ok(End::Duration);
        }
        let mut at_most = deadline.map(|d| d - now);
        if let Some(every) = progress.interval() {
            at_most = Some(at_most.map_or(every, |d| d.min(every)));
        }
        let timeout = at_most.map_or(PollTimeout::NONE, |d| {
            PollTimeout::try_from(d + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(running.ended_fd(), PollFlags::POLLIN),
        ];
        fds.extend(
            exits
                .iter()
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).context("wait for signals"),
        }
        let mut gone = fds[2..]
            .iter()
            .map(|fd| fd.any() == Some(true))
            .collect::<Vec<_>>()
            .into_iter();
        exits.retain(|_| !gone.next().unwrap_or(false));
        while let Some(info) = signals.read_signal().context("read a signal")? {
            if info.ssi_signo == Signal::SIGCHLD as u32 {
                if let Some(child) = child
                    && let Some(status) = child.try_wait().context("wait for the command")?
                {
                    return Ok(End::Workload(status));
                }
            } else if info.ssi_signo == Signal::SIGUSR2 as u32 {
                running.flush();
            } else {
                return Ok(End::Signal);
            }
        }
        if running.has_ended() {
            return Ok(End::EngineStopped);
        }
        if !args.pid.is_empty() && exits.is_empty() {
            return Ok(End::TargetsGone);
        }
        progress.show(running.stats());
    }
}

/// After recording: a command that still runs is asked to end, as perf does, and waited for.
fn finish_workload(
    end: End,
    child: Option<Child>,
    signals: &SignalFd,
) -> Result<Option<ExitStatus>> {
    if let End::Workload(status) = end {
        return Ok(Some(status));
    }
    let Some(mut child) = child else {
        return Ok(None);
    };
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    // It may have ended by itself meanwhile.
    let _ = kill(pid, Signal::SIGTERM);
    loop {
        if let Some(status) = child.try_wait().context("wait for the command")? {
            return Ok(Some(status));
        }
        match signals.read_signal().context("read a signal")? {
            Some(info)
                if info.ssi_signo != Signal::SIGCHLD as u32
                    && info.ssi_signo != Signal::SIGUSR2 as u32 =>
            {
                let _ = kill(pid, Signal::SIGKILL);
            }
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A command's end as a shell states it: its status, or 128 and the signal.
fn exit_byte(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|s| 128 + s))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
