//! The tree of blocks above the last seal, and which chain of it is the best (`docs/protocol.md` §8, §9).
//!
//! Headers are checked and weighed when they come; a body is checked when its block joins the best chain, because only
//! then is the state there that it is valid on. In memory are the last two rounds, the tips, and headers that wait for
//! their bodies; everything older is read back. A header in the database has its body there, and so has all below it.

mod adopt;
mod advance;
mod beside;
mod finality;
mod led;
mod load;
mod path;
mod sealed;
#[cfg(test)]
mod tests;
mod tree;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::records::{self, Draft, Reader, Table};
use crate::rules::chain::Worth;
use crate::rules::plan::Plans;
use crate::rules::refusal::Refusal;
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::rules::validity::{FUTURE_MS, Parent, Rules};
use crate::types::block::{Point, SealRef, SignedHeader};
use crate::types::clock::{Monotonic, Now, Round, Slot};
use crate::types::evidence::Evidence;
use crate::types::hash::BlockHash;
use crate::types::key::Verifier;
use crate::types::network::Network;
use crate::types::seal::Checkpoint;
use crate::types::tx::Tx;

pub use finality::Breach;
use finality::Finality;
pub use led::Denied;
use path::Known;
use sealed::Fold;
use tree::Tree;
pub use tree::{Entry, UNFULL_BYTES, UNFULL_MAX};

/// Hashes of blocks known to be invalid: enough to not fetch the same one twice in a round.
const INVALID_MAX: usize = 1024;

/// The end of the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    pub point: Point,
    /// Nothing for genesis.
    pub at: Option<(Round, Slot)>,
    pub weight: u64,
    /// The seal that it names.
    pub seal: SealRef,
    /// The anchor of its round.
    pub anchor: SealRef,
}

/// What became of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderVerdict {
    /// New, valid, in the tree.
    Added,
    /// In the tree already.
    Known,
    /// Its parent is not known here.
    Orphan,
    /// Ahead of our clock.
    Future,
    /// A third block of one forger for one slot.
    Surplus,
    /// Known to be invalid since its body was checked.
    Invalid,
    Refused(Refusal),
}

/// A block that joined or left the best chain, with its messages.
#[derive(Debug, Clone)]
pub struct Moved {
    pub header: Rc<SignedHeader>,
    pub point: Point,
    pub messages: Vec<Tx>,
}

/// What one event did to the best chain, in this order.
#[derive(Debug, Default)]
pub struct Change {
    pub undone: Vec<Moved>,
    pub applied: Vec<Moved>,
    pub refused: Vec<(Point, Refusal)>,
    /// Seals adopted: their blocks are on the best chain, and their state is ours.
    pub sealed: Vec<Checkpoint>,
}

/// The tree, the best chain, and the state at its end.
pub struct Chain {
    network: Rc<Network>,
    plans: Rc<Plans>,
    verifier: Verifier,
    tree: Tree,
    best: Best,
    state: ChainState,
    /// A full block better than `best`, on the way to which we are.
    target: Option<Point>,
    invalid: VecDeque<(BlockHash, Refusal)>,
    /// What seals say of the tree, beyond the newest one adopted.
    finality: Finality,
    /// The newest seal adopted.
    sealed: Rc<Anchor>,
    /// The blocks since, summed up as far as somebody asked.
    fold: RefCell<Fold>,
    /// Evidence of second blocks, until somebody takes it.
    doubles: Vec<Evidence>,
    revision: u64,
    wanted: Option<Point>,
}

impl Best {
    /// What the chain is worth.
    pub fn worth(&self) -> Worth {
        Worth::new(self.weight, &self.point)
    }

    /// As what the next block builds on.
    pub fn as_parent(&self) -> Parent {
        Parent { point: self.point, at: self.at, seal: self.seal, anchor: self.anchor }
    }
}

impl Chain {
    /// The end of the best chain.
    pub fn best(&self) -> &Best {
        &self.best
    }

    /// The state at its end.
    pub fn state(&self) -> &ChainState {
        &self.state
    }

    /// The checks, for whoever has messages to check.
    pub fn rules(&self) -> Rules<'_> {
        Rules { network: &self.network, plans: &self.plans, verifier: &self.verifier }
    }

    /// A block in memory.
    pub fn entry(&self, hash: &BlockHash) -> Option<&Entry> {
        self.tree.get(hash)
    }

    /// Whether a block is known, in memory or in the database.
    pub fn knows(&self, point: &Point, db: &dyn Reader) -> bool {
        self.tree.get(&point.hash).is_some()
            || *point == self.tree.genesis().point
            || records::header(db, point).is_some()
    }

    /// The network it is of.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Another number whenever blocks came, became whole, joined or left the best chain.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Ends of chains held.
    pub fn tip_count(&self) -> usize {
        self.tree.tip_count()
    }

    /// Headers that wait for their bodies.
    pub fn unfull_count(&self) -> usize {
        self.tree.unfull_count()
    }

    /// Whether the steps to a better chain are not all done.
    pub fn has_work(&self) -> bool {
        let broken = self.finality.is_broken();
        let steps = self.target.is_some() && !self.finality.claims.is_wanting();
        self.finality.has_work() || !broken && (steps || self.is_adoption_due())
    }

    /// The header worth most, and more than the best chain, that lacks bodies.
    pub fn best_unfull(&self) -> Option<&Entry> {
        self.tree.best_unfull(self.best.worth())
    }

    /// Headers on the way to a block that are ahead of the best chain: without a body, or not applied yet.
    pub fn ahead(&self, point: &Point) -> usize {
        let height = self.best.point.height;
        let mut count = 0;
        let mut at = self.tree.get(&point.hash);
        while let Some(entry) = at.filter(|entry| !entry.full || entry.point.height > height) {
            count += 1;
            at = self.tree.get(&entry.header.header.previous);
        }
        count
    }

    /// Whether a certified seal is not adopted, or a header of a better chain, seen less than `within_ms` ago, lacks its
    /// body.
    pub fn is_behind(&self, now: Monotonic, within_ms: u64) -> bool {
        let worth = self.best.worth();
        self.has_work()
            || self.awaits_seal()
            || self
                .tree
                .unfull()
                .any(|entry| entry.worth() > worth && now.since(entry.seen) < within_ms)
    }

    /// Evidence of second blocks that came since it was taken last.
    pub fn take_doubles(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.doubles)
    }

    /// Checks a header and takes it into the tree. `named`: a later header of its chain came with it.
    pub fn add_header(
        &mut self,
        now: Now,
        header: Rc<SignedHeader>,
        named: bool,
        db: &Draft,
    ) -> HeaderVerdict {
        let point = header.point();
        if self.knows(&point, db) {
            return HeaderVerdict::Known;
        }
        if self.why_invalid(&point.hash).is_some() {
            return HeaderVerdict::Invalid;
        }
        let fields = &header.header;
        if self.network.clock.start_of(fields.round, fields.slot) > now.wall.plus(FUTURE_MS) {
            return HeaderVerdict::Future;
        }
        let Some(parent) = self.parent_of(fields, db) else {
            return HeaderVerdict::Orphan;
        };
        if let Some(verdict) = self.check_final(&point, fields, &parent.point, db) {
            return verdict;
        }
        if let Err(why) = self.rules().check_header(&header, &parent.as_parent()) {
            return HeaderVerdict::Refused(why);
        }
        // Two blocks are evidence; a third is only taken when the chain goes on through it.
        let twins: Vec<&Entry> =
            self.tree.of_slot(&fields.forger, fields.round, fields.slot).collect();
        if twins.len() >= 2 && !named {
            return HeaderVerdict::Surplus;
        }
        if let [twin] = twins[..] {
            self.doubles.extend(Evidence::of_blocks(&twin.header, &header));
        }
        self.insert(header, &parent, false, now.mono, db);
        if self.awaits_seal() {
            self.show(&point, db);
        }
        HeaderVerdict::Added
    }

    /// Blocks held of the juror and slot of a header.
    pub fn twins(&self, header: &SignedHeader) -> usize {
        let fields = &header.header;
        self.tree.of_slot(&fields.forger, fields.round, fields.slot).count()
    }

    /// Takes a header into the tree; `proven` when a certified seal says that it is good.
    fn insert(
        &mut self,
        header: Rc<SignedHeader>,
        parent: &Known,
        proven: bool,
        seen: Monotonic,
        db: &dyn Reader,
    ) {
        let fields = &header.header;
        let weight = parent.weight + u64::from(!self.has_forged(parent, fields, db));
        let anchor = parent.as_parent().anchor_of(fields.round);
        let point = header.point();
        let (stored, full) = (false, false);
        self.revision += 1;
        self.tree.insert(Entry { point, header, weight, anchor, proven, stored, full, seen });
        self.trim();
    }

    /// Holds the bounds of the tree. What voters speak of stays, however little its chain is worth.
    pub(in crate::machine::chain) fn trim(&mut self) {
        self.tree.trim(self.best.point.hash, self.wanted.map(|point| point.hash));
    }

    /// Why a block is known to be invalid.
    fn why_invalid(&self, hash: &BlockHash) -> Option<Refusal> {
        self.invalid.iter().find(|(other, _)| other == hash).map(|(_, why)| *why)
    }

    /// Takes the body of a header in the tree; who sent it is to blame for an error.
    pub fn add_body(
        &mut self,
        hash: &BlockHash,
        messages: &[Tx],
        db: &mut Draft,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.tree.get(hash).filter(|entry| !entry.stored) else {
            return Ok(());
        };
        self.rules().check_root(&entry.header.header, messages)?;
        db.put(Table::Bodies, records::point_key(&entry.point), &messages);
        let parent_is_full = self.parent_is_full(&entry.header.header, db);
        self.revision += 1;
        for entry in self.tree.store(hash, parent_is_full) {
            // Only now: a header in the database says that everything below it is there too.
            let Entry { header, weight, anchor, .. } = &entry;
            let (header, weight, anchor) = ((**header).clone(), *weight, *anchor);
            let stored = records::StoredHeader { header, weight, anchor };
            db.put(Table::Headers, records::point_key(&entry.point), &stored);
            self.consider(entry.point, db);
        }
        Ok(())
    }
}
