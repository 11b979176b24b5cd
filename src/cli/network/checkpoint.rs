//! `network checkpoint`: what to list in the network file when voters are gone for good (`docs/operating.md`).

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::cli::api::Api;
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::number::whole;
use crate::cli::output::Output;
use crate::shell::document::ListingDocument;

/// Print a checkpoint for the network file, with new voters: the way out when more than a third of the weight is gone
/// for good. A running node computes it from its chain.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "checkpoint")]
pub struct Checkpoint {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// its block is the last one up to the end of this round; what is above it is lost
    #[argh(option, from_str_fn(whole))]
    pub round: u64,

    /// its voters are the active masternodes that a block has shown since this round
    #[argh(option, from_str_fn(whole))]
    pub seen_since: u64,
}

impl Checkpoint {
    /// Prints it as it is added to the file.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let Checkpoint { round, seen_since, .. } = self;
        let path = format!("/v1/checkpoint?round={round}&seen_since={seen_since}");
        if self.json {
            return api.print(&path, out);
        }
        let listing: ListingDocument = api.value(&path)?;
        let ListingDocument { index, id, electorate, toml, .. } = listing;
        let voters = electorate.len();
        out.line(format_args!("# seal {index}, id {id}, voters: {voters}"))?;
        out.line(toml.trim_end())?;
        Ok(Exit::Done)
    }
}
