//! perf's names of events.

use crate::plan::Period;
use crate::uapi::*;
use crate::{PerfError, attr::Attr, uapi::flag};
use std::fmt;
use std::str::FromStr;

/// What an event is to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `PERF_TYPE_SOFTWARE` with this config.
    Software(u64),
    /// `PERF_TYPE_HARDWARE` with this config.
    Hardware(u64),
    /// `PERF_TYPE_HW_CACHE` with this config.
    HwCache(u64),
    /// `PERF_TYPE_RAW` with this config.
    Raw(u64),
    /// A tracepoint of tracefs.
    Tracepoint {
        /// The directory below `events/`.
        system: String,
        /// The directory below that.
        name: String,
    },
}

/// The letters after an event's last colon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modifiers {
    /// Nothing of user space.
    pub exclude_user: bool,
    /// Nothing of the kernel.
    pub exclude_kernel: bool,
    /// Nothing of a hypervisor.
    pub exclude_hv: bool,
    /// Nothing of this machine (only of its guests).
    pub exclude_host: bool,
    /// Nothing of guests.
    pub exclude_guest: bool,
    /// Nothing of the idle task.
    pub exclude_idle: bool,
    /// 0 to 3: how exact the instruction pointer must be.
    pub precise_ip: u8,
    /// As exact as the hardware can.
    pub precise_max: bool,
    /// Always on the PMU.
    pub pinned: bool,
    /// Alone on the PMU.
    pub exclusive: bool,
}

impl Modifiers {
    /// Parses the letters `u k h G H I p P D e`.
    fn parse(name: &str, letters: &str) -> Result<Self, PerfError> {
        let bad = |reason| PerfError::BadModifiers {
            name: name.into(),
            modifiers: letters.into(),
            reason,
        };
        let mut m = Modifiers::default();
        let (mut user, mut kernel, mut hv) = (false, false, false);
        let (mut host, mut guest) = (false, false);
        let mut precise = 0u8;
        for letter in letters.chars() {
            match letter {
                'u' => user = true,
                'k' => kernel = true,
                'h' => hv = true,
                'G' => guest = true,
                'H' => host = true,
                'I' => m.exclude_idle = true,
                'p' => precise = precise.saturating_add(1),
                'P' => m.precise_max = true,
                'D' => m.pinned = true,
                'e' => m.exclusive = true,
                _ => return Err(bad("only the letters u k h G H I p P D e are allowed")),
            }
        }
        if precise > 3 {
            return Err(bad("at most three p are allowed"));
        }
        if user || kernel || hv {
            m.exclude_user = !user;
            m.exclude_kernel = !kernel;
            m.exclude_hv = !hv;
        }
        if host || guest {
            m.exclude_host = !host;
            m.exclude_guest = !guest;
        }
        m.precise_ip = precise;
        Ok(m)
    }

    pub(crate) fn apply(&self, attr: &mut Attr) {
        for (set, bit) in [
            (self.exclude_user, flag::EXCLUDE_USER),
            (self.exclude_kernel, flag::EXCLUDE_KERNEL),
            (self.exclude_hv, flag::EXCLUDE_HV),
            (self.exclude_host, flag::EXCLUDE_HOST),
            (self.exclude_guest, flag::EXCLUDE_GUEST),
            (self.exclude_idle, flag::EXCLUDE_IDLE),
            (self.pinned, flag::PINNED),
            (self.exclusive, flag::EXCLUSIVE),
        ] {
            if set {
                attr.flags |= bit;
            }
        }
        attr.set_precise_ip(if self.precise_max { 3 } else { self.precise_ip });
    }
}

/// An event as a user of perf writes it: `cpu-clock`, `cycles:u`,
/// `sched:sched_switch`, `L1-dcache-load-misses`, `r1a8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventSpec {
    /// As the user wrote it, modifiers included.
    pub text: String,
    /// What it is to the kernel.
    pub kind: EventKind,
    /// The letters after the last colon.
    pub modifiers: Modifiers,
}

impl EventSpec {
    /// The tracepoint `system:name`.
    pub fn tracepoint(system: &str, name: &str) -> Self {
        EventSpec {
            text: format!("{system}:{name}"),
            kind: EventKind::Tracepoint {
                system: system.into(),
                name: name.into(),
            },
            modifiers: Modifiers::default(),
        }
    }

    /// Whether it is a tracepoint.
    pub fn is_tracepoint(&self) -> bool {
        matches!(self.kind, EventKind::Tracepoint { .. })
    }

    /// As `perf record` samples it when not told otherwise.
    pub fn default_period(&self) -> Period {
        match self.kind {
            EventKind::Tracepoint { .. } | EventKind::Software(PERF_COUNT_SW_DUMMY..) => {
                Period::Period(1)
            }
            _ => Period::Freq(4000),
        }
    }

    /// `type` and `config`; a tracepoint's config is its id, which tracefs tells.
    pub(crate) fn type_and_config(&self) -> (u32, u64) {
        match self.kind {
            EventKind::Software(config) => (PERF_TYPE_SOFTWARE, config),
            EventKind::Hardware(config) => (PERF_TYPE_HARDWARE, config),
            EventKind::HwCache(config) => (PERF_TYPE_HW_CACHE, config),
            EventKind::Raw(config) => (PERF_TYPE_RAW, config),
            EventKind::Tracepoint { .. } => (PERF_TYPE_TRACEPOINT, 0),
        }
    }
}

impl fmt::Display for EventSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for EventSpec {
    type Err = PerfError;

    fn from_str(text: &str) -> Result<Self, PerfError> {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        let spec = |kind, modifiers| EventSpec {
            text: text.to_owned(),
            kind,
            modifiers,
        };
        if let Some(kind) = known(first) {
            let modifiers = Modifiers::parse(text, parts.next().unwrap_or_default())?;
            return if parts.next().is_none() {
                Ok(spec(kind, modifiers))
            } else {
                Err(unknown(text))
            };
        }
        let word = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), modifiers, None)
                if word(first)
                    && word(name)
                    && !first.starts_with('.')
                    && !name.starts_with('.') =>
            {
                let modifiers = Modifiers::parse(text, modifiers.unwrap_or_default())?;
                Ok(spec(
                    EventKind::Tracepoint {
                        system: first.into(),
                        name: name.into(),
                    },
                    modifiers,
                ))
            }
            _ => Err(unknown(text)),
        }
    }
}

const SOFTWARE: [(&str, u64); 15] = [
    ("cpu-clock", 0),
    ("task-clock", 1),
    ("page-faults", 2),
    ("faults", 2),
    ("context-switches", 3),
    ("cs", 3),
    ("cpu-migrations", 4),
    ("migrations", 4),
    ("minor-faults", 5),
    ("major-faults", 6),
    ("alignment-faults", 7),
    ("emulation-faults", 8),
    ("dummy", 9),
    ("bpf-output", 10),
    ("cgroup-switches", 11),
];

const HARDWARE: [(&str, u64); 15] = [
    ("cycles", 0),
    ("cpu-cycles", 0),
    ("instructions", 1),
    ("cache-references", 2),
    ("cache-misses", 3),
    ("branches", 4),
    ("branch-instructions", 4),
    ("branch-misses", 5),
    ("bus-cycles", 6),
    ("stalled-cycles-frontend", 7),
    ("idle-cycles-frontend", 7),
    ("stalled-cycles-backend", 8),
    ("idle-cycles-backend", 8),
    ("ref-cycles", 9),
    // What perf called it before 2011; still in people's scripts.
    ("cpu-cycle", 0),
];

/// perf's first name for a software or hardware event.
pub(crate) fn name_of(kind: u32, config: u64) -> Option<String> {
    let names: &[(&str, u64)] = match kind {
        PERF_TYPE_SOFTWARE => &SOFTWARE,
        PERF_TYPE_HARDWARE => &HARDWARE,
        _ => return None,
    };
    let (name, _) = names.iter().find(|(_, number)| *number == config)?;
    Some((*name).to_owned())
}

const CACHES: [(&[&str], u64); 7] = [
    (&["L1-dcache", "l1-d", "l1d", "L1-data"], 0),
    (&["L1-icache", "l1-i", "l1i", "L1-instruction"], 1),
    (&["LLC", "L2"], 2),
    (&["dTLB", "d-tlb", "Data-TLB"], 3),
    (&["iTLB", "i-tlb", "Instruction-TLB"], 4),
    (&["branch", "bpu", "btb", "bpc"], 5),
    (&["node"], 6),
];

/// Operation and result words with their numbers: op, result.
const CACHE_ACTIONS: [(&str, u64, u64); 12] = [
    ("loads", 0, 0),
    ("load", 0, 0),
    ("load-misses", 0, 1),
    ("stores", 1, 0),
    ("store", 1, 0),
    ("store-misses", 1, 1),
    ("prefetches", 2, 0),
    ("prefetch", 2, 0),
    ("prefetch-misses", 2, 1),
    ("load-refs", 0, 0),
    ("store-refs", 1, 0),
    ("misses", 0, 1),
];

/// Software and hardware events by name, without tracepoints and without
/// asking the kernel which of them work: `(name, whether hardware)`.
pub fn software_and_hardware_names() -> Vec<(String, bool)> {
    let mut names: Vec<_> = SOFTWARE
        .iter()
        .map(|(n, _)| ((*n).to_owned(), false))
        .collect();
    names.extend(HARDWARE[..14].iter().map(|(n, _)| ((*n).to_owned(), true)));
    for (words, cache) in CACHES {
        for (action, op, _) in CACHE_ACTIONS {
            if cache_allows(cache, op) && CANONICAL_ACTIONS.contains(&action) {
                names.push((format!("{}-{action}", words[0]), true));
            }
        }
    }
    names
}

const CANONICAL_ACTIONS: [&str; 6] = [
    "loads",
    "load-misses",
    "stores",
    "store-misses",
    "prefetches",
    "prefetch-misses",
];

/// Instruction caches are not stored to; TLBs of instructions and branch units are only read.
fn cache_allows(cache: u64, op: u64) -> bool {
    match cache {
        1 => op != 1,
        4 | 5 => op == 0,
        _ => true,
    }
}

pub(crate) fn known(name: &str) -> Option<EventKind> {
    if let Some((_, config)) = SOFTWARE.iter().find(|(n, _)| *n == name) {
        return Some(EventKind::Software(*config));
    }
    if let Some((_, config)) = HARDWARE.iter().find(|(n, _)| *n == name) {
        return Some(EventKind::Hardware(*config));
    }
    if let Some(digits) = name.strip_prefix('r')
        && (1..=16).contains(&digits.len())
        && let Ok(config) = u64::from_str_radix(digits, 16)
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Some(EventKind::Raw(config));
    }
    CACHES.iter().find_map(|(words, cache)| {
        words.iter().find_map(|word| {
            let head = name.get(..word.len())?;
            if !head.eq_ignore_ascii_case(word) {
                return None;
            }
            let action = match &name[word.len()..] {
                "" => "loads",
                rest => rest.strip_prefix('-')?,
            };
            let (_, op, result) = CACHE_ACTIONS.iter().find(|(a, ..)| *a == action)?;
            cache_allows(*cache, *op).then_some(EventKind::HwCache(cache | op << 8 | result << 16))
        })
    })
}

fn unknown(name: &str) -> PerfError {
    let known = software_and_hardware_names();
    let near = tracefs::nearest(name, known.iter().map(|(n, _)| n.as_str()), 3);
    let hint = match near.is_empty() {
        true => ": neither one of perf's names, rNNN, nor SYSTEM:TRACEPOINT".to_owned(),
        false => format!(": did you mean {}?", near.join(" or ")),
    };
    PerfError::UnknownEvent {
        name: name.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> EventKind {
        text.parse::<EventSpec>().unwrap().kind
    }

    #[test]
    fn names_of_every_kind() {
        assert_eq!(kind("cpu-clock"), EventKind::Software(0));
        assert_eq!(kind("cs"), EventKind::Software(3));
        assert_eq!(kind("cgroup-switches"), EventKind::Software(11));
        assert_eq!(kind("cycles:u"), EventKind::Hardware(0));
        assert_eq!(kind("ref-cycles"), EventKind::Hardware(9));
        assert_eq!(kind("r1a8"), EventKind::Raw(0x1a8));
        assert_eq!(kind("L1-dcache-load-misses"), EventKind::HwCache(0x1_0000));
        assert_eq!(kind("LLC-stores"), EventKind::HwCache(0x102));
        assert_eq!(kind("iTLB-loads"), EventKind::HwCache(4));
        assert_eq!(kind("branch-loads"), EventKind::HwCache(5));
        assert_eq!(kind("branch-misses"), EventKind::Hardware(5));
        let switch = EventKind::Tracepoint {
            system: "sched".into(),
            name: "sched_switch".into(),
        };
        assert_eq!(kind("sched:sched_switch"), switch);
        assert_eq!(kind("sched:sched_switch:k"), switch);
        for (name, hardware) in software_and_hardware_names() {
            let hw = matches!(kind(&name), EventKind::Hardware(_) | EventKind::HwCache(_));
            assert_eq!(hw, hardware, "{name}");
        }
    }

    #[test]
    fn modifiers_exclude_what_they_do_not_name() {
        let m = "cycles:u".parse::<EventSpec>().unwrap().modifiers;
        assert!(m.exclude_kernel && m.exclude_hv && !m.exclude_user);
        let m = "cycles:ukpp".parse::<EventSpec>().unwrap().modifiers;
        assert!(!m.exclude_kernel && m.exclude_hv && m.precise_ip == 2);
        let m = "cycles:P".parse::<EventSpec>().unwrap().modifiers;
        let mut attr = Attr::new(0, 0);
        m.apply(&mut attr);
        assert_eq!(attr.precise_ip(), 3);
        assert!("cycles:pppp".parse::<EventSpec>().is_err());
        assert!("cycles:x".parse::<EventSpec>().is_err());
    }

    #[test]
    fn unknown_names_say_what_comes_near() {
        let text = "cpu-clok".parse::<EventSpec>().unwrap_err().to_string();
        assert!(text.contains("cpu-clock"), "{text}");
        for bad in [
            "",
            ":",
            "a:",
            ":b",
            "../x:y",
            "a:b:c:d",
            "r",
            "iTLB-stores",
            "sched:a/b",
        ] {
            assert!(bad.parse::<EventSpec>().is_err(), "{bad}");
        }
    }
}
