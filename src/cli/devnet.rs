//! `devnet`: a private network of real processes on loopback, from one command.
//!
//! It makes keys, a network file and configurations (`recipe`) in a directory of its own (`directory`), starts the nodes
//! (`crew`), asks them how they are (`watch`), remembers it (`record`) and shows it (`view`).

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::duration;
use super::failure::{Failure, Outcome};
use super::number::positive;
use super::output::Output;
use crate::types::network::SLOTS_MAX;
use directory::Directory;
use recipe::{NETWORK_FILE, Recipe, Wish};
use stage::{Show, Stage};

mod crew;
mod directory;
mod mine;
mod recipe;
mod record;
mod stage;
mod view;
mod watch;

/// Nodes of one devnet: their addresses are 127.R.S.1 to 127.R.S.254.
const NODES_MAX: u64 = 254;
/// Seconds of a slot, as in a network file.
const SLOT_SECONDS_MAX: u64 = 86_400;

/// Run a private network of real nodes on this machine and watch it, until Ctrl-C or for some rounds.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "devnet")]
pub struct Devnet {
    /// number of nodes; 5 otherwise
    #[argh(option, from_str_fn(positive))]
    pub nodes: Option<u64>,

    /// length of a slot, in whole seconds such as 2s or 1m; 2s otherwise
    #[argh(option, from_str_fn(duration::parse))]
    pub slot: Option<Duration>,

    /// forging slots in a round, before the seal slot; 5 otherwise
    #[argh(option, from_str_fn(positive))]
    pub slots: Option<u64>,

    /// register the nodes on a PoW ledger of their own, ledger.db in the directory, and mine two blocks a slot on it
    #[argh(switch)]
    pub ledger: bool,

    /// leave mining on that ledger to `hypernode pow-ledger mine`
    #[argh(switch)]
    pub no_mining: bool,

    /// end after so many rounds, with a summary
    #[argh(option, from_str_fn(positive))]
    pub rounds: Option<u64>,

    /// directory for keys, configurations, databases and logs; devnet otherwise
    #[argh(option, default = "PathBuf::from(\"devnet\")")]
    pub dir: PathBuf,

    /// go on with the devnet that stands in the directory, instead of a new one
    #[argh(switch)]
    pub keep: bool,

    /// print the summary as one JSON object; the blocks go to standard error
    #[argh(switch)]
    pub json: bool,
}

impl Devnet {
    /// Runs it to its end.
    pub fn run(self, out: &mut Output) -> Outcome {
        let wish = self.wish()?;
        let directory = Directory::open(&self.dir)?;
        let kept = self.keep && directory.holds(NETWORK_FILE);
        let stage = match kept {
            true => {
                let recipe = Recipe::read(&directory)?;
                self.agrees_with(&recipe)?;
                Stage::raise(&directory, recipe, self.show())?
            }
            false => Stage::raise_fresh(&directory, wish, self.show())?,
        };
        stage.play(self.rounds, out)
    }

    fn wish(&self) -> Result<Wish, Failure> {
        let nodes = self.nodes.unwrap_or(5);
        let nodes = u8::try_from(nodes).ok().filter(|nodes| u64::from(*nodes) <= NODES_MAX);
        let nodes = nodes
            .ok_or_else(|| Failure::usage(format!("--nodes: 1 to {NODES_MAX} are possible")))?;
        let slot_ms = self.slot.map_or(2_000, |slot| slot.as_millis());
        let slot_seconds = u64::try_from(slot_ms / 1000).unwrap_or(u64::MAX);
        if slot_ms % 1000 != 0 || !(1..=SLOT_SECONDS_MAX).contains(&slot_seconds) {
            return Err(Failure::usage("--slot: whole seconds are due, from 1s to 24h"));
        }
        let slots = self.slots.unwrap_or(5);
        let slots = u32::try_from(slots).ok().filter(|slots| *slots <= SLOTS_MAX);
        let slots = slots
            .ok_or_else(|| Failure::usage(format!("--slots: 1 to {SLOTS_MAX} are possible")))?;
        Ok(Wish { nodes, slot_seconds, slots, ledger: self.ledger })
    }

    fn show(&self) -> Show {
        Show { json: self.json, mining: !self.no_mining }
    }

    /// What is given must be what stands there.
    fn agrees_with(&self, recipe: &Recipe) -> Result<(), Failure> {
        let clock = recipe.network.clock;
        let nodes = self.nodes.is_none_or(|nodes| nodes == recipe.nodes.len() as u64);
        let slot = self.slot.is_none_or(|slot| slot.as_millis() == u128::from(clock.slot_ms));
        let slots = self.slots.is_none_or(|slots| slots == u64::from(clock.slots));
        if nodes && slot && slots {
            return Ok(());
        }
        let message = "the devnet that is kept has other nodes, slots or lengths";
        Err(Failure::usage(message)
            .action("leave --nodes, --slot and --slots out, or make a new one without --keep"))
    }
}
