//! On the running kernel, in instances of our own.

use crate::helper;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::time::Duration;
use tracefs::{Error, EventName, Instance, Missed, Origin, Tracefs};

const PREFIX: &str = "tracefs-test";

/// Tracefs, or a word on why the test cannot run.
fn tracefs() -> Option<Tracefs> {
    match Tracefs::discover() {
        Ok(found) => Some(found),
        Err(e) if e.is_permission() || matches!(e, Error::NotMounted { .. }) => {
            eprintln!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn sched_switch() -> EventName {
    EventName::new("sched", "sched_switch")
}

/// Reads every CPU's pages until they are empty: number of events, or the fault of a page.
fn drain(tracefs: &Tracefs, instance: &Instance) -> u64 {
    let layout = tracefs.page_layout().unwrap();
    let mut room = vec![0; instance.sub_buffer_size_bytes().unwrap()];
    let mut count = 0;
    for cpu in instance.buffer_cpus().unwrap() {
        let pipe = instance.open_raw_pipe(cpu).unwrap();
        let mut last = 0;
        while let Some(n) = pipe.read_sub_buffer(&mut room).unwrap() {
            let page = layout.page(&room[..n]).unwrap();
            assert_eq!(page.missed, Missed::None);
            let mut events = page.events();
            for event in events.by_ref() {
                assert!(event.time_raw >= last, "{} after {last}", event.time_raw);
                last = event.time_raw;
                count += 1;
            }
            assert_eq!(events.fault(), None);
        }
    }
    count
}

#[test]
fn discovery_says_where() {
    let Some(tracefs) = tracefs() else { return };
    assert!(tracefs.path().join("available_events").exists());
    let text = tracefs.origin().to_string();
    match tracefs.origin() {
        Origin::Mounted(path) => assert!(text.contains(path.to_str().unwrap())),
        Origin::Detached => assert!(text.contains("detached")),
    }
    let wrong = Tracefs::at(std::path::Path::new("/proc")).unwrap_err();
    assert!(matches!(wrong, Error::NotTracefs { .. }), "{wrong}");
    assert!(
        Tracefs::at(std::path::Path::new("/nonexistent"))
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn an_instance_records_counts_and_goes() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance(PREFIX).unwrap();
    let name = instance.name().to_owned();
    assert!(tracefs.instances().unwrap().contains(&name));
    assert!(!instance.tracing_on().unwrap());
    instance.set_clock("mono").unwrap();
    instance.enable_event(&sched_switch()).unwrap();
    assert_eq!(instance.enabled_events().unwrap(), [sched_switch()]);
    instance.set_tracing_on(true).unwrap();
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(1));
    }
    instance.set_tracing_on(false).unwrap();
    std::thread::sleep(Duration::from_millis(3));
    let cpus = instance.buffer_cpus().unwrap();
    let counted = |pick: fn(&tracefs::CpuStats) -> u64| -> u64 {
        cpus.iter()
            .map(|c| pick(&instance.open_stats(*c).unwrap().read().unwrap()))
            .sum()
    };
    let entries = counted(|s| s.entries);
    assert!(entries >= 20, "{entries}");
    assert_eq!(drain(&tracefs, &instance), entries);
    assert_eq!((counted(|s| s.read), counted(|s| s.entries)), (entries, 0));
    drop(instance);
    assert!(!tracefs.instances().unwrap().contains(&name));
}

#[test]
fn an_open_pipe_keeps_an_instance_and_removal_says_so() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance(PREFIX).unwrap();
    let name = instance.name().to_owned();
    let pipe = instance.open_raw_pipe(0).unwrap();
    let error = instance.remove().unwrap_err();
    assert!(error.to_string().contains("still open"), "{error}");
    assert!(tracefs.instances().unwrap().contains(&name));
    drop(pipe);
    std::fs::remove_dir(tracefs.path().join("instances").join(&name)).unwrap();
}

#[test]
fn switches_and_sizes_are_what_they_were_set_to() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance(PREFIX).unwrap();
    instance.set_option("event-fork", true).unwrap();
    assert!(instance.option("event-fork").unwrap());
    assert!(
        instance
            .options()
            .unwrap()
            .contains(&("event-fork".to_owned(), true))
    );
    instance.set_option("overwrite", false).unwrap();
    assert!(
        instance
            .options()
            .unwrap()
            .contains(&("overwrite".to_owned(), false))
    );
    match instance.set_sub_buffer_size_kib(16) {
        Err(e) if e.is_not_found() => {
            assert!(e.to_string().contains("6.8"), "{e}");
            eprintln!("skipped in part: {e}");
        }
        outcome => {
            outcome.unwrap();
            assert_eq!(instance.sub_buffer_size_bytes().unwrap(), 16 << 10);
        }
    }
    instance.set_buffer_size_kib(256).unwrap();
    // In whole sub-buffers, whose headers do not count.
    assert!((240..=288).contains(&instance.cpu_buffer_size_kib(0).unwrap()));
    instance.set_buffer_percent(0).unwrap();
    instance.set_cpus(&[0]).unwrap();
    let clocks = instance.clocks().unwrap();
    assert_eq!(clocks.current, "local");
    for clock in ["mono", "boot", "x86-tsc"] {
        if clocks.available.iter().any(|c| c == clock) {
            instance.set_clock(clock).unwrap();
            assert_eq!(instance.clocks().unwrap().current, clock);
        }
    }
    let error = instance.set_clock("sundial").unwrap_err();
    assert!(error.to_string().contains("mono_raw"), "{error}");
    let error = instance.set_current_tracer("telepathy").unwrap_err();
    assert!(error.to_string().contains("nop"), "{error}");
}

#[test]
fn many_pids_are_kept() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance(PREFIX).unwrap();
    let mut wanted: Vec<i32> = (1..=3000).collect();
    instance.set_event_pids(&wanted).unwrap();
    instance.add_event_pids(&[3001, 3002]).unwrap();
    wanted.extend([3001, 3002]);
    assert_eq!(instance.event_pids().unwrap(), wanted);
    instance.set_event_pids(&[]).unwrap();
    assert!(instance.event_pids().unwrap().is_empty());
    instance
        .set_event_notrace_pids(&[nix::unistd::getpid().as_raw()])
        .unwrap();
}

#[test]
fn events_are_found_by_pattern_and_guessed_when_mistyped() {
    let Some(tracefs) = tracefs() else { return };
    let events = tracefs.events().unwrap();
    assert!(events.names().len() > 500);
    assert!(events.systems().contains(&"sched"));
    assert_eq!(events.find("sched:sched_switch").unwrap(), [sched_switch()]);
    assert_eq!(events.find("sched_switch").unwrap(), [sched_switch()]);
    let all_sched = events.find("sched").unwrap();
    assert_eq!(events.find("sched:*").unwrap(), all_sched);
    assert!(all_sched.len() > 10 && all_sched.iter().all(|e| e.system == "sched"));
    assert_eq!(
        events.find("*:sys_enter").unwrap(),
        [EventName::new("raw_syscalls", "sys_enter")]
    );
    assert!(events.find("syscalls:sys_enter_open*").unwrap().len() >= 2);
    for (wrong, right) in [
        ("sched:sched_swich", "sched:sched_switch"),
        ("syscalls:sched_switch", "sched:sched_switch"),
        ("shced", "sched"),
    ] {
        let error = events.find(wrong).unwrap_err().to_string();
        assert!(error.contains(right), "{error}");
    }
    assert!(events.find("../../x:*").is_err());
    assert!(events.format(&EventName::new("..", "sched")).is_err());
    let id = events.id(&sched_switch()).unwrap();
    assert!(
        events
            .format(&sched_switch())
            .unwrap()
            .contains(&format!("ID: {id}\n"))
    );
    assert_eq!(events.with_id(id), Some(sched_switch()));
    assert!(
        events
            .internal()
            .unwrap()
            .contains(&EventName::new("ftrace", "print"))
    );
    assert_eq!(events.with_id(u16::MAX), None);
}

#[test]
fn a_refused_filter_comes_with_the_kernels_words() {
    let Some(tracefs) = tracefs() else { return };
    let instance = tracefs.create_instance(PREFIX).unwrap();
    let event = sched_switch();
    instance
        .set_filter(&event, "prev_pid > 5 && next_comm ~ \"cc*\"")
        .unwrap();
    assert_eq!(
        instance.filter(&event).unwrap().unwrap(),
        "prev_pid > 5 && next_comm ~ \"cc*\""
    );
    let error = instance.set_filter(&event, "nonsense == 1").unwrap_err();
    let Error::Filter { explanation, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        explanation.contains("Field not found") && explanation.contains('^'),
        "{error}"
    );
    assert_eq!(instance.filter(&event).unwrap(), None);
    instance.add_trigger(&event, "traceoff:1").unwrap();
    assert_eq!(instance.triggers(&event).unwrap().len(), 1);
    instance.remove_trigger(&event, "traceoff:1").unwrap();
    assert!(instance.triggers(&event).unwrap().is_empty());
    assert!(instance.add_trigger(&event, "levitate").is_err());
}

#[test]
fn orphans_of_a_killed_process_are_reaped_and_ours_are_not() {
    let Some(tracefs) = tracefs() else { return };
    let mine = tracefs.create_instance("tracefs-test-orphan").unwrap();
    let (mut child, name) = helper::start("helper::makes_an_instance_and_waits", "instance: ");
    assert!(
        tracefs
            .reap_orphans("tracefs-test-orphan")
            .unwrap()
            .is_empty()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(tracefs.instances().unwrap().contains(&name));
    assert_eq!(
        tracefs.reap_orphans("tracefs-test-orphan").unwrap(),
        std::slice::from_ref(&name)
    );
    let left = tracefs.instances().unwrap();
    assert!(!left.contains(&name) && left.iter().any(|n| n == mine.name()));
}

/// One test, since there is one top level.
#[test]
fn the_top_level_is_lent_once_and_comes_back() {
    let Some(tracefs) = tracefs() else { return };
    let prefix = "tracefs-test-loan";
    let state = || {
        (
            tracefs.top().tracing_on().unwrap(),
            tracefs.top().clocks().unwrap().current,
        )
    };
    let before = state();
    let top = match tracefs.borrow_top(prefix) {
        Ok(top) => top,
        // Somebody on this machine traces without an instance of his own.
        Err(e @ Error::InUse { .. }) => return eprintln!("skipped: {e}"),
        Err(e) => panic!("{e}"),
    };
    assert!(tracefs.instances().unwrap().iter().any(|n| n == top.mark()));
    assert!(tracefs.reap_orphans(prefix).unwrap().is_empty());
    top.set_clock("mono").unwrap();
    top.enable_event(&sched_switch()).unwrap();
    top.set_filter(&sched_switch(), "prev_pid == 0").unwrap();
    assert!(matches!(
        tracefs.borrow_top(prefix),
        Err(Error::InUse { .. })
    ));
    assert!(tracefs.top().clocks().unwrap().current == "mono");
    drop(top);
    assert_eq!(state(), before);
    assert!(tracefs.top().enabled_events().unwrap().is_empty());
    assert_eq!(tracefs.top().filter(&sched_switch()).unwrap(), None);
    assert!(
        !tracefs
            .instances()
            .unwrap()
            .iter()
            .any(|n| n.starts_with(prefix))
    );

    let (mut child, mark) = helper::start("helper::borrows_the_top_and_waits", "mark: ");
    assert_eq!(tracefs.top().enabled_events().unwrap(), [sched_switch()]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(tracefs.reap_orphans(prefix).unwrap(), [mark]);
    assert!(tracefs.top().enabled_events().unwrap().is_empty());
    assert_eq!(state(), (true, "local".to_owned()));
    tracefs.top().set_clock(&before.1).unwrap();
}

/// In a mount namespace of one thread, where tracefs is not mounted.
#[test]
fn without_a_mount_it_is_reached_by_a_private_one() {
    if tracefs().is_none() {
        return;
    }
    let outcome = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        for path in ["/sys/kernel/tracing", "/sys/kernel/debug"] {
            while umount2(path, MntFlags::MNT_DETACH).is_ok() {}
        }
        let table = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!table().contains("tracefs"), "{}", table());
        let before = table();
        let tracefs = Tracefs::discover().unwrap();
        assert_eq!(tracefs.origin(), &Origin::Detached);
        assert_eq!(table(), before);
        assert!(tracefs.path().join("available_events").exists());
        let instance = tracefs.create_instance(PREFIX).unwrap();
        instance.enable_event(&sched_switch()).unwrap();
        instance.set_tracing_on(true).unwrap();
        // Also from a thread that is in the other namespace's table of mounts.
        let count = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for _ in 0..20 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                instance.set_tracing_on(false).unwrap();
                std::thread::sleep(Duration::from_millis(3));
                drain(&tracefs, &instance)
            });
            worker.join().unwrap()
        });
        assert!(count >= 20, "{count}");
        let name = instance.name().to_owned();
        assert!(tracefs.instances().unwrap().contains(&name));
        drop(instance);
        assert!(!tracefs.instances().unwrap().contains(&name));
    })
    .join();
    outcome.unwrap();
}

/// A page full to its last byte can say that something is missing, not how much.
#[test]
fn overwritten_records_are_told_by_the_next_page() {
    let Some(tracefs) = tracefs() else { return };
    for (text, expected) in [
        ("eighteen bytes....", None),
        ("something longer, so that there is room.", Some(())),
    ] {
        let instance = tracefs.create_instance(PREFIX).unwrap();
        instance.set_buffer_size_kib(16).unwrap();
        instance.set_option("overwrite", true).unwrap();
        instance.set_tracing_on(true).unwrap();
        let path = tracefs
            .path()
            .join("instances")
            .join(instance.name())
            .join("trace_marker");
        let mut cpus = nix::sched::CpuSet::new();
        cpus.set(0).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).unwrap();
        let mut marker = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        for _ in 0..2000 {
            std::io::Write::write_all(&mut marker, text.as_bytes()).unwrap();
        }
        drop(marker);
        instance.set_tracing_on(false).unwrap();
        let pipe = instance.open_raw_pipe(0).unwrap();
        let mut room = vec![0; instance.sub_buffer_size_bytes().unwrap()];
        let n = pipe.read_sub_buffer(&mut room).unwrap().unwrap();
        let page = tracefs.page_layout().unwrap().page(&room[..n]).unwrap();
        let overrun = instance.open_stats(0).unwrap().read().unwrap().overrun;
        assert!(overrun > 0);
        match expected {
            None => assert_eq!((page.missed, page.data().len()), (Missed::Unknown, 4080)),
            Some(()) => assert_eq!(page.missed, Missed::Count(overrun)),
        }
    }
}
