//! `sign-state show|export|import|wait`: what a key has signed, and whether that is all (`docs/operating.md`).
//!
//! Whoever changes it holds its lock: a node that runs is never changed under its feet.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::config::{Config, Layers};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::file;
use super::output::{Output, note};
use super::secret;
use crate::shell::driver::RunError;
use crate::shell::guard::{Guard, GuardError, Look};
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::sign::{self, Doubt, SignRecord, Standing};
use document::Document;

pub mod document;

/// Bytes of an export, many times over.
const DOCUMENT_MAX: u64 = 64 * 1024;

/// Show, move or repair the sign state: what keeps this key from signing twice.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "sign-state")]
pub struct SignState {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Show(Show),
    Export(Export),
    Import(Import),
    Wait(Wait),
}

/// Print what was signed last, and whether that is known to be all. The node may run.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Write the sign state of a stopped node to standard output, as JSON for `import`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "export")]
pub struct Export {
    /// sign nothing from here any more: the key goes on elsewhere
    #[argh(switch)]
    pub retire: bool,

    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,
}

/// Take an export into the sign state of a stopped node, whichever of the two signed later. You say with it that nothing
/// was signed after the export, and that no other node has this key.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "import")]
pub struct Import {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the export; standard input when it is not given
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

/// Let a stopped node, when it runs again, listen for two full rounds before it signs. You say with it that no other node
/// has this key.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "wait")]
pub struct Wait {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

impl SignState {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(Show { json, .. })
            | Action::Import(Import { json, .. })
            | Action::Wait(Wait { json, .. }) => *json,
            // Its output is kept in a file: what is wrong belongs elsewhere.
            Action::Export(_) => false,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Show(Show { config, json }) => {
                let config = configuration(config.as_deref())?;
                let look = Guard::look(&config.sign_dir).map_err(refused)?;
                show(out, json, &look, &config.network)
            }
            Action::Export(Export { retire, config }) => export(out, retire, config.as_deref()),
            Action::Import(Import { config, json, file }) => {
                import(out, json, config.as_deref(), file.as_deref())
            }
            Action::Wait(Wait { config, json }) => wait(out, json, config.as_deref()),
        }
    }
}

/// The sign state of a key made just now: it has signed nothing, and need not listen before it does.
pub fn begin(dir: &Path, network: &Network, key: PublicKey) -> Result<(), Failure> {
    Guard::begin(dir, network.id(), key).map(|_| ()).map_err(refused)
}

fn export(out: &mut Output, retire: bool, config: Option<&Path>) -> Outcome {
    let config = configuration(config)?;
    let key = secret::read(&config.key)?.public();
    let mut guard =
        Guard::open_held(&config.sign_dir, config.network.id(), key).map_err(refused)?;
    let state = guard.state();
    if let Standing::Unproven(doubt) = state.standing {
        // Moved elsewhere, it would look as if nothing were missing.
        if !(retire && doubt == Doubt::Retired) {
            return Err(
                Failure::new(Exit::Failed, "unproven", doubt.to_string()).action(advice(doubt))
            );
        }
    }
    let document = Document::new(&config.network, key, &state);
    if retire {
        let standing = Standing::Unproven(Doubt::Retired);
        record(&mut guard, sign::SignState { standing, ..state })?;
        note("this node signs nothing any more, until `hypernode sign-state import` or `wait`");
    }
    out.line(document.to_json())?;
    Ok(Exit::Done)
}

fn import(out: &mut Output, json: bool, config: Option<&Path>, file: Option<&Path>) -> Outcome {
    let config = configuration(config)?;
    let text = match file {
        Some(path) => file::read(path, DOCUMENT_MAX, "export")?,
        None => file::standard_input(DOCUMENT_MAX)?,
    };
    let key = secret::read(&config.key)?.public();
    let brought = Document::parse(&text)
        .and_then(|document| document.state(&config.network, key))
        .map_err(|why| {
            Failure::new(Exit::Damaged, "bad_export", format!("this is not to be imported: {why}"))
                .action("nothing was changed; export again where this key was used last")
        })?;
    let mut guard = Guard::open(&config.sign_dir, config.network.id(), key).map_err(refused)?;
    let joined = guard.state().joined(&brought).map_err(|error| {
        Failure::new(Exit::Damaged, "signed_twice", "the two cannot be of one node")
            .because(&*error)
            .action("this key has signed twice: keep all its nodes down and find out which")
    })?;
    record(&mut guard, sign::SignState { standing: Standing::Proven, ..joined })?;
    finish(out, json, &guard, &config, key)
}

fn wait(out: &mut Output, json: bool, config: Option<&Path>) -> Outcome {
    let config = configuration(config)?;
    let key = secret::read(&config.key)?.public();
    let (dir, id) = (&config.sign_dir, config.network.id());
    let mut guard = match Guard::open(dir, id, key) {
        Err(GuardError::Damaged { .. }) => {
            let aside = Guard::put_aside(dir).map_err(refused)?;
            note(format_args!("the damaged file is now {}", aside.display()));
            Guard::open(dir, id, key)
        }
        opened => opened,
    }
    .map_err(refused)?;
    let state = guard.state();
    record(&mut guard, sign::SignState { standing: Standing::Waiting, ..state })?;
    finish(out, json, &guard, &config, key)
}

fn record(guard: &mut Guard, state: sign::SignState) -> Result<(), Failure> {
    guard.record(SignRecord::Correction(state)).map_err(refused)
}

fn finish(
    out: &mut Output,
    json: bool,
    guard: &Guard,
    config: &Config,
    public_key: PublicKey,
) -> Outcome {
    let look = Look { network_id: config.network.id(), public_key, state: guard.state() };
    show(out, json, &look, &config.network)
}

fn show(out: &mut Output, json: bool, look: &Look, network: &Network) -> Outcome {
    let Look { network_id, public_key, state } = look;
    if json {
        let document = Document::new(network, *public_key, state).with_id(*network_id);
        out.line(document.to_json())?;
        return Ok(Exit::Done);
    }
    let name = if *network_id == network.id() { &network.name } else { "another network" };
    out.line(format_args!("key       {public_key}"))?;
    out.line(format_args!("network   {name} ({network_id})"))?;
    match &state.block {
        None => out.line("block     none")?,
        Some(block) => {
            let (round, slot, hash) = (block.round, block.slot, block.hash);
            out.line(format_args!("block     round {round} slot {slot}, {hash}"))?;
        }
    }
    match &state.vote {
        None => out.line("vote      none")?,
        Some(vote) => {
            let value = vote.value.map_or("nothing".to_owned(), |value| value.to_string());
            out.line(format_args!("vote      {}, for {value}", SignRecord::Vote(*vote)))?;
        }
    }
    let standing = state.standing;
    let doubt = if let Standing::Unproven(doubt) = standing { Some(doubt) } else { None };
    out.line(format_args!("standing  {}: {standing}", document::word(standing)))?;
    if let Some(doubt) = doubt {
        out.line(format_args!("          nothing is signed: {}", advice(doubt)))?;
    }
    Ok(Exit::Done)
}

/// What the owner can do about a doubt.
pub fn advice(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Missing | Doubt::Older | Doubt::Copied => {
            "make sure that no other node has this key, stop this one, then `hypernode sign-state import` what the \
             key signed last, or `hypernode sign-state wait`"
        }
        Doubt::Retired => {
            "the key goes on elsewhere; to go on here, bring back what it signs there with `hypernode sign-state import`"
        }
        Doubt::Elsewhere => {
            "find the other node that has this key and end it for good, then `hypernode sign-state wait`"
        }
    }
}

fn configuration(file: Option<&Path>) -> Result<Config, Failure> {
    Layers::read(file)?.validate()
}

fn refused(error: GuardError) -> Failure {
    let error = RunError::Guard(error);
    let exit = Exit::from_code(error.exit_code());
    Failure::new(exit, error.code(), "the sign state cannot be used")
        .because(&error)
        .action(error.action())
}
