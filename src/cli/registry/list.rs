//! `registry list`: the HNs that a PoW ledger has for a round.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::replay::{Extent, replay};
use super::{RegisteredRow, ledger_of};
use crate::cli::choice;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::{count, whole};
use crate::cli::output::{Output, note};
use crate::cli::table::Table;
use crate::rules::registry::sealable;
use crate::shell::clock::SystemClock;
use crate::types::network::Network;

/// List the HNs that a PoW ledger has for a round, the present one by default.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// the PoW ledger; without it that of the node's configuration
    #[argh(option)]
    pub ledger: Option<PathBuf>,

    /// main, test, or the path of a network file
    #[argh(option, default = "\"main\".to_owned()")]
    pub network: String,

    /// of this round
    #[argh(option, from_str_fn(whole))]
    pub round: Option<u64>,

    /// after this height instead, without depth and step
    #[argh(option, from_str_fn(whole))]
    pub height: Option<u64>,

    /// only the one with this IP
    #[argh(option)]
    pub ip: Option<String>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    network: String,
    /// Null when a height was asked for.
    round: Option<u64>,
    /// The last height that counts.
    height: u64,
    /// Whether no block to come changes it.
    settled: bool,
    registry: Vec<RegisteredRow>,
}

impl List {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        let (extent, round) = match Extent::of(self.height, self.round)? {
            Some(extent) => (extent, self.round),
            None => {
                let round = present_round(&network)?;
                (Extent::of(None, Some(round))?.expect("a round is given"), Some(round))
            }
        };
        let path = ledger_of(self.ledger)?;
        let replay = replay(&path, &network, extent)?;
        let registered = sealable(replay.registry.by_owner());
        let is_wanted = |ip: String| self.ip.as_ref().is_none_or(|wanted| *wanted == ip);
        let mut registry: Vec<RegisteredRow> = registered
            .iter()
            .filter(|hn| is_wanted(hn.ip.to_string()))
            .map(RegisteredRow::from)
            .collect();
        registry.sort_by_key(|hn| hn.address.to_string());
        let (height, settled) = (replay.height, !replay.is_open);
        if self.json {
            let network = network.name;
            out.json("registry.list", &Report { network, round, height, settled, registry })?;
            return Ok(Exit::Done);
        }
        if !registry.is_empty() {
            out.line(table(&registry).text())?;
        }
        let of = round.map_or(String::new(), |round| format!(" of round {round}"));
        let registered = count(registry.len() as u64, "HN");
        out.line(format_args!("{registered}{of}, after block {height}"))?;
        if !settled {
            note("the ledger ends before this round is settled: blocks to come may change it");
        }
        Ok(Exit::Done)
    }
}

/// HNs as people read them.
pub fn table(registry: &[RegisteredRow]) -> Table {
    let mut table = Table::new(&["address", "listens on", ">weight", "owner", "reward"]);
    for hn in registry {
        let reward = match hn.reward == hn.owner {
            true => "to its owner".to_owned(),
            false => hn.reward.to_string(),
        };
        table.row(vec![
            hn.address.to_string(),
            format!("{}:{}", hn.ip, hn.port),
            hn.weight.to_string(),
            hn.owner.to_string(),
            reward,
        ]);
    }
    table
}

fn present_round(network: &Network) -> Result<u64, Failure> {
    let now = SystemClock::start().now().wall;
    let round = network.clock.at(now).map(|(round, _)| round.0);
    round.ok_or_else(|| {
        let message = format!("network {} has not begun: it has no present round", network.name);
        Failure::new(Exit::Failed, "before_origin", message).action("name one with --round")
    })
}
