//! Seals on their way through the node: fetched, served, and what they mean for the chain.

use super::Node;
use crate::machine::chain::{Breach, Denied};
use crate::machine::event::PeerId;
use crate::machine::halt::HaltReason;
use crate::machine::note::{Note, Ruling};
use crate::machine::records;
use crate::machine::rivals::Rival;
use crate::machine::seals::{Checked, Conflict};
use crate::machine::turn::Turn;
use crate::types::evidence::Evidence;
use crate::types::message::ByeReason;
use crate::types::seal::{Quorum, Seal, Step, Vote};

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
        let Checked { blamed, conflict } = self.seals.check(turn);
        if let Some(conflict) = conflict {
            self.conflict(turn, &conflict);
            self.chain.doubt();
            self.drop_denied(turn);
        }
        if let Some((peer, reason)) = blamed {
            self.peers.blame(turn, peer, reason);
        }
        self.seals.tick(turn, &self.peers);
        self.certify(turn);
        self.look_for_halt(turn);
    }

    /// Two checkpoints are certified for one index, or one against the network file. Peers show it again and again.
    pub(super) fn conflict(&mut self, turn: &mut Turn, conflict: &Conflict) {
        let Conflict { held, ref other, mut ruling } = *conflict;
        let other = &other.certificate;
        let index = other.checkpoint.index;
        if ruling == Ruling::Halts && self.chain.is_claim(index) {
            // Which of the two is right shows on the way to the listed checkpoint.
            ruling = Ruling::Older;
        }
        let rival = Rival { at: turn.now.wall, held, ruling, certificate: other.clone() };
        if self.rivals.keep(turn, &rival) {
            turn.out.note(Note::SealConflict { index, ruling });
        }
        // What the network file lists may be of a later index, and nothing held of this one.
        let Some(stored) = records::seal(&turn.db, index) else { return };
        let ours = &stored.seal.certificate;
        let voters = self.seals.voters(index, &turn.db);
        if ours.view == other.view {
            // Of two views nobody can say who voted against a lock.
            let key_at = |at: u16| voters.get(usize::from(at)).map(|voter| voter.public_key);
            let theirs: Vec<Vote> = other.votes(Step::Commit, key_at).collect();
            for vote in ours.votes(Step::Commit, key_at) {
                let twice = theirs.iter().find(|it| it.voter == vote.voter);
                let evidence = twice.and_then(|it| Evidence::of_votes(&vote, it));
                evidence.map(|evidence| self.keep_evidence(turn, evidence));
            }
        }
        if ruling == Ruling::Halts {
            let (held, other) = (Box::new(ours.clone()), Box::new(other.clone()));
            self.halt(turn, HaltReason::Certificates { held, other }, &voters);
        }
    }

    /// What the chain cannot go on from, and what the network file is against.
    fn look_for_halt(&mut self, turn: &mut Turn) {
        if self.halted().is_some() {
            return;
        }
        let contradiction = self.seals.contradiction(&turn.db);
        let breach = self.chain.breach().copied();
        let index = match (contradiction, breach) {
            (Some((_, held)), _) => held.index,
            (None, Some(Breach::Refused { index, .. } | Breach::State { index, .. })) => index,
            (None, None) => return,
        };
        let stored = records::seal(&turn.db, index).map(|stored| stored.seal.certificate);
        let listed = || Some(Quorum::new(self.network.listed(index)?.checkpoint, 0, &[]));
        let Some(certificate) = stored.or_else(listed).map(Box::new) else { return };
        let voters = self.seals.voters(index, &turn.db);
        let reason = match (contradiction, breach) {
            (Some((listed, _)), _) => HaltReason::Listed { held: certificate, listed },
            (None, Some(Breach::State { ours, .. })) => {
                HaltReason::State { certificate, ours: ours.state }
            }
            (None, Some(Breach::Refused { why, .. })) => HaltReason::Refused { certificate, why },
            (None, None) => return,
        };
        self.halt(turn, reason, &voters);
    }

    /// Forgets seals that are not of the network file's chain. Who sent what the way contradicts is set aside.
    pub(super) fn drop_denied(&mut self, turn: &mut Turn) {
        let Some(Denied { index, is_shown }) = self.chain.take_denied() else { return };
        if let Some(stored) = records::seal(&turn.db, index) {
            let seal = stored.checkpoint().seal();
            turn.out.note(Note::SealDenied { seal });
        }
        if let Some(peer) = self.seals.deny(turn, index).filter(|_| is_shown) {
            self.peers.blame(turn, peer, ByeReason::Invalid);
        }
    }

    /// Tells the chain of seals that are certified now.
    pub(super) fn certify(&mut self, turn: &mut Turn) {
        for index in self.chain.certified_index() + 1..=self.seals.certified().index {
            let Some(seal) = records::seal(&turn.db, index) else { break };
            self.chain.certified(seal.checkpoint(), &turn.db);
            self.hear_certificate(turn, &seal.seal.certificate);
            self.sync.wake();
            let (seal, point, round) =
                (seal.checkpoint().seal(), seal.checkpoint().point(), seal.checkpoint().round);
            let delay_ms = self.sealing.delay_of(index);
            turn.out.note(Note::Sealed { seal, point, round, delay_ms });
        }
    }
}
