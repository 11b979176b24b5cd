//! Seals on their way through the node: fetched, served, and what they mean for the chain.

use super::Node;
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::records;
use crate::machine::seals::Checked;
use crate::machine::turn::Turn;
use crate::types::seal::Seal;

impl Node {
    /// A peer answers with seals.
    pub(super) fn sealed(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        request: u32,
        seals: &[Seal],
        bytes: u32,
    ) {
        match self.seals.seals(turn, from, request, seals) {
            Ok(asked) => self.peers.answered(from, asked, bytes),
            Err(reason) => self.peers.blame(turn, from, reason),
        }
    }

    /// Checks the seals that came, and takes them to the chain.
    pub(super) fn settle_seals(&mut self, turn: &mut Turn) {
        let Checked { blamed, conflict: _ } = self.seals.check(turn);
        if let Some((peer, reason)) = blamed {
            self.peers.blame(turn, peer, reason);
        }
        self.seals.tick(turn, &self.peers);
        self.certify(turn);
    }

    /// Tells the chain of seals that are certified now.
    pub(super) fn certify(&mut self, turn: &mut Turn) {
        for index in self.chain.certified_index() + 1..=self.seals.certified().index {
            let Some(seal) = records::seal(&turn.db, index) else { break };
            self.chain.certified(seal.checkpoint(), &turn.db);
            self.sync.wake();
            let (seal, point, round) =
                (seal.checkpoint().seal(), seal.checkpoint().point(), seal.checkpoint().round);
            let delay_ms = self.sealing.delay_of(index);
            turn.out.note(Note::Sealed { seal, point, round, delay_ms });
        }
    }
}
