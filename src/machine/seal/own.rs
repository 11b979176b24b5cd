//! Our own part in an instance: what waits to be signed, what we said last, and when we say it again
//! (`docs/protocol.md` §10).
//!
//! One event makes one signature, so what an instance asks for at once leaves one by one, in its order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::votes::Agreement;
use crate::types::clock::Monotonic;
use crate::types::seal::{Proposal, Vote};
use crate::types::sign::VoteRecord;

/// Signatures waiting: an instance asks for three a view, and moves on only by what others sign.
const WAITING_MAX: usize = 16;

/// A vote or proposal to be signed, and the prepare quorum it rests on.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub record: VoteRecord,
    pub prepared: Option<Rc<Agreement>>,
}

/// What we say.
#[derive(Debug, Default)]
pub struct OwnVotes {
    wanted: VecDeque<Wanted>,
    proposal: Option<Proposal>,
    /// Of the view that we last voted in.
    votes: Vec<Vote>,
    again_at: Option<Monotonic>,
}

impl OwnVotes {
    /// Something is to be signed.
    pub fn want(&mut self, wanted: Wanted) {
        // What could not be signed in its view is over.
        self.wanted.retain(|other| other.record.view >= wanted.record.view);
        if self.wanted.len() < WAITING_MAX {
            self.wanted.push_back(wanted);
        }
    }

    /// Whether something waits.
    pub fn is_waiting(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The next one to be signed.
    pub fn next(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// It cannot be signed yet.
    pub fn put_back(&mut self, wanted: Wanted) {
        self.wanted.push_front(wanted);
    }

    /// It is signed and on its way.
    pub fn proposed(&mut self, proposal: Proposal) {
        self.forget_before(proposal.vote.view);
        self.proposal = Some(proposal);
    }

    /// It is signed and on its way.
    pub fn voted(&mut self, vote: Vote) {
        self.forget_before(vote.view);
        self.votes.retain(|other| other.step != vote.step);
        self.votes.push(vote);
    }

    /// Our last proposal, and our votes of the view that we last voted in.
    pub fn said(&self) -> (Option<&Proposal>, &[Vote]) {
        (self.proposal.as_ref(), &self.votes)
    }

    /// The step has changed, or all was just said: it is said again at `at`.
    pub fn rest_until(&mut self, at: Monotonic) {
        self.again_at = Some(at);
    }

    /// When all is to be said again; nothing before the first step.
    pub fn again_at(&self) -> Option<Monotonic> {
        self.again_at
    }

    fn forget_before(&mut self, view: u32) {
        self.votes.retain(|vote| vote.view >= view);
        if self.proposal.as_ref().is_some_and(|proposal| proposal.vote.view < view) {
            self.proposal = None;
        }
    }
}
