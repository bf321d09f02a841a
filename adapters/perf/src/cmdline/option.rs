//! What an option is.

/// What kind of value an option takes, and so how it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off (`--no-X`).
    Switch,
    /// Each one counts (`-vv`).
    Counter,
    /// Takes no value, though it acts like one that does (`-g`, `-b`).
    Action,
    /// A text that means something.
    Value,
    /// A text that is taken as it is.
    Text,
    /// A decimal, hexadecimal or octal number, possibly negative.
    Integer,
    /// A number that is not negative.
    Unsigned,
}

/// Who serves an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Served here.
    Served,
    /// Served by the real perf, which is called in our place.
    RealPerf,
    /// Has no meaning any more, or none for a recording: read and passed over.
    Ignored,
}

/// One option of `perf record`.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The word after `--`.
    pub long: Option<&'static str>,
    /// The letter after `-`.
    pub short: Option<char>,
    /// What it takes.
    pub kind: Kind,
    /// The value as help shows it, brackets included.
    pub shown: &'static str,
    /// The value may be left out: then it is this one. Such a value must be attached.
    pub optional: Option<&'static str>,
    /// It and others of this mark exclude each other.
    pub exclusive: bool,
    /// Who serves it.
    pub tier: Tier,
    /// The version of perf that first has it, if later than 6.1.
    pub since: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

impl OptionSpec {
    /// The name that tells it from all others: the long one if it has one.
    pub fn key(&self) -> &'static str {
        match (self.long, self.short) {
            (Some(long), _) => long,
            (None, Some('g')) => "g",
            _ => "",
        }
    }

    /// How people call it in a sentence: `--freq`.
    pub fn dashed(&self) -> String {
        match (self.long, self.short) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => String::new(),
        }
    }
}
