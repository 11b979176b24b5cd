//! `version`: what this binary is.

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::exit::Exit;
use super::failure::Outcome;
use super::output::Output;

/// Say what this binary is: version, target, and commit where known.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "version")]
pub struct Version {
    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    target: &'static str,
    commit: Option<&'static str>,
}

impl Version {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            target: env!("HYPERNODE_TARGET"),
            commit: option_env!("HYPERNODE_COMMIT"),
        };
        if self.json {
            out.json("version", &report)?;
        } else {
            let commit = report.commit.map(|commit| format!(", commit {commit}"));
            let commit = commit.unwrap_or_default();
            out.line(format_args!("hypernode {} ({}{commit})", report.version, report.target))?;
        }
        Ok(Exit::Done)
    }
}
