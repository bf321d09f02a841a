//! From what was written after `-e` to the events that are meant.

use super::request::EventRequest;
use kstrace_lttng::kernel::Chosen;
use kstrace_schema::{Error, ErrorKind, Result};
use tracefs::{EventName, glob, nearest};

/// Which of ftrace's function tracers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionTracer {
    /// `function`: one record a call.
    Function,
    /// `function_graph`: one record at entry and one at exit.
    Graph,
}

impl FunctionTracer {
    /// ftrace's name for it, as in `current_tracer`.
    pub fn word(self) -> &'static str {
        match self {
            FunctionTracer::Function => "function",
            FunctionTracer::Graph => "function_graph",
        }
    }
}

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A tracepoint, uprobe or other event of tracefs.
    Tracepoint(EventName),
    /// An event that only `perf_event_open` has, in perf's spelling.
    Perf(String),
    /// A function tracer.
    Function(FunctionTracer),
    /// An event of LTTng's kernel tracer.
    Lttng(Chosen),
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EventKind::Tracepoint(t) => t.fmt(f),
            EventKind::Perf(name) => f.write_str(name),
            EventKind::Function(t) => write!(f, "ftrace:{}", t.word()),
            EventKind::Lttng(chosen) => chosen.fmt(f),
        }
    }
}

/// One event to record, with what was asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedEvent {
    /// The event.
    pub kind: EventKind,
    /// Its kernel filter.
    pub filter: Option<String>,
    /// Whether stacks were asked for it in particular.
    pub stack: Option<bool>,
}

/// The names this machine knows.
pub trait EventNames {
    /// Every tracepoint, sorted.
    fn tracepoints(&self) -> &[EventName];
    /// Whether perf has an event of that name (software, hardware, raw, PMU).
    fn is_perf_event(&self, spec: &str) -> bool;
    /// All names perf has for its own events, for suggestions.
    fn perf_names(&self) -> Vec<String>;
    /// Why there are no tracepoints, if that is so.
    fn tracepoints_missing(&self) -> Option<&str>;
    /// What LTTng's kernel tracer has by that name or glob, said without `lttng:`.
    ///
    /// # Errors
    /// Why it cannot be asked, or that it has nothing of that name.
    fn lttng(&self, spec: &str) -> Result<Vec<Chosen>>;
}

/// Resolves every request, globs to all they match, each event once.
///
/// # Errors
/// `ErrorKind::InvalidInput` for an event that matches nothing, with the nearest names.
pub fn resolve(requests: &[EventRequest], names: &dyn EventNames) -> Result<Vec<ResolvedEvent>> {
    let mut events: Vec<ResolvedEvent> = Vec::new();
    for request in requests {
        for kind in resolve_one(&request.spec, names)? {
            if let Some(known) = events.iter_mut().find(|e| e.kind == kind) {
                // Said again: what is said later about it counts.
                known.filter = request.filter.clone().or_else(|| known.filter.take());
                known.stack = request.stack.or(known.stack);
                continue;
            }
            events.push(ResolvedEvent {
                kind,
                filter: request.filter.clone(),
                stack: request.stack,
            });
        }
    }
    Ok(events)
}

fn resolve_one(spec: &str, names: &dyn EventNames) -> Result<Vec<EventKind>> {
    match spec {
        "ftrace:function" => return Ok(vec![EventKind::Function(FunctionTracer::Function)]),
        "ftrace:function_graph" => return Ok(vec![EventKind::Function(FunctionTracer::Graph)]),
        "" => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "an event without a name",
            ));
        }
        _ => {}
    }
    if let Some(of_lttng) = spec.strip_prefix("lttng:") {
        return names
            .lttng(of_lttng)
            .map(|found| found.into_iter().map(EventKind::Lttng).collect())
            .map_err(|e| e.context(format!("event '{spec}'")));
    }
    if names.is_perf_event(spec) {
        return Ok(vec![EventKind::Perf(spec.to_owned())]);
    }
    // As in trace-cmd, a bare system means all of its events.
    let (system, name) = spec.split_once(':').unwrap_or((spec, "*"));
    let found: Vec<_> = names
        .tracepoints()
        .iter()
        .filter(|t| glob::matches(system, &t.system) && glob::matches(name, &t.name))
        // ftrace's own entry kinds are written by tracers, not switched on as events.
        .filter(|t| t.system != "ftrace" || system == "ftrace")
        .map(|t| EventKind::Tracepoint(t.clone()))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some(why) = names.tracepoints_missing()
        && spec.contains(':')
    {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("event '{spec}': no tracepoint can be looked up: {why} (see `kstrace doctor`)"),
        ));
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        unknown_event(spec, names),
    ))
}

fn unknown_event(spec: &str, names: &dyn EventNames) -> String {
    let near = suggestions(spec, names);
    let advice = if near.is_empty() {
        "`kstrace list` shows all".to_owned()
    } else {
        format!("nearest: {}; `kstrace list` shows all", near.join(", "))
    };
    let what = if spec.contains(['*', '?', '[']) {
        "no event matches"
    } else {
        "unknown event"
    };
    format!("{what} '{spec}' ({advice})")
}

/// Up to three names that are most like `spec`.
fn suggestions(spec: &str, names: &dyn EventNames) -> Vec<String> {
    let mut known: Vec<(String, String)> = names
        .tracepoints()
        .iter()
        // Whoever leaves out the system means the name alone.
        .map(|t| {
            (
                if spec.contains(':') {
                    t.to_string()
                } else {
                    t.name.clone()
                },
                t.to_string(),
            )
        })
        .collect();
    known.extend(
        names
            .perf_names()
            .into_iter()
            .map(|name| (name.clone(), name)),
    );
    let likely = nearest(spec, known.iter().map(|(compared, _)| compared.as_str()), 3);
    let full = |compared: &String| {
        known
            .iter()
            .find(|(c, _)| c == compared)
            .map(|(_, f)| f.clone())
    };
    likely.iter().filter_map(full).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) struct Names(pub Vec<EventName>, pub Option<&'static str>);

    impl Names {
        pub(crate) fn usual() -> Self {
            let t = |s: &str, n: &str| EventName::new(s, n);
            Names(
                vec![
                    t("ftrace", "print"),
                    t("raw_syscalls", "sys_enter"),
                    t("raw_syscalls", "sys_exit"),
                    t("sched", "sched_switch"),
                    t("sched", "sched_wakeup"),
                ],
                None,
            )
        }
    }

    impl EventNames for Names {
        fn tracepoints(&self) -> &[EventName] {
            &self.0
        }
        fn is_perf_event(&self, spec: &str) -> bool {
            ["cpu-clock", "cycles", "page-faults"].contains(&spec.split(':').next().unwrap_or(""))
        }
        fn perf_names(&self) -> Vec<String> {
            vec!["cpu-clock".into(), "cycles".into(), "page-faults".into()]
        }
        fn tracepoints_missing(&self) -> Option<&str> {
            self.1
        }
        fn lttng(&self, spec: &str) -> Result<Vec<Chosen>> {
            let names = ["sched_switch".to_owned(), "sched_wakeup".to_owned()];
            kstrace_lttng::kernel::choose(spec, &names, &["openat".to_owned()])
        }
    }

    fn request(spec: &str) -> EventRequest {
        EventRequest {
            spec: spec.into(),
            ..EventRequest::default()
        }
    }

    fn names(specs: &[&str]) -> Result<Vec<String>> {
        let requests: Vec<_> = specs.iter().map(|s| request(s)).collect();
        Ok(resolve(&requests, &Names::usual())?
            .iter()
            .map(|e| e.kind.to_string())
            .collect())
    }

    #[test]
    fn globs_systems_and_perf_events() {
        assert_eq!(
            names(&["sched:*", "cpu-clock:u", "sched:sched_switch"]).unwrap(),
            ["sched:sched_switch", "sched:sched_wakeup", "cpu-clock:u"]
        );
        assert_eq!(
            names(&["raw_syscalls"]).unwrap(),
            ["raw_syscalls:sys_enter", "raw_syscalls:sys_exit"]
        );
        assert_eq!(names(&["*:sys_ent?r"]).unwrap(), ["raw_syscalls:sys_enter"]);
        assert_eq!(
            names(&["ftrace:function_graph"]).unwrap(),
            ["ftrace:function_graph"]
        );
        assert_eq!(
            names(&["*:*"]).unwrap().len(),
            4,
            "ftrace's own entries are not events"
        );
    }

    #[test]
    fn unknown_events_are_answered_with_the_nearest() {
        let text = names(&["sched:sched_swich"]).unwrap_err().to_string();
        assert!(text.contains("nearest: sched:sched_switch"), "{text}");
        let text = names(&["page-fault"]).unwrap_err().to_string();
        assert!(text.contains("page-faults"), "{text}");
        let text = names(&["sys_entr"]).unwrap_err().to_string();
        assert!(text.contains("raw_syscalls:sys_enter"), "{text}");
        let text = names(&["nope:*"]).unwrap_err().to_string();
        assert!(text.contains("no event matches"), "{text}");
    }

    #[test]
    fn lttng_has_names_of_its_own() {
        assert_eq!(
            names(&["lttng:sched_*", "lttng:syscall:open*"]).unwrap(),
            [
                "lttng:sched_switch",
                "lttng:sched_wakeup",
                "lttng:syscall:openat"
            ]
        );
        assert!(names(&["lttng:nope"]).is_err());
    }

    #[test]
    fn missing_tracefs_is_the_reason_given() {
        let err = resolve(
            &[request("sched:x")],
            &Names(vec![], Some("tracefs is not there")),
        )
        .unwrap_err();
        assert!(err.to_string().contains("tracefs is not there"));
    }
}
