//! What no honest voter says about seals: counted where it comes to honest hosts, which drop it.
//!
//! A fault that does nothing would keep every check quiet: a campaign asks these counts whether there was one.

use super::Checks;
use crate::sim::host::Host;
use crate::types::message::Message;
use crate::types::seal::Vote;

/// What Byzantine voters have said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misvotes {
    /// Times that a host noticed two votes of a voter for one step.
    pub doubles: u64,
    /// Views for which two values were proposed.
    pub two_values: u64,
    /// Votes that came to an honest host under a signature that is not their voter's.
    pub misnamed: u64,
    /// Votes that came to an honest host for a seal that is open nowhere.
    pub not_open: u64,
}

impl Checks {
    /// What was said in all.
    pub fn misvotes(&self) -> Misvotes {
        Misvotes { two_values: self.votes.doubly_proposed(), ..self.misvotes }
    }

    /// A host that is not honest has said this to one that is.
    pub fn heard_of_villain(&mut self, message: &Message) {
        let Message::Vote(vote) = message else { return };
        if !self.is_signed(vote) {
            self.misvotes.misnamed += 1;
        }
        if !is_open(vote, self.seals.open()) {
            self.misvotes.not_open += 1;
        }
    }

    /// An honest host has dropped what cannot be of use to anybody: it passes none of it on.
    pub fn vote_passed(&mut self, time: u64, index: usize, host: &Host, vote: &Vote) {
        if !host.honest {
            return;
        }
        let name = format!("a vote for seal {} view {}", vote.index, vote.view);
        if !self.is_signed(vote) {
            let what = format!("passes on {name} that its voter has not signed");
            self.violation(time, Some(index), what);
        }
        if !is_open(vote, self.seals.open_at(index)) {
            self.violation(time, Some(index), format!("passes on {name}, which is not open"));
        }
    }

    fn is_signed(&self, vote: &Vote) -> bool {
        vote.is_signed(&self.cast.network, &self.cast.verifier)
    }
}

/// Whether this is the newest open seal, or an older one.
fn is_open(vote: &Vote, newest: u64) -> bool {
    // Genesis is seal 0, and nobody votes for it.
    (1..=newest).contains(&vote.index)
}
