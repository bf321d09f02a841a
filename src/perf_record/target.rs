//! Whom a command line is about.

use super::messages::{Failure, no_process};
use crate::engine::host::{online_cpus, parse_cpu_list};
use kstrace_perf::Target;
use kstrace_perf::cmdline::Settings;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Whom to record, before a command is forked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whom {
    /// Events are opened on CPUs, for all that runs there.
    pub(super) on_cpus: bool,
    /// Processes named.
    pub(super) pids: Option<Vec<i32>>,
    /// Threads named, without what else their processes have.
    pub(super) tids: Option<Vec<i32>>,
    /// On these CPUs only.
    pub(super) cpus: Option<Vec<u32>>,
}

impl Whom {
    /// Resolves options; tells of those that others overrule.
    pub(super) fn of(settings: &Settings, has_command: bool) -> Result<Whom, Failure> {
        let by_task = settings.pid.is_some() || settings.tid.is_some();
        let overruled = |who: &str, what: &str| {
            if !settings.quiet {
                eprintln!("Warning:\n{who} switch overriding {what}");
            }
        };
        if by_task && settings.cpu_list.is_some() {
            overruled("PID/TID", "CPU");
        }
        if by_task && settings.uid.is_some() {
            overruled("PID/TID", "UID");
        }
        if settings.uid.is_some() && settings.cpu_list.is_some() && !by_task {
            overruled("UID", "CPU");
        }
        if by_task && settings.all_cpus {
            overruled("PID/TID", "SYSTEM");
        }
        if settings.uid.is_some() && settings.all_cpus && !by_task {
            overruled("UID", "SYSTEM");
        }
        let mut whom = Whom {
            on_cpus: settings.on_cpus(),
            pids: None,
            tids: None,
            cpus: None,
        };
        if let Some(list) = &settings.pid {
            whom.pids = Some(numbers(list).ok_or_else(no_process)?);
        } else if let Some(list) = &settings.tid {
            whom.tids = Some(numbers(list).ok_or_else(Failure::usage)?);
        } else if let Some(user) = &settings.uid {
            whom.pids = Some(processes_of(user)?);
        } else if let Some(list) = &settings.cpu_list {
            whom.cpus = Some(cpus(list)?);
        }
        let named = whom.pids.iter().chain(&whom.tids).flatten();
        for task in named {
            if !fs::exists(format!("/proc/{task}")).unwrap_or(false) {
                return Err(no_process());
            }
        }
        if !has_command && whom.pids.is_none() && whom.tids.is_none() {
            whom.on_cpus = true;
        }
        Ok(whom)
    }

    /// Nothing is recorded but the command.
    pub(super) fn is_command_only(&self) -> bool {
        !self.on_cpus && self.pids.is_none() && self.tids.is_none()
    }

    /// As the sources want it, with the process that is going to be the command.
    pub(super) fn target(&self, command: Option<i32>) -> Target {
        match (&self.pids, &self.tids, command) {
            (Some(pids), _, _) => Target::Pids(pids.clone()),
            (None, Some(tids), _) => Target::Pids(tids.iter().map(|t| process_of(*t)).collect()),
            (None, None, Some(pid)) if !self.on_cpus => Target::Command(pid),
            _ => Target::System,
        }
    }
}

fn numbers(list: &str) -> Option<Vec<i32>> {
    let one = |text: &str| text.trim().parse::<i32>().ok().filter(|n| *n > 0);
    list.split(',').map(one).collect()
}

fn process_of(tid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
        .unwrap_or(tid)
}

/// More than perf can count.
const MOST_CPUS: u32 = 2048;

fn cpus(list: &str) -> Result<Vec<u32>, Failure> {
    let online = online_cpus().unwrap_or_default();
    // perf reads a range without an end as one to the last CPU.
    let whole = match list.strip_suffix('-') {
        Some(head) => format!("{head}-{}", online.last().copied().unwrap_or(0)),
        None => list.to_owned(),
    };
    let asked = parse_cpu_list(&whole)
        .filter(|cpus| !cpus.is_empty())
        .ok_or_else(Failure::usage)?;
    match asked.iter().all(|cpu| online.contains(cpu)) {
        false => {
            let beyond = asked.iter().any(|cpu| *cpu >= MOST_CPUS);
            let said = beyond.then(|| {
                format!("Perf can support {MOST_CPUS} CPUs. Consider raising MAX_NR_CPUS\n")
            });
            // perf's -ENODEV as an exit status.
            Err(Failure::new(
                format!(
                    "{}Failed to initialize parallel data streaming masks\n",
                    said.unwrap_or_default()
                ),
                237,
            ))
        }
        true => Ok(asked),
    }
}

fn processes_of(user: &str) -> Result<Vec<i32>, Failure> {
    let uid = match user.parse::<u32>() {
        Ok(uid) => uid,
        Err(_) => nix::unistd::User::from_name(user)
            .ok()
            .flatten()
            .map(|u| u.uid.as_raw())
            .ok_or_else(|| Failure::new(format!("Error:\nInvalid User: {user}"), 0))?,
    };
    let entries = fs::read_dir("/proc").map_err(|e| Failure::failed(format!("/proc: {e}\n")))?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let pids: Vec<i32> = entries
        .filter_map(|e| {
            let entry = e.ok()?;
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let of_user = entry.metadata().ok()?.uid() == uid;
            (of_user && pid != own).then_some(pid)
        })
        .collect();
    match pids.is_empty() {
        true => Err(no_process()),
        false => Ok(pids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(numbers("1,2"), Some(vec![1, 2]));
        for bad in ["", "x", "1,,2", "-3", "99999999999"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
        assert_eq!(cpus("0-").unwrap()[0], 0);
        assert_eq!(cpus("70000").unwrap_err().status, 237);
        assert_eq!(cpus("x").unwrap_err().status, 129);
    }

    #[test]
    fn nothing_said_means_everything_or_the_command() {
        let settings = Settings::default();
        assert!(Whom::of(&settings, false).unwrap().on_cpus);
        let command = Whom::of(&settings, true).unwrap();
        assert!(command.is_command_only());
        assert_eq!(command.target(Some(7)), Target::Command(7));
    }
}
