//! The forms a trace can have.

use clap::ValueEnum;
use std::path::Path;

/// A form of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// kstrace's own directory, which is a CTF trace
    #[value(name = "kst")]
    Native,
    /// A plain CTF 1.8 directory
    #[value(name = "ctf")]
    Ctf,
    /// A plain CTF 2 directory
    #[value(name = "ctf2")]
    Ctf2,
    /// perf's file, for `perf script`, `perf report` and all that read it
    #[value(name = "perf.data")]
    PerfData,
    /// trace-cmd's file, for `trace-cmd report` and KernelShark
    #[value(name = "trace.dat")]
    TraceDat,
    /// Perfetto's protocol buffers, for its user interface
    #[value(name = "perfetto")]
    Perfetto,
    /// One JSON object a line
    #[value(name = "jsonl")]
    JsonLines,
    /// Text, a line a record, as `kstrace report` prints it
    #[value(name = "text")]
    Text,
    /// Folded stacks: a line a stack, and how often it was seen
    #[value(name = "folded")]
    Folded,
    /// A flame graph
    #[value(name = "svg")]
    Svg,
}

/// Endings of names, longest first where one ends with another.
const ENDINGS: &[(&str, Format)] = &[
    ("perf.data", Format::PerfData),
    (".data", Format::PerfData),
    (".perf", Format::PerfData),
    (".dat", Format::TraceDat),
    (".kst", Format::Native),
    (".ctf", Format::Ctf),
    (".ctf2", Format::Ctf2),
    (".perfetto", Format::Perfetto),
    (".perfetto-trace", Format::Perfetto),
    (".pftrace", Format::Perfetto),
    (".pb", Format::Perfetto),
    (".jsonl", Format::JsonLines),
    (".ndjson", Format::JsonLines),
    (".txt", Format::Text),
    (".text", Format::Text),
    (".folded", Format::Folded),
    (".svg", Format::Svg),
];

impl Format {
    /// What the name of an output says.
    pub fn of_name(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?;
        ENDINGS
            .iter()
            .find(|(ending, _)| name.ends_with(ending))
            .map(|(_, format)| *format)
    }

    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Format::Native => "kst",
            Format::Ctf => "ctf",
            Format::Ctf2 => "ctf2",
            Format::PerfData => "perf.data",
            Format::TraceDat => "trace.dat",
            Format::Perfetto => "perfetto",
            Format::JsonLines => "jsonl",
            Format::Text => "text",
            Format::Folded => "folded",
            Format::Svg => "svg",
        }
    }

    /// Whether it is a directory rather than one file.
    pub fn is_directory(self) -> bool {
        matches!(self, Format::Native | Format::Ctf | Format::Ctf2)
    }

    /// The ending that names made by kstrace get.
    pub fn ending(self) -> &'static str {
        match self {
            Format::PerfData => "data",
            Format::TraceDat => "dat",
            Format::Perfetto => "pftrace",
            Format::Text => "txt",
            other => other.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_form() {
        for (name, format) in [
            ("perf.data", Format::PerfData),
            ("/tmp/x/perf.data", Format::PerfData),
            ("a.data", Format::PerfData),
            ("trace.dat", Format::TraceDat),
            ("a.kst", Format::Native),
            ("a.ctf2", Format::Ctf2),
            ("a.pftrace", Format::Perfetto),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), Some(format), "{name}");
        }
        assert_eq!(Format::of_name(Path::new("trace")), None);
        assert_eq!(Format::of_name(Path::new("-")), None);
    }

    #[test]
    fn words_are_those_of_the_command_line() {
        for format in Format::value_variants() {
            let value = format.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), format.word());
            let name = format!("x.{}", format.ending());
            assert_eq!(Format::of_name(Path::new(&name)), Some(*format));
        }
    }
}
