//! Sealed state: who is registered, who is active, who votes, the beacon (`docs/protocol.md` §5, §6, §10).
//!
//! Only a seal changes it. The only one there is so far is genesis, which the network's founders make.

use serde::{Deserialize, Serialize};

use crate::types::address::Address;
use crate::types::block::{SealRef, genesis};
use crate::types::clock::{Height, Round};
use crate::types::codec;
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Registered, Voter};

/// An HN that draws tickets and votes, with the key that its blocks and messages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub address: Address,
    pub public_key: PublicKey,
    /// Round of the block in which it was last seen; the round before the first for founders.
    pub last_round: Round,
}

/// The state as of a seal. Lists are sorted by address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedState {
    pub round: Round,
    pub registry: Vec<Registered>,
    pub active: Vec<Active>,
    pub beacon: Hash,
    pub voters: Vec<Voter>,
}

/// A sealed state with the reference that blocks name it by: what plans are made of (§6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub seal: SealRef,
    pub state: SealedState,
}

impl SealedState {
    /// The registered HN of an address.
    pub fn registered(&self, address: &Address) -> Option<&Registered> {
        let at = self.registry.binary_search_by(|hn| hn.address.cmp(address)).ok()?;
        self.registry.get(at)
    }

    /// H("state", …).
    pub fn digest(&self) -> Hash {
        hash("state", &[&codec::encode(self)])
    }

    /// The checkpoint of this state after a block.
    pub fn checkpoint(&self, index: u64, height: Height, block: BlockHash) -> Checkpoint {
        Checkpoint {
            index,
            round: self.round,
            height,
            block,
            state: self.digest(),
            registry: hash("registry", &[&codec::encode(&self.registry)]),
            voters: hash("voters", &[&codec::encode(&self.voters)]),
        }
    }
}

impl Anchor {
    /// Seal 0: the founders are registered, active and voters; the beacon is H("beacon", network_id).
    pub fn genesis(network: &Network) -> Anchor {
        let state = genesis_state(network);
        let point = genesis(network);
        let checkpoint = state.checkpoint(0, point.height, point.hash);
        Anchor { seal: checkpoint.seal(), state }
    }
}

/// Round of genesis: the one before the first, and 0 when that would be before all rounds.
fn genesis_round(network: &Network) -> Round {
    Round(network.first_round.0.saturating_sub(1))
}

fn genesis_state(network: &Network) -> SealedState {
    let round = genesis_round(network);
    let mut founders: Vec<_> = network
        .founders
        .iter()
        .map(|founder| (network.address_of(&founder.public_key), founder))
        .collect();
    founders.sort_by_key(|(address, _)| *address);
    SealedState {
        round,
        registry: founders
            .iter()
            .map(|(address, founder)| Registered {
                address: *address,
                ip: founder.ip,
                port: founder.port,
                weight: founder.weight,
                owner: [0; 28],
                reward: [0; 28],
                since: 0,
            })
            .collect(),
        active: founders
            .iter()
            .map(|(address, founder)| Active {
                address: *address,
                public_key: founder.public_key,
                last_round: round,
            })
            .collect(),
        beacon: hash("beacon", &[&network.id().0]),
        voters: founders
            .iter()
            .map(|(_, founder)| Voter { public_key: founder.public_key, weight: founder.weight })
            .collect(),
    }
}
