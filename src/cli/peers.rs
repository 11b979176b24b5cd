//! `peers`: the connections of a node.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::Outcome;
use super::output::Output;
use super::table::Table;
use crate::shell::document::PeersDocument;

/// List the connections of a node.
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
        let mut table =
            Table::new(&["peer", "", "who", ">height", "tip", ">ms", ">clock", ">since"]);
        for peer in answer.peers {
            let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let who = match (peer.masternode, peer.address) {
                (true, Some(address)) => address,
                (false, _) => "observer".to_owned(),
                (true, None) => "-".to_owned(),
            };
            table.row(vec![
                peer.endpoint,
                if peer.dialled { "out" } else { "in" }.to_owned(),
                who,
                number(peer.tip.map(|tip| tip.height.to_string())),
                number(peer.tip.map(|tip| tip.hash.0.short())),
                number(peer.round_trip_ms.map(|ms| ms.to_string())),
                number(peer.clock_offset_ms.map(|ms| format!("{ms:+} ms"))),
                words(peer.connected_ms),
            ]);
        }
        out.line(table.text())?;
        Ok(Exit::Done)
    }
}
