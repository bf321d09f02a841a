use super::collect::*;
use kstrace_perf::{EventRequest, PerfError, PerfPlan, PerfSource, Target};
use kstrace_schema::{ClassRegistry, ClockKind, ErrorKind, SourceId};
use std::sync::Arc;

fn refused(plan: PerfPlan) -> PerfError {
    PerfSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new())).unwrap_err()
}

#[test]
fn unknown_tracepoints_come_with_names_that_are_near() {
    let e = refused(pids_plan(own_pid(), vec![request("sched:sched_swich")]));
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.to_string().contains("sched:sched_switch"), "{e}");
}

#[test]
fn a_bad_filter_is_named() {
    let event = EventRequest {
        filter: Some("nonsense == 3".into()),
        ..request("sched:sched_switch")
    };
    let e = refused(pids_plan(own_pid(), vec![event]));
    assert!(matches!(e, PerfError::BadFilter { .. }), "{e}");
    let event = EventRequest {
        filter: Some("ip == 3".into()),
        ..request("cpu-clock")
    };
    assert_eq!(
        refused(pids_plan(own_pid(), vec![event])).kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn a_process_that_is_not_there() {
    let e = refused(pids_plan(i32::MAX - 1, vec![request("cpu-clock")]));
    assert!(matches!(e, PerfError::NoProcess { .. }), "{e}");
}

#[test]
fn clocks_that_an_event_cannot_have() {
    for clock in [ClockKind::Boottime, ClockKind::Tsc] {
        let events = vec![request("cpu-clock"), request("sched:sched_switch")];
        let e = refused(PerfPlan {
            clock,
            ..pids_plan(own_pid(), events)
        });
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.to_string().contains(clock.word()), "{e}");
    }
    // The kernel says the same: what is refused here would be refused there.
}

#[test]
fn hardware_that_is_not_there() {
    if std::path::Path::new("/sys/bus/event_source/devices/cpu").exists() {
        println!("skipped: this machine has a PMU");
        return;
    }
    let e = refused(pids_plan(own_pid(), vec![request("instructions")]));
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("instructions"), "{e}");
}

#[test]
fn plans_that_make_no_sense() {
    let odd = PerfPlan {
        mmap_size_bytes_per_cpu: 12345,
        ..pids_plan(own_pid(), vec![request("cpu-clock")])
    };
    assert_eq!(refused(odd).kind(), ErrorKind::InvalidInput);
    let nothing = PerfPlan {
        sideband: false,
        ..pids_plan(own_pid(), vec![])
    };
    assert_eq!(refused(nothing).kind(), ErrorKind::InvalidInput);
    let nobody = PerfPlan::new(Target::Pids(vec![]), vec![request("cpu-clock")]);
    assert_eq!(refused(nobody).kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_tracepoint_that_nobody_may_sample() {
    let event = "irq_vectors:irq_work_exit";
    if !std::path::Path::new("/sys/kernel/tracing/events/irq_vectors/irq_work_exit").exists() {
        println!("skipped: this kernel has no {event}");
        return;
    }
    let e = refused(pids_plan(own_pid(), vec![request(event)]));
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
    assert!(e.to_string().contains("ftrace"), "{e}");
}
