//! The PoW ledger of a devnet: made with all its HNs registered, and mined on while the devnet runs.

use std::path::Path;

use super::recipe::Member;
use crate::cli::failure::Failure;
use crate::cli::output::note;
use crate::cli::pow_ledger::{failure, order};
use crate::shell::ledger::{DummyError, DummyLedger, Sent};
use crate::types::clock::Timestamp;
use crate::types::hash::hash;
use crate::types::network::Network;
use crate::types::pow::{COIN, OrderKind, PowAddress};

/// The name of the ledger in the directory of a devnet.
pub const LEDGER_FILE: &str = "ledger.db";
/// Coins of each owner: weight 1, and fees for as long as anybody plays.
const COINS: i128 = 10_100;
/// Blocks behind the registrations when a devnet begins: more than its depth.
const BLOCKS_BEHIND: u64 = 4;
/// Time between the blocks made before it begins.
const SPACING_MS: u64 = 1_000;
/// Blocks mined in a slot.
const BLOCKS_IN_SLOT: u64 = 2;

/// Mines while the devnet runs.
pub struct Miner {
    ledger: DummyLedger,
    every_ms: u64,
    due: Timestamp,
    /// Said once: it is no reason to end.
    is_failing: bool,
}

/// The PoW address that registers a node: whoever reads the network file can name it.
pub fn owner(network: &Network, number: usize) -> PowAddress {
    let digest = hash("devnet-owner", &[&network.founders[number].public_key.0]);
    PowAddress(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

/// Makes the ledger of a devnet: all its nodes are registered well before round 0.
pub fn make(path: &Path, network: &Network, nodes: &[Member]) -> Result<(), Failure> {
    let begin = || -> Result<(), DummyError> {
        let mut at = Timestamp(network.clock.origin.0 - (BLOCKS_BEHIND + 4) * SPACING_MS);
        let mut ledger = DummyLedger::create(path, at)?;
        let mut mine = |ledger: &mut DummyLedger| {
            at = at.plus(SPACING_MS);
            ledger.mine("miner", at).map(|_| ())
        };
        for number in 0..nodes.len() {
            ledger.send(&Sent {
                sender: "faucet".to_owned(),
                recipient: owner(network, number).to_string(),
                amount: COINS * COIN,
                fee: 0,
                operation: String::new(),
                data: String::new(),
            })?;
        }
        mine(&mut ledger)?;
        for (number, node) in nodes.iter().enumerate() {
            let data = format!("{}:{}", node.endpoint, node.address);
            let sender = owner(network, number).to_string();
            ledger.send(&order(sender, OrderKind::Register, data))?;
        }
        (0..=BLOCKS_BEHIND).try_for_each(|_| mine(&mut ledger))
    };
    begin().map_err(|error| failure(path, &error))
}

impl Miner {
    /// Mines on the ledger of a devnet that stands, a few blocks a slot.
    pub fn open(path: &Path, network: &Network) -> Result<Miner, Failure> {
        let ledger = DummyLedger::open(path).map_err(|error| failure(path, &error))?;
        let every_ms = network.clock.slot_ms / BLOCKS_IN_SLOT;
        Ok(Miner { ledger, every_ms, due: Timestamp(0), is_failing: false })
    }

    /// Mines a block when it is time for one.
    pub fn turn(&mut self, now: Timestamp) {
        if now < self.due {
            return;
        }
        self.due = now.plus(self.every_ms);
        let mined = self.ledger.mine("miner", now);
        if let (Err(error), false) = (&mined, self.is_failing) {
            note(format_args!("the PoW ledger stands still: {error}"));
        }
        self.is_failing = mined.is_err();
    }
}
