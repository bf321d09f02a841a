//! The daemon `kstraced`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kstrace::daemon::main()
}
