//! `peers`: the connections of a node, and how others ended.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::Outcome;
use super::output::Output;
use super::table::Table;
use crate::machine::status::{AsidePeer, EndedPeer};
use crate::shell::document::PeersDocument;

/// Where the hash of a tip stands: the first to go where there is no room.
const TIP_COLUMN: usize = 4;

/// List the connections of a node, and why others are over.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "peers")]
pub struct Peers {
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

impl Peers {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        if self.json {
            return api.print("/v1/peers", out);
        }
        let answer: PeersDocument = api.value("/v1/peers")?;
        let mut titles =
            vec!["peer", "", "who", ">height", "tip", ">ms", ">clock", ">owes", ">early", ">since"];
        let narrow = out.is_narrow();
        if narrow {
            titles.remove(TIP_COLUMN);
        }
        let mut table = Table::new(&titles);
        for peer in answer.peers {
            let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let who = match (peer.masternode, peer.address) {
                (true, Some(address)) => out.address(&address),
                (false, _) => "observer".to_owned(),
                (true, None) => "-".to_owned(),
            };
            let mut row = vec![
                peer.endpoint,
                if peer.dialled { "out" } else { "in" }.to_owned(),
                who,
                number(peer.tip.map(|tip| tip.height.to_string())),
                number(peer.tip.map(|tip| tip.hash.0.short())),
                number(peer.round_trip_ms.map(|ms| ms.to_string())),
                number(peer.clock_offset_ms.map(|ms| format!("{ms:+} ms"))),
                peer.unanswered.to_string(),
                peer.early_blocks.to_string(),
                words(peer.connected_ms),
            ];
            if narrow {
                row.remove(TIP_COLUMN);
            }
            table.row(row);
        }
        out.line(table.text())?;
        if !answer.ended.is_empty() {
            let text = ended(&answer.ended, out);
            out.line(format_args!("\n{text}"))?;
        }
        if !answer.aside.is_empty() {
            let text = aside(&answer.aside, out);
            out.line(format_args!("\n{text}"))?;
        }
        Ok(Exit::Done)
    }
}

/// Connections that are over, and why.
fn ended(list: &[EndedPeer], out: &Output) -> String {
    let mut table = Table::new(&["ended", "", "who", ">times", ">ago", "by", "why"]);
    for end in list {
        table.row(vec![
            end.endpoint.clone(),
            if end.dialled { "out" } else { "in" }.to_owned(),
            end.address.as_ref().map_or_else(|| "-".to_owned(), |address| out.address(address)),
            end.count.to_string(),
            words(end.ended_ms),
            if end.by_us { "us" } else { "them" }.to_owned(),
            end.message.clone(),
        ]);
    }
    table.text()
}

/// Who is set aside, and why.
fn aside(list: &[AsidePeer], out: &Output) -> String {
    let mut table = Table::new(&["set aside", "who", ">for", "why"]);
    for peer in list {
        let (endpoint, address) = (peer.endpoint.clone(), out.address(&peer.address));
        table.row(vec![endpoint, address, words(peer.left_ms), peer.message.clone()]);
    }
    table.text()
}
