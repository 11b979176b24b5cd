//! The `hypernode` binary: its arguments go to the library, whose answer is the exit code.

use std::process::ExitCode;

use hypernode::cli::{self, Exit};

#[allow(clippy::disallowed_methods, reason = "here is where arguments are read")]
fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    // The panic hook has said what happened by then; what is left to tell the caller is that it is our bug.
    std::panic::catch_unwind(|| cli::run(arguments)).unwrap_or(Exit::Bug).into()
}
