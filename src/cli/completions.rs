//! `completions SHELL`: what a shell needs to complete our commands and their options, made of the same tables as the help.

use std::str::FromStr;

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::failure::Outcome;
use super::output::Output;
use super::tree;

mod bash;
mod fish;
mod zsh;

/// Print completions for a shell: bash, zsh or fish. For bash: `source <(hypernode completions bash)`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "completions")]
pub struct Completions {
    /// bash, zsh or fish
    #[argh(positional)]
    pub shell: Shell,
}

/// A shell that we write for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(text: &str) -> Result<Shell, String> {
        match text {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            "fish" => Ok(Shell::Fish),
            _ => Err(format!("{text:?} is not bash, zsh or fish")),
        }
    }
}

impl Completions {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let entries = tree::entries();
        out.text(match self.shell {
            Shell::Bash => bash::script(&entries),
            Shell::Zsh => zsh::script(&entries),
            Shell::Fish => fish::script(&entries),
        })?;
        Ok(Exit::Done)
    }
}
