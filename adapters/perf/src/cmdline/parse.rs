//! Parsing of command lines as perf parses them.
//!
//! Unique prefixes of long names, `--no-X` for what can be switched off and
//! `--X` for what is called `no-X`, clusters of letters, attached values; the
//! first word that is no option begins the command. What is wrong with a
//! command line is said in perf's words, for scripts and people know them.

use super::option::{Kind, OptionSpec};
use super::table::OPTIONS;
use super::usage;
use std::ffi::OsString;

/// Exit status of wrong usage.
pub const USAGE_STATUS: u8 = 129;

/// An option as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given<'a> {
    /// Which; see [`OptionSpec::key`].
    pub key: &'static str,
    /// Its value; `None` for options without one.
    pub value: Option<&'a str>,
    /// It was switched off: `--no-X`, or `--X` for an option that is called `no-X`.
    pub unset: bool,
}

/// Why a command line does not begin a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text for standard error, and the exit status.
    Error {
        /// What to say, line ends included.
        text: String,
        /// [`USAGE_STATUS`] or another one that perf uses.
        status: u8,
    },
    /// `--list-opts`: the text for standard output.
    Listed(String),
}

impl Stop {
    /// Wrong usage: a message followed by how it is used, with help on one option.
    pub(crate) fn usage(message: &str, about: &str, short: bool) -> Self {
        Stop::Error {
            text: format!("{message}{}", usage::of_option(about, short)),
            status: USAGE_STATUS,
        }
    }
}

/// Parses `arguments` (without the words `perf record`), telling each option in
/// turn to `take`, which says what is wrong with its value, if anything is: a
/// text that goes before the usage. Gives the number of words before the command.
///
/// # Errors
/// What stops perf too.
pub fn parse(
    arguments: &[OsString],
    take: &mut dyn FnMut(Given<'_>) -> Result<(), String>,
) -> Result<usize, Stop> {
    let words: Vec<String> = arguments
        .iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let mut parser = Parser {
        words: &words,
        at: 0,
        exclusive: None,
        take,
    };
    parser.run()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Short,
    Long,
    Negated,
}

/// How an option was refused.
enum Refusal {
    /// Said what is wrong.
    Said(String),
    /// It cannot stand beside another one.
    Exclusive(String, &'static OptionSpec),
    /// There is none of that name.
    Unknown,
}

struct Parser<'a> {
    words: &'a [String],
    at: usize,
    /// The first option given of those that exclude each other.
    exclusive: Option<&'static OptionSpec>,
    take: &'a mut dyn FnMut(Given<'_>) -> Result<(), String>,
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Result<usize, Stop> {
        while let Some(word) = self.words.get(self.at) {
            let word: &'a str = word;
            if !word.starts_with('-') || word == "-" {
                break;
            }
            if word == "--" {
                self.at += 1;
                break;
            }
            match word.strip_prefix("--") {
                Some("help" | "help-all") => return Err(self.help()),
                Some("list-opts") => return Err(Stop::Listed(usage::list())),
                Some(name) => self.long(name)?,
                None => self.cluster(&word[1..])?,
            }
            self.at += 1;
        }
        Ok(self.at)
    }

    fn help(&self) -> Stop {
        Stop::Error {
            text: usage::full("", &self.words[self.at + 1..]),
            status: USAGE_STATUS,
        }
    }

    fn cluster(&mut self, letters: &'a str) -> Result<(), Stop> {
        let mut rest = letters;
        let mut is_first = true;
        while let Some(letter) = rest.chars().next() {
            if letter == 'h' {
                return Err(self.help());
            }
            let after = &rest[letter.len_utf8()..];
            let found = OPTIONS.iter().find(|o| o.short == Some(letter));
            let outcome = match found {
                None => Err(Refusal::Unknown),
                Some(option) => {
                    self.value(option, Form::Short, Some(after).filter(|a| !a.is_empty()))
                }
            };
            let takes_rest = match outcome {
                Ok(takes_rest) => takes_rest,
                Err(Refusal::Said(text)) => {
                    return Err(Stop::usage(&text, &rest[..letter.len_utf8()], true));
                }
                Err(Refusal::Exclusive(text, other)) => return Err(both(&text, rest, true, other)),
                Err(Refusal::Unknown) => {
                    return Err(Stop::Error {
                        text: usage::full(&format!("unknown switch `{letter}'"), &[]),
                        status: USAGE_STATUS,
                    });
                }
            };
            if takes_rest {
                break;
            }
            rest = after;
            if is_first && !rest.is_empty() {
                is_first = false;
                check_typo(letters)?;
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &'a str) -> Result<(), Stop> {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let outcome = match look_up(word, name) {
            Found::One(option, form) => self.value(option, form, attached),
            Found::Ambiguous(text) => Err(Refusal::Said(text)),
            Found::None => Err(Refusal::Unknown),
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(Refusal::Said(text)) => Err(Stop::usage(&text, word, false)),
            Err(Refusal::Exclusive(text, other)) => Err(both(&text, word, false, other)),
            Err(Refusal::Unknown) => Err(Stop::Error {
                text: usage::full(&format!("unknown option `{word}'"), &[]),
                status: USAGE_STATUS,
            }),
        }
    }

    /// Takes an option with its value. Whether the value was what is attached.
    fn value(
        &mut self,
        option: &'static OptionSpec,
        form: Form,
        attached: Option<&'a str>,
    ) -> Result<bool, Refusal> {
        let unset = form == Form::Negated;
        let bare = matches!(option.kind, Kind::Switch | Kind::Counter | Kind::Action);
        if attached.is_some() && (unset || (bare && form == Form::Long)) {
            return Err(refuse(option, form, "takes no value"));
        }
        if option.exclusive {
            match self.exclusive {
                Some(other) if other.key() != option.key() => {
                    let why = format!("cannot be used with {}", other.key());
                    let Refusal::Said(text) = refuse(option, form, &why) else {
                        return Err(Refusal::Unknown);
                    };
                    return Err(Refusal::Exclusive(text, other));
                }
                _ => self.exclusive = Some(option),
            }
        }
        // What is called `no-X` says so itself.
        let given = |value| Given {
            key: option.key(),
            value,
            unset,
        };
        if unset || bare {
            (self.take)(given(None)).map_err(Refusal::Said)?;
            return Ok(false);
        }
        let (value, took_attached) = match (attached, option.optional) {
            (Some(value), _) => (value, true),
            (None, Some(default)) => (default, false),
            (None, None) => {
                let Some(next) = self.words.get(self.at + 1) else {
                    return Err(refuse(option, form, "requires a value"));
                };
                self.at += 1;
                (next.as_str(), false)
            }
        };
        let wrong = match option.kind {
            Kind::Unsigned if value.starts_with('-') => Some("expects an unsigned numerical value"),
            Kind::Unsigned | Kind::Integer if !is_number(option, value) => {
                Some("expects a numerical value")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(refuse(option, form, wrong));
        }
        (self.take)(given(Some(value))).map_err(Refusal::Said)?;
        Ok(took_attached)
    }
}

/// Numbers as `strtol(3)` and its kind read them: decimal only for these options,
/// an empty text being zero.
fn is_number(option: &OptionSpec, text: &str) -> bool {
    let text = text.trim_start();
    let digits = match option.kind {
        Kind::Integer => text.strip_prefix(['-', '+']).unwrap_or(text),
        _ => text.strip_prefix('+').unwrap_or(text),
    };
    digits.bytes().all(|b| b.is_ascii_digit())
}

fn refuse(option: &OptionSpec, form: Form, why: &str) -> Refusal {
    let name = match (form, option.short, option.long) {
        (Form::Short, Some(letter), _) => format!("switch `{letter}'"),
        (Form::Negated, _, Some(long)) => format!("option `no-{long}'"),
        (_, _, Some(long)) => format!("option `{long}'"),
        _ => String::new(),
    };
    Refusal::Said(format!(" Error: {name} {why}"))
}

/// Two options that exclude each other: how both are used.
fn both(text: &str, about: &str, short: bool, other: &'static OptionSpec) -> Stop {
    Stop::Error {
        text: format!(
            "{text}{}{}",
            usage::of_option(about, short),
            usage::of_option_alone(other)
        ),
        status: USAGE_STATUS,
    }
}

/// A long name after a single dash.
fn check_typo(letters: &str) -> Result<(), Stop> {
    let is_name = letters.starts_with("no-")
        || OPTIONS
            .iter()
            .filter_map(|o| o.long)
            .any(|long| long.starts_with(letters));
    if letters.len() < 3 || !is_name {
        return Ok(());
    }
    Err(Stop::Error {
        text: format!(" Error: did you mean `--{letters}` (with two dashes ?)\n"),
        status: USAGE_STATUS,
    })
}

enum Found {
    One(&'static OptionSpec, Form),
    Ambiguous(String),
    None,
}

/// Finds a long option by its name, its negation, or a prefix of either.
fn look_up(word: &str, name: &str) -> Found {
    let mut prefixed: Vec<(&'static OptionSpec, Form)> = Vec::new();
    for option in OPTIONS {
        let Some(long) = option.long else { continue };
        if name == long {
            return Found::One(option, Form::Long);
        }
        if let Some(positive) = long.strip_prefix("no-") {
            if name == positive {
                return Found::One(option, Form::Negated);
            }
            if positive.starts_with(word) {
                prefixed.push((option, Form::Negated));
                continue;
            }
        }
        if long.starts_with(name) {
            prefixed.push((option, Form::Long));
        } else if "no-".starts_with(word) {
            prefixed.push((option, Form::Negated));
        } else if let Some(negated) = name.strip_prefix("no-") {
            if negated == long {
                return Found::One(option, Form::Negated);
            }
            if long.starts_with(&word[3..]) {
                prefixed.push((option, Form::Negated));
            }
        }
    }
    // What a newer perf brought does not take from what scripts abbreviate.
    if prefixed.iter().any(|(option, _)| option.since.is_empty()) {
        prefixed.retain(|(option, _)| option.since.is_empty());
    }
    match prefixed.as_slice() {
        [] => Found::None,
        [(option, form)] => Found::One(option, *form),
        [.., a, b] => {
            let show = |(option, form): &(&OptionSpec, Form)| {
                let no = if *form == Form::Negated { "no-" } else { "" };
                format!("--{no}{}", option.key())
            };
            Found::Ambiguous(format!(
                " Error: Ambiguous option: {word} (could be {} or {})\n",
                show(a),
                show(b)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Result<(Vec<String>, usize), String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut all = Vec::new();
        let rest = parse(&words, &mut |g| {
            let no = if g.unset { "!" } else { "" };
            all.push(match g.value {
                Some(value) => format!("{no}{}={value}", g.key),
                None => format!("{no}{}", g.key),
            });
            Ok(())
        });
        match rest {
            Ok(rest) => Ok((all, rest)),
            Err(Stop::Error { text, .. }) => Err(text.lines().next().unwrap_or("").to_owned()),
            Err(Stop::Listed(text)) => Err(text),
        }
    }

    fn words(line: &str) -> Vec<String> {
        given(line).unwrap().0
    }

    #[test]
    fn every_way_to_write_an_option() {
        assert_eq!(words("-agF99 x -g"), ["all-cpus", "g", "freq=99"]);
        assert_eq!(
            words("-F 99 --freq=7 --fre 8"),
            ["freq=99", "freq=7", "freq=8"]
        );
        assert_eq!(
            words("--namespace --no-buffer"),
            ["namespaces", "no-buffering"]
        );
        assert_eq!(
            words("--inherit --no-inherit"),
            ["!no-inherit", "no-inherit"]
        );
        assert_eq!(words("--no-no-buildid"), ["!no-buildid"]);
        assert_eq!(words("--no-group --inh"), ["!group", "!no-inherit"]);
        assert_eq!(
            words("-z -z9 -z 3"),
            [
                "compression-level=",
                "compression-level=9",
                "compression-level="
            ]
        );
        assert_eq!(
            words("--call-g dwarf,5 -e a -e b"),
            ["call-graph=dwarf,5", "event=a", "event=b"]
        );
        assert_eq!(words("--freq="), ["freq="]);
        assert_eq!(given("-a -- -g").unwrap().1, 2);
        assert_eq!(given("-a ls -g").unwrap().1, 1);
        assert_eq!(given("-").unwrap().1, 0);
    }

    #[test]
    fn mistakes_in_perfs_words() {
        for (line, said) in [
            ("--freq", " Error: option `freq' requires a value"),
            ("-F", " Error: switch `F' requires a value"),
            ("--nosuch", "  Error: unknown option `nosuch'"),
            ("-aXg", "  Error: unknown switch `X'"),
            ("-c x", " Error: switch `c' expects a numerical value"),
            (
                "-c -5",
                " Error: switch `c' expects an unsigned numerical value",
            ),
            (
                "--inherit=3",
                " Error: option `no-no-inherit' takes no value",
            ),
            (
                "--all-user --all-kernel",
                " Error: option `all-kernel' cannot be used with all-user",
            ),
            (
                "-no-inherit",
                " Error: did you mean `--no-inherit` (with two dashes ?)",
            ),
        ] {
            assert_eq!(given(line).unwrap_err(), said, "{line}");
        }
    }
}
