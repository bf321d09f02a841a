//! An attr field by field, in the names of `linux/perf_event.h`: what perf's own
//! tests compare.

use super::config::Configured;
use crate::uapi::flag;
use std::fmt::Write;

const FLAGS: [(&str, u64); 33] = [
    ("disabled", flag::DISABLED),
    ("inherit", flag::INHERIT),
    ("pinned", flag::PINNED),
    ("exclusive", flag::EXCLUSIVE),
    ("exclude_user", flag::EXCLUDE_USER),
    ("exclude_kernel", flag::EXCLUDE_KERNEL),
    ("exclude_hv", flag::EXCLUDE_HV),
    ("exclude_idle", flag::EXCLUDE_IDLE),
    ("mmap", flag::MMAP),
    ("comm", flag::COMM),
    ("freq", flag::FREQ),
    ("inherit_stat", flag::INHERIT_STAT),
    ("enable_on_exec", flag::ENABLE_ON_EXEC),
    ("task", flag::TASK),
    ("watermark", flag::WATERMARK),
    ("mmap_data", flag::MMAP_DATA),
    ("sample_id_all", flag::SAMPLE_ID_ALL),
    ("exclude_host", flag::EXCLUDE_HOST),
    ("exclude_guest", flag::EXCLUDE_GUEST),
    ("exclude_callchain_kernel", flag::EXCLUDE_CALLCHAIN_KERNEL),
    ("exclude_callchain_user", flag::EXCLUDE_CALLCHAIN_USER),
    ("mmap2", flag::MMAP2),
    ("comm_exec", flag::COMM_EXEC),
    ("use_clockid", flag::USE_CLOCKID),
    ("context_switch", flag::CONTEXT_SWITCH),
    ("write_backward", flag::WRITE_BACKWARD),
    ("namespaces", flag::NAMESPACES),
    ("ksymbol", flag::KSYMBOL),
    ("bpf_event", flag::BPF_EVENT),
    ("aux_output", flag::AUX_OUTPUT),
    ("cgroup", flag::CGROUP),
    ("text_poke", flag::TEXT_POKE),
    ("build_id", flag::BUILD_ID),
];

/// The events, each as a block of `field=value` lines that begins with `[event]`.
/// `group_fd` counts the events as descriptors, from 1.
pub fn dump(events: &[Configured]) -> String {
    let mut text = String::new();
    for (index, event) in events.iter().enumerate() {
        let attr = &event.attr;
        let group = event.leader.map_or(-1, |l| l as i64 + 1);
        let name = &event.name;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[event]\nname={name}\nfd={}\ngroup_fd={group}",
            index + 1
        );
        for (field, value) in [
            ("type", u64::from(attr.kind)),
            ("config", attr.config),
            ("sample_period", attr.sample_period),
            ("sample_type", attr.sample_type),
            ("read_format", attr.read_format),
            ("precise_ip", attr.precise_ip().into()),
            ("wakeup_events", attr.wakeup.into()),
            ("bp_type", attr.bp_type.into()),
            ("config1", attr.config1),
            ("config2", attr.config2),
            ("branch_sample_type", attr.branch_sample_type),
            ("sample_regs_user", attr.sample_regs_user),
            ("sample_stack_user", attr.sample_stack_user.into()),
            ("sample_max_stack", attr.sample_max_stack.into()),
        ] {
            let _ = writeln!(text, "{field}={value}");
        }
        for (field, bit) in FLAGS {
            let _ = writeln!(text, "{field}={}", u8::from(attr.has(bit)));
        }
    }
    text
}
