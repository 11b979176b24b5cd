//! The rules once more, slow and obvious: what the checks believe instead of the code under test.
//!
//! Written from `docs/protocol.md` §6 to §10 and nothing else; it shares types, hashes and signatures with the core, and
//! none of its rules. Every block seen is judged once, on its chain; every seal from genesis.

mod blocks;
mod draw;
mod listed;
mod seals;
mod state;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::rules::sealed::SealedState;
use crate::types::block::{Point, SealRef, SignedHeader, genesis};
use crate::types::clock::{Round, Slot};
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::{PublicKey, Verifier};
use crate::types::network::Network;
use crate::types::seal::{Quorum, Registered};
use crate::types::tx::{Body, Tx, TxKey};

pub use seals::{Certified, Sealed};

use draw::Draw;
use listed::Listing;

/// A block judged.
#[derive(Debug, Clone)]
pub struct Judged {
    pub point: Point,
    pub previous: BlockHash,
    pub round: Round,
    pub slot: Slot,
    pub forger: PublicKey,
    /// The seal that it names.
    pub seal: SealRef,
    pub reveal: Option<Hash>,
    /// Distinct forgers summed over rounds.
    pub weight: u64,
    pub keys: Vec<TxKey>,
    /// Who sent them.
    pub senders: BTreeSet<PublicKey>,
    /// Commitments made in heartbeats, by the round of the heartbeat and its sender.
    pub commitments: Vec<(Round, PublicKey, Hash)>,
    /// Why it is not valid, or the first below it that is not.
    pub fault: Option<&'static str>,
}

/// What is true of the blocks of a network.
pub struct Oracle {
    network: Rc<Network>,
    verifier: Verifier,
    genesis: Point,
    /// Seal 0 as blocks name it.
    seal_0: SealRef,
    blocks: BTreeMap<BlockHash, Judged>,
    /// By the identity of their checkpoints; genesis is one.
    seals: BTreeMap<Hash, Sealed>,
    /// Certificates of which something below is not known yet.
    waiting: BTreeMap<Hash, Quorum>,
    /// What is wrong with certificates, until it is asked for.
    wrong: Vec<(Hash, &'static str)>,
    /// By anchor and round.
    draws: BTreeMap<(Hash, Round), Rc<Draw>>,
    /// What network files list, where they do.
    listed: Option<Listing>,
    /// What the PoW ledger says, in all rounds, where there is one.
    pub ledger: Option<Vec<Registered>>,
    /// Blocks above the listed one that count it as naming the listed checkpoint, as its own network file says.
    renamed: BTreeSet<BlockHash>,
    /// What a seal of a block would seal, by block and seal before.
    states: BTreeMap<(BlockHash, Hash), Rc<SealedState>>,
}

impl Oracle {
    /// Knows genesis alone. The verifier remembers a pure function.
    pub fn new(network: Rc<Network>, verifier: Verifier) -> Oracle {
        let sealed = seals::genesis_seal(&network);
        Oracle {
            genesis: genesis(&network),
            seal_0: sealed.checkpoint.seal(),
            blocks: BTreeMap::new(),
            seals: BTreeMap::from([(sealed.checkpoint.id(), sealed)]),
            waiting: BTreeMap::new(),
            wrong: Vec::new(),
            draws: BTreeMap::new(),
            listed: None,
            ledger: None,
            renamed: BTreeSet::new(),
            states: BTreeMap::new(),
            network,
            verifier,
        }
    }

    /// A block judged before.
    pub fn get(&self, hash: &BlockHash) -> Option<&Judged> {
        self.blocks.get(hash)
    }

    /// Whether this is genesis.
    pub fn is_genesis(&self, hash: &BlockHash) -> bool {
        *hash == self.genesis.hash
    }

    /// The start of all chains.
    pub fn genesis(&self) -> Point {
        self.genesis
    }

    /// Judges a block whose parent is judged.
    pub fn judge(&mut self, signed: &SignedHeader, messages: &[Tx]) -> &Judged {
        let point = signed.point();
        if !self.blocks.contains_key(&point.hash) {
            let header = &signed.header;
            let fault = self.fault_of(signed, messages).err();
            let again = self
                .round_of(&header.previous, header.round)
                .iter()
                .any(|block| block.forger == header.forger);
            if self.is_renamed(header) {
                self.renamed.insert(point.hash);
            }
            let below = self.blocks.get(&header.previous).map_or(0, |parent| parent.weight);
            let judged = Judged {
                point,
                previous: header.previous,
                round: header.round,
                slot: header.slot,
                forger: header.forger,
                seal: header.seal,
                reveal: header.reveal,
                weight: below + u64::from(!again),
                keys: messages.iter().map(Tx::key).collect(),
                senders: messages.iter().map(|message| message.sender).collect(),
                commitments: messages.iter().filter_map(commitment).collect(),
                fault,
            };
            self.blocks.insert(point.hash, judged);
            self.retry_seals();
        }
        &self.blocks[&point.hash]
    }

    /// Blocks of a round at the end of the chain up to `tip`, newest first; those of later rounds are passed over.
    fn round_of(&self, tip: &BlockHash, round: Round) -> Vec<&Judged> {
        let from = self.down(tip).take_while(|block| block.round >= round);
        from.filter(|block| block.round == round).collect()
    }

    /// The chain from a block down to the first one.
    pub fn down(&self, tip: &BlockHash) -> impl Iterator<Item = &Judged> {
        let mut at = self.blocks.get(tip);
        std::iter::from_fn(move || {
            let block = at?;
            at = self.blocks.get(&block.previous);
            Some(block)
        })
    }

    /// The chain below a block, from the first block up to it.
    pub fn chain(&self, tip: &BlockHash) -> Vec<&Judged> {
        let mut chain: Vec<&Judged> = self.down(tip).collect();
        chain.reverse();
        chain
    }

    /// Whether the chain of `tip` goes through a point.
    pub fn goes_through(&self, tip: &BlockHash, point: &Point) -> bool {
        let found = self.down(tip).find(|block| block.point.height <= point.height);
        found.map_or(self.genesis.hash, |block| block.point.hash) == point.hash
    }

    /// The last block before a round on the chain of `tip`; nothing when that is genesis.
    pub fn last_before(&self, tip: &BlockHash, round: Round) -> Option<&Judged> {
        self.down(tip).find(|block| block.round < round)
    }

    /// A block for people.
    pub fn describe(&self, hash: &BlockHash) -> String {
        let Some(block) = self.blocks.get(hash) else { return "genesis".to_owned() };
        let Judged { point, round, slot, weight, .. } = block;
        let short = hash.0.short();
        format!("{short} (height {}, weight {weight}, round {round} slot {slot})", point.height)
    }

    /// Which of two chains is better (§9). Genesis is the chain without blocks.
    pub fn compare(&self, a: &BlockHash, b: &BlockHash) -> Ordering {
        let worth = |hash: &BlockHash| {
            self.blocks.get(hash).map_or((0, 0), |block| (block.weight, block.point.height.0))
        };
        let by_worth = worth(a).cmp(&worth(b));
        if by_worth != Ordering::Equal || a == b {
            return by_worth;
        }
        let (mut a, mut b) = (self.blocks.get(a), self.blocks.get(b));
        while let (Some(left), Some(right)) = (a, b) {
            if left.previous == right.previous {
                let place = |block: &Judged| (block.round, block.slot, block.point.hash);
                return place(right).cmp(&place(left));
            }
            (a, b) = (self.blocks.get(&left.previous), self.blocks.get(&right.previous));
        }
        Ordering::Equal
    }
}

fn commitment(message: &Tx) -> Option<(Round, PublicKey, Hash)> {
    match &message.body {
        Body::Heartbeat { commitment, .. } => {
            (commitment.0 != [0; 32]).then_some((message.round, message.sender, *commitment))
        }
        Body::TestReport { .. } | Body::Equivocation(_) => None,
    }
}
