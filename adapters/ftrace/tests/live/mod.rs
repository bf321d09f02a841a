//! Known numbers of events, counted.

use crate::collect::{Recording, open};
use crate::helper::Caller;
use kstrace_ftrace::{EventChoice, FtracePlan, FtraceSource, FunctionTracer, TracerKind};
use kstrace_schema::{ClassRegistry, ClockKind, LossReason, Source, SourceId};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SYS_ENTER: &str = "raw_syscalls:sys_enter";

/// Entries into getppid, and nothing else.
fn getppid() -> EventChoice {
    let filter = Some(format!("id == {}", nix::libc::SYS_getppid));
    EventChoice {
        filter,
        ..EventChoice::new("raw_syscalls", "sys_enter")
    }
}

fn plan(caller: &Caller) -> FtracePlan {
    FtracePlan {
        events: vec![getppid()],
        pids: vec![caller.tid],
        ..FtracePlan::default()
    }
}

/// Reads every few milliseconds until the process has ended.
fn follow(recording: &mut Recording, caller: Caller) -> (u64, u64) {
    let mut caller = caller.begin();
    while !caller.has_ended() {
        recording.round();
        std::thread::sleep(Duration::from_millis(5));
    }
    caller.end()
}

#[test]
fn every_call_is_seen_once() {
    let caller = Caller::new(60_000, 0);
    let mut plan = plan(&caller);
    plan.events.push(EventChoice::new("sched", "sched_switch"));
    let Some(mut recording) = open(plan) else {
        return;
    };
    recording.sink.keep = true;
    recording.source.start().unwrap();
    let (began, ended) = follow(&mut recording, caller);
    let (collected, source) = recording.finish();
    assert_eq!(collected.count_of(SYS_ENTER), 60_000);
    assert!(collected.count_of("sched:sched_switch") > 0);
    assert_eq!(collected.lost(), 0);
    let class = collected.class_named(SYS_ENTER);
    assert_eq!(
        (class.namespace.as_str(), class.source),
        ("ftrace", crate::collect::SOURCE)
    );
    assert_eq!(class.attributes["ftrace.system"], "raw_syscalls");
    assert_eq!(class.payload.static_offset_bytes("id"), Some(8));
    let id = class.id;
    let mut calls = collected.records.iter().filter(|r| r.0 == id);
    assert!(calls.all(|(_, time, _)| (began..=ended).contains(&time.as_ns())));
    let attributes = &source.info().attributes;
    assert!(
        attributes["ftrace.header_page"]
            .as_str()
            .unwrap()
            .contains("commit")
    );
    assert_eq!(attributes["ftrace.trace_clock"], "mono");
    assert!(attributes.contains_key("ftrace.saved_cmdlines"));
}

#[test]
fn children_and_their_children_are_followed() {
    let caller = Caller::new(2_000, 2);
    let Some(recording) = open(plan(&caller)) else {
        return;
    };
    let mut recording = recording;
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    assert_eq!(collected.count_of(SYS_ENTER), 3 * 2_000);
}

#[test]
fn excluded_tasks_are_not_recorded() {
    let caller = Caller::new(3_000, 0);
    let Some(mut recording) = open(FtracePlan {
        events: vec![getppid()],
        exclude_pids: vec![nix::unistd::gettid().as_raw()],
        ..FtracePlan::default()
    }) else {
        return;
    };
    recording.source.start().unwrap();
    for _ in 0..500 {
        nix::unistd::getppid();
    }
    let tid = caller.tid;
    recording.sink.keep = true;
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    let tid_of = |payload: &[u8]| i32::from_ne_bytes(payload[4..8].try_into().unwrap());
    let by = |wanted| {
        collected
            .records
            .iter()
            .filter(|r| tid_of(&r.2) == wanted)
            .count()
    };
    assert_eq!(by(tid), 3_000);
    assert_eq!(by(nix::unistd::gettid().as_raw()), 0);
}

/// Nobody reads during the flood; then everything is accounted for to the record.
fn flood(overwrite: bool, subbuf_size_kb: Option<u32>, read_meanwhile: bool) {
    const CALLS: u64 = 120_000;
    let caller = Caller::new(CALLS, 0);
    let Some(mut recording) = open(FtracePlan {
        buffer_size_bytes_per_cpu: 64 << 10,
        overwrite,
        subbuf_size_kb,
        ..plan(&caller)
    }) else {
        return;
    };
    recording.source.start().unwrap();
    if read_meanwhile {
        follow(&mut recording, caller);
    } else {
        recording.round();
        caller.run();
    }
    let (collected, _) = recording.finish();
    let delivered = collected.count_of(SYS_ENTER);
    assert!(
        delivered > 0 && collected.lost() > 0,
        "{delivered} {}",
        collected.lost()
    );
    assert_eq!(delivered + collected.lost(), CALLS);
    assert_eq!(collected.seen(), CALLS);
    let reason = if overwrite {
        LossReason::KernelOverwritten
    } else {
        LossReason::KernelRingFull
    };
    assert!(
        collected.losses.iter().all(|l| l.reason == reason),
        "{:?}",
        collected.losses
    );
}

#[test]
fn a_flood_that_overwrites_is_counted_exactly() {
    flood(true, None, false);
    flood(true, None, true);
}

#[test]
fn a_flood_against_a_full_buffer_is_counted_exactly() {
    flood(false, None, false);
    flood(false, None, true);
}

#[test]
fn larger_sub_buffers_work_the_same() {
    flood(true, Some(16), true);
    flood(false, Some(16), true);
    let caller = Caller::new(50_000, 0);
    let Some(mut recording) = open(FtracePlan {
        subbuf_size_kb: Some(16),
        ..plan(&caller)
    }) else {
        return;
    };
    if recording.source.info().attributes["ftrace.sub_buffer_size_bytes"] == 4096 {
        eprintln!("skipped in part: sub-buffers have a fixed size before Linux 6.8");
    } else {
        let size = &recording.source.info().attributes["ftrace.sub_buffer_size_bytes"];
        assert_eq!(size, 16 << 10);
    }
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    assert_eq!(
        (collected.count_of(SYS_ENTER), collected.lost()),
        (50_000, 0)
    );
}

#[test]
fn two_kinds_of_records_overwritten_by_turns_are_counted_exactly() {
    let caller = Caller::new(60_000, 0);
    let Some(mut recording) = open(FtracePlan {
        events: vec![
            EventChoice {
                filter: Some(format!("id == {}", nix::libc::SYS_getppid)),
                ..EventChoice::new("raw_syscalls", "sys_exit")
            },
            getppid(),
        ],
        buffer_size_bytes_per_cpu: 16 << 10,
        overwrite: true,
        ..plan(&caller)
    }) else {
        return;
    };
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    let delivered = collected.count_of(SYS_ENTER) + collected.count_of("raw_syscalls:sys_exit");
    assert_eq!(delivered + collected.lost(), 2 * 60_000);
    assert!(collected.losses.len() > 1);
}

#[test]
fn cycles_are_mapped_within_the_bound() {
    let caller = Caller::new(60_000, 0);
    let Some(mut recording) = open(FtracePlan {
        clock: ClockKind::Tsc,
        ..plan(&caller)
    }) else {
        return;
    };
    let bound = recording.source.clock_error_bound();
    recording.source.start().unwrap();
    let (began, ended) = follow(&mut recording, caller);
    let (collected, source) = recording.finish();
    drop(source);
    assert_eq!(
        (collected.count_of(SYS_ENTER), collected.lost()),
        (60_000, 0)
    );
    // The first call comes after one reading of the clock, the last before another.
    let (first, last) = collected.first_and_last.unwrap();
    let bound = bound.ns();
    assert!(bound > 0 && bound < 100_000, "{bound}");
    assert!(
        first + bound >= began && first < began + 10_000_000,
        "{first} {began} {bound}"
    );
    assert!(
        last <= ended + bound && last > ended - 10_000_000,
        "{last} {ended} {bound}"
    );
}

#[test]
fn the_other_clocks_are_their_own() {
    for clock in [ClockKind::MonotonicRaw, ClockKind::Boottime, ClockKind::Tai] {
        let caller = Caller::new(100, 0);
        let Some(mut recording) = open(FtracePlan {
            clock,
            ..plan(&caller)
        }) else {
            return;
        };
        let before = kstrace_clock::read_ns(clock);
        recording.source.start().unwrap();
        follow(&mut recording, caller);
        let after = kstrace_clock::read_ns(clock);
        let (collected, _) = recording.finish();
        assert_eq!(collected.count_of(SYS_ENTER), 100);
        let (first, last) = collected.first_and_last.unwrap();
        assert!(
            before <= first && last <= after,
            "{clock}: {before} {first} {last} {after}"
        );
    }
    let plan = FtracePlan {
        events: vec![getppid()],
        clock: ClockKind::Realtime,
        ..FtracePlan::default()
    };
    let error = FtraceSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new())).unwrap_err();
    assert!(error.to_string().contains("monotonic_raw"), "{error}");
}

#[test]
fn kinds_that_nobody_chose_get_their_classes_on_the_way() {
    let caller = Caller::new(10, 0);
    let Some(mut recording) = open(plan(&caller)) else {
        return;
    };
    recording.sink.keep = true;
    let name = recording.source.instance_name().to_owned();
    let instance = tracefs::Tracefs::discover()
        .unwrap()
        .path()
        .join("instances")
        .join(name);
    recording
        .source
        .trace_array()
        .set_option("stacktrace", true)
        .unwrap();
    recording.source.start().unwrap();
    std::fs::write(instance.join("trace_marker"), "hello, merged world").unwrap();
    let mut raw = 0x1234u32.to_ne_bytes().to_vec();
    raw.extend(b"some bytes");
    std::fs::write(instance.join("trace_marker_raw"), raw).unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    assert_eq!(collected.count_of(SYS_ENTER), 10);
    assert_eq!(collected.count_of("ftrace:print"), 1);
    assert_eq!(collected.count_of("ftrace:raw_data"), 1);
    assert!(collected.count_of("ftrace:kernel_stack") >= 10);
    let print = collected.class_named("ftrace:print").id;
    let (_, _, payload) = collected.records.iter().find(|r| r.0 == print).unwrap();
    let text = String::from_utf8_lossy(payload);
    assert!(text.contains("hello, merged world"), "{text:?}");
    assert!(!payload.ends_with(b"\0\0"), "slack is cut off: {text:?}");
}

#[test]
fn dynamic_strings_are_cut_to_their_length() {
    let caller = Caller::new(10, 1);
    let Some(mut recording) = open(FtracePlan {
        events: vec![
            EventChoice::new("sched", "sched_process_exec"),
            EventChoice::new("sched", "sched_process_fork"),
        ],
        pids: vec![caller.tid],
        ..FtracePlan::default()
    }) else {
        return;
    };
    recording.sink.keep = true;
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    let exec = collected.class_named("sched:sched_process_exec").id;
    let exe = std::env::current_exe().unwrap();
    let mut wanted = exe.to_str().unwrap().as_bytes().to_vec();
    wanted.push(0);
    let found: Vec<_> = collected.records.iter().filter(|r| r.0 == exec).collect();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].2.ends_with(&wanted),
        "{:?}",
        String::from_utf8_lossy(&found[0].2)
    );
}

/// Keeps this thread on CPU 0.
fn pin_to_cpu_0() {
    let mut cpus = nix::sched::CpuSet::new();
    cpus.set(0).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).unwrap();
}

#[test]
fn chosen_cpus_only() {
    let caller = Caller::new(1_000, 0);
    let Some(mut recording) = open(FtracePlan {
        events: vec![EventChoice::new("sched", "sched_switch")],
        cpus: Some(vec![0]),
        ..FtracePlan::default()
    }) else {
        return;
    };
    assert_eq!(recording.streams.len(), 1);
    // An idle machine may have nothing to do there but this thread's sleeping and waking.
    pin_to_cpu_0();
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    assert!(collected.count_of("sched:sched_switch") > 0);
    assert_eq!(collected.accounts.len(), 1);
    let plan = FtracePlan {
        events: vec![getppid()],
        cpus: Some(vec![60_000]),
        ..FtracePlan::default()
    };
    let error = FtraceSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new())).unwrap_err();
    assert!(error.to_string().contains("no CPU 60000"), "{error}");
}

#[test]
fn the_instance_goes_with_the_last_of_source_and_streams() {
    let caller = Caller::new(1, 0);
    let Some(recording) = open(plan(&caller)) else {
        return;
    };
    let name = recording.source.instance_name().to_owned();
    let there = || {
        tracefs::Tracefs::discover()
            .unwrap()
            .instances()
            .unwrap()
            .contains(&name)
    };
    let Recording {
        source, streams, ..
    } = recording;
    drop(source);
    assert!(there());
    drop(streams);
    assert!(!there());
    caller.run();
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let refused = |plan| {
        let error =
            FtraceSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new())).unwrap_err();
        format!("{error:?}")
    };
    let Some(_) = open(FtracePlan {
        events: vec![getppid()],
        ..FtracePlan::default()
    }) else {
        return;
    };
    let text = refused(FtracePlan::default());
    assert!(text.contains("nothing to record"), "{text}");
    let events = vec![EventChoice::new("sched", "sched_swich")];
    let text = refused(FtracePlan {
        events,
        ..FtracePlan::default()
    });
    assert!(
        text.contains("sched:sched_switch") && text.starts_with("NotFound"),
        "{text}"
    );
    let filter = Some("flavour == 3".to_owned());
    let events = vec![EventChoice {
        filter,
        ..getppid()
    }];
    let text = refused(FtracePlan {
        events,
        ..FtracePlan::default()
    });
    assert!(
        text.contains("Field not found") && text.starts_with("InvalidInput"),
        "{text}"
    );
    let tracer = FunctionTracer {
        kind: TracerKind::Function,
        filters: vec!["no_such_function".to_owned()],
    };
    let text = refused(FtracePlan {
        tracer: Some(tracer),
        ..FtracePlan::default()
    });
    assert!(
        text.contains("no_such_function") || text.contains("function"),
        "{text}"
    );
}

#[test]
fn a_reader_that_stops_early_accounts_for_what_it_left() {
    let caller = Caller::new(5_000, 0);
    let Some(mut recording) = open(plan(&caller)) else {
        return;
    };
    recording.source.start().unwrap();
    caller.run();
    recording.source.stop().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    for stream in &mut recording.streams {
        stream.finish(&mut recording.sink).unwrap();
    }
    recording.sink.check_accounts();
    assert_eq!(
        (recording.sink.lost(), recording.sink.seen()),
        (5_000, 5_000)
    );
}

#[test]
fn idle_wakes_at_once_and_busy_waits_for_much() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let caller = Caller::new(20, 0);
    let Some(mut recording) = open(plan(&caller)) else {
        return;
    };
    let readable = |recording: &Recording, ms: u16| {
        let mut fds: Vec<PollFd<'_>> = recording
            .streams
            .iter()
            .map(|s| PollFd::new(s.wakeup().unwrap(), PollFlags::POLLIN))
            .collect();
        poll(&mut fds, PollTimeout::from(ms)).unwrap() > 0
    };
    recording.source.set_idle(false).unwrap();
    recording.source.start().unwrap();
    caller.run();
    let waited = Instant::now();
    assert!(!readable(&recording, 50) && waited.elapsed() >= Duration::from_millis(50));
    recording.source.set_idle(true).unwrap();
    assert!(readable(&recording, 1000));
    let (collected, _) = recording.finish();
    assert_eq!(collected.count_of(SYS_ENTER), 20);
}

/// Pages that are full to the last byte have no room for the number of records
/// lost before them (`Missed::Unknown`): the counters must make up for it.
#[test]
fn loss_before_pages_full_to_the_last_byte_is_counted_exactly() {
    // Header, common fields, address and text make 40 bytes: 102 of them are a page.
    const TEXT: &[u8] = b"eighteen bytes....";
    const WRITES: u64 = 20_000;
    let caller = Caller::new(1, 0);
    let Some(mut recording) = open(FtracePlan {
        buffer_size_bytes_per_cpu: 32 << 10,
        overwrite: true,
        ..plan(&caller)
    }) else {
        return;
    };
    let name = recording.source.instance_name().to_owned();
    let tracefs = tracefs::Tracefs::discover().unwrap();
    let path = tracefs
        .path()
        .join("instances")
        .join(name)
        .join("trace_marker");
    let mut marker = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    recording.source.start().unwrap();
    for write in 1..=WRITES {
        std::io::Write::write_all(&mut marker, TEXT).unwrap();
        if write % 3_000 == 0 {
            recording.round();
        }
    }
    drop(marker);
    let (collected, _) = recording.finish();
    caller.run();
    assert_eq!(
        collected.count_of("ftrace:print") + collected.lost(),
        WRITES
    );
    assert!(collected.losses.len() > 3, "{:?}", collected.losses);
    assert!(
        collected
            .losses
            .iter()
            .all(|l| l.reason == LossReason::KernelOverwritten)
    );
}

/// Everything that this kernel can trace, at once.
#[test]
fn all_events_together() {
    let tracefs = match tracefs::Tracefs::discover() {
        Ok(found) => found,
        Err(e) => return eprintln!("skipped: {e}"),
    };
    let names = tracefs.events().unwrap().names().to_vec();
    let began = Instant::now();
    let Some(mut recording) = open(FtracePlan {
        events: names
            .iter()
            .map(|e| EventChoice::new(&e.system, &e.name))
            .collect(),
        exclude_pids: vec![nix::unistd::gettid().as_raw()],
        ..FtracePlan::default()
    }) else {
        return;
    };
    println!("{} events set up in {:?}", names.len(), began.elapsed());
    recording.source.start().unwrap();
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        recording.round();
        std::thread::sleep(Duration::from_millis(5));
    }
    let (collected, source) = recording.finish();
    let kinds = collected.counts.len();
    let odd = collected
        .classes
        .values()
        .filter(|c| c.attributes.contains_key("kstrace.layout"));
    let odd: Vec<&str> = odd.map(|c| c.name.as_str()).collect();
    println!(
        "{} records of {kinds} kinds, odd: {odd:?}",
        collected.counts.values().sum::<u64>()
    );
    assert!(kinds > 5);
    let began = Instant::now();
    drop(source);
    println!("taken down in {:?}", began.elapsed());
}

/// Opens a plan that traces functions; `None`, with a word, where the kernel does not allow it.
fn open_tracer(kind: TracerKind, caller: &Caller) -> Option<Recording> {
    let tracer = FunctionTracer {
        kind,
        filters: vec!["*sys_getppid".to_owned()],
    };
    let plan = FtracePlan {
        tracer: Some(tracer),
        pids: vec![caller.tid],
        ..FtracePlan::default()
    };
    let source = FtraceSource::open(plan.clone(), SourceId(1), Arc::new(ClassRegistry::new()));
    if let Err(e) = &source
        && matches!(
            e.kind(),
            kstrace_schema::ErrorKind::PermissionDenied | kstrace_schema::ErrorKind::Unsupported
        )
    {
        eprintln!("skipped: {e:?}");
        return None;
    }
    drop(source);
    open(plan)
}

#[test]
fn function_calls_are_recorded() {
    let caller = Caller::new(2_000, 0);
    let Some(mut recording) = open_tracer(TracerKind::Function, &caller) else {
        return;
    };
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    assert_eq!(collected.count_of("ftrace:function") % 2_000, 0);
    assert!(collected.count_of("ftrace:function") >= 2_000);
    assert_eq!(collected.lost(), 0);
}

#[test]
fn function_graphs_are_recorded() {
    let caller = Caller::new(2_000, 0);
    let Some(mut recording) = open_tracer(TracerKind::FunctionGraph, &caller) else {
        return;
    };
    recording.source.start().unwrap();
    follow(&mut recording, caller);
    let (collected, _) = recording.finish();
    let entries = collected.count_of("ftrace:funcgraph_entry");
    assert!(entries >= 2_000);
    assert_eq!(collected.count_of("ftrace:funcgraph_exit"), entries);
}

/// Puts the option back, whatever happens.
struct TopOption(&'static str, bool);

impl TopOption {
    fn set(name: &'static str, on: bool) -> std::io::Result<TopOption> {
        let path = format!("/sys/kernel/tracing/options/{name}");
        let before = std::fs::read_to_string(&path)?.trim() == "1";
        std::fs::write(path, if on { "1" } else { "0" })?;
        Ok(TopOption(name, before))
    }
}

impl Drop for TopOption {
    fn drop(&mut self) {
        let path = format!("/sys/kernel/tracing/options/{}", self.0);
        let _ = std::fs::write(path, if self.1 { "1" } else { "0" });
    }
}

#[test]
fn what_others_left_switched_on_is_not_taken_over() {
    let _stacks = match TopOption::set("stacktrace", true) {
        Ok(set) => set,
        Err(e) => return eprintln!("skipped: /sys/kernel/tracing/options/stacktrace: {e}"),
    };
    let Some(mut recording) = open(FtracePlan {
        events: vec![EventChoice::new("sched", "sched_switch")],
        ..FtracePlan::default()
    }) else {
        return;
    };
    recording.source.start().unwrap();
    let deadline = Instant::now() + Duration::from_millis(100);
    while Instant::now() < deadline {
        recording.round();
        std::thread::sleep(Duration::from_millis(5));
    }
    let (collected, _) = recording.finish();
    let names: Vec<&str> = collected
        .counts
        .keys()
        .map(|id| collected.classes[id].name.as_str())
        .collect();
    assert_eq!(names, ["sched:sched_switch"]);
}
