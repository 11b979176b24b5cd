//! Whether anything of ours may be signed at all: custody of the key, and halt.

use super::Node;
use crate::machine::custody::{Claim, View};
use crate::machine::event::PeerId;
use crate::machine::halt::{HaltReason, HaltRecord};
use crate::machine::note::MissReason;
use crate::machine::records::{self, Reader, Table};
use crate::machine::turn::Turn;
use crate::rules::quorum::Electorate;
use crate::types::message::{ByeReason, Message};
use crate::types::seal::{Quorum, Step, Voter};
use crate::types::sign::Standing;

impl Node {
    /// Why nothing may be signed in this event, whatever it is: halted, or the sign state is not proven. The clock is
    /// another question.
    pub(super) fn barred(&self, turn: &Turn) -> Option<MissReason> {
        if self.halt.is_halted() {
            return Some(MissReason::Halted);
        }
        (self.is_barred() || turn.out.is_guarded()).then_some(MissReason::SignState)
    }

    /// Whether nothing may be signed, in this event and the next ones.
    pub(super) fn is_barred(&self) -> bool {
        self.halt.is_halted() || self.signed.standing != Standing::Proven
    }

    /// Stops forging and voting for good.
    pub(super) fn halt(&mut self, turn: &mut Turn, reason: HaltReason, voters: &[Voter]) {
        self.halt.halt(turn, reason, voters);
    }

    /// Why we have halted, with the evidence.
    pub fn halted(&self) -> Option<&HaltRecord> {
        self.halt.record()
    }

    /// Looks for our signatures in what a peer says; false when one does not hold, and the peer is blamed.
    ///
    /// Observers are heard too: a newcomer and who comes back from an old copy know few masternodes by their state, and
    /// just they may lack what they have signed. It costs one signature, then the connection is over.
    pub(super) fn hear(&mut self, turn: &mut Turn, from: PeerId, message: &Message) -> bool {
        let heartbeat = self.duty.heartbeat_sent();
        if self.custody.hear(turn, message, heartbeat, &mut self.signed) {
            self.peers.blame(turn, from, ByeReason::Invalid);
            return false;
        }
        if let Message::Prepared(quorum) = message {
            self.hear_quorum(turn, from, quorum);
        }
        if let Message::Proposal(proposal) = message {
            proposal.prepared.iter().for_each(|quorum| self.hear_quorum(turn, from, quorum));
        }
        true
    }

    /// Looks for our vote in a certificate that we hold.
    pub(super) fn hear_certificate(&mut self, turn: &mut Turn, certificate: &Quorum) {
        let index = certificate.checkpoint.index;
        let may_lack = self.signed.vote.is_none_or(|vote| vote.index <= index);
        let voters = if may_lack { self.seals.voters(index, &turn.db) } else { Vec::new() };
        if voters.iter().any(|voter| voter.public_key == self.key.public()) {
            let electorate = Electorate::new(&voters);
            let step = Step::Commit;
            self.custody.seen_quorum(turn, certificate, step, &electorate, &mut self.signed);
        }
    }

    /// Before anything is signed in an event.
    pub(super) fn keep_custody(&mut self, turn: &mut Turn) {
        if self.custody.begins() {
            self.hear_database(turn);
        }
        let (connected, _) = self.peers.dial_list_sharing(&self.chain.best().point);
        let is_listening = connected > 0 || !self.peers.has_targets();
        let is_behind = self.chain.is_behind(turn.now.mono, self.network.clock.slot_ms);
        let (built, distrust) = (self.built, self.timekeeper.distrust());
        let view = View { built, distrust, is_listening, is_behind };
        self.custody.tick(turn, &view, &mut self.signed);
    }

    /// Looks for our vote in a prepare quorum that a peer shows. Who voted is said by position: when the network has
    /// split, an honest peer of the other side has other voters. So nobody is blamed; that peer's quorums are over.
    fn hear_quorum(&mut self, turn: &mut Turn, from: PeerId, quorum: &Quorum) {
        if self.peers.get(from).is_none_or(|peer| peer.misquotes) {
            return;
        }
        if self.hear_prepared(turn, quorum) == Claim::Forged {
            if let Some(peer) = self.peers.peer_mut(from) {
                peer.misquotes = true;
            }
        }
    }

    fn hear_prepared(&mut self, turn: &mut Turn, quorum: &Quorum) -> Claim {
        if quorum.checkpoint.index != self.seals.certified().index + 1 {
            return Claim::Idle;
        }
        let electorate = self.seals.electorate().clone();
        self.custody.seen_quorum(turn, quorum, Step::Prepare, &electorate, &mut self.signed)
    }

    /// What the newest seal and the open instance have of our votes on disk.
    fn hear_database(&mut self, turn: &mut Turn) {
        let index = self.seals.certified().index;
        if let Some(stored) = records::seal(&turn.db, index) {
            self.hear_certificate(turn, &stored.seal.certificate);
        }
        let prepared = turn.db.get(Table::Prepared, &records::index_key(index + 1));
        if let Some(quorum) = prepared.and_then(|bytes| records::parse::<Quorum>(&bytes)) {
            self.hear_prepared(turn, &quorum);
        }
    }
}
