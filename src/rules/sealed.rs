//! Sealed state: who is registered, who is active, who votes, the beacon, and what the blocks after a seal are checked
//! with (`docs/protocol.md` §5, §6, §10).
//!
//! Only a seal changes it; genesis is the first one. Its canonical bytes are the snapshot that newcomers start from. All
//! lists are in ascending order and hold nothing twice. Roots of programs will come with programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rules::beacon;
use crate::types::address::Address;
use crate::types::block::{SealRef, genesis};
use crate::types::clock::{Height, Round};
use crate::types::codec::{self, CodecError};
use crate::types::evidence::Offence;
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::pow::PowAddress;
use crate::types::seal::{Checkpoint, HNS_MAX, Registered, Voter, registry_digest, voters_digest};
use crate::types::tx::Statement;

/// Bytes of a state: 4,096 HNs with all that is known of them take 2 MiB, the keys of a round of full blocks in 256
/// slots 11 MiB more.
pub const STATE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An HN that draws tickets and votes, with the key that its blocks and messages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub address: Address,
    pub public_key: PublicKey,
    /// Round of the block in which it was last seen; the round before the first for founders.
    pub last_round: Round,
}

/// A commitment that a later block has to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Commitment {
    /// The round in which the secret is due.
    pub round: Round,
    pub public_key: PublicKey,
    pub commitment: Hash,
}

/// An HN that signed twice: it draws no tickets up to and with a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Penalty {
    pub address: Address,
    pub last_round: Round,
}

/// The state after a sealed block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedState {
    /// Of the sealed block.
    pub round: Round,
    /// By address.
    pub registry: Vec<Registered>,
    /// Registered HNs that the controller has suspended; none before there are announcements.
    pub voids: Vec<Address>,
    /// By address.
    pub active: Vec<Active>,
    /// The last rounds with a block in at least half of their slots: as many as activity looks back.
    pub full_rounds: Vec<Round>,
    pub beacon: Hash,
    /// For the next two rounds.
    pub commitments: Vec<Commitment>,
    /// What was said for this round: the next one may not repeat it.
    pub statements: Vec<Statement>,
    /// What is proven and may not be proven again.
    pub offences: Vec<Offence>,
    pub penalties: Vec<Penalty>,
    /// Of the next instance, by address.
    pub voters: Vec<Voter>,
}

/// A seal whose state is known: what plans are made of (§6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub seal: SealRef,
    pub checkpoint: Checkpoint,
    pub state: SealedState,
}

/// Why bytes are no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    Codec(CodecError),
    /// A list out of order, or longer than it can be.
    Lists,
}

impl SealedState {
    /// A state from its canonical bytes. Whether it is the state of a seal, its digest says.
    pub fn from_bytes(bytes: &[u8]) -> Result<SealedState, StateError> {
        let state: SealedState =
            codec::decode(bytes, STATE_BYTES_MAX).map_err(StateError::Codec)?;
        if state.is_ordered() { Ok(state) } else { Err(StateError::Lists) }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The registered HN of an address.
    pub fn registered(&self, address: &Address) -> Option<&Registered> {
        let at = self.registry.binary_search_by(|hn| hn.address.cmp(address)).ok()?;
        self.registry.get(at)
    }

    /// Whether an identity is an HN on the wire (§11): registered, or voter of the seal that comes next. A network whose
    /// registry has lost a third of its voters at once is sealed on by those voters, or by nobody.
    pub fn is_masternode(&self, address: &Address, key: &PublicKey) -> bool {
        self.registered(address).is_some() || self.voters.iter().any(|it| it.public_key == *key)
    }

    /// The active HN of an address.
    pub fn active(&self, address: &Address) -> Option<&Active> {
        let at = self.active.binary_search_by(|hn| hn.address.cmp(address)).ok()?;
        self.active.get(at)
    }

    /// Whether an HN draws no tickets in a round because it signed twice.
    pub fn is_penalised(&self, address: &Address, round: Round) -> bool {
        let at = self.penalties.binary_search_by(|penalty| penalty.address.cmp(address));
        at.is_ok_and(|at| round <= self.penalties[at].last_round)
    }

    /// Takes in the voters that a listed checkpoint brings (§2): they are the active set, and full rounds count from it
    /// as from genesis.
    pub fn bring(&mut self, voters: &[Voter], network: &Network) {
        self.voters = voters.to_vec();
        self.full_rounds.clear();
        self.active = voters
            .iter()
            .map(|voter| Active {
                address: network.address_of(&voter.public_key),
                public_key: voter.public_key,
                last_round: self.round,
            })
            .collect();
    }

    /// H("state", …).
    pub fn digest(&self) -> Hash {
        hash("state", &[&self.to_bytes()])
    }

    /// The checkpoint of this state after a block.
    pub fn checkpoint(&self, index: u64, height: Height, block: BlockHash) -> Checkpoint {
        Checkpoint {
            index,
            round: self.round,
            height,
            block,
            state: self.digest(),
            registry: registry_digest(&self.registry),
            voters: voters_digest(&self.voters),
        }
    }

    fn is_ordered(&self) -> bool {
        let hns = [self.registry.len(), self.voids.len(), self.active.len(), self.voters.len()];
        hns.iter().all(|count| *count <= HNS_MAX)
            && ascend(self.registry.iter().map(|hn| hn.address))
            && ascend(self.voids.iter())
            && ascend(self.active.iter().map(|hn| hn.address))
            && ascend(self.full_rounds.iter())
            && ascend(self.commitments.iter().map(|it| (it.round, it.public_key)))
            && ascend(self.statements.iter())
            && ascend(self.offences.iter())
            && ascend(self.penalties.iter().map(|penalty| penalty.address))
    }
}

fn ascend<T: Ord>(mut items: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = items.next() else { return true };
    items.all(|item| {
        let later = last < item;
        last = item;
        later
    })
}

impl Anchor {
    /// A seal with its state, which must be the one that the checkpoint names.
    pub fn new(checkpoint: Checkpoint, state: SealedState) -> Anchor {
        Anchor { seal: checkpoint.seal(), checkpoint, state }
    }

    /// Seal 0: the founders are registered, active and voters; the beacon is H("beacon", network_id).
    pub fn genesis(network: &Network) -> Anchor {
        let state = genesis_state(network);
        let point = genesis(network);
        Anchor::new(state.checkpoint(0, point.height, point.hash), state)
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
                owner: PowAddress([0; 28]),
                reward: PowAddress([0; 28]),
                since: 0,
            })
            .collect(),
        voids: Vec::new(),
        active: founders
            .iter()
            .map(|(address, founder)| Active {
                address: *address,
                public_key: founder.public_key,
                last_round: round,
            })
            .collect(),
        full_rounds: Vec::new(),
        beacon: beacon::genesis(&network.id()),
        commitments: Vec::new(),
        statements: Vec::new(),
        offences: Vec::new(),
        penalties: Vec::new(),
        voters: founders
            .iter()
            .map(|(_, founder)| Voter { public_key: founder.public_key, weight: founder.weight })
            .collect(),
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Codec(error) => error.fmt(f),
            StateError::Lists => f.write_str("a list is out of order or too long"),
        }
    }
}

impl std::error::Error for StateError {}
