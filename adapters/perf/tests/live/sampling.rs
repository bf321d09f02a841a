use super::collect::*;
use kstrace_perf::{EventRequest, PerfPlan, PerfSource, Period, Target};
use kstrace_schema::decode::{FieldAccess, Value};
use kstrace_schema::{ClassRegistry, Clock, ClockKind, Role, Source, SourceId};
use std::sync::Arc;
use std::time::Duration;

/// Burns processor time, however busy the machine is.
fn spin(cpu_ms: i64) {
    use nix::time::{ClockId, clock_gettime};
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000
    };
    let until = now() + cpu_ms;
    while now() < until {}
}

#[test]
fn cpu_clock_of_a_spinning_child_with_callchains() {
    let child = Child::fork(|| spin(200));
    let request = EventRequest {
        callchain: true,
        ..request_at("cpu-clock", Period::Freq(1000))
    };
    let mut recording = Recording::started(pids_plan(child.pid, vec![request]));
    let before = kstrace_clock::SystemClock::new(ClockKind::Monotonic)
        .unwrap()
        .now();
    child.go();
    let pid = child.pid;
    std::thread::sleep(Duration::from_millis(50));
    recording.round();
    child.wait();
    let recording = recording.finish();
    let samples = recording.out.of("cpu-clock");
    assert!(
        (120..=230).contains(&samples.len()),
        "{} samples",
        samples.len()
    );
    assert!(recording.out.losses.is_empty());
    for sample in &samples {
        assert_eq!(sample.i64(Role::Pid), Some(pid.into()));
        assert_eq!(sample.u64(Role::Cpu), Some(sample.cpu.0.into()));
        assert_eq!(sample.u64(Role::Time), Some(sample.time.as_ns()));
        assert!(sample.time >= before);
        assert!(sample.u64(Role::Period).unwrap() > 0);
        let access = FieldAccess::by_role(&sample.class.payload, Role::Callchain).unwrap();
        let Some(Value::Array(chain)) = access.get(&sample.payload) else {
            panic!()
        };
        assert!(chain.len() >= 2, "a context mark and an address at least");
    }
}

#[test]
fn cycles_become_cpu_clock_where_there_is_no_pmu() {
    let has_pmu = std::path::Path::new("/sys/bus/event_source/devices/cpu").exists();
    let plan = pids_plan(own_pid(), vec![request("cycles:u")]);
    let source = PerfSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new())).unwrap();
    let name = &source.sample_classes()[0].name;
    if has_pmu {
        assert_eq!(name, "cycles:u");
    } else {
        assert_eq!(name, "cpu-clock:u");
        assert!(
            source.notes().iter().any(|n| n.contains("'cpu-clock:u'")),
            "{:?}",
            source.notes()
        );
    }
}

/// Memory that this process never had before, so that each page faults.
#[expect(unsafe_code, reason = "the allocator would reuse pages")]
fn touch_new_pages(pages: usize) {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let len = std::num::NonZeroUsize::new(pages * 4096).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping that nobody else knows.
    let start = unsafe { mmap_anonymous(None, len, protection, MapFlags::MAP_PRIVATE) }.unwrap();
    for page in 0..pages {
        // SAFETY: within the mapping.
        let at = unsafe { start.cast::<u8>().add(page * 4096) };
        // SAFETY: writable and ours.
        unsafe { at.write_volatile(1) };
    }
    // SAFETY: no reference to it is left.
    unsafe { munmap(start, len.get()) }.unwrap();
}

#[test]
fn every_clock_stamps_software_events() {
    for clock in [
        ClockKind::Monotonic,
        ClockKind::MonotonicRaw,
        ClockKind::Boottime,
        ClockKind::Realtime,
        ClockKind::Tai,
    ] {
        let events = vec![request_at("page-faults", Period::Period(1))];
        let plan = PerfPlan {
            clock,
            ..pids_plan(own_pid(), events)
        };
        let mut recording = Recording::open(plan);
        let before = kstrace_clock::read_ns(clock);
        recording.source.start().unwrap();
        touch_new_pages(100);
        let recording = recording.finish();
        let after = kstrace_clock::read_ns(clock);
        let faults = recording.out.of("page-faults");
        assert!(faults.len() > 50, "{clock}: {}", faults.len());
        for fault in faults {
            assert!((before..=after).contains(&fault.time.as_ns()), "{clock}");
        }
    }
}

#[test]
fn context_switches_and_migrations_count_each() {
    let child = Child::fork(|| {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    let events = vec![request_at("cs", Period::Period(1))];
    let recording = Recording::started(pids_plan(child.pid, events));
    child.go();
    child.wait();
    let recording = recording.finish();
    assert!(recording.out.of("cs").len() >= 20);
}

#[test]
fn system_wide_samples_lie_on_every_cpu() {
    let plan = PerfPlan::new(
        Target::System,
        vec![request_at("cpu-clock", Period::Freq(500))],
    );
    let mut recording = Recording::started(plan);
    spin(100);
    recording.round();
    let recording = recording.finish();
    let cpus: std::collections::BTreeSet<_> = recording
        .out
        .of("cpu-clock")
        .iter()
        .map(|r| r.cpu)
        .collect();
    assert!(!cpus.is_empty());
    assert!(
        recording.accounts.len() > cpus.len(),
        "one account a CPU and one for what ran before"
    );
}
