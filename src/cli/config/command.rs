//! `config show|check|example`: what counts and where it comes from, all that is wrong, and every key with a comment.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::fault::Fault;
use super::raw::{Key, Place};
use super::{FILE, Layers};
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::table::Table;

/// Every key with what is built in.
pub const EXAMPLE: &str = include_str!("../../../config/hypernode.toml");

/// Show the configuration that counts, check it, or print an example.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "config")]
pub struct Config {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Show(Show),
    Check(Check),
    Example(Example),
}

/// Show every key, the value that counts, and where it comes from. Paths are shown from the root.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// configuration; /etc/hypernode/hypernode.toml otherwise
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Say all that is wrong with a configuration, where, and what to do; exit code 78 when something is. Keys, ledgers and
/// directories need not exist yet.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// configuration; /etc/hypernode/hypernode.toml otherwise
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Print a configuration of every key with what is built in, and what it is for.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "example")]
pub struct Example {}

#[derive(Serialize)]
struct Report<'a> {
    /// Null when there is none.
    file: Option<&'a Path>,
    settings: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    key: &'static str,
    value: Option<String>,
    #[serde(flatten)]
    origin: Origin,
}

/// Where a value was read: a file and its line, or a variable, or neither.
#[derive(Serialize)]
struct Origin {
    source: &'static str,
    file: Option<PathBuf>,
    line: Option<usize>,
    variable: Option<String>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    file: Option<&'a Path>,
    valid: bool,
    errors: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    #[serde(flatten)]
    origin: Origin,
    key: Option<String>,
    message: String,
    action: String,
}

impl Config {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(Show { json, .. }) | Action::Check(Check { json, .. }) => *json,
            Action::Example(Example {}) => false,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Show(Show { config, json }) => show(out, json, config.as_deref()),
            Action::Check(Check { config, json }) => check(out, json, config.as_deref()),
            Action::Example(Example {}) => out.text(EXAMPLE).map(|()| Exit::Done),
        }
    }
}

fn show(out: &mut Output, json: bool, file: Option<&Path>) -> Outcome {
    let layers = Layers::read(file)?;
    if json {
        let row = |key: Key| {
            let (value, place) = layers.effective(key);
            Row { key: key.name(), value, origin: origin(place) }
        };
        let settings = Key::ALL.into_iter().map(row).collect();
        out.json("config.show", &Report { file: layers.file.as_deref(), settings })?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["key", "value", "from"]);
    for key in Key::ALL {
        let (value, place) = layers.effective(key);
        let from = place.map_or("built in".to_owned(), Place::to_string);
        table.row(vec![key.name().to_owned(), value.unwrap_or("none".to_owned()), from]);
    }
    out.line(table.text())?;
    Ok(Exit::Done)
}

fn check(out: &mut Output, json: bool, file: Option<&Path>) -> Outcome {
    let layers = Layers::read_leniently(file)?;
    let faults = layers.faults();
    let exit = if faults.is_empty() { Exit::Done } else { Exit::Configuration };
    if json {
        let verdict = Verdict {
            file: layers.file.as_deref(),
            valid: faults.is_empty(),
            errors: faults.into_iter().map(finding).collect(),
        };
        out.json("config.check", &verdict)?;
        return Ok(exit);
    }
    say(out, layers.file.as_deref(), &faults)?;
    Ok(exit)
}

fn say(out: &mut Output, file: Option<&Path>, faults: &[Fault]) -> Result<(), Failure> {
    let error = out.style().bad("error");
    for fault in faults {
        out.line(format_args!("{}: {error}: {}; {}", fault.place, fault.message(), fault.action))?;
    }
    match file {
        _ if !faults.is_empty() => Ok(()),
        Some(file) => out.line(format_args!("{}: valid", file.display())),
        None => out.line(format_args!("valid: there is no {FILE}, what is built in counts")),
    }
}

fn finding(fault: Fault) -> Finding {
    let origin = origin(Some(&fault.place));
    Finding { origin, key: fault.key, message: fault.why, action: fault.action }
}

fn origin(place: Option<&Place>) -> Origin {
    let (mut file, mut line, mut variable) = (None, None, None);
    let source = match place {
        None => "built_in",
        Some(Place::Line(path, number)) => {
            (file, line) = (Some(path.clone()), Some(*number));
            "file"
        }
        Some(Place::Environment(name)) => {
            variable = Some(name.clone());
            "environment"
        }
        Some(Place::Flag(_)) => "flag",
    };
    Origin { source, file, line, variable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::built_in;
    use crate::cli::config::raw::Raw;

    #[test]
    fn the_example_has_every_key_with_what_is_built_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hypernode.toml");
        std::fs::write(&file, EXAMPLE).expect("the folder is ours");
        let raw = Raw::read(&file).expect("it can be read");
        assert_eq!(raw.faults(), []);
        for key in Key::ALL {
            let text = raw.setting(key).map(|setting| setting.text.as_str());
            assert_eq!(text, built_in(key), "{}", key.name());
            let mut lines = EXAMPLE.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
            let head = format!("{} = ", key.name());
            assert!(lines.any(|line| line.starts_with(&head)), "no line for {}", key.name());
        }
    }
}
