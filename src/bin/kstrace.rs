//! The command `kstrace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kstrace::cli::main()
}
