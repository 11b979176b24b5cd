//! `network show|check|checkpoint`: what a network is, what is wrong with the file of one, and what to list in it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::choice;
use super::duration::words;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::file;
use super::output::Output;
use crate::types::network::{Entry, Founder, Listed, Network as Subject, Source};
use checkpoint::Checkpoint;
use review::Finding;

mod checkpoint;
mod review;

/// Show a network, or check the file of one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "network")]
pub struct Network {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with a network.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Show(Show),
    Check(Check),
    Checkpoint(Checkpoint),
}

/// Show the parameters and founders of a network.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// main, test, or the path of a network file
    #[argh(option)]
    pub network: String,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Check a network file: errors, and what is allowed but hardly meant, each with its line.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the network file
    #[argh(positional)]
    pub file: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    network: &'a str,
    id: String,
    magic: u32,
    origin: u64,
    slot_seconds: u64,
    slots: u32,
    seal_slots: u32,
    first_round: u64,
    source: Source,
    parameters_digest: String,
    founders: &'a [Founder],
    checkpoints: Vec<ListedRow>,
    parameters: &'a [Entry],
}

/// A listed checkpoint.
#[derive(Serialize)]
struct ListedRow {
    index: u64,
    round: u64,
    height: u64,
    block: String,
    /// The identity that blocks name it by.
    id: String,
    /// How many voters it brings; null when they are those that the chain says.
    electorate: Option<usize>,
}

#[derive(Serialize)]
struct Verdict {
    file: PathBuf,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Network {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(Show { json, .. })
            | Action::Check(Check { json, .. })
            | Action::Checkpoint(Checkpoint { json, .. }) => *json,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Show(show) => show.run(out),
            Action::Check(check) => check.run(out),
            Action::Checkpoint(checkpoint) => checkpoint.run(out),
        }
    }
}

impl Show {
    fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        if self.json {
            out.json("network.show", &report(&network))?;
        } else {
            print(&network, out)?;
        }
        Ok(Exit::Done)
    }
}

impl Check {
    fn run(self, out: &mut Output) -> Outcome {
        let text = file::read(&self.file, choice::FILE_MAX, "network file")?;
        let (errors, warnings) = review::review(&text);
        let exit = if errors.is_empty() { Exit::Done } else { Exit::Configuration };
        if self.json {
            let valid = errors.is_empty();
            out.json("network.check", &Verdict { file: self.file, valid, errors, warnings })?;
            return Ok(exit);
        }
        let name = self.file.display();
        let style = out.style();
        let errors = errors.iter().map(|finding| (style.bad("error"), finding));
        let warnings = warnings.iter().map(|finding| (style.warn("warning"), finding));
        for (kind, finding) in errors.chain(warnings) {
            match finding.line {
                Some(line) => out.line(format_args!("{name}:{line}: {kind}: {finding}"))?,
                None => out.line(format_args!("{name}: {kind}: {finding}"))?,
            }
        }
        if let Ok(network) = Subject::parse(&text) {
            let (founders, id) = (network.founders.len(), network.id());
            out.line(format_args!(
                "{name}: valid: network {}, id {id}, founders: {founders}",
                network.name
            ))?;
        }
        Ok(exit)
    }
}

fn report(network: &Subject) -> Report<'_> {
    let clock = network.clock;
    Report {
        network: &network.name,
        id: network.id().to_string(),
        magic: network.magic,
        origin: clock.origin.0 / 1000,
        slot_seconds: clock.slot_ms / 1000,
        slots: clock.slots,
        seal_slots: clock.seal_slots,
        first_round: network.first_round.0,
        source: network.source,
        parameters_digest: network.parameters_digest().to_string(),
        founders: &network.founders,
        checkpoints: network.checkpoints.iter().map(listed_row).collect(),
        parameters: network.entries(),
    }
}

fn listed_row(listed: &Listed) -> ListedRow {
    let checkpoint = &listed.checkpoint;
    ListedRow {
        index: checkpoint.index,
        round: checkpoint.round.0,
        height: checkpoint.height.0,
        block: checkpoint.block.0.to_string(),
        id: checkpoint.id().to_string(),
        electorate: listed.voters.as_ref().map(Vec::len),
    }
}

fn print(network: &Subject, out: &mut Output) -> Result<(), Failure> {
    let clock = network.clock;
    let (slot, round) = (words(clock.slot_ms), words(clock.round_ms()));
    out.line(format_args!("name         {}", network.name))?;
    out.line(format_args!("id           {}", network.id()))?;
    out.line(format_args!("magic        {:#010x}", network.magic))?;
    out.line(format_args!("origin       {} (unix seconds)", clock.origin.0 / 1000))?;
    let (slots, seal_slots) = (clock.slots, clock.seal_slots);
    out.line(format_args!("round        {slots} + {seal_slots} slots of {slot}: {round}"))?;
    out.line(format_args!("first round  {}", network.first_round))?;
    let source = match network.source {
        Source::List => "the list of founders",
        Source::Ledger => "the PoW ledger",
    };
    out.line(format_args!("registry     {source}"))?;
    if network.founders.is_empty() {
        out.line("founders     none: not launched yet")?;
    }
    for founder in &network.founders {
        let address = network.address_of(&founder.public_key);
        let (weight, endpoint) = (founder.weight, founder.endpoint());
        out.line(format_args!("founder      {address}  weight {weight}  {endpoint}"))?;
    }
    for row in network.checkpoints.iter().map(listed_row) {
        let ListedRow { index, round, height, block, id, electorate } = row;
        let brings = electorate.map_or(String::new(), |count| format!("  brings {count} voters"));
        out.line(format_args!("checkpoint   {index}  {id}{brings}"))?;
        out.line(format_args!("             round {round}, block {height} {block}"))?;
    }
    for entry in network.entries() {
        out.line("")?;
        out.line(format_args!("# parameters from round {}", entry.from_round))?;
        out.text(toml::to_string(&entry.values).expect("parameters are plain data"))?;
    }
    Ok(())
}
