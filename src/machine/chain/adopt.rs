//! Adoption: the block of the next certified seal is on the best chain, so its state becomes ours (`docs/protocol.md`
//! §10), and what stood beside it leaves the database.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Chain, Change};
use crate::machine::records::{self, Draft, Reader, StoredHeader, Table};
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::types::clock::Height;
use crate::types::hash::BlockHash;
use crate::types::seal::Checkpoint;

impl Chain {
    /// Whether the block of the next seal is on the best chain.
    pub(super) fn is_adoption_due(&self) -> bool {
        let finality = &self.finality;
        let height = self.best.point.height;
        let held_up = finality.is_stuck() || finality.is_broken() || self.is_retreating();
        let due = |next: &Checkpoint| next.height <= height && self.is_borne_out(next.index);
        !held_up && finality.next().is_some_and(due)
    }

    /// Adopts the next seal. False when that is all for this event: its state takes longer to sum up, is not ours, or
    /// cannot be.
    pub(super) fn adopt(&mut self, db: &mut Draft, change: &mut Change) -> bool {
        let Some(seal) = self.finality.next().copied() else { return false };
        let stored = records::seal(db, seal.index).filter(|_| self.is_main(&seal.point(), db));
        let Some(stored) = stored else {
            match self.is_claim(seal.index) {
                true => self.deny(true),
                false => self.finality.set_stuck(true),
            }
            return false;
        };
        let before = self.sealed.clone();
        let registry = stored.seal.registry.as_deref().unwrap_or(&before.state.registry);
        let summed = self.fold.borrow().end();
        let Some(mut state) = self.state_with(&seal.point(), registry, db) else {
            // More blocks than one event may read; or one of them cannot be read.
            let further = self.fold.borrow().end() != summed;
            self.finality.set_stuck(!further);
            return false;
        };
        let listed = self.network.listed(seal.index);
        if let Some(voters) = listed.and_then(|listed| listed.voters.as_ref()) {
            state.bring(voters, &self.network);
        }
        let ours = state.checkpoint(seal.index, seal.height, seal.block);
        if ours != seal {
            self.differ(&seal, ours);
            return false;
        }
        self.rest_on(Anchor::new(seal, state), db);
        self.sweep(before.checkpoint.height, db);
        change.sealed.push(seal);
        true
    }

    /// From now on everything rests on this seal.
    fn rest_on(&mut self, anchor: Anchor, db: &mut Draft) {
        let (seal, anchor) = (anchor.checkpoint, Rc::new(anchor));
        db.put(Table::States, records::index_key(seal.index), &anchor.state);
        self.plans.add(anchor.clone());
        self.sealed = anchor;
        if let Some(block) = self.best_at(&seal.point(), db) {
            // Blocks to come rest on the seal that the sealed one names, or later ones; messages on that of its round.
            self.forget_states(block.anchor.index, db);
            if block.point == self.best.point {
                let (named, present) = (block.seal, block.anchor);
                self.state = ChainState::from_sealed(&self.sealed.state, named, present);
                self.best = block;
            }
        }
        let next = self.seal_after(seal.index, db);
        self.finality.adopted(&seal, next);
    }

    fn forget_states(&mut self, below: u64, db: &mut Draft) {
        self.plans.retain_from(below);
        let end = records::index_key(below);
        while let Some((key, _)) = db.next(Table::States, &[]).filter(|(key, _)| *key < end) {
            db.delete(Table::States, key);
        }
    }

    /// Deletes the blocks beside the chain up to the seal adopted now; and, when it is the newest one, those above it
    /// that do not descend from it. There are as many to look at as came since the seal before.
    fn sweep(&mut self, from: Height, db: &mut Draft) {
        let seal = self.sealed.checkpoint;
        let up_to = if self.awaits_seal() { seal.height } else { Height(u64::MAX) };
        let mut level = Level { height: from, below: BTreeSet::new(), here: BTreeSet::new() };
        let mut key = records::height_key(from.next());
        while let Some((found, value)) = db.next(Table::Headers, &key) {
            let Some(point) = records::parse_point_key(&found) else { break };
            if point.height > up_to {
                break;
            }
            level.rise(point.height);
            let stays = match point.height <= seal.height {
                true => self.main_at(point.height, db) == Some(point),
                false => self.descends(&value, &level.below, &seal),
            };
            if stays {
                level.here.insert(point.hash);
            } else {
                self.delete_block(&point, db);
                for gone in self.tree.remove_branch(&point.hash) {
                    self.delete_block(&gone, db);
                }
            }
            key = found;
            key.push(0);
        }
        if self.target.is_some_and(|target| !self.knows(&target, db)) {
            self.target = None;
            self.consider_all(db);
        }
    }

    /// Whether a stored header above the seal is a child of one of these.
    fn descends(&self, value: &[u8], of: &BTreeSet<BlockHash>, seal: &Checkpoint) -> bool {
        let Some(StoredHeader { header, .. }) = records::parse(value) else { return false };
        let header = &header.header;
        let closed = header.previous == seal.block && self.may_not_follow(seal, header);
        of.contains(&header.previous) && !closed
    }
}

/// The blocks that stay, at a height and below it.
struct Level {
    height: Height,
    below: BTreeSet<BlockHash>,
    here: BTreeSet<BlockHash>,
}

impl Level {
    fn rise(&mut self, to: Height) {
        while self.height < to {
            self.height = self.height.next();
            self.below = std::mem::take(&mut self.here);
            if self.below.is_empty() {
                // Nothing stands on a height without blocks.
                self.height = to;
            }
        }
    }
}
