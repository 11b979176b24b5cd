//! Chains with seals, made with the rules alone: each block by its juror, with the reveal that is due, naming the newest
//! seal that is known.

use std::rc::Rc;

use hypernode::rules::beacon::{COMMITMENT_ROUNDS, commitment_to};
use hypernode::rules::plan::Plan;
use hypernode::rules::sealed::{Anchor, SealedState};
use hypernode::rules::state::{ChainState, Undo};
use hypernode::rules::tally::Tally;
use hypernode::rules::validity::Parent;
use hypernode::types::block::{Block, Header, SignedHeader};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::evidence::Evidence;
use hypernode::types::key::SecretKey;
use hypernode::types::tx::{Body, Tx};

use crate::sample::{Sample, identified};

/// A block of a history, with what undoes it and the state before it.
pub struct Step {
    pub block: Block,
    pub undo: Undo,
    pub before: ChainState,
}

/// A chain that grows at its end.
pub struct History<'a> {
    pub sample: &'a Sample,
    pub parent: Parent,
    pub state: ChainState,
    pub steps: Vec<Step>,
    /// Genesis and the seals, with the number of blocks below each.
    pub seals: Vec<(Rc<Anchor>, usize)>,
    tally: Tally,
}

impl<'a> History<'a> {
    /// Genesis.
    pub fn new(sample: &'a Sample) -> History<'a> {
        let anchor = sample.anchor.clone();
        History {
            sample,
            parent: sample.genesis(),
            state: ChainState::genesis(&anchor),
            steps: Vec::new(),
            tally: Tally::new(anchor.clone()),
            seals: vec![(anchor, 0)],
        }
    }

    /// The plan of a round that has no block yet, or has begun.
    pub fn plan(&self, round: u64) -> Rc<Plan> {
        let anchor = self.parent.anchor_of(Round(round));
        self.sample.plans.at(&anchor, Round(round)).expect("its state is known")
    }

    /// The juror of a slot.
    pub fn juror(&self, round: u64, slot: u32) -> &'a SecretKey {
        let plan = self.plan(round);
        self.sample.key_of(plan.juror(Slot(slot)).expect("a forging slot"))
    }

    /// What the juror of a slot would forge with these messages; each must be valid.
    pub fn build(&self, round: u64, slot: u32, messages: &[Tx]) -> Block {
        let (at, key) = (self.sample.time(round, slot), self.juror(round, slot));
        let candidates = identified(messages).into_iter();
        let rules = self.sample.rules();
        let built = rules.build_block(&self.parent, &self.state, candidates, at, key);
        let (block, left_out) = built.expect("a block");
        assert_eq!(left_out, Vec::new());
        block
    }

    /// Adds a block of the juror of a slot.
    pub fn forge(&mut self, round: u64, slot: u32, messages: &[Tx]) -> &Block {
        let block = self.build(round, slot, messages);
        let rules = self.sample.rules();
        assert_eq!(rules.check_header(&block.header, &self.parent), Ok(()));
        let header = &block.header.header;
        assert_eq!(rules.check_body(header, &block.messages, &self.state), Ok(()));
        self.parent = Parent {
            point: block.header.point(),
            at: Some((header.round, header.slot)),
            seal: header.seal,
            anchor: self.parent.anchor_of(header.round),
        };
        let before = self.state.clone();
        let undo = self.state.apply(header, &block.messages);
        self.tally.apply(header, &block.messages);
        self.steps.push(Step { block, undo, before });
        &self.steps.last().expect("just pushed").block
    }

    /// The state that a seal of the last block has.
    pub fn sealed(&self) -> SealedState {
        let registry = &self.sample.anchor.state.registry;
        self.tally.seal(&self.sample.network, registry)
    }

    /// Seals the last block; later ones name it.
    pub fn seal(&mut self) -> Rc<Anchor> {
        let state = self.sealed();
        let index = self.seals.len() as u64;
        let checkpoint = state.checkpoint(index, self.parent.point.height, self.parent.point.hash);
        let anchor = Rc::new(Anchor::new(checkpoint, state));
        self.sample.plans.add(anchor.clone());
        self.tally = Tally::new(anchor.clone());
        self.seals.push((anchor.clone(), self.steps.len()));
        anchor
    }

    /// The header of a block, and whether it is above the seal of this place in the list.
    pub fn headers(&self) -> impl Iterator<Item = &Header> {
        self.steps.iter().map(|step| &step.block.header.header)
    }
}

/// A heartbeat that commits to its sender's secret.
pub fn committed(sample: &Sample, key: &SecretKey, round: u64) -> Tx {
    let due = Round(round + COMMITMENT_ROUNDS);
    let commitment = commitment_to(&key.secret_of(&sample.network.id(), due));
    sample.tx(key, round, Body::Heartbeat { version: 1, commitment, capacity: 1 })
}

/// Two blocks of a key for a slot, on nothing.
pub fn double(sample: &Sample, key: &SecretKey, round: u64) -> Evidence {
    let sign = |slots: u64| -> SignedHeader {
        let mut header = Header { forger: key.public(), ..sample.header(round) };
        header.timestamp = header.timestamp.plus(slots);
        header.sign(key, &sample.network, &sample.verifier)
    };
    Evidence::of_blocks(&sign(1), &sign(2)).expect("they differ")
}

/// A message that proves something.
pub fn proof(sample: &Sample, sender: &SecretKey, round: u64, evidence: Evidence) -> Tx {
    sample.tx(sender, round, Body::Equivocation(Box::new(evidence)))
}
