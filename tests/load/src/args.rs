//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: kstrace-load --mode MODE [--n N] [--rate R] [--cpu C] [--lat] [--seed-seq S]
                    [--sleep-ms MS] [--threads T] [--json FILE] [--exit STATUS]
  --mode syscall  N system calls getppid(MAGIC, seq), seq from S: N raw_syscalls:sys_enter
         switch   N round trips of two processes over pipes: 2N sched:sched_switch on one CPU
         spin     N times 100 ns of computing: no events
         fork     N children, each gone at once: N sched:sched_process_fork
         file     N files made, written, closed and removed: N of each of openat, write, close, unlink
         idle     N milliseconds of sleep
  --rate R        so many calls a second (syscall only), paced without system calls
  --lat           time every call (implied by --rate)
  --threads T     every thread makes N calls (syscall only; without --lat and --rate)
  --cpu C         run on that CPU only
  --sleep-ms MS   sleep so long before beginning
  --exit STATUS   end with that status";

/// Which kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Syscall,
    Switch,
    Spin,
    Fork,
    File,
    Idle,
}

impl Mode {
    const ALL: [Mode; 6] = [
        Mode::Syscall,
        Mode::Switch,
        Mode::Spin,
        Mode::Fork,
        Mode::File,
        Mode::Idle,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Mode::Syscall => "syscall",
            Mode::Switch => "switch",
            Mode::Spin => "spin",
            Mode::Fork => "fork",
            Mode::File => "file",
            Mode::Idle => "idle",
        }
    }
}

/// The load asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) mode: Mode,
    pub(crate) n: u64,
    pub(crate) rate_per_s: f64,
    pub(crate) cpu: Option<usize>,
    pub(crate) latencies: bool,
    pub(crate) first_seq: u64,
    pub(crate) threads: u64,
    pub(crate) sleep_ms: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) exit_status: u8,
}

/// What the command line means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parsed {
    Load(Load),
    Help,
}

pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Parsed, String> {
    let mut load = Load {
        mode: Mode::Syscall,
        n: 1_000_000,
        rate_per_s: 0.0,
        cpu: None,
        latencies: false,
        first_seq: 0,
        threads: 1,
        sleep_ms: 0,
        json: None,
        exit_status: 0,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match word.as_str() {
            "--mode" => {
                let name = value()?;
                load.mode = Mode::ALL
                    .into_iter()
                    .find(|m| m.word() == name)
                    .ok_or_else(|| format!("--mode: '{name}' is none of {}", mode_words()))?;
            }
            "--n" => load.n = number(&word, &value()?)?,
            "--rate" => load.rate_per_s = number(&word, &value()?)?,
            "--cpu" => load.cpu = Some(number(&word, &value()?)?),
            "--seed-seq" => load.first_seq = number(&word, &value()?)?,
            "--threads" => load.threads = number(&word, &value()?)?,
            "--sleep-ms" => load.sleep_ms = number(&word, &value()?)?,
            "--exit" => load.exit_status = number(&word, &value()?)?,
            "--json" => load.json = Some(PathBuf::from(value()?)),
            "--lat" => load.latencies = true,
            "-h" | "--help" => return Ok(Parsed::Help),
            _ => return Err(format!("unknown option '{word}'")),
        }
    }
    if !load.rate_per_s.is_finite() || load.rate_per_s < 0.0 {
        return Err(format!("--rate: {} is no rate", load.rate_per_s));
    }
    load.latencies |= load.rate_per_s > 0.0;
    if load.latencies && load.mode != Mode::Syscall {
        return Err(format!(
            "--lat and --rate: not with --mode {}",
            load.mode.word()
        ));
    }
    if load.threads == 0 || (load.threads > 1 && (load.latencies || load.mode != Mode::Syscall)) {
        return Err("--threads: 1 or more, with --mode syscall alone".to_owned());
    }
    Ok(Parsed::Load(load))
}

fn number<T: FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option}: '{text}' is no number in range"))
}

fn mode_words() -> String {
    Mode::ALL.map(Mode::word).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<Load, String> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Parsed::Load(load) => Ok(load),
            Parsed::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn options_are_read() {
        let l = load("--mode syscall --n 5 --rate 1000 --cpu 1 --seed-seq 7 --exit 3").unwrap();
        assert_eq!(
            (l.mode, l.n, l.cpu, l.first_seq, l.exit_status),
            (Mode::Syscall, 5, Some(1), 7, 3)
        );
        assert!(l.latencies, "a rate implies latencies");
        assert_eq!(load("--help").unwrap_err(), "help");
    }

    #[test]
    fn nonsense_is_refused() {
        for (line, says) in [
            ("--mode sleep", "'sleep' is none of syscall, switch"),
            ("--n", "--n wants a value"),
            ("--n -1", "--n: '-1' is no number"),
            ("--rate nan", "no rate"),
            ("--exit 256", "--exit"),
            ("--mode fork --lat", "not with --mode fork"),
            ("--threads 0", "--threads"),
            ("--what", "unknown option"),
        ] {
            let problem = load(line).unwrap_err();
            assert!(problem.contains(says), "{line}: {problem}");
        }
    }
}
