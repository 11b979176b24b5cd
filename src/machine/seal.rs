//! The voter: runs the open instance of the round seal with the other voters (`docs/protocol.md` §10).
//!
//! The algorithm itself is in [`instance`]; here its inputs are checked, its outputs signed, guarded and sent, its time
//! kept. There is an open instance while the newest certified seal is also adopted: its index is the one after.

pub mod algorithm;
mod ballots;
pub mod instance;
mod intake;
mod judge;
mod open;
mod own;
mod pace;
pub mod proposals;
#[cfg(test)]
mod tests;
mod upon;
pub mod votes;

use std::rc::Rc;

use super::chain::Chain;
use super::event::PeerId;
use super::ledger::Follower;
use super::peers::Peers;
use super::records::{self, Reader, Table};
use super::seals::Seals;
use super::status::SealStatus;
use super::turn::Turn;
use crate::rules::sealed::SealedState;
use crate::types::block::Point;
use crate::types::clock::{Monotonic, Now};
use crate::types::key::{SecretKey, Verifier};
use crate::types::message::{Message, VOTES_MAX};
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Proposal, Quorum, Vote};
use crate::types::sign::{SignState, Standing};

pub use intake::INTAKE_BYTES;
pub use judge::RegistryDoubt;

use intake::{Intake, Item, SIGNATURES_MAX, Signatures};
use open::Open;

/// The machines that the voter looks at.
pub struct View<'a> {
    pub chain: &'a Chain,
    pub ledger: &'a Follower,
    pub peers: &'a Peers,
    pub seals: &'a Seals,
    /// Whether our clock, our sign state and our halt allow a signature.
    pub may_sign: bool,
}

/// What the node is to do about it.
#[derive(Debug)]
pub enum Outcome {
    /// More than two thirds have committed.
    /// With the state of its checkpoint, when that was our own candidate. Said again until there is a seal.
    Decided(Quorum, Option<Rc<SealedState>>),
    /// A view began.
    Entered { index: u64, view: u32 },
    /// A voter signed two votes for one step.
    Double(Vote, Vote),
    /// What this peer sent is provably wrong.
    Blame(PeerId),
}

/// The voter, or who follows the votes without one.
pub struct Sealing {
    network: Rc<Network>,
    verifier: Verifier,
    key: SecretKey,
    open: Option<Open>,
    intake: Intake,
    /// How late the last seal decided here was, by its index.
    delay: Option<(u64, u64)>,
    /// Answers given with votes.
    served: usize,
    due: Monotonic,
}

impl Sealing {
    /// No instance yet: `tick` opens it.
    pub fn new(network: Rc<Network>, key: SecretKey, verifier: Verifier) -> Sealing {
        let intake = Intake::default();
        Sealing {
            network,
            verifier,
            key,
            open: None,
            intake,
            delay: None,
            served: 0,
            due: Monotonic(0),
        }
    }

    /// When `tick` has something to do next.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    /// A vote of a peer.
    pub fn vote(&mut self, now: Monotonic, from: PeerId, vote: &Vote) {
        if self.open.as_ref().is_some_and(|open| open.is_of_use(now, vote)) {
            self.intake.push(from, Item::Vote(*vote));
            self.wake();
        }
    }

    /// A proposal of a peer, whoever made it.
    pub fn proposal(&mut self, now: Monotonic, from: PeerId, proposal: &Proposal) {
        let of_use = |open: &Open| open.is_proposal_of_use(now, proposal, &self.network);
        if self.open.as_ref().is_some_and(of_use) {
            self.intake.push(from, Item::Proposal(Box::new(proposal.clone())));
            self.wake();
        }
    }

    /// A prepare quorum that a peer knows.
    pub fn prepared(&mut self, from: PeerId, quorum: &Quorum) {
        if self.open.as_ref().is_some_and(|open| open.is_quorum_of_use(quorum)) {
            self.intake.push(from, Item::Prepared(Box::new(quorum.clone())));
            self.wake();
        }
    }

    /// A peer asks for the votes that it lacks: as many as fit, and the highest prepare quorum if it cannot make it of
    /// them.
    pub fn serve(
        &mut self,
        turn: &mut Turn,
        to: PeerId,
        (index, view): (u64, u32),
        (prepares, commits): (&[u8], &[u8]),
    ) {
        let Some(open) = self.open.as_ref().filter(|open| open.index == index) else { return };
        let mut votes = open.votes_lacking(view, prepares, commits);
        // Not the same ones for everybody who has none: these may not be a third.
        if votes.len() > VOTES_MAX {
            let start = self.served.wrapping_mul(VOTES_MAX) % votes.len();
            votes.rotate_left(start);
            votes.truncate(VOTES_MAX);
        }
        self.served = self.served.wrapping_add(1);
        if !votes.is_empty() {
            turn.out.send(to, Message::Votes(votes));
        }
        if let Some(proposal) = open.proposal().filter(|proposal| proposal.vote.view == view) {
            turn.out.send(to, Message::Proposal(Box::new(proposal.clone())));
        }
        if let Some(quorum) = open.prepared().filter(|quorum| quorum.view != view) {
            turn.out.send(to, Message::Prepared(Box::new(quorum.clone())));
        }
    }

    /// A masternode has connected: what we say in the open instance.
    pub fn greet(&self, turn: &mut Turn, peer: PeerId) {
        if let Some(open) = &self.open {
            open.say_again(turn, vec![peer]);
        }
    }

    /// The checkpoint that is spoken of in the open instance and whose block is not here.
    pub fn missing(&self) -> Option<&Checkpoint> {
        self.open.as_ref()?.missing()
    }

    /// The block that the open instance is about here: one that is missing, or has a prepare quorum.
    pub fn subject(&self) -> Option<Point> {
        let prepared = || self.open.as_ref()?.prepared().map(|quorum| &quorum.checkpoint);
        self.missing().or_else(prepared).map(Checkpoint::point)
    }

    /// The block that has a prepare quorum in an instance which has not come to an end in its first views.
    pub fn agreed(&self, index: u64, view: u32) -> Option<Point> {
        let open = self.open.as_ref().filter(|open| open.index == index && view > 0)?;
        open.prepared().map(|quorum| quorum.checkpoint.point())
    }

    /// A peer is gone, and what it sent with it.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.intake.forget(peer);
    }

    /// Goes on with the instance.
    pub fn tick(&mut self, turn: &mut Turn, view: &View, signed: &mut SignState) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.reopen(turn, view, signed);
        let Some(open) = &mut self.open else {
            self.due = Monotonic(u64::MAX);
            return outcomes;
        };
        let (mut left, now) = (SIGNATURES_MAX, turn.now.mono);
        loop {
            let is_of_use = |vote: &Vote| open.is_of_use(now, vote);
            let rules = (&*open.electorate, &*self.network, &self.verifier);
            let Some(checked) = self.intake.next(&mut left, is_of_use, rules) else { break };
            if checked.signatures == Signatures::Forged {
                self.intake.forget(checked.from);
            }
            open.take(turn, view, checked, &mut outcomes);
        }
        open.advance(turn, view, &self.network, &mut outcomes);
        if view.may_sign && !turn.out.is_guarded() {
            let signer = (&self.key, &*self.network, &self.verifier);
            open.sign_one(turn, view, signer, signed, &mut outcomes);
        }
        outcomes.extend(open.decided());
        open.repeat(turn, view);
        self.due = if self.intake.is_empty() { open.due(turn.now, view) } else { turn.now.mono };
        outcomes
    }

    /// Why the last registry that was proposed in the open instance is not taken here.
    pub fn registry_doubt(&self) -> Option<RegistryDoubt> {
        self.open.as_ref()?.registry_doubt()
    }

    /// A seal was decided so long after its last forging slot.
    pub fn decided(&mut self, index: u64, delay_ms: u64) {
        self.delay = Some((index, delay_ms));
        self.wake();
    }

    /// How late a seal was that was decided here lately.
    pub fn delay_of(&self, index: u64) -> Option<u64> {
        self.delay.filter(|(of, _)| *of == index).map(|(_, ms)| ms)
    }

    /// For people: where sealing stands.
    pub fn status(&self, now: Now, chain: &Chain, seals: &Seals) -> SealStatus {
        let certified = seals.certified();
        let round = self.network.clock.at(now.wall).map(|(round, _)| round);
        SealStatus {
            index: certified.index,
            height: certified.height,
            round: certified.round,
            adopted: chain.sealed().seal.index,
            age_rounds: round.map(|round| round.0.saturating_sub(certified.round.0)),
            delay_ms: self.delay_of(certified.index),
            open: self.open.as_ref().and_then(|open| open.status(now.mono, &self.network)),
        }
    }

    /// Opens the instance after the newest seal when its state is here, with what was signed in it before a restart; and
    /// anew when we may vote, or no longer may.
    fn reopen(&mut self, turn: &mut Turn, view: &View, signed: &SignState) {
        let sealed = view.chain.sealed();
        let index = sealed.seal.index + 1;
        let ready = sealed.seal.index == view.seals.certified().index && !view.chain.awaits_seal();
        // Who may not sign votes for nothing either; and when others have shown votes of ours that the sign state had lost,
        // it goes on from these, lock and all.
        let votes = signed.standing == Standing::Proven;
        let goes_on =
            |open: &Open| open.index == index && open.votes == votes && open.signed == signed.vote;
        if ready && self.open.as_ref().is_some_and(goes_on) {
            return;
        }
        self.intake.clear();
        let this = records::index_key(index);
        while let Some((over, _)) = turn.db.next(Table::Prepared, &[]).filter(|it| it.0 < this) {
            turn.db.delete(Table::Prepared, over);
        }
        self.open = ready.then(|| {
            let electorate = view.seals.electorate().clone();
            let own = votes.then(|| self.key.public());
            Open::new(&self.network, sealed, electorate, own, signed.vote, turn.now, &turn.db)
        });
    }

    fn wake(&mut self) {
        self.due = Monotonic(0);
    }
}
