//! How it is used: texts made from the table.

use super::option::OptionSpec;
use super::table::OPTIONS;
use std::fmt::Write;

const USAGES: [&str; 2] = [
    "perf record [<options>] [<command>]",
    "perf record [<options>] -- <command> [<options>]",
];
/// Column at which texts about options begin.
const HELP_COLUMN: usize = 26;

fn head() -> String {
    format!("\n Usage: {}\n    or: {}\n\n", USAGES[0], USAGES[1])
}

/// All options, sorted by letter, then by name; only those about `words` if there are any.
pub(crate) fn full(error: &str, words: &[String]) -> String {
    let mut text = String::new();
    if !error.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  Error: {error}");
    }
    text.push_str(&head());
    let mut options: Vec<&OptionSpec> = OPTIONS.iter().collect();
    options.sort_by_key(|o| {
        let letter = o.short.map_or('{', |c| c.to_ascii_lowercase());
        (letter, o.long.unwrap_or(""))
    });
    for option in options {
        if words.is_empty() || words.iter().any(|w| is_about(option, w)) {
            line(&mut text, option);
        }
    }
    text.push('\n');
    text
}

fn is_about(option: &OptionSpec, word: &str) -> bool {
    if let Some(name) = word.strip_prefix("--") {
        return option.long == Some(name);
    }
    if let Some(letters) = word.strip_prefix('-') {
        return option.short.is_some() && letters.chars().next() == option.short;
    }
    let lower = word.to_lowercase();
    word.chars().eq(option.short)
        || option.long.is_some_and(|long| long.contains(word))
        || option.help.to_lowercase().contains(&lower)
        || option.shown.to_lowercase().contains(&lower)
}

/// The usage and the options that `about` may mean: a letter, or a (prefix of a) name.
pub(crate) fn of_option(about: &str, short: bool) -> String {
    let mut text = head();
    for option in OPTIONS {
        let is_meant = match (short, option.short, option.long) {
            (true, letter, _) => letter.is_some() && letter == about.chars().next(),
            (false, _, Some(long)) => {
                long.starts_with(about)
                    || about
                        .strip_prefix("no-")
                        .is_some_and(|name| long.starts_with(name))
            }
            (false, ..) => false,
        };
        if is_meant {
            line(&mut text, option);
            if short {
                break;
            }
        }
    }
    text
}

/// One option, without the usage.
pub(crate) fn of_option_alone(option: &OptionSpec) -> String {
    let mut text = String::new();
    line(&mut text, option);
    text
}

/// `--list-opts`.
pub(crate) fn list() -> String {
    let names = OPTIONS.iter().filter_map(|o| o.long);
    let mut text: String = names.map(|n| format!("--{n} ")).collect();
    text.push('\n');
    text
}

fn line(text: &mut String, option: &OptionSpec) {
    let start = text.len();
    text.push_str("    ");
    match (option.short, option.long) {
        (Some(letter), Some(long)) => {
            let _ = write!(text, "-{letter}, --{long}");
        }
        (Some(letter), None) => {
            let _ = write!(text, "-{letter}");
        }
        (None, Some(long)) => {
            let _ = write!(text, "    --{long}");
        }
        (None, None) => return,
    }
    match (option.shown, option.optional, option.long) {
        ("", ..) => {}
        (shown, Some(_), Some(_)) => {
            let _ = write!(text, "[={shown}]");
        }
        (shown, ..) => {
            let _ = write!(text, " {shown}");
        }
    }
    let width = text.len() - start;
    if width + 2 > HELP_COLUMN {
        let _ = write!(text, "\n{:HELP_COLUMN$}", "");
    } else {
        let _ = write!(text, "{:1$}", "", HELP_COLUMN - width);
    }
    text.push_str(option.help);
    if !option.since.is_empty() {
        let _ = write!(text, " (perf {})", option.since);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_options_stand_where_programs_look_for_them() {
        let text = full("", &[]);
        for line in [
            "    -a, --all-cpus        ",
            "    -g                    ",
            "        --sample-cpu      ",
            "        --switch-events   ",
            "    -z, --compression-level[=<n>]\n                          ",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        let some = full("", &["comp".to_owned()]);
        assert!(some.contains("--compression-level") && !some.contains("--freq"));
    }

    #[test]
    fn usage_of_one_option() {
        assert!(of_option("F", true).ends_with("samples in a second\n"));
        let text = of_option("switch-output", false);
        assert!(text.contains("--switch-output-event") && text.contains("--switch-output["));
        assert!(!of_option("freq=3", false).contains("-F"));
    }
}
