//! `block`, `blocks` and `headers`: the chain as a node holds it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::{positive, whole};
use super::output::Output;
use super::table::Table;
use crate::shell::document::{BlockDocument, BlocksDocument, HeaderDocument, HeadersDocument};

/// Show a block of the best chain.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "block")]
pub struct Block {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// height of the block; genesis has 0
    #[argh(positional, from_str_fn(whole))]
    pub height: u64,
}

/// List blocks of the best chain with what they hold, the newest by default.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "blocks")]
pub struct Blocks {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// how many, 64 at most
    #[argh(option, from_str_fn(positive))]
    pub count: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// height of the first
    #[argh(positional, from_str_fn(whole))]
    pub height: Option<u64>,
}

/// List headers of the best chain, the newest by default.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "headers")]
pub struct Headers {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// height of the first
    #[argh(option, from_str_fn(whole))]
    pub start: Option<u64>,

    /// how many, 512 at most
    #[argh(option, from_str_fn(positive))]
    pub count: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

impl Block {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let path = format!("/v1/blocks/{}", self.height);
        if self.json {
            return api.print(&path, out);
        }
        let block: BlockDocument = api.value(&path)?;
        print_header(&block.header, out)?;
        out.line(format_args!("messages       {}", block.messages.len()))?;
        if !block.messages.is_empty() {
            let mut table = Table::new(&["id", "kind", ">round", "sender"]);
            for message in block.messages {
                let (id, round) = (message.id.to_string(), message.round.to_string());
                table.row(vec![id, message.kind, round, message.sender_address]);
            }
            out.line("")?;
            out.line(table.text())?;
        }
        Ok(Exit::Done)
    }
}

impl Blocks {
    /// Prints them, oldest first.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let path = list("/v1/blocks", self.height, self.count);
        if self.json {
            return api.print(&path, out);
        }
        let answer: BlocksDocument = api.value(&path)?;
        let mut table = Table::new(&[">height", ">round", ">slot", "hash", ">messages", "forger"]);
        for BlockDocument { header, messages } in answer.blocks {
            let number = |value: Option<String>| value.unwrap_or_default();
            table.row(vec![
                header.height.to_string(),
                number(header.round.map(|round| round.to_string())),
                number(header.slot.map(|slot| slot.to_string())),
                number(header.hash.map(|hash| hash.0.short())),
                messages.len().to_string(),
                header.forger_address.unwrap_or_else(|| "genesis".to_owned()),
            ]);
        }
        out.line(table.text())?;
        Ok(Exit::Done)
    }
}

/// The path of a list with what was asked for.
fn list(path: &str, start: Option<u64>, count: Option<u64>) -> String {
    let start = start.map(|start| format!("start={start}"));
    let count = count.map(|count| format!("count={count}"));
    let query: Vec<String> = [start, count].into_iter().flatten().collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

impl Headers {
    /// Prints them, oldest first.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let path = list("/v1/headers", self.start, self.count);
        if self.json {
            return api.print(&path, out);
        }
        let answer: HeadersDocument = api.value(&path)?;
        let mut table = Table::new(&[">height", "hash", ">round", ">slot", "forger"]);
        for header in answer.headers {
            table.row(vec![
                header.height.to_string(),
                header.hash.map(|hash| hash.to_string()).unwrap_or_default(),
                header.round.map(|round| round.to_string()).unwrap_or_default(),
                header.slot.map(|slot| slot.to_string()).unwrap_or_default(),
                header.forger_address.unwrap_or_else(|| "genesis".to_owned()),
            ]);
        }
        out.line(table.text())?;
        Ok(Exit::Done)
    }
}

fn print_header(header: &HeaderDocument, out: &mut Output) -> Result<(), Failure> {
    let mut put = |name: &str, value: Option<String>| match value {
        Some(value) => out.line(format_args!("{name:<14} {value}")),
        None => Ok(()),
    };
    put("height", Some(header.height.to_string()))?;
    put("hash", header.hash.map(|hash| hash.to_string()))?;
    put("previous", header.previous.map(|hash| hash.to_string()))?;
    put("round", header.round.map(|round| round.to_string()))?;
    put("slot", header.slot.map(|slot| slot.to_string()))?;
    put("timestamp", header.timestamp.map(|time| format!("{} ms", time.0)))?;
    put("forger", header.forger_address.clone())?;
    put("messages root", header.messages_root.map(|root| root.to_string()))
}
