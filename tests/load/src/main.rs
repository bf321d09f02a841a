//! `kstrace-load`: makes a known number of events and says how many, and what they cost.
//!
//! The tests count what a trace holds against what this program says it caused,
//! and the benchmarks take the cost of tracing from its own CPU time. Every
//! generated system call carries [`kernel::MAGIC`] as its first argument, so that
//! generated events and noise can be told apart in any format.
//!
//! One JSON line goes to standard output (or to `--json FILE`).

mod args;
mod generate;
mod kernel;
mod latency;
mod ticks;
mod usage;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let load = match args::parse(std::env::args().skip(1)) {
        Ok(args::Parsed::Load(load)) => load,
        Ok(args::Parsed::Help) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("kstrace-load: {problem}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&load) {
        Ok(()) => ExitCode::from(load.exit_status),
        Err(problem) => {
            eprintln!("kstrace-load: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: &args::Load) -> std::io::Result<()> {
    if let Some(cpu) = load.cpu {
        kernel::pin_to_cpu(cpu)?;
    }
    let line = generate::run(load)?;
    match &load.json {
        Some(path) => std::fs::write(path, format!("{line}\n")),
        None => writeln!(std::io::stdout(), "{line}"),
    }
}
