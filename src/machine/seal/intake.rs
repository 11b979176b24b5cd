//! What peers send of the open instance, waiting for its signatures to be verified: so many in one event, the rest follow
//! at once (`docs/protocol.md` §11).

use std::collections::VecDeque;

use crate::machine::event::PeerId;
use crate::rules::quorum::Electorate;
use crate::types::key::Verifier;
use crate::types::message::QUORUM_BYTES_MAX;
use crate::types::network::Network;
use crate::types::seal::{Proposal, Quorum, Step, Vote};

/// Signatures verified in one event.
pub const SIGNATURES_MAX: usize = 64;
/// Waiting in all: both steps of a view of 2,048 voters.
const ITEMS_MAX: usize = 4_096;
/// Of one peer: an answer with votes, and what it relays meanwhile.
const ITEMS_OF_PEER_MAX: usize = 512;
/// Of one peer with a quorum in them, up to 258 KiB each; of all peers.
const QUORUMS_OF_PEER_MAX: usize = 2;
const QUORUMS_MAX: usize = 32;
/// What all of it may hold: a vote is 200 bytes, with its place in the queue and among those checked less than 512.
pub const INTAKE_BYTES: usize = ITEMS_MAX * 512 + QUORUMS_MAX * QUORUM_BYTES_MAX;

/// Something with signatures.
#[derive(Debug, Clone)]
pub enum Item {
    Vote(Vote),
    Proposal(Box<Proposal>),
    Prepared(Box<Quorum>),
}

/// What came of an item.
#[derive(Debug)]
pub struct Checked {
    pub from: PeerId,
    pub item: Item,
    pub signatures: Signatures,
}

/// What its signatures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// They hold.
    Good,
    /// Its own does not: nobody honest passes that on.
    Forged,
    /// Its quorum is none of our voters. They are named by position, so that an honest peer on the other side of a split
    /// has others.
    Foreign,
}

#[derive(Debug)]
struct Waiting {
    from: PeerId,
    item: Item,
    /// Signatures of its quorum that are verified.
    done: usize,
}

/// The queue, in order of arrival.
#[derive(Debug, Default)]
pub struct Intake {
    waiting: VecDeque<Waiting>,
}

impl Item {
    fn has_quorum(&self) -> bool {
        match self {
            Item::Vote(_) => false,
            Item::Proposal(proposal) => proposal.prepared.is_some(),
            Item::Prepared(_) => true,
        }
    }
}

impl Intake {
    /// Takes an item in; what is over the bounds is dropped, and comes again when it is sent again.
    pub fn push(&mut self, from: PeerId, item: Item) {
        let of_peer = || self.waiting.iter().filter(|waiting| waiting.from == from);
        let quorums = self.waiting.iter().filter(|waiting| waiting.item.has_quorum()).count();
        let quorums_of_peer = of_peer().filter(|waiting| waiting.item.has_quorum()).count();
        let room = self.waiting.len() < ITEMS_MAX && of_peer().count() < ITEMS_OF_PEER_MAX;
        let fits = quorums < QUORUMS_MAX && quorums_of_peer < QUORUMS_OF_PEER_MAX;
        if room && (fits || !item.has_quorum()) {
            self.waiting.push_back(Waiting { from, item, done: 0 });
        }
    }

    /// How much waits.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what a peer sent.
    pub fn forget(&mut self, peer: PeerId) {
        self.waiting.retain(|waiting| waiting.from != peer);
    }

    /// Forgets everything: the instance is over.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The next item whose signatures are all looked at, as long as there are verifications left in this event. A vote
    /// that what came before it has made useless is dropped without one.
    pub fn next(
        &mut self,
        left: &mut usize,
        is_of_use: impl Fn(&Vote) -> bool,
        (electorate, network, verifier): (&Electorate, &Network, &Verifier),
    ) -> Option<Checked> {
        while *left > 0 {
            let mut waiting = self.waiting.pop_front()?;
            let verdict = match &waiting.item {
                Item::Vote(vote) if !is_of_use(vote) => continue,
                Item::Vote(vote) => Some(check_vote(vote, network, verifier, left)),
                Item::Proposal(proposal) => {
                    let vote = check_vote(&proposal.vote, network, verifier, left);
                    match &proposal.prepared {
                        Some(quorum) if vote == Signatures::Good => {
                            let rest = (network, verifier, left);
                            check_quorum(quorum, electorate, &mut waiting.done, rest)
                        }
                        _ => Some(vote),
                    }
                }
                Item::Prepared(quorum) => {
                    let rest = (network, verifier, left);
                    check_quorum(quorum, electorate, &mut waiting.done, rest)
                }
            };
            let Some(signatures) = verdict else {
                self.waiting.push_front(waiting);
                return None;
            };
            return Some(Checked { from: waiting.from, item: waiting.item, signatures });
        }
        None
    }
}

fn check_vote(vote: &Vote, network: &Network, verifier: &Verifier, left: &mut usize) -> Signatures {
    *left = left.saturating_sub(1);
    if vote.is_signed(network, verifier) { Signatures::Good } else { Signatures::Forged }
}

/// Goes on where the last event stopped; nothing while signatures are left.
fn check_quorum(
    quorum: &Quorum,
    electorate: &Electorate,
    done: &mut usize,
    (network, verifier, left): (&Network, &Verifier, &mut usize),
) -> Option<Signatures> {
    if electorate.check_weight(quorum).is_err() {
        return Some(Signatures::Foreign);
    }
    for vote in electorate.votes(quorum, Step::Prepare).skip(*done) {
        if *left == 0 {
            return None;
        }
        *left -= 1;
        *done += 1;
        if !vote.is_signed(network, verifier) {
            return Some(Signatures::Foreign);
        }
    }
    Some(Signatures::Good)
}
