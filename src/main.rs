//! The `hypernode` binary: its arguments go to the library, whose answer is the exit code.

use std::process::ExitCode;

use hypernode::cli::{self, Exit};

#[allow(clippy::disallowed_methods, reason = "here is where arguments are read")]
fn main() -> ExitCode {
    // What has happened is said as ever; what is left to tell the caller is that it is our bug. It is told from here, as
    // boards run a binary that is built without unwinding.
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        say(what);
        std::process::exit(i32::from(Exit::Bug as u8));
    }));
    let arguments = std::env::args_os().skip(1);
    cli::run(arguments).into()
}
