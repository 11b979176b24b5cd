//! Steps to the best chain: blocks taken back, blocks applied, seals adopted, a bounded number in one event.

use std::rc::Rc;

use super::path::{Way, stored_best};
use super::{Chain, Change, INVALID_MAX, Moved};
use crate::machine::records::{self, Draft, MainRecord, Reader, Table};
use crate::rules::refusal::Refusal;
use crate::types::block::Point;
use crate::types::message::BLOCK_IDS_MAX;
use crate::types::tx::{Body, Tx};

/// Blocks applied or taken back in one event: a long reorganisation goes in steps, so that no event takes long and no
/// batch is large.
const STEPS_MAX: usize = 128;
/// Signatures verified in one event (§11).
const SIGNATURES_MAX: usize = 64;

impl Chain {
    /// Goes towards the best chain, as far as one event may.
    pub fn advance(&mut self, db: &mut Draft) -> Change {
        let mut change = Change::default();
        let mut signatures = 0;
        let mut way: Option<Way> = None;
        self.delete_beaten(db);
        for _ in 0..STEPS_MAX {
            if let Some(to) = self.finality.retreat() {
                if !self.retreat(&to, db, &mut change) {
                    break;
                }
                continue;
            }
            if self.is_adoption_due() {
                if !self.adopt(db, &mut change) {
                    break;
                }
                continue;
            }
            let Some(target) = self.target.filter(|_| !self.finality.is_broken()) else { break };
            // Looked for once: again at each step, a long way would cost its length squared.
            let known = way.take().filter(|way| way.target == target);
            let Some(on) = known.or_else(|| self.way_to(&target, db)) else {
                // A block on the way is gone: nothing above it can be reached, and another tip may be next best.
                self.reject(target, None, db, &mut change);
                continue;
            };
            way = self.step(on, db, &mut signatures, &mut change);
            if way.is_none() {
                break;
            }
            if self.target == Some(self.best.point) {
                self.target = None;
            }
        }
        self.tree.evict(&self.best);
        change
    }

    /// One step on a way: a block undone, or one applied. Nothing when that is all for this event.
    fn step(
        &mut self,
        mut on: Way,
        db: &mut Draft,
        signatures: &mut usize,
        change: &mut Change,
    ) -> Option<Way> {
        if self.best.point != on.fork {
            let Some(undone) = self.undo_one(db) else {
                // The reader has failed, which the shell sees, or the record is damaged: here the chain ends.
                self.target = None;
                return None;
            };
            change.undone.push(undone);
        } else if let Some(point) = on.up.pop() {
            on.fork = point;
            let Some((header, messages)) = self.read_block(&point, db) else {
                self.reject(point, None, db, change);
                return Some(on);
            };
            let named = &header.header.header.seal;
            if self.guide().is_some() && named.index > self.sealed.checkpoint.index {
                self.judge_claims(named, db);
                return None;
            }
            // What a certified seal proves by its hash is not looked at again (§12).
            let proven = self.tree.get(&point.hash).is_some_and(|entry| entry.proven);
            if !proven && !self.verify_some(&messages, signatures) {
                return None;
            }
            let verdict = match proven {
                true => Ok(()),
                false => self.rules().check_body(&header.header.header, &messages, &self.state),
            };
            match verdict {
                Ok(()) => change.applied.push(self.apply(point, &header, messages, db)),
                Err(why) => self.reject(point, Some(why), db, change),
            }
        }
        Some(on)
    }

    /// Takes back one block that is beside a seal. False when nothing more can be done now.
    fn retreat(&mut self, to: &Point, db: &mut Draft, change: &mut Change) -> bool {
        if self.best.point == *to {
            self.finality.retreated();
            self.target = None;
            self.consider_all(db);
            return true;
        }
        let Some(undone) = self.undo_one(db) else { return false };
        if self.is_way_known() {
            self.delete_block(&undone.point, db);
        }
        change.undone.push(undone);
        true
    }

    /// Verifies messages into the cache; whether all are done within the budget of the event.
    fn verify_some(&self, messages: &[Tx], done: &mut usize) -> bool {
        // More than a block may hold are refused unseen, and more than are remembered would never all be verified.
        if messages.len() > BLOCK_IDS_MAX {
            return true;
        }
        for message in messages {
            if message.is_known_signed(&self.network, &self.verifier) {
                continue;
            }
            // What is proven is looked at before who proves it, so that a message known as signed costs nothing more.
            let proof = match &message.body {
                Body::Equivocation(evidence) => Some(evidence),
                Body::Heartbeat { .. } | Body::TestReport { .. } => None,
            };
            let cost = 1 + if proof.is_some() { 2 } else { 0 };
            if *done + cost > SIGNATURES_MAX {
                return false;
            }
            *done += cost;
            let (network, verifier) = (&self.network, &self.verifier);
            let proven = proof.is_none_or(|evidence| evidence.is_signed(network, verifier));
            if !proven || !message.is_signed(network, verifier) {
                // The whole check finds it again and says so.
                return true;
            }
        }
        true
    }

    fn apply(
        &mut self,
        point: Point,
        stored: &records::StoredHeader,
        messages: Vec<Tx>,
        db: &mut Draft,
    ) -> Moved {
        let header = &stored.header.header;
        let undo = self.state.apply(header, &messages);
        let record = MainRecord { hash: point.hash, undo };
        db.put(Table::Main, records::height_key(point.height), &record);
        self.best = self.naming(stored_best(point, stored));
        Moved { header: Rc::new(stored.header.clone()), point, messages }
    }

    /// Nothing when a record of the best chain cannot be read.
    fn undo_one(&mut self, db: &mut Draft) -> Option<Moved> {
        let point = self.best.point;
        if point == self.sealed.checkpoint.point() {
            // What is sealed stays, whatever made us come here.
            return None;
        }
        let record = records::main_record(db, point.height)?;
        let (stored, messages) = self.read_block(&point, db)?;
        let parent = self.parent_of(&stored.header.header, db)?;
        self.state.undo(&stored.header.header, &messages, record.undo);
        db.delete(Table::Main, records::height_key(point.height));
        self.best = parent.as_best();
        Some(Moved { header: Rc::new(stored.header), point, messages })
    }

    /// Drops a block and all above it, and turns to the best chain that is left. Without a reason it is not invalid but
    /// cannot be read back, and may be fetched again.
    fn reject(&mut self, point: Point, why: Option<Refusal>, db: &mut Draft, change: &mut Change) {
        if let Some(why) = why {
            self.refuse_sealed(&point, why, db);
        }
        for gone in self.tree.remove_branch(&point.hash) {
            self.delete_block(&gone, db);
            self.invalid.extend(why.map(|why| (gone.hash, why)));
        }
        self.invalid.extend(why.map(|why| (point.hash, why)));
        while self.invalid.len() > INVALID_MAX {
            self.invalid.pop_front();
        }
        self.delete_block(&point, db);
        change.refused.extend(why.map(|why| (point, why)));
        self.target = None;
        self.consider_all(db);
    }

    /// Looks for the best chain among all that are whole.
    pub(super) fn consider_all(&mut self, db: &dyn Reader) {
        for full in self.tree.full_points() {
            self.consider(full, db);
        }
    }

    /// Deletes what the database holds of a block that is in no chain any more.
    pub(super) fn delete_block(&self, point: &Point, db: &mut Draft) {
        db.delete(Table::Headers, records::point_key(point));
        db.delete(Table::Bodies, records::point_key(point));
    }

    /// Makes a full block the target if its chain is better than the best and than the target.
    pub(super) fn consider(&mut self, point: Point, db: &dyn Reader) {
        let entry = self.tree.get(&point.hash).filter(|entry| self.is_on_way(entry));
        let Some(entry) = entry else { return };
        let candidate = entry.as_best();
        let rival = match &self.target {
            Some(target) => self.best_at(target, db).unwrap_or(self.best),
            None => self.best,
        };
        if self.is_better(&candidate, &rival, db) {
            self.target = Some(point);
        }
    }
}
