//! Which events go through ftrace's ring: those of which it gives the same
//! records, at a third of the cost for the traced program.

use super::SourceChoice;
use super::target::Whom;
use kstrace_perf::cmdline::{Configured, Settings};
use kstrace_perf::uapi::*;

/// The events, dealt out to the two sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    /// Through `perf_event_open`; one of them tells of tasks and mappings.
    pub(super) perf: Vec<Configured>,
    /// Through tracefs.
    pub(super) ftrace: Vec<Configured>,
}

/// Parts that every ftrace record has, or that can be told from it.
const KNOWN_TO_FTRACE: u64 = PERF_SAMPLE_IP
    | PERF_SAMPLE_TID
    | PERF_SAMPLE_TIME
    | PERF_SAMPLE_CPU
    | PERF_SAMPLE_PERIOD
    | PERF_SAMPLE_RAW
    | PERF_SAMPLE_ID
    | PERF_SAMPLE_IDENTIFIER;
const BOUND_TO_MODE: u64 =
    flag::EXCLUDE_USER | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::EXCLUDE_IDLE | flag::FREQ;

/// Deals out.
pub(super) fn select(
    configured: Vec<Configured>,
    settings: &Settings,
    whom: &Whom,
    choice: SourceChoice,
    tracefs_is_usable: bool,
) -> Selection {
    let as_a_whole = choice == SourceChoice::Auto
        && tracefs_is_usable
        && settings.delay.is_none()
        && whom.tids.is_none()
        && settings.no_inherit != Some(true)
        && settings.timestamp != Some(false)
        && !settings.no_samples
        && !settings.no_buffering
        // What is asked of all samples, these too.
        && !settings.raw_samples
        && !settings.stat;
    let fits: Vec<bool> = configured
        .iter()
        .map(|event| as_a_whole && fits(event, whom))
        .collect();
    let mut selection = Selection::default();
    let mut places = Vec::with_capacity(configured.len());
    for (event, through_ftrace) in configured.iter().zip(&fits) {
        places.push(selection.perf.len());
        if *through_ftrace {
            selection.ftrace.push(event.clone());
        } else {
            selection.perf.push(Configured {
                leader: event.leader.and_then(|l| places.get(l).copied()),
                ..event.clone()
            });
        }
    }
    let tracks = |e: &Configured| e.attr.has(flag::TASK);
    if !selection.perf.iter().any(tracks)
        && let Some(tracking) = configured.iter().find(|e| tracks(e))
    {
        selection.perf.push(tracking_alone(tracking));
    }
    selection
}

fn fits(event: &Configured, whom: &Whom) -> bool {
    let Some((system, name)) = &event.tracepoint else {
        return false;
    };
    // Weighted by time, or told to another task than the current one.
    let is_counted = name.starts_with("sched_stat_");
    let is_told = matches!(
        name.as_str(),
        "sched_wakeup" | "sched_wakeup_new" | "sched_waking"
    );
    let attr = &event.attr;
    event.leader.is_none()
        && system != "ftrace"
        && !(system == "sched" && (is_counted || (is_told && !whom.on_cpus)))
        && attr.sample_period == 1
        && attr.sample_type & !KNOWN_TO_FTRACE == 0
        && attr.flags & BOUND_TO_MODE == 0
        && attr.sample_max_stack == 0
        && (whom.on_cpus || attr.has(flag::INHERIT))
}

/// What tells of tasks, without the event that did so before.
fn tracking_alone(tracking: &Configured) -> Configured {
    let mut attr = tracking.attr;
    attr.kind = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_DUMMY;
    attr.sample_period = 1;
    attr.sample_type &= PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU;
    attr.flags &= !(flag::EXCLUDE_GUEST | flag::FREQ);
    Configured {
        name: "dummy:HG".to_owned(),
        attr,
        tracepoint: None,
        leader: None,
        filter: None,
        precise_max: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstrace_perf::cmdline::events::{Machine, Pmus, TracepointNames};
    use kstrace_perf::cmdline::{Scope, configure};

    fn selected(line: &str) -> (Vec<String>, Vec<String>) {
        let machine = Machine {
            tracepoints: TracepointNames::of(&[
                ("sched", "sched_switch"),
                ("sched", "sched_wakeup"),
                ("sched", "sched_stat_runtime"),
            ]),
            pmus: Pmus::at("/nonexistent"),
        };
        let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
        let settings = Settings::parse(&words, &machine).unwrap();
        let whom = Whom {
            on_cpus: settings.on_cpus(),
            pids: None,
            tids: None,
            cpus: None,
        };
        let scope = Scope {
            on_cpus: whom.on_cpus,
            command_only: whom.is_command_only(),
        };
        let configured = configure(&settings, scope, 4000, &mut Vec::new());
        let selection = select(configured, &settings, &whom, SourceChoice::Auto, true);
        let names = |events: &[Configured]| events.iter().map(|e| e.name.clone()).collect();
        (names(&selection.ftrace), names(&selection.perf))
    }

    #[test]
    fn plain_tracepoints_go_through_ftrace() {
        let (ftrace, perf) = selected("-e sched:sched_switch,cpu-clock true");
        assert_eq!(ftrace, ["sched:sched_switch"]);
        assert_eq!(perf, ["cpu-clock", "dummy:HG"]);
        let (ftrace, perf) = selected("-a -e sched:* true");
        assert_eq!(ftrace, ["sched:sched_switch", "sched:sched_wakeup"]);
        assert_eq!(perf, ["sched:sched_stat_runtime", "dummy:HG"]);
        // Told to the task that is woken as well.
        assert_eq!(selected("-e sched:sched_wakeup true").0, [""; 0]);
    }

    #[test]
    fn what_needs_perf_stays_there() {
        for line in [
            "-g -e sched:sched_switch true",
            "-c 2 -e sched:sched_switch true",
            "-F 99 -e sched:sched_switch true",
            "-e sched:sched_switch:u true",
            "-i -e sched:sched_switch true",
            "-d -e sched:sched_switch true",
            "-D 5 -e sched:sched_switch true",
        ] {
            assert_eq!(selected(line).0, [""; 0], "{line}");
        }
    }
}
