//! Finality: what certified seals say of the tree (`docs/protocol.md` §8, §9).
//!
//! A seal is *certified* when its certificate is held, and *adopted* when its block is on the best chain and its state is
//! ours. As soon as it is certified, no block beside it is followed: those held leave, with all above them, and the best
//! chain goes back to where it leaves the seal's. Nobody is charged for them, and their messages return to the mempool.
//! Where the sealed block is not known yet, only what has another block at its height is known to be beside it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;

use super::led::Claims;
use super::path::previous_of;
use super::{Best, Chain, HeaderVerdict};
use crate::machine::records::{self, Draft, Reader, StoredSeal};
use crate::rules::refusal::Refusal;
use crate::types::block::{Header, Point, SignedHeader};
use crate::types::clock::{Height, Monotonic};
use crate::types::seal::Checkpoint;

/// What this node cannot go on from: its rules and those of two thirds of the voters differ (§10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// Our rules refuse a block that this seal, or one before it, seals.
    Refused { index: u64, why: Refusal },
    /// At the sealed block our checkpoint is another.
    State { index: u64, ours: Checkpoint },
}

/// How far the seals are certified, known and adopted.
pub struct Finality {
    certified: Checkpoint,
    /// The seal after the one adopted, if it is certified.
    next: Option<Checkpoint>,
    /// The newest seal certified whose block is known, and so all headers below it; the one adopted at least.
    shown: Checkpoint,
    /// Blocks of the best chain above this one are beside a seal.
    retreat: Option<Point>,
    /// Blocks that left the tree and are to leave the database.
    beaten: VecDeque<Point>,
    /// Whether the records for the next adoption could not be read.
    stuck: bool,
    breach: Option<Breach>,
    pub(super) claims: Claims,
}

impl Finality {
    /// Nothing is certified beyond the seal adopted.
    pub fn new(adopted: Checkpoint) -> Finality {
        Finality {
            certified: adopted,
            next: None,
            shown: adopted,
            retreat: None,
            beaten: VecDeque::new(),
            stuck: false,
            breach: None,
            claims: Claims::default(),
        }
    }

    pub fn next(&self) -> Option<&Checkpoint> {
        self.next.as_ref()
    }

    pub fn retreat(&self) -> Option<Point> {
        self.retreat
    }

    pub fn retreated(&mut self) {
        self.retreat = None;
    }

    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    pub fn set_stuck(&mut self, stuck: bool) {
        self.stuck = stuck;
    }

    pub fn is_broken(&self) -> bool {
        self.breach.is_some()
    }

    /// The first breach stays: what comes after it may follow from it.
    pub fn break_off(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    pub fn has_work(&self) -> bool {
        self.retreat.is_some() || !self.beaten.is_empty()
    }

    /// A seal is adopted; `next` is the one after it, if certified.
    pub fn adopted(&mut self, seal: &Checkpoint, next: Option<Checkpoint>) {
        self.next = next;
        self.show(seal);
    }

    /// The newest seal whose block is known to be here, as far as it was not dropped since.
    pub fn shown_index(&self) -> u64 {
        self.shown.index
    }

    /// Whether a seal is certified and not adopted.
    pub fn has_certified(&self) -> bool {
        self.next.is_some()
    }

    /// No seal is certified beyond the one adopted any more.
    pub fn forget_certified(&mut self, adopted: &Checkpoint) {
        (self.certified, self.next) = (*adopted, None);
    }

    /// The block of a seal is known.
    pub fn show(&mut self, seal: &Checkpoint) {
        if self.shown.index < seal.index {
            self.shown = *seal;
        }
    }

    /// A block left the tree.
    pub fn beat(&mut self, point: Point) {
        self.beaten.push_back(point);
    }

    /// The blocks of the best chain above a point are to go.
    pub fn retreat_to(&mut self, to: Point) {
        if self.retreat.is_none_or(|before| to.height < before.height) {
            self.retreat = Some(to);
        }
    }
}

impl Chain {
    /// Index of the newest seal that this chain has been told of.
    pub fn certified_index(&self) -> u64 {
        self.finality.certified.index
    }

    /// The newest seal that it has been told of, or that the network file lists.
    pub fn awaited_seal(&self) -> &Checkpoint {
        let certified = &self.finality.certified;
        self.guide().filter(|guide| guide.index > certified.index).unwrap_or(certified)
    }

    /// Whether a seal is certified or listed that is not adopted: nobody forges, and headers above it cannot be checked.
    pub fn awaits_seal(&self) -> bool {
        self.sealed.checkpoint.index < self.awaited_seal().index
    }

    /// Whether blocks beside a seal are being taken back: until that is done our tip is none to be shown.
    pub fn is_retreating(&self) -> bool {
        self.finality.retreat.is_some()
    }

    /// What this node cannot go on from, once there is something.
    pub fn breach(&self) -> Option<&Breach> {
        self.finality.breach.as_ref()
    }

    /// The next seal is certified: the best chain has to go through its block. To be called for one after another;
    /// `advance` does what follows.
    pub fn certified(&mut self, seal: &Checkpoint, db: &dyn Reader) {
        if seal.index != self.finality.certified.index + 1 {
            return;
        }
        self.finality.certified = *seal;
        self.finality.claims.heard();
        if self.finality.next.is_none() {
            self.finality.next = Some(*seal);
        }
        if self.is_claim(seal.index) {
            return;
        }
        if let Some(why) = self.why_invalid(&seal.block) {
            self.finality.break_off(Breach::Refused { index: seal.index, why });
        }
        self.enforce(seal, db);
    }

    /// The lowest certified seal whose block is to be found, and the one from whose block on its headers are missing.
    pub fn unproven(&self, db: &dyn Reader) -> Option<(Checkpoint, Checkpoint)> {
        let shown = self.shown(db);
        match self.guide().filter(|guide| guide.index > shown.index) {
            Some(guide) => Some((shown, *guide)),
            None => Some((shown, self.seal_after(shown.index, db)?)),
        }
    }

    /// The newest certified seal whose block is known, and so all headers below it.
    fn shown(&self, db: &dyn Reader) -> Checkpoint {
        match self.knows(&self.finality.shown.point(), db) {
            true => self.finality.shown,
            // It was dropped since: found again from the seal adopted on.
            false => self.sealed.checkpoint,
        }
    }

    /// The certified seal after an index, if there is one.
    pub fn seal_after(&self, index: u64, db: &dyn Reader) -> Option<Checkpoint> {
        let after = index + 1;
        if after > self.finality.certified.index {
            return None;
        }
        records::seal(db, after).map(|stored: StoredSeal| *stored.checkpoint())
    }

    /// Takes headers in, one on the other, up to a certified block: its hash proves them, and nothing else is checked.
    pub fn add_proven(&mut self, now: Monotonic, headers: Vec<SignedHeader>, db: &dyn Reader) {
        self.finality.shown = self.shown(db);
        for header in headers {
            let point = header.point();
            if self.knows(&point, db) {
                if self.tree.prove(&point.hash) {
                    self.consider(point, db);
                }
                continue;
            }
            if let Some(why) = self.why_invalid(&point.hash) {
                let Some((_, next)) = self.unproven(db) else { return };
                self.finality.break_off(Breach::Refused { index: next.index, why });
                return;
            }
            let Some(parent) = self.parent_of(&header.header, db) else { return };
            self.insert(Rc::new(header), &parent, true, now, db);
        }
        if !self.is_way_known() {
            self.follow_guide(db);
            return;
        }
        while let Some(seal) = self.seal_after(self.finality.shown.index, db) {
            if !self.knows(&seal.point(), db) {
                break;
            }
            self.enforce(&seal, db);
            if self.finality.shown.index < seal.index {
                break;
            }
        }
    }

    /// A header came while seals wait for their blocks: perhaps it is one of these.
    pub(super) fn show(&mut self, point: &Point, db: &dyn Reader) {
        if let Some(seal) = self.seal_at(point.height, db).filter(|it| it.block == point.hash) {
            self.enforce(&seal, db);
        }
    }

    /// Whether a header's place is one that the seals leave; nothing when they say nothing against it.
    pub(super) fn check_final(
        &self,
        point: &Point,
        header: &Header,
        parent: &Point,
        db: &dyn Reader,
    ) -> Option<HeaderVerdict> {
        let beside = Some(HeaderVerdict::Refused(Refusal::BesideSeal));
        let listed = self.network.checkpoints.iter().map(|listed| &listed.checkpoint);
        let unlisted = |it: &Checkpoint| it.height == point.height && it.block != point.hash;
        if point.height <= self.sealed.checkpoint.height || listed.into_iter().any(unlisted) {
            return beside;
        }
        if !self.is_way_known() {
            return Some(HeaderVerdict::Orphan);
        }
        if self.guide().is_some_and(|guide| point.height < guide.height) {
            return beside;
        }
        if !self.awaits_seal() {
            return None;
        }
        if self.seal_at(point.height, db).is_some_and(|seal| seal.block != point.hash) {
            return beside;
        }
        let below = self.seal_at(parent.height, db);
        if below.is_some_and(|seal| seal.point() == *parent && header.round <= seal.round) {
            return Some(HeaderVerdict::Refused(Refusal::RoundSealed));
        }
        if self.tree.get(&parent.hash).is_some() {
            return None;
        }
        // What is in memory goes through the seals as far as they are known. What is not may be anything, unless it is
        // of the best chain, from below where that has to go back to.
        let kept = self.finality.retreat.is_none_or(|to| parent.height <= to.height);
        match self.is_main(parent, db) {
            true if kept => None,
            true => beside,
            false => Some(HeaderVerdict::Orphan),
        }
    }

    /// The block as it counts: a listed checkpoint that brings voters is named by its own block (§2).
    pub(super) fn naming(&self, mut best: Best) -> Best {
        let mut listed = self.network.checkpoints.iter().filter(|it| it.voters.is_some());
        if let Some(found) = listed.find(|it| it.checkpoint.point() == best.point) {
            best.seal = found.checkpoint.seal();
        }
        best
    }

    /// The seals that are certified and not adopted, at start.
    pub(super) fn load_finality(&mut self, db: &dyn Reader) -> Result<(), &'static str> {
        let adopted = self.sealed.checkpoint;
        if !self.is_main(&adopted.point(), db) {
            return Err("the newest sealed block is not on the best chain");
        }
        self.finality = Finality::new(adopted);
        let last = records::last_seal(db)?.map_or(0, |stored| stored.checkpoint().index);
        for index in adopted.index + 1..=last {
            let seal = records::seal(db, index).ok_or("a record of table seals")?;
            self.certified(seal.checkpoint(), db);
        }
        self.seek_guide(db);
        Ok(())
    }

    /// Deletes blocks that left the tree.
    pub(super) fn delete_beaten(&mut self, db: &mut Draft) {
        for point in std::mem::take(&mut self.finality.beaten) {
            self.delete_block(&point, db);
        }
    }

    /// A block of the best chains that is refused: when a certified seal is above it, the node cannot go on.
    pub(super) fn refuse_sealed(&mut self, point: &Point, why: Refusal, db: &dyn Reader) {
        let shown = self.finality.shown;
        let mut at = shown.point();
        while at.height > point.height {
            let below = self.header_at(&at, db).and_then(|header| previous_of(&header.header));
            let Some(below) = below else { return };
            at = below;
        }
        if at == *point {
            self.finality.break_off(Breach::Refused { index: shown.index, why });
        }
    }

    /// The certified seal above the one adopted, and no claim, whose block has this height.
    fn seal_at(&self, height: Height, db: &dyn Reader) -> Option<Checkpoint> {
        let claims = self.guide().map_or(0, |guide| guide.index - 1);
        let mut low = self.sealed.checkpoint.index.max(claims);
        let mut high = (self.finality.certified.index + 1).max(low + 1);
        // Heights ascend with the index.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let seal = self.seal_after(middle - 1, db)?;
            match seal.height.cmp(&height) {
                std::cmp::Ordering::Less => low = middle,
                std::cmp::Ordering::Equal => return Some(seal),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}
