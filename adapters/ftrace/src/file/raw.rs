//! Numbers and words of the format, as `trace-cmd.dat.v6(5)` and `trace-cmd.dat.v7(5)` name them.

/// The first ten bytes of every file.
pub(super) const MAGIC: &[u8; 10] = b"\x17\x08\x44tracing";

/// In a section's flags: its content is compressed.
pub(super) const SECTION_COMPRESSED: u16 = 1;

/// The word before the options of version 6.
pub(super) const OPTIONS_V6: &[u8; 10] = b"options  \0";
/// The word before the table of CPU data of version 6.
pub(super) const FLYRECORD_V6: &[u8; 10] = b"flyrecord\0";
/// The word in place of [`FLYRECORD_V6`] in a file of text.
pub(super) const LATENCY_V6: &[u8; 10] = b"latency  \0";

/// Ids of options; those of sections are among them.
pub(super) mod id {
    /// End of a section of options, and where the next one is.
    pub(in crate::file) const DONE: u16 = 0;
    /// Added to every time: microseconds, in C notation.
    pub(in crate::file) const DATE: u16 = 1;
    /// `per_cpu/cpuN/stats`.
    pub(in crate::file) const CPUSTAT: u16 = 2;
    /// An instance's buffer; in version 7 every buffer.
    pub(in crate::file) const BUFFER: u16 = 3;
    /// The text of `trace_clock`.
    pub(in crate::file) const TRACECLOCK: u16 = 4;
    /// System, host name, release and machine.
    pub(in crate::file) const UNAME: u16 = 5;
    /// Pairs of events to be joined.
    pub(in crate::file) const HOOK: u16 = 6;
    /// Added to every time: nanoseconds, in C notation.
    pub(in crate::file) const OFFSET: u16 = 7;
    /// Number of CPUs.
    pub(in crate::file) const CPUCOUNT: u16 = 8;
    /// Version of trace-cmd.
    pub(in crate::file) const VERSION: u16 = 9;
    /// Memory maps of the traced processes.
    pub(in crate::file) const PROCMAPS: u16 = 10;
    /// Id of the session.
    pub(in crate::file) const TRACEID: u16 = 11;
    /// From a guest's times to its host's.
    pub(in crate::file) const TIME_SHIFT: u16 = 12;
    /// A guest that was traced too.
    pub(in crate::file) const GUEST: u16 = 13;
    /// From cycles to nanoseconds.
    pub(in crate::file) const TSC2NSEC: u16 = 14;
    /// Section: descriptions of sections.
    pub(in crate::file) const STRINGS: u16 = 15;
    /// Section: `header_page` and `header_event`.
    pub(in crate::file) const HEADER_INFO: u16 = 16;
    /// Section: formats of the system `ftrace`.
    pub(in crate::file) const FTRACE_EVENTS: u16 = 17;
    /// Section: formats of the other systems.
    pub(in crate::file) const EVENT_FORMATS: u16 = 18;
    /// Section: `/proc/kallsyms`.
    pub(in crate::file) const KALLSYMS: u16 = 19;
    /// Section: `printk_formats`.
    pub(in crate::file) const PRINTK: u16 = 20;
    /// Section: `saved_cmdlines`.
    pub(in crate::file) const CMDLINES: u16 = 21;
    /// An instance's buffer as text.
    pub(in crate::file) const BUFFER_TEXT: u16 = 22;
}

/// The name of an option or section, for messages.
pub(super) fn name(option: u16) -> &'static str {
    match option {
        id::DONE => "OPTIONS",
        id::DATE => "DATE",
        id::CPUSTAT => "CPUSTAT",
        id::BUFFER => "BUFFER",
        id::TRACECLOCK => "TRACECLOCK",
        id::UNAME => "UNAME",
        id::HOOK => "HOOK",
        id::OFFSET => "OFFSET",
        id::CPUCOUNT => "CPUCOUNT",
        id::VERSION => "VERSION",
        id::PROCMAPS => "PROCMAPS",
        id::TRACEID => "TRACEID",
        id::TIME_SHIFT => "TIME_SHIFT",
        id::GUEST => "GUEST",
        id::TSC2NSEC => "TSC2NSEC",
        id::STRINGS => "STRINGS",
        id::HEADER_INFO => "HEADER_INFO",
        id::FTRACE_EVENTS => "FTRACE_EVENTS",
        id::EVENT_FORMATS => "EVENT_FORMATS",
        id::KALLSYMS => "KALLSYMS",
        id::PRINTK => "PRINTK",
        id::CMDLINES => "CMDLINES",
        id::BUFFER_TEXT => "BUFFER_TEXT",
        _ => "an unknown section",
    }
}
