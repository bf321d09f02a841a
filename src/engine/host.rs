//! Facts about this machine.

use kstrace_schema::HostInfo;
use std::collections::BTreeMap;
use std::fs;

/// Asks the running system. What it will not say stays empty.
pub fn host_info() -> HostInfo {
    let uts = nix::sys::utsname::uname().ok();
    let text = |f: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        uts.as_ref()
            .map(|u| f(u).to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = |key: &str| field(&cpuinfo, key).unwrap_or_default();
    HostInfo {
        hostname: text(|u| u.nodename()),
        os_release: text(|u| u.release()),
        os_version: text(|u| u.version()),
        arch: text(|u| u.machine()),
        cpus_online: count_cpus("/sys/devices/system/cpu/online"),
        cpus_available: count_cpus("/sys/devices/system/cpu/present"),
        cpu_description: cpu("model name"),
        cpu_id: cpu_id(&cpuinfo),
        total_memory_kib: fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|m| field(&m, "MemTotal"))
            .and_then(|v| v.split_whitespace().next().and_then(|n| n.parse().ok()))
            .unwrap_or(0),
        page_size_bytes: page_size_bytes(),
        more: BTreeMap::new(),
    }
}

/// The machine's page size in bytes.
pub fn page_size_bytes() -> u32 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(4096)
}

/// The id of this boot: clocks are comparable only within one.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// A random UUID from the kernel, in text form.
pub fn random_uuid() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}

/// The CPUs that are online.
pub fn online_cpus() -> std::io::Result<Vec<u32>> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpu_list(&text).ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!(
                "/sys/devices/system/cpu/online: '{}' is no CPU list",
                text.trim()
            ),
        )
    })
}

/// A CPU list as the kernel and perf write it: `0-3,8`.
pub fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    /// No machine has more; a range is never trusted to be short.
    const MOST_CPUS: usize = 65_536;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((a, b)) => (a.trim().parse::<u32>().ok()?, b.trim().parse::<u32>().ok()?),
            None => {
                let one = part.trim().parse::<u32>().ok()?;
                (one, one)
            }
        };
        let wanted = usize::try_from(last.checked_sub(first)?).ok()? + 1;
        if cpus.len() + wanted > MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    (!cpus.is_empty()).then_some(cpus)
}

fn count_cpus(path: &str) -> u32 {
    fs::read_to_string(path)
        .ok()
        .and_then(|t| parse_cpu_list(&t))
        .and_then(|l| u32::try_from(l.len()).ok())
        .unwrap_or(0)
}

fn field(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (k, v) = line.split_once(':')?;
        (k.trim() == key).then(|| v.trim().to_owned())
    })
}

/// `vendor,family,model,stepping`, as perf.data's HEADER_CPUID states it on x86.
fn cpu_id(cpuinfo: &str) -> String {
    let parts: Vec<_> = ["vendor_id", "cpu family", "model", "stepping"]
        .iter()
        .filter_map(|k| field(cpuinfo, k))
        .collect();
    if parts.len() == 4 {
        parts.join(",")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpu_list("2,0,2"), Some(vec![0, 2]));
        for bad in ["", "x", "3-1", "0-4294967295", "1-"] {
            assert_eq!(parse_cpu_list(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        let host = host_info();
        assert!(host.cpus_online > 0 && host.page_size_bytes >= 4096);
        assert!(!host.os_release.is_empty() && host.total_memory_kib > 0);
        assert_eq!(random_uuid().unwrap().len(), 36);
    }
}
