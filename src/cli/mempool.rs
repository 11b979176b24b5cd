//! `mempool`: the messages that wait for a block.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::exit::Exit;
use super::failure::Outcome;
use super::output::Output;
use super::table::Table;
use crate::shell::document::MempoolDocument;

/// List the messages that wait for a block.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "mempool")]
pub struct Mempool {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

impl Mempool {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        if self.json {
            return api.print("/v1/mempool", out);
        }
        let answer: MempoolDocument = api.value("/v1/mempool")?;
        let mut table = Table::new(&["id", "kind", ">round", "sender"]);
        for entry in answer.messages {
            let round = entry.round.to_string();
            table.row(vec![entry.id.to_string(), entry.kind, round, entry.sender]);
        }
        out.line(table.text())?;
        Ok(Exit::Done)
    }
}
