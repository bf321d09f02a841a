//! Who asks, on which kernel, under which restrictions.

use super::finding::{Finding, State, file_number, file_text};
use crate::engine::host;
use nix::sys::resource::{Resource, getrlimit};

const AREA: &str = "system";

/// Capabilities that tracing asks for, by bit (capabilities(7)).
const CAPABILITIES: [(u32, &str); 5] = [
    (1, "CAP_DAC_OVERRIDE"),
    (21, "CAP_SYS_ADMIN"),
    (14, "CAP_IPC_LOCK"),
    (24, "CAP_SYS_RESOURCE"),
    (38, "CAP_PERFMON"),
];

pub(super) fn examine() -> Vec<Finding> {
    [
        Some(who()),
        Some(kernel()),
        seccomp(),
        lockdown(),
        Some(kernel_addresses()),
        Some(open_files()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One field of `/proc/self/status`.
fn status(key: &str) -> Option<String> {
    let text = file_text("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether the capability with that bit is effective.
pub(super) fn has_capability(bit: u32) -> bool {
    status("CapEff")
        .and_then(|hex| u64::from_str_radix(&hex, 16).ok())
        .is_some_and(|set| set >> bit & 1 == 1)
}

fn who() -> Finding {
    let uid = nix::unistd::geteuid();
    let held: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| has_capability(*bit))
        .map(|(_, name)| *name)
        .collect();
    let held = if held.is_empty() {
        "no capability for tracing".into()
    } else {
        held.join(" ")
    };
    let name = if uid.is_root() {
        "root".to_owned()
    } else {
        format!("uid {uid}")
    };
    let confined = if in_user_namespace() {
        ", in a user namespace (its root is not the machine's)"
    } else {
        ""
    };
    Finding::new(AREA, "you", State::Ok, format!("{name}{confined}, {held}"))
}

/// Whether uid 0 here is another uid outside.
fn in_user_namespace() -> bool {
    let whole = |line: &str| line.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    file_text("/proc/self/uid_map").is_some_and(|text| !text.lines().all(whole))
}

fn kernel() -> Finding {
    let host = host::host_info();
    let text = format!(
        "Linux {} {}, {} CPUs online",
        host.os_release, host.arch, host.cpus_online
    );
    Finding::new(AREA, "kernel", State::Ok, text)
}

/// A filter of a container runtime often refuses `perf_event_open` with EPERM.
fn seccomp() -> Option<Finding> {
    let mode = status("Seccomp")?;
    (mode != "0").then(|| {
        let text = "a system-call filter is in force: refusals below may be its work";
        Finding::new(AREA, "seccomp", State::Limited, text).fix(
            "in a container: run it with a seccomp profile that allows perf_event_open, mount and \
             fsopen (docker: --security-opt seccomp=unconfined, --cap-add PERFMON)",
        )
    })
}

fn lockdown() -> Option<Finding> {
    let text = file_text("/sys/kernel/security/lockdown")?;
    let mode = text.split(['[', ']']).nth(1).unwrap_or("?").to_owned();
    Some(match mode.as_str() {
        "none" | "integrity" => Finding::new(
            AREA,
            "lockdown",
            State::Ok,
            format!("{mode}: tracing is not affected"),
        ),
        _ => Finding::new(
            AREA,
            "lockdown",
            State::Denied,
            format!("{mode}: perf kernel samples and tracefs are closed even to root"),
        )
        .fix("boot without lockdown=confidentiality"),
    })
}

fn kernel_addresses() -> Finding {
    let restrict = file_number("/proc/sys/kernel/kptr_restrict").unwrap_or(0);
    let what = "kernel symbols";
    if first_kernel_address() {
        return Finding::new(
            AREA,
            what,
            State::Ok,
            format!("readable (kptr_restrict is {restrict})"),
        );
    }
    let finding = Finding::new(
        AREA,
        what,
        State::Denied,
        format!(
            "/proc/kallsyms hides addresses (kptr_restrict is {restrict}): kernel frames stay numbers"
        ),
    );
    match restrict {
        2 => finding.fix("sysctl kernel.kptr_restrict=1, and run with CAP_SYSLOG or as root"),
        1 => finding.fix("run with CAP_SYSLOG or as root, or 'sysctl kernel.kptr_restrict=0'"),
        // At 0 they are shown to whom perf_event_paranoid lets sample the kernel.
        _ => finding.fix("sysctl kernel.perf_event_paranoid=1, or run with CAP_SYSLOG or as root"),
    }
}

/// Whether `/proc/kallsyms` shows an address that is not zero.
fn first_kernel_address() -> bool {
    use std::io::{BufRead, BufReader};
    let Ok(file) = std::fs::File::open("/proc/kallsyms") else {
        return false;
    };
    // Per-CPU symbols stand at 0 and after on some kernels: a few lines more than one.
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .take(5000)
        .any(|line| {
            let address = line.split(' ').next().unwrap_or_default();
            u64::from_str_radix(address, 16).is_ok_and(|a| a >> 63 == 1)
        })
}

fn open_files() -> Finding {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let cpus = u64::from(host::host_info().cpus_online.max(1));
    // perf opens every event on every CPU; some are needed for all else.
    let events = hard.saturating_sub(64) / cpus;
    let text = format!(
        "{soft} descriptors, {hard} if raised (kstrace does): room for {events} perf events on {cpus} CPUs"
    );
    if events >= 64 {
        return Finding::new(AREA, "open files", State::Ok, text);
    }
    Finding::new(AREA, "open files", State::Limited, text)
        .fix("raise the hard limit: 'ulimit -Hn 65536' as root, or LimitNOFILE= of the service")
}
