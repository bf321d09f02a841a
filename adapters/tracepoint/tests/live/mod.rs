//! Every tracepoint of the running kernel.

use kstrace_schema::{FieldClass, Role, StructureClass};
use kstrace_tracepoint::Measured;
use kstrace_tracepoint::TracepointLayout;
use std::collections::BTreeMap;
use std::collections::HashSet;
use tracefs::Tracefs;
use tracefs::format::{EventFormat, FieldKind};

fn live() -> Vec<(String, EventFormat)> {
    let root = std::path::Path::new("/sys/kernel/tracing/events");
    let mut formats = Vec::new();
    for system in std::fs::read_dir(root).into_iter().flatten().flatten() {
        for event in std::fs::read_dir(system.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(text) = std::fs::read_to_string(event.path().join("format")) {
                let format = EventFormat::parse(&text).unwrap();
                formats.push((system.file_name().into_string().unwrap(), format));
            }
        }
    }
    if formats.is_empty() {
        println!("skipped: no format file under {}", root.display());
    }
    formats
}

fn has_no_empty_or_equal_name(class: &StructureClass) -> bool {
    let named: Vec<&str> = class
        .members
        .iter()
        .filter(|m| !matches!(m.class, FieldClass::Padding { .. }))
        .map(|m| m.name.as_str())
        .collect();
    let set: HashSet<&str> = named.iter().copied().collect();
    set.len() == named.len() && !set.contains("")
}

#[test]
fn every_tracepoint_has_a_layout_that_agrees_with_its_format_file() {
    for (system, format) in live() {
        let name = format!("{system}:{}", format.name);
        let layout = TracepointLayout::describe(&system, &format).unwrap();
        assert!(has_no_empty_or_equal_name(&layout.payload), "{name}");
        assert!(has_no_empty_or_equal_name(&layout.odd_payload), "{name}");
        assert!(layout.odd_payload.ends_with_rest(), "{name}");
        for field in format.all_fields() {
            let member = match field.kind {
                FieldKind::DataLoc { .. } | FieldKind::RelLoc { .. } => {
                    assert!(
                        layout.payload.member(&field.name).is_some(),
                        "{name}: {field}"
                    );
                    format!("_{}_loc", field.name)
                }
                _ => field.name.clone(),
            };
            assert_eq!(
                layout.payload.static_offset_bytes(&member),
                Some(field.offset_bytes),
                "{name}: {field}"
            );
            let size = layout
                .payload
                .member(&member)
                .unwrap()
                .class
                .static_size_bytes();
            if size != Some(field.size_bytes) {
                let known = matches!(field.kind, FieldKind::FlexibleArray { .. })
                    || name == "ftrace:kernel_stack";
                assert!(known, "{name}: {field}: {size:?}");
            }
        }
        if layout.payload.static_size_bytes() != layout.static_len_bytes {
            panic!(
                "{name}: {:?} and {:?}",
                layout.payload.static_size_bytes(),
                layout.static_len_bytes
            );
        }
    }
}

#[test]
fn roles_of_this_kernels_events() {
    let formats = live();
    let role_field = |event: &str, role: Role| {
        let (system, format) = formats
            .iter()
            .find(|(s, f)| format!("{s}:{}", f.name) == event)?;
        let layout = TracepointLayout::describe(system, format).unwrap();
        layout
            .payload
            .member_with_role(role)
            .map(|m| m.name.clone())
    };
    if formats.is_empty() {
        return;
    }
    for (event, role, field) in [
        ("sched:sched_switch", Role::Tid, "common_pid"),
        ("sched:sched_switch", Role::PrevTid, "prev_pid"),
        ("sched:sched_switch", Role::NextComm, "next_comm"),
        ("sched:sched_process_fork", Role::TargetComm, "child_comm"),
        ("raw_syscalls:sys_enter", Role::SyscallNumber, "id"),
        ("raw_syscalls:sys_enter", Role::SyscallArguments, "args"),
        ("syscalls:sys_exit_openat", Role::SyscallResult, "ret"),
        ("irq:softirq_entry", Role::SoftirqVector, "vec"),
        ("block:block_rq_issue", Role::BlockOperation, "rwbs"),
        ("exceptions:page_fault_user", Role::FaultAddress, "address"),
        ("timer:hrtimer_start", Role::TimerExpires, "expires"),
    ] {
        assert_eq!(role_field(event, role).as_deref(), Some(field), "{event}");
    }
}

/// Records some of everything and measures every entry.
#[test]
fn entries_of_everything_that_fires_are_regular() {
    let tracefs = match Tracefs::discover() {
        Ok(tracefs) => tracefs,
        Err(e) => return println!("skipped: {e}"),
    };
    let instance = match tracefs.create_instance("tracefs-test") {
        Ok(instance) => instance,
        Err(e) => return println!("skipped: {e}"),
    };
    instance.set_tracing_on(false).unwrap();
    instance.set_buffer_size_kib(4096).unwrap();
    std::fs::write(instance.shown_path().join("events/enable"), "1").unwrap();
    let layouts: BTreeMap<u32, (String, TracepointLayout)> = live()
        .iter()
        .map(|(system, format)| {
            let layout = TracepointLayout::describe(system, format).unwrap();
            (format.id, (format!("{system}:{}", format.name), layout))
        })
        .collect();
    let pages = tracefs.page_layout().unwrap();
    let mut room = vec![0; instance.sub_buffer_size_bytes().unwrap()];
    let mut regular: BTreeMap<&str, u64> = BTreeMap::new();
    let certain = ["ftrace:print", "ftrace:raw_data", "sched:sched_switch"];
    // What an idle or a busy machine does in one moment is not certain.
    for _ in 0..20 {
        instance.set_tracing_on(true).unwrap();
        std::fs::write(instance.shown_path().join("trace_marker"), "a marker").unwrap();
        std::fs::write(
            instance.shown_path().join("trace_marker_raw"),
            b"\x01\0\0\0raw",
        )
        .unwrap();
        std::process::Command::new("/bin/sh")
            .args(["-c", "ls -l / > /dev/null"])
            .status()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        instance.set_tracing_on(false).unwrap();
        for cpu in instance.buffer_cpus().unwrap() {
            let pipe = instance.open_raw_pipe(cpu).unwrap();
            while let Some(n) = pipe.read_sub_buffer(&mut room).unwrap() {
                for event in pages.page(&room[..n]).unwrap().events() {
                    let id = u16::from_ne_bytes([event.data[0], event.data[1]]);
                    let (name, layout) = &layouts[&id.into()];
                    let measured = layout.measure(event.data);
                    assert!(
                        matches!(measured, Measured::Regular { len_bytes, .. } if len_bytes <= event.data.len()),
                        "{name}: {measured:?}: {:02x?}",
                        event.data
                    );
                    *regular.entry(name).or_default() += 1;
                }
            }
        }
        if regular.len() > 50 && certain.iter().all(|name| regular.contains_key(name)) {
            break;
        }
    }
    println!(
        "{} entries of {} kinds",
        regular.values().sum::<u64>(),
        regular.len()
    );
    assert!(regular.len() > 50, "{regular:?}");
    for name in certain {
        assert!(regular.contains_key(name), "no {name}");
    }
}
