//! What a command line of `perf record` asks for.

use super::events::{self, Event, Machine};
use super::option::Tier;
use super::parse::{Given, Stop, USAGE_STATUS, parse};
use super::table::find;
use super::value::{self, CallGraph, Delay};
use crate::uapi::PERF_TYPE_TRACEPOINT;
use std::ffi::OsString;

/// Everything asked for, before the events are configured.
#[derive(Debug, Default)]
pub struct Settings {
    /// The events, in the order given.
    pub events: Vec<Event>,
    /// `-a`
    pub all_cpus: bool,
    /// `-C`
    pub cpu_list: Option<String>,
    /// `-p`
    pub pid: Option<String>,
    /// `-t`
    pub tid: Option<String>,
    /// `-u`
    pub uid: Option<String>,
    /// `-F` in Hz.
    pub frequency_hz: Option<u64>,
    /// `-F max`
    pub frequency_max: bool,
    /// `--strict-freq`
    pub strict_frequency: bool,
    /// `-c`
    pub period: Option<u64>,
    /// `-g`, `--call-graph`
    pub call_graph: Option<CallGraph>,
    /// `--user-callchains`
    pub user_callchains: bool,
    /// `--kernel-callchains`
    pub kernel_callchains: bool,
    /// `-o`
    pub output: Option<String>,
    /// `-m`: size of a ring.
    pub mmap_bytes: Option<u64>,
    /// `-i`; `Some(false)` for `--inherit`.
    pub no_inherit: Option<bool>,
    /// `--no-buffering`
    pub no_buffering: bool,
    /// `-R`
    pub raw_samples: bool,
    /// `--group`
    pub group: bool,
    /// `-v`, how often.
    pub verbose: u32,
    /// `-q`
    pub quiet: bool,
    /// `-s`
    pub stat: bool,
    /// `-d`
    pub data: bool,
    /// `--sample-cpu`
    pub sample_cpu: bool,
    /// `--sample-identifier`
    pub sample_identifier: bool,
    /// `-T`; `Some(false)` for `--no-timestamp`.
    pub timestamp: Option<bool>,
    /// `-P`; `Some(false)` for `--no-period`.
    pub sample_period: Option<bool>,
    /// `-n`
    pub no_samples: bool,
    /// `-B`
    pub no_buildid: bool,
    /// `-D`
    pub delay: Option<Delay>,
    /// `-j`, `-b`: `PERF_SAMPLE_BRANCH_*`.
    pub branch_filter: u64,
    /// `-k`: a `clockid_t`.
    pub clock_id: Option<i32>,
    /// `--namespaces`
    pub namespaces: bool,
    /// `--all-cgroups`
    pub all_cgroups: bool,
    /// `--switch-events`
    pub switch_events: bool,
    /// `--all-kernel`
    pub all_kernel: bool,
    /// `--all-user`
    pub all_user: bool,
    /// `--no-bpf-event`
    pub no_bpf_event: bool,
    /// `--buildid-mmap`
    pub buildid_mmap: bool,
    /// `--timestamp-filename`
    pub timestamp_filename: bool,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--max-size` in bytes.
    pub max_size_bytes: Option<u64>,
    /// `-r`
    pub realtime: Option<i32>,
    /// What of it only the real perf serves.
    pub real_perf: Option<String>,
    /// What is to be said before recording begins.
    pub notes: Vec<String>,
    /// Words before the command.
    pub words: usize,
    groups: u32,
    lists: u32,
}

impl Settings {
    /// Parses `arguments` (without the words `perf record`).
    ///
    /// # Errors
    /// What stops perf.
    pub fn parse(arguments: &[OsString], machine: &Machine) -> Result<Settings, Stop> {
        let mut settings = Settings::default();
        let words = parse(arguments, &mut |given| settings.take(given, machine))?;
        settings.words = words;
        if let Some(delay) = settings.delay.as_ref().filter(|d| d.has_ranges()) {
            settings
                .real_perf
                .get_or_insert(format!("--delay {}", delay.text));
        }
        Ok(settings)
    }

    fn take(&mut self, given: Given<'_>, machine: &Machine) -> Result<(), String> {
        let on = !given.unset;
        let text = given.value.unwrap_or_default();
        let owned = || given.value.map(str::to_owned);
        // What is wrong is wrong, whoever serves it.
        if given.key == "control" && on {
            value::control(text)?;
        }
        if let Some(option) = find(given.key)
            && option.tier == Tier::RealPerf
            && on
        {
            // Level 0 is no compression.
            if given.key != "compression-level" || text != "0" {
                self.real_perf.get_or_insert(option.dashed());
            }
            return Ok(());
        }
        match given.key {
            "event" if on => self.add_events(text, machine)?,
            "filter" => self.add_filter(given.value)?,
            "exclude-perf" => self.exclude_perf(on)?,
            "pid" => self.pid = owned(),
            "tid" => self.tid = owned(),
            "uid" => self.uid = owned(),
            "cpu" => self.cpu_list = owned(),
            "output" => self.output = owned(),
            "realtime" => self.realtime = text.parse().ok().filter(|p| *p != 0),
            "count" => self.period = text.parse().ok().filter(|_| on),
            // perf takes no back for an answer.
            "freq" | "mmap-pages" if !on => return Err(String::new()),
            "freq" => {
                self.frequency_max = text == "max";
                self.frequency_hz =
                    Some(value::leading_number(text)).filter(|_| on && text != "max");
            }
            "mmap-pages" => {
                if let Some((bytes, note)) = value::mmap_bytes(text)? {
                    self.mmap_bytes = Some(bytes);
                    self.notes.extend(note);
                }
            }
            "g" if on => {
                self.call_graph.get_or_insert(CallGraph::FramePointers);
            }
            "call-graph" => {
                self.call_graph = if on {
                    Some(value::call_graph(text)?)
                } else {
                    None
                }
            }
            "delay" if on => self.delay = Some(Delay::parse(text).ok_or_else(String::new)?),
            "branch-any" if on => self.set_branches(value::BRANCH_ANY)?,
            "branch-filter" if on => self.set_branches(value::branches(text)?)?,
            "clockid" if on => {
                if self.clock_id.is_some() {
                    return Err(String::new());
                }
                self.clock_id = Some(value::clock_id(text)?);
            }
            "max-size" if on => {
                let bytes = value::tagged_size(text).ok_or_else(String::new)?;
                self.max_size_bytes = Some(bytes).filter(|b| *b > 0);
            }
            "verbose" => self.verbose = if on { self.verbose + 1 } else { 0 },
            "timestamp" => self.timestamp = Some(on),
            "period" => self.sample_period = Some(on),
            "no-inherit" => self.no_inherit = Some(on),
            key => {
                if let Some(switch) = self.switch(key) {
                    *switch = on;
                }
            }
        }
        Ok(())
    }

    fn switch(&mut self, key: &str) -> Option<&mut bool> {
        Some(match key {
            "no-buffering" => &mut self.no_buffering,
            "raw-samples" => &mut self.raw_samples,
            "all-cpus" => &mut self.all_cpus,
            "no-bpf-event" => &mut self.no_bpf_event,
            "strict-freq" => &mut self.strict_frequency,
            "group" => &mut self.group,
            "quiet" => &mut self.quiet,
            "stat" => &mut self.stat,
            "data" => &mut self.data,
            "sample-cpu" => &mut self.sample_cpu,
            "sample-identifier" => &mut self.sample_identifier,
            "no-samples" => &mut self.no_samples,
            "no-buildid" => &mut self.no_buildid,
            "namespaces" => &mut self.namespaces,
            "all-cgroups" => &mut self.all_cgroups,
            "switch-events" => &mut self.switch_events,
            "all-kernel" => &mut self.all_kernel,
            "all-user" => &mut self.all_user,
            "kernel-callchains" => &mut self.kernel_callchains,
            "user-callchains" => &mut self.user_callchains,
            "buildid-mmap" => &mut self.buildid_mmap,
            "timestamp-filename" => &mut self.timestamp_filename,
            "dry-run" => &mut self.dry_run,
            // All build ids are recorded anyway, first and last times too; nothing is
            // ever copied to the cache.
            _ => return None,
        })
    }

    fn add_events(&mut self, list: &str, machine: &Machine) -> Result<(), String> {
        self.lists += 1;
        match events::parse(list, machine, self.lists, &mut self.groups) {
            Ok(events) => self.events.extend(events),
            Err(e) if e.real_perf => {
                self.real_perf.get_or_insert(e.reason);
                // So that what follows has an event to be about.
                self.events.push(Event::default_cycles());
            }
            Err(e) => return Err(e.shown(list)),
        }
        Ok(())
    }

    /// The events that a `--filter` is about: the last, or all of the last glob.
    fn last_events(&mut self) -> impl Iterator<Item = &mut Event> {
        let origin = self.events.last().map(|e| e.origin);
        self.events
            .iter_mut()
            .filter(move |e| Some(e.origin) == origin)
    }

    fn add_filter(&mut self, filter: Option<&str>) -> Result<(), String> {
        match self.events.last() {
            None => {
                Err("--filter option should follow a -e tracepoint or HW tracer option\n".into())
            }
            Some(last) if last.attr.kind != PERF_TYPE_TRACEPOINT => {
                Err("This CPU does not support address filtering\n".into())
            }
            Some(_) => {
                if let Some(filter) = filter {
                    self.last_events().for_each(|e| e.and_filter(filter));
                }
                Ok(())
            }
        }
    }

    fn exclude_perf(&mut self, on: bool) -> Result<(), String> {
        let is_tracepoint = |e: &Event| e.attr.kind == PERF_TYPE_TRACEPOINT;
        if !self.events.last().is_some_and(is_tracepoint) {
            return Err("--exclude-perf option should follow a -e tracepoint option\n".into());
        }
        if !on {
            return Ok(());
        }
        let filter = format!("common_pid != {}", std::process::id());
        self.last_events().for_each(|e| e.and_filter(&filter));
        Ok(())
    }

    fn set_branches(&mut self, branches: u64) -> Result<(), String> {
        if self.branch_filter != 0 {
            return Err(
                "Error: Can't use --branch-any (-b) with --branch-filter (-j).\n".to_owned(),
            );
        }
        self.branch_filter = branches;
        Ok(())
    }

    /// Samples a second when nothing else is said.
    pub const DEFAULT_FREQUENCY_HZ: u64 = 4000;

    /// The frequency to use, for a kernel that allows at most `max_hz`, and what
    /// is to be said about it.
    ///
    /// # Errors
    /// What stops perf.
    pub fn frequency(&self, max_hz: Option<u64>) -> Result<(u64, Option<String>), Stop> {
        let refused = |text: String| Stop::Error {
            text,
            // perf's -EINVAL as an exit status.
            status: 234,
        };
        if self.period.is_some() {
            return Ok((0, None));
        }
        if self.frequency_max {
            let hz = max_hz.unwrap_or(Self::DEFAULT_FREQUENCY_HZ);
            let said = format!(
                "info: Using a maximum frequency rate of {} Hz\n",
                value::grouped(hz)
            );
            return Ok((hz, Some(said)));
        }
        let hz = self.frequency_hz.unwrap_or(Self::DEFAULT_FREQUENCY_HZ);
        if hz == 0 {
            return Err(refused(
                "frequency and count are zero, aborting\n".to_owned(),
            ));
        }
        let Some(max) = max_hz.filter(|max| *max < hz) else {
            return Ok((hz, None));
        };
        let (max_text, hz_text) = (value::grouped(max), value::grouped(hz));
        if self.frequency_hz.is_none() {
            let said = format!(
                "Lowering default frequency rate from {hz} to {max}.\nPlease consider tweaking \
                 /proc/sys/kernel/perf_event_max_sample_rate.\n"
            );
            return Ok((max, Some(said)));
        }
        if self.strict_frequency {
            return Err(refused(format!(
                "error: Maximum frequency rate ({max_text} Hz) exceeded.\n       Please use -F freq \
                 option with a lower value or consider\n       tweaking \
                 /proc/sys/kernel/perf_event_max_sample_rate.\n"
            )));
        }
        let said = format!(
            "warning: Maximum frequency rate ({max_text} Hz) exceeded, throttling from {hz_text} Hz \
             to {max_text} Hz.\n         The limit can be raised via \
             /proc/sys/kernel/perf_event_max_sample_rate.\n         The kernel will lower it when \
             perf's interrupts take too long.\n         Use --strict-freq to disable this \
             throttling, refusing to record.\n"
        );
        Ok((max, Some(said)))
    }

    /// Whether events are opened on CPUs, not on tasks.
    pub fn on_cpus(&self) -> bool {
        self.pid.is_none()
            && self.tid.is_none()
            && self.uid.is_none()
            && (self.all_cpus || self.cpu_list.is_some())
    }

    /// Wrong usage without a word of its own.
    pub fn plain_usage() -> Stop {
        Stop::Error {
            text: super::usage::full("", &[]),
            status: USAGE_STATUS,
        }
    }
}
