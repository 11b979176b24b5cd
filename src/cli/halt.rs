//! `halt show|clear`: what stopped a node for good, and letting it go on (`docs/operating.md`).

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::api::{self, Api};
use super::config::{Config, Layers};
use super::duration::words;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::machine::halt;
use crate::shell::clock::SystemClock;
use crate::shell::document::{Document, Evidence, HaltDocument};
use crate::shell::driver::RunError;
use crate::shell::store::{Store, StoreError};
use crate::types::seal::Checkpoint;

/// Show or clear what a node does not go on from: contradictions between seals, or between a seal and its own rules.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "halt")]
pub struct Halt {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do about it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Show(Show),
    Clear(Clear),
}

/// Show why a node has halted, with the evidence. It may run or not.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead; it runs
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object, with all the evidence
    #[argh(switch)]
    pub json: bool,
}

/// Let a stopped node go on when it starts again. It halts again if what it halted for is still there.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "clear")]
pub struct Clear {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object: what was cleared
    #[argh(switch)]
    pub json: bool,
}

impl Halt {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(Show { json, .. }) | Action::Clear(Clear { json, .. }) => *json,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Show(show) => show.run(out),
            Action::Clear(clear) => clear.run(out),
        }
    }
}

impl Show {
    fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let text = match api.text("/v1/halt") {
            Err(failure) if failure.is_not_running() && self.api.is_none() => {
                let store = open(&configuration(self.config.as_deref())?)?;
                let document = read(&store)?;
                close(store)?;
                to_json(&document)
            }
            text => text?,
        };
        if self.json {
            out.line(text)?;
            return Ok(Exit::Done);
        }
        let document: HaltDocument = api::parse(&text)?;
        match &document.evidence {
            Some(evidence) => print(evidence, out)?,
            None if document.unreadable => {
                out.line("halted, and the record of it cannot be read: the node does not start.")?;
                out.line("What to do: docs/operating.md#halt")?;
            }
            None => out.line("not halted")?,
        }
        Ok(Exit::Done)
    }
}

impl Clear {
    fn run(self, out: &mut Output) -> Outcome {
        let mut store = open(&configuration(self.config.as_deref())?)?;
        let document = read(&store)?;
        // Also a record that cannot be read.
        store.persist(&halt::clear()).map_err(refused)?;
        close(store)?;
        if self.json {
            out.line(to_json(&document))?;
        } else if document.unreadable {
            out.line("cleared: a record of a halt that could not be read; the node starts again")?;
        } else if document.halted {
            out.line("cleared: the node goes on when it is started again")?;
        } else {
            out.line("nothing to clear: this node has not halted")?;
        }
        Ok(Exit::Done)
    }
}

fn print(evidence: &Evidence, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!("halted: {} ({})", evidence.message, evidence.code))?;
    let ago = words(SystemClock::start().now().wall.since(evidence.at));
    out.line(format_args!("{:<12} {} (unix seconds), {ago} ago", "at", evidence.at.0 / 1000))?;
    let checkpoint = |name: &str, of: &Checkpoint| {
        let Checkpoint { index, round, height, block, state, .. } = of;
        let place = format!("seal {index}, round {round}, height {height}");
        format!("{name:<12} {place}\n{:<12} block {block}\n{:<12} state {state}", "", "")
    };
    for quorum in &evidence.certificates {
        let votes = quorum.signatures.len();
        out.line(checkpoint("certificate", &quorum.checkpoint))?;
        out.line(format_args!("{:<12} {votes} of {} voters", "", evidence.voters.len()))?;
    }
    if let Some(listed) = &evidence.listed {
        out.line(checkpoint("listed", listed))?;
    }
    if let Some(state) = &evidence.state {
        out.line(format_args!("{:<12} {state}", "our state"))?;
    }
    out.line("The node forges and votes no more. `halt show --json` has all the evidence: give it to the operators of")?;
    out.line("the other masternodes before you do anything. What to do: docs/operating.md#halt")
}

fn configuration(file: Option<&Path>) -> Result<Config, Failure> {
    Layers::read(file)?.validate()
}

fn open(config: &Config) -> Result<Store, Failure> {
    let dir = config.data_dir.join("chain");
    if !dir.exists() {
        let message = format!("there is no database in {}", dir.display());
        return Err(Failure::new(Exit::Missing, "database_missing", message)
            .action("name the configuration of the node with --config"));
    }
    Store::open(&config.data_dir, config.network.id(), config.bounds.map_bytes).map_err(refused)
}

fn read(store: &Store) -> Result<HaltDocument, Failure> {
    let reader = store.reader();
    let document = match halt::Halt::open(&reader) {
        Ok(halt) => HaltDocument::new(halt.record()),
        Err(_) => HaltDocument::unreadable(),
    };
    reader.finish().map_err(refused)?;
    Ok(document)
}

/// A database that was not closed in order by its node is still to be checked by it.
fn close(store: Store) -> Result<(), Failure> {
    if store.was_clean() { store.close().map_err(refused) } else { Ok(()) }
}

fn to_json(document: &HaltDocument) -> String {
    let text = Document::new("hypernode.halt/1", document).to_json();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

fn refused(error: StoreError) -> Failure {
    let error = RunError::Store(error);
    let exit = Exit::from_code(error.exit_code());
    Failure::new(exit, error.code(), "the database cannot be used")
        .because(&error)
        .action(error.action())
}
