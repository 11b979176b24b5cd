//! The PoW ledger on its way through the node.

use super::Node;
use crate::machine::ledger::{Follower, LedgerNews};
use crate::machine::note::Note;
use crate::machine::turn::Turn;

impl Node {
    /// The reader of the ledger has found something.
    pub(super) fn hear_ledger(&mut self, turn: &mut Turn, news: &LedgerNews) {
        let is_whole = |ledger: &Follower| ledger.fault().is_none() && ledger.damage().is_none();
        let before = is_whole(&self.ledger);
        self.ledger.hear(news);
        let after = is_whole(&self.ledger);
        let height = self.ledger.tip().map_or(0, |tip| tip.height);
        if before != after {
            turn.out.note(Note::LedgerState { height, readable: after });
        }
        if let Some(blocks) = self.ledger.take_undone() {
            turn.out.note(Note::LedgerRolledBack { height, blocks });
        }
    }

    /// What is known of the PoW ledger.
    pub fn ledger(&self) -> &Follower {
        &self.ledger
    }
}
