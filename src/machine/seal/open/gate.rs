//! What is let in: votes and proposals that can change something, looked at before their signatures are verified, and
//! voters that go on to later views, at their pace (`docs/protocol.md` §10, §11).

use super::Open;
use crate::machine::seal::proposals::Proposed;
use crate::machine::seal::votes::Cast;
use crate::types::clock::Monotonic;
use crate::types::network::Network;
use crate::types::seal::{Proposal, Step, Vote};

/// Proposals kept for views to come.
pub(super) const PROPOSALS_MAX: usize = 4;
/// A voter may go on to another view later than ours this often per base time.
const LATER_PER_BASE: u64 = 2;

impl Open {
    /// Whether a vote of this instance can change anything, before its signature is verified.
    pub fn is_of_use(&self, now: Monotonic, vote: &Vote) -> bool {
        if vote.index != self.index || vote.step == Step::Propose || self.is_decided() {
            return false;
        }
        let Some(cast) = Cast::of(vote, &self.electorate) else { return false };
        let votes = self.instance.votes();
        match votes.held(&cast) {
            Some(value) => value != cast.value && !self.doubles.contains(&cast.voter),
            None if Some(cast.view) > self.instance.view() => self.may_be_later(now, &cast),
            None => self.instance.view() == Some(cast.view) || votes.is_late_news(&cast),
        }
    }

    /// Whether a proposal is by the proposer of a view that is not over, and belongs together. Of later views everybody
    /// may be the proposer here: that takes a hash for each voter, and is looked at when the signature holds and its
    /// voter may go on to that view.
    pub fn is_proposal_of_use(
        &self,
        now: Monotonic,
        proposal: &Proposal,
        network: &Network,
    ) -> bool {
        let vote = &proposal.vote;
        let in_time =
            vote.index == self.index && self.instance.view().is_none_or(|now| vote.view >= now);
        let whole = vote.step == Step::Propose
            && proposal.checkpoint.index == self.index
            && vote.value == Some(proposal.checkpoint.id())
            && proposal.prepared.as_ref().is_none_or(|quorum| {
                quorum.checkpoint == proposal.checkpoint && quorum.view < vote.view
            });
        let room =
            self.proposals.len() < PROPOSALS_MAX || self.proposals.keys().last() > Some(&vote.view);
        let Some(cast) = Cast::of(vote, &self.electorate) else { return false };
        let room = room && !self.instance.is_full(&cast);
        in_time && whole && room && self.is_news(proposal) && {
            if Some(vote.view) > self.instance.view() {
                self.may_be_later(now, &cast)
            } else {
                self.proposer(network, vote.view) == Some(cast.voter)
            }
        }
    }

    /// Whether a proposal is not held, or not with a quorum as late. It is not part of what the proposer signs: whoever
    /// relays a proposal could take it away.
    pub(super) fn is_news(&self, proposal: &Proposal) -> bool {
        let of_view = self.instance.proposals().of_view(proposal.vote.view);
        let same = |held: &Proposed| Some(held.value) == proposal.vote.value;
        let rests_on = proposal.prepared.as_ref().map(|quorum| quorum.view);
        of_view.filter(same).all(|held| rests_on > held.prepared)
    }

    /// Whether a voter may go on to a view that is later than ours, now that its signature holds.
    pub(super) fn admits(&mut self, now: Monotonic, cast: &Cast) -> bool {
        let pause_ms = self.base_ms() / LATER_PER_BASE;
        Some(cast.view) <= self.instance.view()
            || self.pace.admits(cast.voter, cast.view, now, pause_ms)
    }

    /// Whether a voter may go on to this later view by now.
    fn may_be_later(&self, now: Monotonic, cast: &Cast) -> bool {
        self.pace.may_admit(cast.voter, cast.view, now)
    }
}
