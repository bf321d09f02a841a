use super::collect::*;
use kstrace_perf::{PerfPlan, Target};
use kstrace_schema::Role;

#[test]
fn the_recorder_is_not_in_its_own_recording() {
    for exclude_own in [true, false] {
        let plan = PerfPlan {
            exclude_own,
            ..PerfPlan::new(Target::System, vec![request("raw_syscalls:sys_enter")])
        };
        let mut recording = Recording::started(plan);
        let tid = i64::from(nix::unistd::gettid().as_raw());
        for _ in 0..100 {
            nix::unistd::getppid();
        }
        recording.round();
        let recording = recording.finish();
        let calls = recording.out.of("raw_syscalls:sys_enter");
        let own = calls
            .iter()
            .filter(|r| r.i64(Role::Tid) == Some(tid))
            .count();
        assert_eq!(own == 0, exclude_own, "{own} of {}", calls.len());
        assert!(
            recording.source.notes().is_empty(),
            "{:?}",
            recording.source.notes()
        );
    }
}
