//! Values of single options.

/// How call stacks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallGraph {
    /// By frame pointers.
    FramePointers,
    /// With registers and so many bytes of stack, to be unwound later.
    Dwarf(u32),
    /// By the hardware's record of the last branches.
    LastBranches,
}

const DEFAULT_STACK_BYTES: u32 = 8192;
/// A record's size is a `u16`; the copy of the stack is a multiple of 8.
const MAX_STACK_BYTES: u64 = 65528;

/// `--call-graph`.
pub(super) fn call_graph(text: &str) -> Result<CallGraph, String> {
    let (mode, argument) = match text.split_once(',') {
        Some((mode, argument)) => (mode, Some(argument)),
        None => (text, None),
    };
    match (mode, argument) {
        ("fp", _) => Ok(CallGraph::FramePointers),
        ("lbr", None) => Ok(CallGraph::LastBranches),
        ("lbr", Some(_)) => Err(format!(
            "callchain: No more arguments needed for --call-graph {mode}\n"
        )),
        ("dwarf", None | Some("")) => Ok(CallGraph::Dwarf(DEFAULT_STACK_BYTES)),
        ("dwarf", Some(size)) => {
            let bytes = size.parse::<u64>().ok().map(|n| n.saturating_add(7) & !7);
            match bytes.filter(|n| (1..=MAX_STACK_BYTES).contains(n)) {
                // Bounded above.
                Some(bytes) => Ok(CallGraph::Dwarf(bytes as u32)),
                None => Err(format!(
                    "callchain: Incorrect stack dump size (max {MAX_STACK_BYTES}): {size}\n"
                )),
            }
        }
        _ => Err(format!(
            "callchain: Unknown --call-graph option value: {text}\n"
        )),
    }
}

/// What `atoi(3)` makes of a text, as an unsigned number of 32 bits: what it begins
/// with, or 0.
pub(super) fn leading_number(text: &str) -> u64 {
    let text = text.trim_start();
    if let Some(positive) = text.strip_prefix('-') {
        // Two's complement, as in C.
        return u64::from((leading_number(positive) as u32).wrapping_neg());
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}

/// A number with B, K, M or G behind it.
pub(super) fn tagged_size(text: &str) -> Option<u64> {
    let tag = text.chars().last()?;
    let shift = match tag {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(1 << shift)
}

/// `-m`: bytes of a ring, and what is said if it is rounded; `None` if only the AUX
/// area's size was given.
pub(super) fn mmap_bytes(text: &str) -> Result<Option<(u64, Option<String>)>, String> {
    let bad = || "Invalid argument for --mmap_pages/-m\n".to_owned();
    let page = crate::mmap::page_bytes() as u64;
    let (data, aux) = match text.split_once(',') {
        Some((data, aux)) => (data, Some(aux)),
        None => (text, None),
    };
    // Of an AUX area's size only that it is one matters here.
    if aux.is_some_and(|aux| tagged_size(aux).is_none() && aux.parse::<u64>().is_err()) {
        return Err(bad());
    }
    if data.is_empty() {
        return Ok(None);
    }
    let asked = match tagged_size(data) {
        Some(bytes) => bytes.div_ceil(page),
        None => data.parse::<u64>().map_err(|_| bad())?,
    };
    let pages = asked.max(1).checked_next_power_of_two().ok_or_else(bad)?;
    let bytes = pages
        .checked_mul(page)
        .filter(|bytes| *bytes <= 1 << 31)
        .ok_or_else(bad)?;
    let note = (pages != asked).then(|| {
        format!(
            "rounding mmap pages size to {} ({pages} pages)\n",
            in_units(bytes)
        )
    });
    Ok(Some((bytes, note)))
}

/// Bytes with the largest unit that fits: `16K`.
fn in_units(bytes: u64) -> String {
    ["G", "M", "K"]
        .into_iter()
        .zip([30u32, 20, 10])
        .find(|(_, shift)| bytes >> shift > 0)
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, shift)| format!("{}{unit}", bytes >> shift),
        )
}

/// When to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// As written.
    pub text: String,
    /// Milliseconds to wait, -1 for "when told to".
    pub initial_ms: i64,
    ranges: usize,
}

impl Delay {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(initial_ms) = text.parse::<i64>() {
            let fits = initial_ms == -1 || (1..=i64::from(i32::MAX)).contains(&initial_ms);
            return fits.then(|| Delay {
                text: text.to_owned(),
                initial_ms,
                ranges: 0,
            });
        }
        let mut last = -1i64;
        let mut ranges = 0;
        for range in text.split(',') {
            let (begin, end) = range.split_once('-')?;
            let (begin, end): (i64, i64) = (begin.parse().ok()?, end.parse().ok()?);
            if begin <= last || end <= begin {
                return None;
            }
            last = end;
            ranges += 1;
        }
        Some(Delay {
            text: text.to_owned(),
            initial_ms: 0,
            ranges,
        })
    }

    pub(super) fn has_ranges(&self) -> bool {
        self.ranges > 0
    }
}

/// `PERF_SAMPLE_BRANCH_ANY`.
pub(super) const BRANCH_ANY: u64 = 1 << 3;
/// Bits that say where, not which: user, kernel, hypervisor.
const BRANCH_PLACES: u64 = 7;

const BRANCHES: [(&str, u64); 20] = [
    ("u", 1),
    ("k", 1 << 1),
    ("hv", 1 << 2),
    ("any", BRANCH_ANY),
    ("any_call", 1 << 4),
    ("any_ret", 1 << 5),
    ("ind_call", 1 << 6),
    ("abort_tx", 1 << 7),
    ("in_tx", 1 << 8),
    ("no_tx", 1 << 9),
    ("cond", 1 << 10),
    ("ind_jmp", 1 << 12),
    ("call", 1 << 13),
    ("no_flags", 1 << 14),
    ("no_cycles", 1 << 15),
    ("save_type", 1 << 16),
    ("hw_index", 1 << 17),
    ("stack", 1 << 11),
    ("priv", 1 << 18),
    ("counter", 1 << 19),
];

/// `-j`.
pub(super) fn branches(text: &str) -> Result<u64, String> {
    let mut mode = 0;
    for word in text.split(',') {
        let known = BRANCHES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        match known {
            Some((_, bit)) => mode |= bit,
            None => return Err(format!("unknown branch filter {word}, check man page\n")),
        }
    }
    // A place alone is taken for all branches, everywhere.
    Ok(if mode & !BRANCH_PLACES == 0 {
        BRANCH_ANY
    } else {
        mode
    })
}

const CLOCKS: [(&str, i32); 9] = [
    ("realtime", 0),
    ("monotonic", 1),
    ("monotonic_raw", 4),
    ("boottime", 7),
    ("tai", 11),
    ("mono", 1),
    ("raw", 4),
    ("real", 0),
    ("boot", 7),
];

/// `-k`.
pub(super) fn clock_id(text: &str) -> Result<i32, String> {
    // Whatever follows a number is passed over.
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    if end > 0
        && let Ok(number) = text[..text.len() - digits.len() + end].parse()
    {
        return Ok(number);
    }
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_prefix("clock_").unwrap_or(&lower);
    CLOCKS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, id)| *id)
        .ok_or_else(|| format!("Warning:\nunknown clockid {text}, check man page\n"))
}

/// `--control`: checked only.
pub(super) fn control(text: &str) -> Result<(), String> {
    let is_fd = |t: &str| t.split(',').all(|n| n.parse::<i32>().is_ok());
    let fine = match text.split_once(':') {
        Some(("fd", rest)) => is_fd(rest),
        Some(("fifo", rest)) => !rest.is_empty() && !rest.starts_with(','),
        _ => false,
    };
    fine.then_some(()).ok_or_else(String::new)
}

/// A number in groups of three digits, as perf writes frequencies where the
/// locale asks for it; the C locale does not.
pub(super) fn grouped(number: u64) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_graphs() {
        assert_eq!(call_graph("dwarf"), Ok(CallGraph::Dwarf(8192)));
        assert_eq!(call_graph("dwarf,100"), Ok(CallGraph::Dwarf(104)));
        assert_eq!(call_graph("dwarf,65528"), Ok(CallGraph::Dwarf(65528)));
        assert_eq!(call_graph("fp,3"), Ok(CallGraph::FramePointers));
        for bad in [
            "foo",
            "dwarf,0",
            "dwarf,65529",
            "dwarf,18446744073709551615",
            "lbr,3",
            "",
        ] {
            assert!(call_graph(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        let page = crate::mmap::page_bytes() as u64;
        let bytes = |text| mmap_bytes(text).map(|o| o.map(|(bytes, _)| bytes));
        assert_eq!(bytes("3"), Ok(Some(4 * page)));
        assert_eq!(bytes("0"), Ok(Some(page)));
        assert_eq!(mmap_bytes("8M"), Ok(Some((8 << 20, None))));
        let (_, note) = mmap_bytes("5M").unwrap().unwrap();
        let said = format!(
            "rounding mmap pages size to 8M ({} pages)\n",
            (8 << 20) / page
        );
        assert_eq!(note, Some(said));
        assert_eq!(mmap_bytes(",4M"), Ok(None));
        for bad in ["3x", "1T", "99999999999", "-1"] {
            assert!(mmap_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(tagged_size("256M"), Some(256 << 20));
        assert_eq!(tagged_size("é"), None);
        assert_eq!(tagged_size("x"), None);
    }

    #[test]
    fn delays_clocks_branches() {
        assert_eq!(Delay::parse("-1").unwrap().initial_ms, -1);
        assert!(Delay::parse("10-20,30-40").unwrap().has_ranges());
        for bad in ["x", "-2", "10-5", "1-2,2-3"] {
            assert_eq!(Delay::parse(bad), None, "{bad}");
        }
        assert_eq!(clock_id("CLOCK_MONOTONIC"), Ok(1));
        assert_eq!(clock_id("raw"), Ok(4));
        assert_eq!(branches("any_call,u"), Ok(17));
        assert_eq!(branches("k"), Ok(8));
        assert!(branches("foo").is_err());
    }
}
