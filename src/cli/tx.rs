//! `tx`: one message, and the block that holds it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::address::chain::print_message;
use super::api::Api;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::whole;
use super::output::Output;
use crate::shell::document::FoundDocument;
use crate::types::clock::Height;
use crate::types::hash::Hash;

/// Show a message by its id: what it says, and the block that holds it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "tx")]
pub struct Tx {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// search the blocks from this height on; the last 1,000 by default
    #[argh(option, from_str_fn(whole))]
    pub from: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// id of the message, in hex
    #[argh(positional)]
    pub id: Hash,
}

impl Tx {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let mut from = self.from.map(Height);
        let mut first = None;
        loop {
            let query = from.map(|from| format!("?from={from}")).unwrap_or_default();
            let mut answer: FoundDocument = api.value(&format!("/v1/txs/{}{query}", self.id))?;
            let start = *first.get_or_insert(answer.searched.from);
            if let (None, Some(next)) = (&answer.found, answer.searched.next) {
                from = Some(next);
                continue;
            }
            answer.searched.from = start;
            let Some(found) = &answer.found else {
                let searched = answer.searched;
                let (id, to) = (&self.id, searched.to);
                let message =
                    format!("no block from {start} to {to} holds message {id}, nor the mempool");
                let failure = Failure::new(Exit::Failed, "not_found", message);
                return Err(failure.action("search more of the chain with --from HEIGHT"));
            };
            if self.json {
                out.json("message", &answer)?;
            } else {
                print_message(found, out)?;
            }
            return Ok(Exit::Done);
        }
    }
}
