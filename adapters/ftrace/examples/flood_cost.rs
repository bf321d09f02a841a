//! What recording a flood of system calls costs: the reader and the traced program.
//!
//! `flood_cost [CALLS [ROUNDS]]` as root. One CPU makes CALLS getppid calls with
//! `raw_syscalls:sys_enter` on, another reads them through [`FtraceSource`] into
//! a sink that does nothing. Prints the median over interleaved rounds, per
//! event: the reader's CPU time, and what the traced program's grew by. The
//! rows `floor` read the same pages and walk them, and do nothing more.

use kstrace_ftrace::{EventChoice, FtracePlan, FtraceSource};
use kstrace_schema::{
    ClassRegistry, ClockKind, EventRecord, EventRecordClass, Loss, RecordStream, Result,
    SessionTime, Sink, Source, SourceId,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Counts and does nothing else.
#[derive(Default)]
struct Null {
    records: u64,
    bytes: u64,
    lost: u64,
}

impl Sink for Null {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost += loss.count;
        Ok(())
    }
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .is_err()
    {
        eprintln!("cannot be pinned to CPU {cpu}");
    }
}

fn cpu_ns(who: UsageWho) -> i64 {
    getrusage(who).map_or(0, |u| {
        (u.user_time() + u.system_time()).num_microseconds() * 1000
    })
}

/// The traced program: waits, makes its calls, says what they cost.
fn traced(calls: u64) {
    pin(1);
    println!("{}", nix::unistd::gettid());
    let _ = std::io::stdin().read_line(&mut String::new());
    let before = cpu_ns(UsageWho::RUSAGE_SELF);
    for _ in 0..calls {
        std::hint::black_box(nix::unistd::getppid());
    }
    println!("{}", cpu_ns(UsageWho::RUSAGE_SELF) - before);
}

struct Traced {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Traced {
    fn start(calls: u64) -> std::io::Result<(Self, i32)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["traced", &calls.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let mut traced = Traced {
            child,
            out: BufReader::new(out),
        };
        let tid = traced.number()?;
        Ok((traced, i32::try_from(tid).unwrap_or(0)))
    }

    fn number(&mut self) -> std::io::Result<i64> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        line.trim().parse().map_err(std::io::Error::other)
    }

    fn go(&mut self) -> std::io::Result<()> {
        match self.child.stdin.take() {
            Some(mut stdin) => stdin.write_all(b"\n"),
            None => Ok(()),
        }
    }
}

/// Reader's and traced program's CPU time in ns, with nothing but reading and walking.
fn floor(
    calls: u64,
    plan: FtracePlan,
) -> std::result::Result<(f64, f64), Box<dyn std::error::Error>> {
    let (mut traced, tid) = Traced::start(calls)?;
    let plan = FtracePlan {
        pids: vec![tid],
        ..plan
    };
    let mut source = FtraceSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new()))?;
    let layout = tracefs::Tracefs::discover()?.page_layout()?;
    let instance = source.trace_array();
    let mut room = vec![0; instance.sub_buffer_size_bytes()?];
    let mut pipes = Vec::new();
    for cpu in instance.buffer_cpus()? {
        pipes.push(instance.open_raw_pipe(cpu)?);
    }
    source.start()?;
    let before = cpu_ns(UsageWho::RUSAGE_THREAD);
    traced.go()?;
    let (mut records, mut times) = (0u64, 0u64);
    let mut over = false;
    while !over {
        over = traced.child.try_wait()?.is_some();
        let mut fds: Vec<PollFd<'_>> = pipes
            .iter()
            .map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut fds, PollTimeout::from(20u8));
        for pipe in &pipes {
            while let Some(n) = pipe.read_sub_buffer(&mut room)? {
                let Some(page) = layout.page(&room[..n]) else {
                    break;
                };
                for event in page.events() {
                    records += 1;
                    times ^= event.time_raw ^ u64::from(event.data.first().copied().unwrap_or(0));
                }
            }
        }
    }
    source.stop()?;
    std::hint::black_box(times);
    let reader = cpu_ns(UsageWho::RUSAGE_THREAD) - before;
    let own = traced.number()?;
    if records < calls {
        eprintln!("{records} records of {calls}");
    }
    Ok((reader as f64 / calls as f64, own as f64 / calls as f64))
}

/// Reader's and traced program's CPU time in ns.
fn round(
    calls: u64,
    plan: FtracePlan,
) -> std::result::Result<(f64, f64), Box<dyn std::error::Error>> {
    let (mut traced, tid) = Traced::start(calls)?;
    let plan = FtracePlan {
        pids: vec![tid],
        ..plan
    };
    let mut source = FtraceSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new()))?;
    let mut sink = Null::default();
    let mut streams = source.streams(&mut sink)?;
    source.start()?;
    let before = cpu_ns(UsageWho::RUSAGE_THREAD);
    traced.go()?;
    while traced.child.try_wait()?.is_none() {
        drain(&mut streams, &mut sink, true)?;
    }
    source.stop()?;
    while drain(&mut streams, &mut sink, false)? {}
    let reader = cpu_ns(UsageWho::RUSAGE_THREAD) - before;
    let own = traced.number()?;
    if sink.records < calls || sink.lost > 0 {
        eprintln!("{} records, {} lost of {calls}", sink.records, sink.lost);
    }
    Ok((reader as f64 / calls as f64, own as f64 / calls as f64))
}

fn drain(streams: &mut [Box<dyn RecordStream>], sink: &mut Null, wait: bool) -> Result<bool> {
    if wait {
        let mut fds: Vec<PollFd<'_>> = streams
            .iter()
            .filter_map(|s| Some(PollFd::new(s.wakeup()?, PollFlags::POLLIN)))
            .collect();
        let _ = poll(&mut fds, PollTimeout::from(20u8));
    }
    let mut to_come = false;
    for stream in streams {
        loop {
            let fill = stream.fill(sink)?;
            stream.emit(fill.complete_until, sink)?;
            to_come |= fill.complete_until != SessionTime::MAX;
            if !fill.more || fill.complete_until == SessionTime::MAX {
                break;
            }
        }
    }
    Ok(to_come)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "traced") {
        traced(args.get(1).and_then(|a| a.parse().ok()).unwrap_or(0));
        return Ok(());
    }
    let number = |at: usize, default| args.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (calls, rounds) = (number(0, 2_000_000), number(1, 5));
    pin(0);
    let plan = FtracePlan {
        events: vec![EventChoice::new("raw_syscalls", "sys_enter")],
        buffer_size_bytes_per_cpu: 64 << 20,
        ..FtracePlan::default()
    };
    let mut variants = Vec::new();
    for clock in [ClockKind::Monotonic, ClockKind::Tsc] {
        for kib in [4, 16, 64] {
            variants.push(FtracePlan {
                clock,
                subbuf_size_kb: Some(kib),
                ..plan.clone()
            });
        }
    }
    let mut untraced = Vec::new();
    let mut costs = vec![(Vec::new(), Vec::new()); variants.len()];
    let mut floors = costs.clone();
    for _ in 0..rounds {
        let (mut alone, _) = Traced::start(calls)?;
        alone.go()?;
        untraced.push(alone.number()? as f64 / calls as f64);
        alone.child.wait()?;
        for ((variant, cost), lowest) in variants.iter().zip(&mut costs).zip(&mut floors) {
            let (reader, own) = round(calls, variant.clone())?;
            cost.0.push(reader);
            cost.1.push(own);
            let (reader, own) = floor(calls, variant.clone())?;
            lowest.0.push(reader);
            lowest.1.push(own);
        }
    }
    let untraced = median(untraced);
    println!("{calls} calls, {rounds} rounds; a call untraced: {untraced:.0} ns");
    println!("         clock      sub-buffer  reader ns/event  traced program ns/event");
    for (name, costs) in [("source", costs), ("floor", floors)] {
        for (variant, (reader, own)) in variants.iter().zip(costs) {
            println!(
                "{name:<8} {:<10} {:>6} KiB {:>16.1} {:>24.1}",
                variant.clock.word(),
                variant.subbuf_size_kb.unwrap_or(4),
                median(reader),
                median(own) - untraced
            );
        }
    }
    Ok(())
}
