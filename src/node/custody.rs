//! Whether anything of ours may be signed at all: custody of the key, and halt.

use super::Node;
use crate::machine::custody::View;
use crate::machine::halt::{HaltReason, HaltRecord};
use crate::machine::note::MissReason;
use crate::machine::turn::Turn;
use crate::types::message::Message;
use crate::types::seal::Voter;
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

    /// Looks for our signatures in what a peer says.
    pub(super) fn hear(&mut self, turn: &mut Turn, message: &Message) {
        let heartbeat = self.duty.heartbeat_sent();
        self.custody.hear(turn, message, heartbeat, &mut self.signed);
    }

    /// Before anything is signed in an event.
    pub(super) fn keep_custody(&mut self, turn: &mut Turn) {
        let (connected, _) = self.peers.dial_list_sharing(&self.chain.best().point);
        let is_listening = connected > 0 || !self.peers.has_targets();
        let is_behind = self.chain.is_behind(turn.now.mono, self.network.clock.slot_ms);
        let (built, distrust) = (self.built, self.timekeeper.distrust());
        let view = View { built, distrust, is_listening, is_behind };
        self.custody.tick(turn, &view, &mut self.signed);
    }
}
