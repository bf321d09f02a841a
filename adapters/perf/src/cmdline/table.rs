//! The one table of the options of `perf record`, 6.1 and later.
//!
//! Parsing, usage, help, the manual page and `docs/perf-record.md` are made of
//! it. The order is perf's own, for it decides which two options an ambiguous
//! prefix is said to stand for.

use super::option::{Kind, OptionSpec, Tier};

const fn long(long: &'static str, kind: Kind, help: &'static str) -> OptionSpec {
    OptionSpec {
        long: Some(long),
        short: None,
        kind,
        shown: "",
        optional: None,
        exclusive: false,
        tier: Tier::Served,
        since: "",
        help,
    }
}

const fn switch(name: &'static str, help: &'static str) -> OptionSpec {
    long(name, Kind::Switch, help)
}

const fn value(
    name: &'static str,
    kind: Kind,
    shown: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        shown,
        ..long(name, kind, help)
    }
}

impl OptionSpec {
    const fn short(self, letter: char) -> Self {
        OptionSpec {
            short: Some(letter),
            ..self
        }
    }

    const fn or(self, default: &'static str) -> Self {
        OptionSpec {
            optional: Some(default),
            ..self
        }
    }

    const fn real_perf(self) -> Self {
        OptionSpec {
            tier: Tier::RealPerf,
            ..self
        }
    }

    const fn ignored(self) -> Self {
        OptionSpec {
            tier: Tier::Ignored,
            ..self
        }
    }

    const fn exclusive(self) -> Self {
        OptionSpec {
            exclusive: true,
            ..self
        }
    }

    const fn since(self, version: &'static str) -> Self {
        OptionSpec {
            since: version,
            ..self
        }
    }
}

use Kind::{Action, Counter, Integer, Text, Unsigned, Value};

/// Every option, in perf's order.
pub const OPTIONS: &[OptionSpec] = &[
    value(
        "event",
        Value,
        "<event>",
        "the events to record, as perf list names them",
    )
    .short('e'),
    value(
        "filter",
        Value,
        "<filter>",
        "a kernel filter for the tracepoints of the -e before it",
    ),
    long(
        "exclude-perf",
        Action,
        "leave the recorder itself out of the -e before it",
    ),
    value(
        "pid",
        Text,
        "<pid>",
        "record running processes, separated by commas",
    )
    .short('p'),
    value(
        "tid",
        Text,
        "<tid>",
        "record running threads, separated by commas",
    )
    .short('t'),
    value(
        "realtime",
        Integer,
        "<n>",
        "collect with this SCHED_FIFO priority",
    )
    .short('r'),
    switch(
        "no-buffering",
        "be woken for every event, so that it is passed on at once",
    ),
    switch("raw-samples", "add time, CPU and raw data to samples").short('R'),
    switch("all-cpus", "record everything that runs, on all CPUs").short('a'),
    value("cpu", Text, "<cpu>", "record on these CPUs only, as 0-3,8").short('C'),
    value("count", Unsigned, "<n>", "one sample for so many events").short('c'),
    value(
        "output",
        Text,
        "<file>",
        "the file to write, - for standard output",
    )
    .short('o'),
    switch("no-inherit", "leave out what the recorded tasks start").short('i'),
    switch(
        "tail-synthesize",
        "tell of what was there before at the end of the file",
    )
    .real_perf(),
    switch(
        "overwrite",
        "let the newest records take the place of the oldest in the kernel's ring",
    )
    .real_perf(),
    switch("no-bpf-event", "leave out BPF programs that come and go"),
    switch(
        "strict-freq",
        "fail where the kernel does not allow the frequency asked for",
    ),
    value("freq", Value, "<freq or 'max'>", "samples in a second").short('F'),
    value(
        "mmap-pages",
        Value,
        "<pages[,pages]>",
        "size of the kernel's rings, in pages or with B K M G",
    )
    .short('m'),
    value(
        "mmap-flush",
        Value,
        "<number>",
        "least number of bytes taken from a ring at once (default: 1)",
    ),
    switch("group", "put all events into one group"),
    OptionSpec {
        long: None,
        ..long("", Action, "record call stacks by frame pointers")
    }
    .short('g'),
    value(
        "call-graph",
        Value,
        "<record_mode[,record_size]>",
        "record call stacks: fp (default), dwarf with the bytes of stack to copy (default 8192), lbr",
    ),
    long("verbose", Counter, "say more").short('v'),
    switch("quiet", "say nothing but errors").short('q'),
    switch("stat", "count per thread").short('s'),
    switch("data", "add the address that was accessed to samples").short('d'),
    switch(
        "phys-data",
        "add the physical address that was accessed to samples",
    )
    .real_perf(),
    switch(
        "data-page-size",
        "add the size of the page that was accessed to samples",
    )
    .real_perf(),
    switch(
        "code-page-size",
        "add the size of the page of the instruction to samples",
    )
    .real_perf(),
    switch("sample-cpu", "add the CPU to samples"),
    switch("sample-identifier", "add the event's identifier to samples"),
    switch("timestamp", "add the time to samples").short('T'),
    switch("period", "add the period to samples").short('P'),
    switch("no-samples", "take no samples").short('n'),
    switch(
        "no-buildid-cache",
        "do not copy files to the build-id cache",
    )
    .short('N'),
    switch("no-buildid", "leave out build ids").short('B'),
    value(
        "cgroup",
        Value,
        "<name>",
        "record the events before it in this cgroup only",
    )
    .short('G')
    .real_perf(),
    value(
        "delay",
        Value,
        "<ms>",
        "wait so many ms after the start (-1: until enabled), or record in ranges as 10-20,30-40",
    )
    .short('D'),
    switch("kcore", "copy /proc/kcore beside the data").real_perf(),
    value("uid", Text, "<user>", "record the processes of a user").short('u'),
    long("branch-any", Action, "record the last branches taken").short('b'),
    value(
        "branch-filter",
        Value,
        "<branch filter mask>",
        "record the last branches of these kinds",
    )
    .short('j'),
    switch("weight", "add the cost of the access to samples")
        .short('W')
        .real_perf(),
    switch("transaction", "add flags of memory transactions to samples").real_perf(),
    switch("per-thread", "one ring a thread instead of one a CPU").real_perf(),
    value(
        "intr-regs",
        Value,
        "<any register>",
        "add registers at the interrupt to samples, ? lists them",
    )
    .short('I')
    .or("")
    .real_perf(),
    value(
        "user-regs",
        Value,
        "<any register>",
        "add registers of user space to samples, ? lists them",
    )
    .or("")
    .real_perf(),
    switch(
        "running-time",
        "add the time enabled and running to group reads",
    )
    .real_perf(),
    value(
        "clockid",
        Value,
        "<clockid>",
        "the clock to stamp with: mono, raw, real, boot, tai or its number",
    )
    .short('k'),
    value(
        "snapshot",
        Text,
        "<opts>",
        "AUX areas: keep the last part only",
    )
    .short('S')
    .or("")
    .real_perf(),
    value(
        "aux-sample",
        Text,
        "<opts>",
        "AUX areas: add a part to samples",
    )
    .or("")
    .real_perf(),
    value(
        "proc-map-timeout",
        Unsigned,
        "<n>",
        "longest time in ms to read the maps of a process",
    )
    .ignored(),
    switch("namespaces", "record namespaces of processes"),
    switch("all-cgroups", "record cgroups"),
    switch("switch-events", "record changes from task to task"),
    switch("all-kernel", "record all events in the kernel only").exclusive(),
    switch("all-user", "record all events in user space only").exclusive(),
    switch("kernel-callchains", "record call stacks of the kernel only"),
    switch("user-callchains", "record call stacks of user space only"),
    value(
        "clang-path",
        Text,
        "<clang path>",
        "clang for BPF scriptlets",
    )
    .real_perf(),
    value(
        "clang-opt",
        Text,
        "<clang options>",
        "options of clang for BPF scriptlets",
    )
    .real_perf(),
    value("vmlinux", Text, "<file>", "the kernel's file with symbols").real_perf(),
    switch(
        "buildid-all",
        "build ids of all files mapped, with samples or without",
    ),
    switch("buildid-mmap", "build ids in the records of mappings"),
    switch(
        "timestamp-filename",
        "put the time behind the name of the output",
    ),
    switch(
        "timestamp-boundary",
        "note the times of the first and the last sample",
    ),
    value(
        "switch-output",
        Text,
        "<signal or size[BKMG] or time[smhd]>",
        "begin a new file at SIGUSR2, after so many bytes or so much time",
    )
    .real_perf()
    .or("signal"),
    value(
        "switch-output-event",
        Value,
        "<switch output event>",
        "begin a new file at this event",
    )
    .real_perf(),
    value(
        "switch-max-files",
        Integer,
        "<n>",
        "keep no more files of --switch-output than so many",
    )
    .ignored(),
    switch("dry-run", "check the command line, record nothing"),
    value(
        "aio",
        Value,
        "<n>",
        "write through so many asynchronous buffers",
    )
    .or("")
    .ignored(),
    value(
        "affinity",
        Value,
        "<node|cpu>",
        "run the recorder on the CPUs of what it reads",
    )
    .ignored(),
    value(
        "compression-level",
        Value,
        "<n>",
        "compress records with zstd (default level 1)",
    )
    .real_perf()
    .short('z')
    .or(""),
    value(
        "max-size",
        Value,
        "<size>",
        "end when the output has so many bytes",
    ),
    value(
        "num-thread-synthesize",
        Unsigned,
        "<n>",
        "number of threads that read /proc at the start",
    )
    .ignored(),
    value(
        "control",
        Value,
        "<fd:ctl-fd[,ack-fd] or fifo:ctl-fifo[,ack-fifo]>",
        "take commands: enable, disable, ping, stop; answer with 'ack'",
    )
    .real_perf(),
    value(
        "synth",
        Value,
        "<no|all|task|mmap|cgroup>",
        "what to tell of what was there before",
    )
    .real_perf(),
    value(
        "debuginfod",
        Text,
        "<debuginfod urls>",
        "ask a debuginfod server for files",
    )
    .or("system")
    .real_perf(),
    value(
        "threads",
        Value,
        "<spec>",
        "write several files from several threads",
    )
    .or("")
    .real_perf(),
    switch("off-cpu", "record where tasks wait, by BPF").real_perf(),
    value(
        "setup-filter",
        Text,
        "<pin|unpin>",
        "pin the BPF program of --filter",
    )
    .real_perf()
    .since("6.11"),
    switch("latency", "add what latency profiles need")
        .real_perf()
        .since("6.15"),
    value(
        "off-cpu-thresh",
        Value,
        "<ms>",
        "shortest wait that --off-cpu tells",
    )
    .real_perf()
    .since("6.16"),
    switch("data-mmap", "record mappings that hold no code")
        .real_perf()
        .since("6.18"),
];

/// The option of that key (see [`OptionSpec::key`]).
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|o| o.key() == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_and_letters_are_unique() {
        let keys: BTreeSet<_> = OPTIONS.iter().map(OptionSpec::key).collect();
        assert_eq!(keys.len(), OPTIONS.len());
        assert!(!keys.contains(""));
        let letters: Vec<_> = OPTIONS.iter().filter_map(|o| o.short).collect();
        assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
    }

    #[test]
    fn what_takes_a_value_shows_it() {
        for option in OPTIONS {
            let takes = !matches!(option.kind, Kind::Switch | Kind::Counter | Kind::Action);
            assert_eq!(takes, !option.shown.is_empty(), "{}", option.dashed());
        }
    }
}
