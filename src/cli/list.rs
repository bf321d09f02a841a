//! `kstrace list`: every event of every source.

use anyhow::Result;
use clap::{ArgMatches, Args, FromArgMatches};
use kstrace_lttng::kernel::{Chosen, Tracer};
use kstrace_perf::attr::Attr;
use kstrace_perf::{EventKind, EventSpec, probe, software_and_hardware_names, uapi};
use kstrace_schema::ErrorKind;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;
use tracefs::format::EventFormat;
use tracefs::{EventName, Tracefs, glob};

/// List the events that can be recorded here.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only events whose name matches; a word without * stands for any name that holds it
    #[arg(value_name = "GLOB")]
    patterns: Vec<String>,
    /// With the fields of each
    #[arg(short, long)]
    verbose: bool,
    /// As JSON Lines: one object an event
    #[arg(long)]
    json: bool,
}

/// One event that can be recorded.
struct Listed {
    name: String,
    kind: &'static str,
    /// Empty if it is usable.
    why_not: String,
    format: Option<EventFormat>,
}

/// Runs it.
///
/// # Errors
/// Only those of writing: what cannot be asked is told, and not listed.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let args = ListArgs::from_arg_matches(matches)?;
    let wanted = |name: &str| {
        // A pattern may leave out the system.
        let bare = name.split_once(':').map_or(name, |(_, bare)| bare);
        args.patterns.is_empty()
            || args.patterns.iter().any(|p| match glob::is_pattern(p) {
                true => glob::matches(p, name) || glob::matches(p, bare),
                false => name.contains(p.as_str()),
            })
    };
    let mut listed = perf_events(&wanted);
    match Tracefs::discover() {
        Ok(tracefs) => tracepoints(&tracefs, &wanted, args.verbose, &mut listed),
        Err(e) => eprintln!("kstrace: no tracepoints: {e}"),
    }
    lttng_events(&wanted, &mut listed);
    let text = if args.json {
        as_json(&listed)
    } else {
        as_text(&listed, args.verbose)
    };
    super::output::print(&text)?;
    Ok(if listed.is_empty() && !args.patterns.is_empty() {
        eprintln!("kstrace: no event matches {}", args.patterns.join(" "));
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// perf's own events, each tried on this thread.
fn perf_events(wanted: &dyn Fn(&str) -> bool) -> Vec<Listed> {
    software_and_hardware_names()
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .filter_map(|(name, hardware)| {
            let spec: EventSpec = name.parse().ok()?;
            let mut attr = match spec.kind {
                EventKind::Software(config) => Attr::new(uapi::PERF_TYPE_SOFTWARE, config),
                EventKind::Hardware(config) => Attr::new(uapi::PERF_TYPE_HARDWARE, config),
                EventKind::HwCache(config) => Attr::new(uapi::PERF_TYPE_HW_CACHE, config),
                _ => return None,
            };
            attr.flags |= uapi::flag::EXCLUDE_KERNEL | uapi::flag::EXCLUDE_HV;
            let why_not = match probe(&attr, 0, -1) {
                Ok(()) => String::new(),
                Err(e) => match e.raw_os_error() {
                    Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::ENXIO) => {
                        "this machine has none".to_owned()
                    }
                    _ => e.to_string(),
                },
            };
            let kind = if hardware {
                "hardware event"
            } else {
                "software event"
            };
            Some(Listed {
                name,
                kind,
                why_not,
                format: None,
            })
        })
        .collect()
}

fn tracepoints(
    tracefs: &Tracefs,
    wanted: &dyn Fn(&str) -> bool,
    verbose: bool,
    listed: &mut Vec<Listed>,
) {
    let tracers = tracefs.top().available_tracers().unwrap_or_default();
    for (tracer, name) in [
        ("function", "ftrace:function"),
        ("function_graph", "ftrace:function_graph"),
    ] {
        if wanted(name) && tracers.iter().any(|t| t == tracer) {
            listed.push(Listed {
                name: name.to_owned(),
                kind: "function tracer",
                why_not: String::new(),
                format: None,
            });
        }
    }
    let catalog = match tracefs.events() {
        Ok(catalog) => catalog,
        Err(e) => {
            eprintln!("kstrace: no tracepoints: {e}");
            return;
        }
    };
    let probes = dynamic_events(tracefs);
    for event in catalog.names() {
        let name = event.to_string();
        if !wanted(&name) {
            continue;
        }
        let format = verbose
            .then(|| {
                catalog
                    .format(event)
                    .ok()
                    .and_then(|text| EventFormat::parse(&text).ok())
            })
            .flatten();
        listed.push(Listed {
            kind: kind_of(event, &probes),
            name,
            why_not: String::new(),
            format,
        });
    }
}

/// Events of LTTng's kernel tracer, where its modules are loaded and we may ask.
fn lttng_events(wanted: &dyn Fn(&str) -> bool, listed: &mut Vec<Listed>) {
    let names = match Tracer::open() {
        Ok(tracer) => tracer
            .tracepoints()
            .and_then(|t| Ok((t, tracer.syscalls()?))),
        // Most machines do not have it.
        Err(e) if e.kind() == ErrorKind::NotFound => return,
        Err(e) => Err(e),
    };
    let (tracepoints, syscalls) = match names {
        Ok(names) => names,
        Err(e) => {
            eprintln!("kstrace: no events of LTTng: {e}");
            return;
        }
    };
    let tracepoints = tracepoints
        .into_iter()
        .map(|name| (Chosen::Tracepoint(name), "LTTng tracepoint"));
    let syscalls = syscalls
        .into_iter()
        .map(|name| (Chosen::Syscall(name), "LTTng system call"));
    for (chosen, kind) in tracepoints.chain(syscalls) {
        let name = chosen.to_string();
        if wanted(&name) {
            listed.push(Listed {
                name,
                kind,
                why_not: String::new(),
                format: None,
            });
        }
    }
}

fn kind_of(event: &EventName, probes: &[(String, &'static str)]) -> &'static str {
    let name = event.to_string();
    probes
        .iter()
        .find(|(probe, _)| *probe == name)
        .map_or("tracepoint", |(_, kind)| kind)
}

/// Names of the probes that somebody has defined: `p:group/name ...`, `r:`, `e:`, `t:`, `f:`.
fn dynamic_events(tracefs: &Tracefs) -> Vec<(String, &'static str)> {
    let read = |file: &str, kind: &'static str| -> Vec<(String, &'static str)> {
        let text = std::fs::read_to_string(tracefs.path().join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (group, name) = rest.split_ascii_whitespace().next()?.split_once('/')?;
                Some((format!("{group}:{name}"), kind))
            })
            .collect()
    };
    let mut all = read("uprobe_events", "uprobe");
    all.extend(read("kprobe_events", "kprobe"));
    all.extend(read("dynamic_events", "dynamic event"));
    all
}

fn as_text(listed: &[Listed], verbose: bool) -> String {
    let mut out = String::new();
    for event in listed {
        let note = if event.why_not.is_empty() {
            format!("[{}]", event.kind)
        } else {
            format!("[{}; not usable: {}]", event.kind, event.why_not)
        };
        let _ = writeln!(out, "{:<48} {note}", event.name);
        let Some(format) = event.format.as_ref().filter(|_| verbose) else {
            continue;
        };
        for field in &format.fields {
            let _ = writeln!(
                out,
                "    {:<44} offset {:>3}, {} bytes{}",
                field.declaration,
                field.offset_bytes,
                field.size_bytes,
                if field.signed { ", signed" } else { "" }
            );
        }
    }
    out
}

fn as_json(listed: &[Listed]) -> String {
    let mut out = String::new();
    for event in listed {
        let mut value = json!({
            "name": event.name,
            "kind": event.kind,
            "usable": event.why_not.is_empty(),
        });
        if !event.why_not.is_empty() {
            value["reason"] = event.why_not.clone().into();
        }
        if let Some(format) = &event.format {
            value["id"] = format.id.into();
            value["fields"] = format
                .fields
                .iter()
                .map(|f| {
                    json!({
                        "name": f.name,
                        "declaration": f.declaration,
                        "offset_bytes": f.offset_bytes,
                        "size_bytes": f.size_bytes,
                        "signed": f.signed,
                    })
                })
                .collect::<Vec<Value>>()
                .into();
        }
        let _ = writeln!(out, "{value}");
    }
    out
}
