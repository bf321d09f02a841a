//! `kstrace info`: what a trace is made of.

use super::size::{bytes_text, grouped};
use crate::convert::{Format, open_input, recognise, transfer};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_ctf::{Accounts, TraceReader, TraceState};
use kstrace_schema::{
    Certainty, ClockKind, ClockPair, EventRecord, EventRecordClass, HopAccount, Loss, SessionInfo,
    Sink,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Show what a trace is made of.
#[derive(Args, Debug)]
pub(super) struct InfoArgs {
    /// The trace
    #[arg(value_name = "IN", default_value = "trace.kst")]
    input: PathBuf,
    /// Also every class with its fingerprint and how many records it has, and every account
    #[arg(short, long)]
    verbose: bool,
    /// As JSON, with everything that is known
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// When the trace cannot be read at all. One that is damaged half-way is told of
/// up to there, and the status is 1.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = InfoArgs::from_arg_matches(matches)?;
    let shown = args.input.display();
    let format = if args.input.as_os_str() == "-" {
        None
    } else {
        Some(recognise(&args.input).with_context(|| format!("cannot read {shown}"))?)
    };
    let mut counts = Counts::default();
    let mut damage = Vec::new();
    let (trace, facts) = if format == Some(Format::Native) {
        let mut reader =
            TraceReader::open(&args.input).with_context(|| format!("cannot read {shown}"))?;
        // The accounts of a finished trace say it all but the classes' records.
        let count_all = args.verbose || args.json || reader.accounts().is_none();
        if count_all {
            damage = transfer(&mut reader, &mut counts, &mut |_, _| {})?.damage;
        }
        (
            Trace::native(&reader),
            Facts::of(&reader, counts, count_all),
        )
    } else {
        let mut input = open_input(&args.input)?;
        damage = transfer(input.as_mut(), &mut counts, &mut |_, _| {})?.damage;
        let trace = Trace {
            place: shown.to_string(),
            format,
            session: input.session().clone(),
            state: None,
            classes: std::mem::take(&mut counts.classes),
        };
        let bytes = file_bytes(&args.input);
        let accounts = input.stated_accounts();
        (trace, Facts::counted(counts, accounts, bytes))
    };
    let text = if args.json {
        facts.json(&trace)?
    } else {
        facts.text(&trace, args.verbose)
    };
    super::output::print(&text)?;
    let damaged = !damage.is_empty();
    for error in damage {
        eprintln!("kstrace: {:#}", anyhow::Error::new(error));
    }
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The bytes of a file, or of the files in a directory.
fn file_bytes(path: &Path) -> u64 {
    let Ok(meta) = path.metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = path.read_dir().into_iter().flatten().flatten();
    entries
        .map(|e| match e.file_type() {
            // A link may lead anywhere, also back.
            Ok(kind) if kind.is_symlink() => 0,
            _ => file_bytes(&e.path()),
        })
        .sum()
}

/// What a trace says of itself, whatever its form.
struct Trace {
    place: String,
    /// `None` for what came through a pipe.
    format: Option<Format>,
    session: SessionInfo,
    /// Of a native trace.
    state: Option<TraceState>,
    classes: Vec<Arc<EventRecordClass>>,
}

impl Trace {
    fn native(reader: &TraceReader) -> Self {
        Trace {
            place: reader.dir().display().to_string(),
            format: Some(Format::Native),
            session: reader.session().clone(),
            state: Some(reader.state()),
            classes: reader.classes().to_vec(),
        }
    }
}

/// Counts what is in the trace.
#[derive(Default)]
struct Counts {
    classes: Vec<Arc<EventRecordClass>>,
    by_class: BTreeMap<u16, u64>,
    losses: Vec<Loss>,
    clock_pairs: Vec<ClockPair>,
    span_ns: Option<(u64, u64)>,
}

impl Sink for Counts {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> kstrace_schema::Result<()> {
        self.classes.push(Arc::clone(class));
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> kstrace_schema::Result<()> {
        *self.by_class.entry(record.class.0).or_default() += 1;
        let time = record.time.as_ns();
        let span = self.span_ns.get_or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> kstrace_schema::Result<()> {
        let same = |l: &&mut Loss| {
            (l.source, l.cpu, l.reason, l.class) == (loss.source, loss.cpu, loss.reason, loss.class)
        };
        match self.losses.iter_mut().find(same) {
            Some(sum) => {
                sum.count = sum.count.saturating_add(loss.count);
                sum.begin = sum.begin.min(loss.begin);
                sum.end = sum.end.max(loss.end);
                if loss.certainty == Certainty::AtLeast {
                    sum.certainty = Certainty::AtLeast;
                }
            }
            None => self.losses.push(loss.clone()),
        }
        Ok(())
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> kstrace_schema::Result<()> {
        self.clock_pairs.push(*pair);
        Ok(())
    }
}

/// What is known of the trace besides its session.
struct Facts {
    counted: bool,
    counts: Counts,
    records: u64,
    bytes: u64,
    packets: Option<u64>,
    accounts: Vec<HopAccount>,
    losses: Vec<Loss>,
    clock_pairs: Vec<ClockPair>,
}

impl Facts {
    fn of(reader: &TraceReader, counts: Counts, counted: bool) -> Self {
        let on_disk = reader
            .files()
            .filter_map(|f| f.metadata().ok())
            .map(|m| m.len())
            .sum();
        match reader.accounts() {
            Some(Accounts {
                accounts,
                losses,
                clock_pairs,
                records,
                packets,
                bytes,
            }) => Facts {
                counted,
                counts,
                records: *records,
                bytes: *bytes,
                packets: Some(*packets),
                accounts: accounts.clone(),
                losses: losses.clone(),
                clock_pairs: clock_pairs.clone(),
            },
            None => Facts::counted(counts, Vec::new(), on_disk),
        }
    }

    /// What reading it through has shown.
    fn counted(mut counts: Counts, accounts: Vec<HopAccount>, bytes: u64) -> Self {
        Facts {
            counted: true,
            records: counts.by_class.values().sum(),
            bytes,
            packets: None,
            accounts,
            losses: std::mem::take(&mut counts.losses),
            clock_pairs: std::mem::take(&mut counts.clock_pairs),
            counts,
        }
    }

    fn text(&self, trace: &Trace, verbose: bool) -> String {
        let mut out = String::new();
        session_text(&mut out, trace, self);
        host_text(&mut out, trace);
        sources_text(&mut out, trace);
        clocks_text(&mut out, trace, &self.clock_pairs);
        self.classes_text(&mut out, trace, verbose);
        self.losses_text(&mut out, trace, verbose);
        out
    }

    fn classes_text(&self, out: &mut String, trace: &Trace, verbose: bool) {
        let classes = &trace.classes;
        if !verbose {
            line(
                out,
                "classes",
                &format!("{} (-v shows them)", classes.len()),
            );
            return;
        }
        line(out, "classes", &classes.len().to_string());
        for class in classes {
            let count = self.counts.by_class.get(&class.id.0).copied().unwrap_or(0);
            let _ = writeln!(
                out,
                "  {:>5}  {}  {:>12}  {}",
                class.id.0,
                class.fingerprint,
                grouped(count),
                class.qualified_name()
            );
        }
    }

    fn losses_text(&self, out: &mut String, trace: &Trace, verbose: bool) {
        let lost: u64 = self.losses.iter().map(|l| l.count).sum();
        let at_least = self
            .losses
            .iter()
            .any(|l| l.certainty == Certainty::AtLeast);
        let summary = match (lost, at_least) {
            (0, false) => "nothing".to_owned(),
            (n, false) => grouped(n),
            (n, true) => format!("at least {}", grouped(n)),
        };
        line(out, "lost", &summary);
        let kind = |id| {
            let sources = &trace.session.sources;
            sources
                .iter()
                .find(|s| s.id == id)
                .map_or("?", |s| s.kind.as_str())
        };
        for loss in &self.losses {
            let cpu = loss.cpu.known().map_or("-".to_owned(), |c| c.to_string());
            let _ = writeln!(
                out,
                "  {:>12}  {:<22} {:<8} cpu {cpu:<4} {} to {}",
                grouped(loss.count),
                loss.reason.word(),
                kind(loss.source),
                loss.begin,
                loss.end
            );
        }
        if self.accounts.is_empty() {
            let why = if trace.state.is_some() {
                "none: the recording was not ended in an orderly way"
            } else {
                "none in this form"
            };
            line(out, "account", why);
            return;
        }
        line(out, "account", "seen = written + dropped, hop by hop");
        let _ = writeln!(
            out,
            "  {:<8} {:<16} {:>4} {:>15} {:>15} {:>12}",
            "source", "hop", "cpu", "seen", "written", "dropped"
        );
        for a in self.hops(verbose) {
            let cpu = a.cpu.known().map_or("all".to_owned(), |c| c.to_string());
            let reasons: Vec<String> = a
                .dropped
                .iter()
                .map(|(reason, n)| format!("{reason} {}", grouped(*n)))
                .collect();
            let note = match (a.balances(), a.certainty) {
                (false, _) => "DOES NOT BALANCE",
                (true, Certainty::AtLeast) => "at least",
                _ => "",
            };
            let row = format!(
                "  {:<8} {:<16} {:>4} {:>15} {:>15} {:>12}  {} {note}",
                kind(a.source),
                a.hop,
                cpu,
                grouped(a.seen),
                grouped(a.written),
                grouped(a.dropped_total()),
                reasons.join(", ")
            );
            let _ = writeln!(out, "{}", row.trim_end());
        }
    }

    /// The accounts, those of all CPUs added up unless all are wanted.
    fn hops(&self, verbose: bool) -> Vec<HopAccount> {
        if verbose {
            return self.accounts.clone();
        }
        let mut sums: Vec<HopAccount> = Vec::new();
        for a in &self.accounts {
            let same = |s: &&mut HopAccount| (s.source, &s.hop) == (a.source, &a.hop);
            match sums.iter_mut().find(same) {
                Some(sum) => {
                    sum.seen += a.seen;
                    sum.written += a.written;
                    a.dropped
                        .iter()
                        .for_each(|(reason, n)| sum.drop_records(*reason, *n));
                    if a.certainty == Certainty::AtLeast {
                        sum.certainty = Certainty::AtLeast;
                    }
                }
                None => {
                    sums.push(HopAccount {
                        cpu: kstrace_schema::Cpu::NONE,
                        ..a.clone()
                    });
                }
            }
        }
        sums
    }

    fn json(&self, trace: &Trace) -> Result<String> {
        let classes: Vec<Value> = trace
            .classes
            .iter()
            .map(|class| {
                json!({
                    "id": class.id,
                    "source": class.source,
                    "namespace": class.namespace,
                    "name": class.name,
                    "version": class.version,
                    "fingerprint": class.fingerprint,
                    "records": self.counts.by_class.get(&class.id.0).copied().unwrap_or(0),
                })
            })
            .collect();
        let drifts: Vec<Value> = drifts(trace.session.clock.kind, &self.clock_pairs)
            .into_iter()
            .map(|d| json!({ "clock": d.kind, "ppm": d.ppm, "offset_ns": d.offset_ns }))
            .collect();
        let value = json!({
            "session": trace.session,
            "format": trace.format.map(Format::word),
            "state": trace.state,
            "records": self.records,
            "packets": self.packets,
            "bytes": self.bytes,
            "begin_ns": self.counts.span_ns.map(|s| s.0),
            "end_ns": self.counts.span_ns.map(|s| s.1),
            "classes": classes,
            "clock_pairs": self.clock_pairs,
            "clock_drift": drifts,
            "clock_pair_error_bound_ns": self.clock_pairs.iter().map(|p| p.error_bound_ns).max(),
            "losses": self.losses,
            "accounts": self.accounts,
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key:<9} {value}");
}

fn more(out: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {key:<11} {value}");
    }
}

fn session_text(out: &mut String, trace: &Trace, facts: &Facts) {
    let session = &trace.session;
    line(out, "trace", &trace.place);
    more(out, "form", trace.format.map_or("", Format::word));
    more(
        out,
        "state",
        match trace.state {
            Some(TraceState::Complete) => "complete",
            Some(TraceState::Recording) => "not ended: being recorded, or its recorder was killed",
            None => "",
        },
    );
    let mut size = format!(
        "{} records, {}",
        grouped(facts.records),
        bytes_text(facts.bytes)
    );
    if let Some(packets) = facts.packets {
        let _ = write!(size, " in {} packets", grouped(packets));
    }
    more(out, "size", &size);
    if let Some((begin, end)) = facts.counts.span_ns.filter(|_| facts.counted) {
        let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
        more(
            out,
            "time",
            &format!(
                "{} to {} ({} s)",
                seconds(begin),
                seconds(end),
                seconds(end - begin)
            ),
        );
    }
    line(out, "session", &session.uuid);
    more(out, "command", &session.capture.command_line.join(" "));
    more(out, "workload", &session.capture.workload.join(" "));
    let pids: Vec<String> = session.capture.pids.iter().map(i32::to_string).collect();
    more(out, "pids", &pids.join(" "));
}

fn host_text(out: &mut String, trace: &Trace) {
    let host = &trace.session.host;
    line(out, "host", &host.hostname);
    more(
        out,
        "kernel",
        &format!("{} {} {}", host.os_release, host.os_version, host.arch),
    );
    more(
        out,
        "cpus",
        &format!(
            "{} online of {}, {}",
            host.cpus_online, host.cpus_available, host.cpu_description
        ),
    );
    more(out, "memory", &bytes_text(host.total_memory_kib * 1024));
    for (key, value) in &host.more {
        more(out, key, value);
    }
}

fn sources_text(out: &mut String, trace: &Trace) {
    let sources = &trace.session.sources;
    line(out, "sources", &sources.len().to_string());
    for source in sources {
        let classes = trace
            .classes
            .iter()
            .filter(|c| c.source == source.id)
            .count();
        let _ = writeln!(
            out,
            "  {:<3} {:<8} {:>4} classes  {}",
            source.id.0, source.kind, classes, source.description
        );
    }
}

/// How a clock ran beside the session clock.
struct Drift {
    kind: ClockKind,
    ppm: f64,
    /// The clock less the session clock, at the first pair.
    offset_ns: Option<i128>,
}

fn drifts(session: ClockKind, pairs: &[ClockPair]) -> Vec<Drift> {
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else {
        return Vec::new();
    };
    let span = |kind| last.reading(kind) as f64 - first.reading(kind) as f64;
    [
        ClockKind::Monotonic,
        ClockKind::MonotonicRaw,
        ClockKind::Boottime,
        ClockKind::Realtime,
        ClockKind::Tai,
    ]
    .into_iter()
    .filter(|kind| *kind != session && span(session) > 0.0 && first.reading(*kind) > 0)
    .map(|kind| Drift {
        kind,
        ppm: (span(kind) / span(session) - 1.0) * 1e6,
        offset_ns: Some(i128::from(first.reading(kind)) - i128::from(first.reading(session))),
    })
    .collect()
}

fn clocks_text(out: &mut String, trace: &Trace, pairs: &[ClockPair]) {
    let clock = &trace.session.clock;
    line(out, "clock", clock.kind.word());
    if let Some(kind) = clock.recorded_with.filter(|k| *k != clock.kind) {
        more(
            out,
            "recorded",
            &format!(
                "with {kind}, mapped with an error of at most {} ns",
                clock.mapping_error_bound_ns
            ),
        );
    }
    more(out, "boot", &clock.boot_id);
    let bound = pairs.iter().map(|p| p.error_bound_ns).max();
    let text = match bound {
        Some(bound) => format!("{}, each within {bound} ns", pairs.len()),
        None => "none".to_owned(),
    };
    more(out, "pairs", &text);
    for drift in drifts(clock.kind, pairs) {
        let _ = writeln!(
            out,
            "    {:<14} offset {:>24} ns, drift {:+.3} ppm",
            drift.kind.word(),
            drift.offset_ns.unwrap_or(0),
            drift.ppm
        );
    }
    if let (Some(first), Some(last)) = (pairs.first(), pairs.last())
        && last.monotonic_ns > first.monotonic_ns
        && first.tsc_cycles > 0
    {
        let cycles = last.tsc_cycles.saturating_sub(first.tsc_cycles) as f64;
        let ghz = cycles / (last.monotonic_ns - first.monotonic_ns) as f64;
        let _ = writeln!(out, "    {:<14} {ghz:.6} GHz", "tsc");
    }
}
