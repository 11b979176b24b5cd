//! Led by the network file (`docs/protocol.md` §2): the newest listed checkpoint above the seal adopted is the *guide*.
//!
//! Until it is adopted, what voters certified below it is only a *claim*: their keys may have got into other hands since.
//! Blocks prove themselves by their hashes, down from the guide's; nothing else below it is followed. A claim is adopted
//! when a block on that way names it, or a later seal that is held; one that such a block leaves no place for is denied,
//! with all that came after it, and fetched from somebody else.

#[cfg(test)]
mod tests;

use super::finality::Breach;
use super::{Chain, Entry};
use crate::machine::records::{self, Reader};
use crate::types::block::SealRef;
use crate::types::seal::Checkpoint;

/// Claims that do not count any more: the seals from this one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    pub index: u64,
    /// Whether the way contradicts them, so that who sent them is on another chain or lies. Otherwise they only led nowhere.
    pub is_shown: bool,
}

/// What is known of claims.
#[derive(Debug, Default)]
pub struct Claims {
    /// Up to this seal a block on the way has named what is held.
    named: u64,
    /// Whether the next block names a seal that is not held: the way ends here until it is.
    wanting: bool,
    /// Until somebody asks.
    denied: Option<Denied>,
    /// What was denied last because our state is another.
    differed: Option<Checkpoint>,
}

impl Claims {
    pub fn is_wanting(&self) -> bool {
        self.wanting
    }

    /// A seal came.
    pub fn heard(&mut self) {
        self.wanting = false;
    }
}

impl Chain {
    /// The newest listed checkpoint above the seal adopted.
    pub(super) fn guide(&self) -> Option<&Checkpoint> {
        let last = &self.network.checkpoints.last()?.checkpoint;
        (last.index > self.sealed.checkpoint.index).then_some(last)
    }

    /// Whether the guide's block is known, and so the way to it.
    pub fn is_way_known(&self) -> bool {
        self.guide().is_none_or(|guide| self.finality.shown_index() >= guide.index)
    }

    /// Whether a block may be followed: below the guide only what is proven.
    pub(super) fn is_on_way(&self, entry: &Entry) -> bool {
        self.guide().is_none_or(|guide| entry.proven || entry.point.height > guide.height)
    }

    /// Whether a seal counts only as far as the guide bears it out.
    pub fn is_claim(&self, index: u64) -> bool {
        let below = self.guide().is_some_and(|guide| index < guide.index);
        below && index > self.sealed.checkpoint.index && self.network.listed(index).is_none()
    }

    /// Whether a certified seal may be adopted when its block is on the best chain. Between the last seal that the way
    /// names and the guide there is nothing but certificates; the guide's state shows whether they were right.
    pub(super) fn is_borne_out(&self, index: u64) -> bool {
        let arrived = self.guide().is_none_or(|guide| self.best.point.height >= guide.height);
        arrived || !self.is_claim(index) || index <= self.finality.claims.named
    }

    /// The next block on the way names a seal that is not adopted; it is applied when that is.
    pub(super) fn judge_claims(&mut self, named: &SealRef, db: &dyn Reader) {
        let height = self.best.point.height;
        match records::seal(db, named.index).map(|stored| *stored.checkpoint()) {
            None => self.finality.claims.wanting = true,
            // What is named is at or below the best block, and so is every seal before it.
            Some(held) => match held.seal() == *named && held.height <= height {
                true => self.finality.claims.named = named.index,
                false => self.deny(true),
            },
        }
    }

    /// The seals held above the one adopted are not those of the guide's chain, or not all: none of them counts any more.
    pub(super) fn deny(&mut self, is_shown: bool) {
        let sealed = self.sealed.checkpoint;
        self.finality.forget_certified(&sealed);
        let claims = &mut self.finality.claims;
        (claims.named, claims.wanting) = (sealed.index, true);
        claims.denied = Some(Denied { index: sealed.index + 1, is_shown });
    }

    /// Somebody shows other certificates than those held: when the way cannot go on with these, they are as good as none.
    pub fn doubt(&mut self) {
        if self.finality.claims.wanting && self.finality.has_certified() {
            self.deny(false);
        }
    }

    /// At the block of a claim our state is another. The second time it is not the claim that is wrong.
    pub(super) fn differ(&mut self, seal: &Checkpoint, ours: Checkpoint) {
        let named = seal.index <= self.finality.claims.named;
        let again = self.finality.claims.differed.replace(*seal) == Some(*seal);
        if !self.is_claim(seal.index) || named || again {
            self.finality.break_off(Breach::State { index: seal.index, ours });
        } else {
            self.deny(true);
        }
    }

    /// What was denied since somebody asked last: it is to be fetched anew.
    pub fn take_denied(&mut self) -> Option<Denied> {
        self.finality.claims.denied.take()
    }

    /// The way to the guide may have become known: what is on it is proven, and what is beside it leaves.
    pub(super) fn follow_guide(&mut self, db: &dyn Reader) {
        let Some(guide) = self.guide().copied() else { return };
        if !self.knows(&guide.point(), db) {
            return;
        }
        self.enforce(&guide, db);
        let Some(path) = self.path_to(&guide.point(), db) else { return };
        for point in &path.blocks {
            self.tree.prove(&point.hash);
        }
        if !self.is_retreating() {
            self.consider_all(db);
        }
    }

    /// At start: blocks above our seal may be beside the way. Until it is known they are no chain; they stay where they
    /// are.
    pub(super) fn seek_guide(&mut self, db: &dyn Reader) {
        self.follow_guide(db);
        let sealed = self.sealed.checkpoint.point();
        if !self.is_way_known() && self.best.point != sealed {
            self.finality.retreat_to(sealed);
        }
    }
}
