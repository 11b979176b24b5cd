//! The open instance of the seal on its way through the node: what voters send, and what comes of it.

use std::rc::Rc;

use super::Node;
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::seal::{Outcome, View};
use crate::machine::seals::SealVerdict;
use crate::machine::turn::Turn;
use crate::rules::sealed::SealedState;
use crate::types::clock::Monotonic;
use crate::types::evidence::Evidence;
use crate::types::message::{ByeReason, Message};
use crate::types::seal::{Quorum, Seal, Vote};

/// Blocks shown of a branch that voters agree on: forks are a block or two.
const BRANCH_MAX: usize = 8;

impl Node {
    /// What a peer says of the open instance: only masternodes vote, and only they relay votes.
    pub(super) fn hear_votes(&mut self, now: Monotonic, from: PeerId, message: &Message) {
        if !self.peers.get(from).is_some_and(|peer| peer.masternode) {
            return;
        }
        if let Message::Proposal(proposal) = message {
            self.sealing.proposal(now, from, proposal);
        } else if let Message::Prepared(quorum) = message {
            self.sealing.prepared(from, quorum);
        } else {
            message.votes().iter().for_each(|vote| self.sealing.vote(now, from, vote));
        }
    }

    /// Goes on with the open instance.
    pub(super) fn settle_votes(&mut self, turn: &mut Turn) {
        let view = View {
            chain: &self.chain,
            ledger: &self.ledger,
            peers: &self.peers,
            seals: &self.seals,
            may_sign: self.timekeeper.distrust().is_none() && !self.is_barred(),
        };
        let outcomes = self.sealing.tick(turn, &view, &mut self.signed);
        if self.chain.want(self.sealing.subject()) {
            self.sync.wake();
        }
        for outcome in outcomes {
            match outcome {
                Outcome::Decided(certificate, state) => self.decided(turn, certificate, state),
                // The first one is what every seal begins with.
                Outcome::Entered { view: 0, .. } => {}
                Outcome::Entered { index, view } => {
                    turn.out.note(Note::ViewEntered { index, view });
                }
                Outcome::Double(first, second) => self.double_vote(turn, first, second),
                Outcome::Blame(peer) => self.peers.blame(turn, peer, ByeReason::Invalid),
            }
        }
    }

    /// A peer asks for votes in a view after the first: the block that voters agree on may be what it lacks, and when it
    /// is on no better chain, nothing else would bring it there.
    pub(super) fn show_agreed(&mut self, turn: &mut Turn, to: PeerId, index: u64, view: u32) {
        let Some(point) = self.sealing.agreed(index, view) else { return };
        if self.chain.is_main(&point, &turn.db)
            && self.peers.get(to).is_none_or(|it| it.has_block(&point.hash))
        {
            return;
        }
        for header in self.chain.branch(&point, BRANCH_MAX, &turn.db) {
            // Of a header without its body we know no ids, and with others nobody takes it for what it is.
            let Some(ids) = self.ids_of(turn, &header.point()) else { continue };
            turn.out.send(to, Message::NewBlock { header: (*header).clone(), ids });
        }
        // A block that is announced is taken for our tip: who thinks us on another one would not forge.
        let tip = self.own_tip(turn.now);
        turn.out.send(to, Message::Tip(tip));
    }

    /// More than two thirds have committed: their votes are a certificate.
    fn decided(&mut self, turn: &mut Turn, certificate: Quorum, state: Option<Rc<SealedState>>) {
        let checkpoint = certificate.checkpoint;
        let before = *self.seals.certified();
        if before == checkpoint || self.halted().is_some() {
            return;
        }
        let (registry, voters) =
            if (checkpoint.registry, checkpoint.voters) == (before.registry, before.voters) {
                (None, None)
            } else {
                // Without the block we cannot know who votes next: those who have it send the whole seal.
                let summed = || self.chain.state_at(&checkpoint.point(), &turn.db).map(Rc::new);
                let state = state.or_else(summed);
                let Some(state) = state.filter(|state| state.digest() == checkpoint.state) else {
                    return;
                };
                (
                    (checkpoint.registry != before.registry).then(|| state.registry.clone()),
                    (checkpoint.voters != before.voters).then(|| state.voters.clone()),
                )
            };
        let seal = Seal { certificate, registry, voters };
        match self.seals.add(turn, seal) {
            SealVerdict::Added => {
                let end = self.network.clock.end_of_forging(checkpoint.round);
                self.sealing.decided(checkpoint.index, turn.now.wall.since(end));
                self.certify(turn);
            }
            SealVerdict::Conflict(conflict) => self.conflict(turn, &conflict),
            SealVerdict::Known | SealVerdict::Gap | SealVerdict::Refused(_) => {}
        }
    }

    /// A voter signed two votes for one step: kept as evidence, and told once to those who may have seen only one.
    fn double_vote(&mut self, turn: &mut Turn, first: Vote, second: Vote) {
        let Some(evidence) = Evidence::of_votes(&first, &second) else { return };
        if self.keep_evidence(turn, evidence) {
            let peers: Vec<PeerId> =
                self.peers.ready().filter(|peer| peer.masternode).map(|peer| peer.id).collect();
            for vote in [first, second] {
                turn.out.broadcast(peers.clone(), Message::Vote(vote));
            }
        }
    }
}
