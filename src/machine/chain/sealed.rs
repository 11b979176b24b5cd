//! What the seals say of the best chain: the anchor and the plan of a round, and the state that a seal of a block would
//! have.

use std::rc::Rc;

use super::{Best, Chain};
use crate::machine::records::{self, Reader};
use crate::rules::plan::Plan;
use crate::rules::sealed::{Anchor, SealedState};
use crate::rules::tally::Tally;
use crate::types::block::{Header, Point};
use crate::types::clock::Round;
use crate::types::seal::Registered;
use crate::types::tx::Tx;

/// Blocks read for one question: after a long time without seals the answer takes several.
const FOLDED_MAX: usize = 256;

/// How far the blocks since the last seal have been summed up.
pub struct Fold {
    end: Point,
    tally: Tally,
}

impl Fold {
    /// Nothing since this seal.
    pub fn new(sealed: Rc<Anchor>) -> Fold {
        Fold { end: sealed.checkpoint.point(), tally: Tally::new(sealed) }
    }

    /// The last block summed up.
    pub fn end(&self) -> Point {
        self.end
    }

    /// Takes in the next block.
    pub fn apply(&mut self, point: Point, header: &Header, messages: &[Tx]) {
        self.tally.apply(header, messages);
        self.end = point;
    }
}

impl Chain {
    /// The newest seal whose block is on the best chain and whose state is ours.
    pub fn sealed(&self) -> &Rc<Anchor> {
        &self.sealed
    }

    /// The anchor of a round on the best chain, as far as the chain goes: later blocks can name later seals.
    pub fn anchor_of(&self, round: Round) -> Rc<Anchor> {
        let seal = self.state.anchor_of(round);
        // States are kept from the anchor of the last sealed round on. The plan of an older round tells nobody anything.
        self.plans.anchor(&seal).unwrap_or_else(|| self.sealed.clone())
    }

    /// The plan of a round on the best chain, likewise.
    pub fn plan(&self, round: Round) -> Rc<Plan> {
        self.plans.of(&self.anchor_of(round), round)
    }

    /// The last block before a round on the best chain, or genesis.
    pub fn last_before(&self, round: Round, db: &dyn Reader) -> Option<Best> {
        let mut best = self.best;
        while best.at.is_some_and(|(of, _)| of >= round) {
            best = self.below(&best, db)?;
        }
        Some(best)
    }

    /// The state of a seal of this block, with the registry as it is.
    ///
    /// Nothing when the block is not on the best chain above the last seal, and when there are more blocks to read than
    /// one event may: asked again, it goes on.
    pub fn state_at(&self, point: &Point, db: &dyn Reader) -> Option<SealedState> {
        self.state_with(point, &self.sealed.state.registry, db)
    }

    /// The same with another registry, sorted by address.
    pub fn state_with(
        &self,
        point: &Point,
        registry: &[Registered],
        db: &dyn Reader,
    ) -> Option<SealedState> {
        if point.height <= self.sealed.checkpoint.height || !self.is_main(point, db) {
            return None;
        }
        let mut fold = self.fold.borrow_mut();
        let goes_on = fold.tally.before().seal == self.sealed.seal
            && fold.end.height <= point.height
            && self.is_main(&fold.end, db);
        if !goes_on {
            *fold = Fold::new(self.sealed.clone());
        }
        for _ in 0..FOLDED_MAX {
            if fold.end == *point {
                break;
            }
            let height = fold.end.height.next();
            let next = Point { height, hash: records::main_record(db, height)?.hash };
            let (stored, messages) = self.read_block(&next, db)?;
            fold.apply(next, &stored.header.header, &messages);
        }
        (fold.end == *point).then(|| fold.tally.seal(&self.network, registry))
    }
}
