//! CPUs and threads to record.

use crate::PerfError;
use std::collections::BTreeSet;
use std::{fs, io};

/// Parses a list of CPUs as sysfs writes it: `0-3,5`.
pub(crate) fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    const MAX_CPUS: usize = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || (last - first) as usize >= MAX_CPUS - cpus.len() {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The CPUs that are online.
pub(crate) fn online_cpus() -> Result<Vec<u32>, PerfError> {
    let path = "/sys/devices/system/cpu/online";
    let text =
        fs::read_to_string(path).map_err(|e| PerfError::io(format!("cannot read {path}"), e))?;
    parse_cpu_list(&text)
        .filter(|cpus| !cpus.is_empty())
        .ok_or_else(|| {
            PerfError::io(
                format!("{path}: not a list of CPUs: '{}'", text.trim()),
                io::Error::from(io::ErrorKind::InvalidData),
            )
        })
}

/// The CPUs to record: those asked for, which must be online, or all.
pub(crate) fn cpus_to_record(asked: Option<&[u32]>) -> Result<Vec<u32>, PerfError> {
    let online = online_cpus()?;
    let Some(asked) = asked else {
        return Ok(online);
    };
    let asked: BTreeSet<u32> = asked.iter().copied().collect();
    if asked.is_empty() {
        return Err(PerfError::BadPlan("no CPU to record on".to_owned()));
    }
    match asked.iter().find(|cpu| !online.contains(cpu)) {
        Some(cpu) => Err(PerfError::BadPlan(format!(
            "CPU {cpu} is not online; online are {online:?}"
        ))),
        None => Ok(asked.into_iter().collect()),
    }
}

/// The threads of a process right now.
pub(crate) fn threads(pid: i32) -> Result<Vec<i32>, PerfError> {
    let path = format!("/proc/{pid}/task");
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(PerfError::NoProcess { pid }),
        Err(e) => return Err(PerfError::io(format!("cannot list {path}"), e)),
    };
    let mut tids: Vec<i32> = entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    tids.sort_unstable();
    if tids.is_empty() {
        Err(PerfError::NoProcess { pid })
    } else {
        Ok(tids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse_cpu_list("0,2-4,7"), Some(vec![0, 2, 3, 4, 7]));
        assert_eq!(parse_cpu_list("4-2"), None);
        assert_eq!(parse_cpu_list("0-4294967295"), None);
        assert_eq!(parse_cpu_list("x"), None);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let e = cpus_to_record(Some(&[70000])).unwrap_err().to_string();
        assert!(e.contains("70000"), "{e}");
        assert!(cpus_to_record(Some(&[])).is_err());
    }

    #[test]
    fn threads_of_this_process() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(threads(me).unwrap().contains(&me));
        assert!(matches!(
            threads(i32::MAX),
            Err(PerfError::NoProcess { .. })
        ));
    }
}
