use super::collect::*;
use kstrace_perf::{PerfPlan, Target};
use kstrace_schema::{Cpu, Role};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[test]
#[expect(unsafe_code, reason = "the child must wait between fork and exec")]
fn an_executed_child_tells_name_mappings_and_end() {
    let (wait, go) = nix::unistd::pipe().unwrap();
    let (told, tell) = nix::unistd::pipe().unwrap();
    // Spawning returns only after the exec, so it happens on another thread.
    let child = std::thread::spawn(move || {
        let mut command = Command::new("/bin/echo");
        command.arg("hello").stdout(Stdio::null());
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let pid = nix::unistd::getpid().as_raw();
                nix::unistd::write(&tell, &pid.to_ne_bytes())?;
                let mut byte = [0];
                nix::unistd::read(&wait, &mut byte)?;
                Ok(())
            })
        };
        command.spawn().unwrap().wait().unwrap()
    });
    let mut pid = [0u8; 4];
    nix::unistd::read(&told, &mut pid).unwrap();
    let pid = i32::from_ne_bytes(pid);
    let plan = PerfPlan::new(
        Target::Command(pid),
        vec![request("sched:sched_process_exec")],
    );
    let recording = Recording::started(plan);
    nix::unistd::write(&go, b"x").unwrap();
    assert!(child.join().unwrap().success());
    let recording = recording.finish();
    let out = &recording.out;
    assert!(out.losses.is_empty());
    assert_eq!(out.of("sched:sched_process_exec").len(), 1);
    assert_eq!(
        out.of("sched:sched_process_exec")[0].text("filename"),
        "/bin/echo"
    );
    let names: Vec<_> = out
        .of("PERF_RECORD_COMM")
        .iter()
        .filter(|r| r.cpu != Cpu::NONE)
        .map(|r| r.text("comm"))
        .collect();
    assert_eq!(names, ["echo"]);
    let mut files: Vec<_> = out
        .of("PERF_RECORD_MMAP2:build_id")
        .iter()
        .map(|r| r.text("filename"))
        .collect();
    files.extend(
        out.of("PERF_RECORD_MMAP2")
            .iter()
            .map(|r| r.text("filename")),
    );
    assert!(files.iter().any(|f| f.ends_with("/echo")), "{files:?}");
    assert!(files.iter().any(|f| f.contains("libc.so")), "{files:?}");
    assert!(files.iter().any(|f| f == "[vdso]"), "{files:?}");
    let exits = out.of("PERF_RECORD_EXIT");
    assert_eq!(exits.len(), 1);
    assert_eq!(exits[0].i64(Role::Pid), Some(pid.into()));
    // The kernel reads the clock once for the record and again for its trailer.
    let stated = exits[0].u64(Role::Time).unwrap();
    assert!(exits[0].time.as_ns().abs_diff(stated) < 10_000_000);
}

#[test]
fn what_ran_before_is_told_first() {
    let plan = pids_plan(own_pid(), vec![request("dummy")]);
    let before = kstrace_clock::read_ns(kstrace_schema::ClockKind::Monotonic);
    let recording = Recording::started(plan).finish();
    let told: Vec<_> = recording
        .out
        .records
        .iter()
        .filter(|r| r.cpu == Cpu::NONE)
        .collect();
    assert!(told.iter().all(|r| r.time.as_ns() >= before));
    let comms: Vec<_> = told
        .iter()
        .filter(|r| r.class.name == "PERF_RECORD_COMM")
        .collect();
    assert!(
        comms
            .iter()
            .any(|r| r.i64(Role::Tid) == Some(own_pid().into()))
    );
    let own = std::env::current_exe().unwrap();
    let maps: Vec<_> = told
        .iter()
        .filter(|r| r.class.name == "PERF_RECORD_MMAP2")
        .collect();
    let this = maps
        .iter()
        .find(|r| r.text("filename") == own.to_str().unwrap())
        .unwrap();
    let here = what_ran_before_is_told_first as *const () as u64;
    let start = this.u64(Role::MapStart).unwrap();
    assert!((start..start + this.u64(Role::MapLength).unwrap()).contains(&here));
    let kernel: Vec<_> = told
        .iter()
        .filter(|r| r.class.name == "PERF_RECORD_MMAP")
        .collect();
    assert_eq!(kernel[0].text("filename"), "[kernel.kallsyms]_text");
    assert_eq!(kernel[0].i64(Role::Pid), Some(-1));
}

#[test]
fn the_whole_system_before() {
    let recording =
        Recording::started(PerfPlan::new(Target::System, vec![request("dummy")])).finish();
    let init: Vec<_> = recording
        .out
        .of("PERF_RECORD_COMM")
        .into_iter()
        .filter(|r| r.cpu == Cpu::NONE && r.i64(Role::Tid) == Some(1))
        .collect();
    assert_eq!(init.len(), 1);
    let name = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert_eq!(init[0].text("comm"), name.trim_end());
}
