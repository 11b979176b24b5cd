//! Checks of votes: every signature of an honest voter is guarded first, excludes no other of its own, and is what the
//! algorithm allows it to say (`docs/protocol.md` §10).
//!
//! Whatever is signed by anyone is counted from what was ever sent. An honest voter cannot have seen more.

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::machine::records::{self, Reader, Table};
use crate::sim::host::Host;
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::message::Message;
use crate::types::seal::{Proposal, Quorum, Step, Vote, Voter};
use crate::types::sign::VoteRecord;

/// Who, and for which step.
pub(super) type Ballot = (PublicKey, u64, u32, Step);

/// All that was voted.
#[derive(Default)]
pub struct Votes {
    /// What anybody's valid signatures say.
    seen: BTreeMap<Ballot, BTreeSet<Option<Hash>>>,
    /// What honest hosts have noted before they signed.
    pub(super) guarded: BTreeMap<Ballot, VoteRecord>,
    /// Of the prepares among them: whether each was for the end of its voter's chain when it was signed.
    pub(super) judged: BTreeMap<Ballot, bool>,
    /// Proposals by index, view and value: the views of the prepare quorums that they rest on, if any.
    proposed: BTreeMap<(u64, u32, Hash), BTreeSet<Option<u32>>>,
}

impl Votes {
    /// Views for which somebody has proposed two values.
    pub fn doubly_proposed(&self) -> u64 {
        let proposals = self.seen.iter().filter(|((.., step), _)| *step == Step::Propose);
        proposals.filter(|(_, values)| values.len() > 1).count() as u64
    }

    /// Whether more than two thirds of these voters have voted so.
    fn has_quorum(
        &self,
        (index, view, step): (u64, u32, Step),
        value: Hash,
        voters: &[Voter],
    ) -> bool {
        let votes = |voter: &&Voter| {
            let seen = self.seen.get(&(voter.public_key, index, view, step));
            seen.is_some_and(|values| values.contains(&Some(value)))
        };
        let weight = |voter: &Voter| u64::from(voter.weight);
        let total: u64 = voters.iter().map(weight).sum();
        3 * voters.iter().filter(votes).map(weight).sum::<u64>() > 2 * total
    }
}

impl Checks {
    /// How many voters have been heard to vote in a step of a view.
    pub fn votes_in(&self, index: u64, view: u32, step: Step) -> usize {
        let of = |(_, of, at, what): &&Ballot| (*of, *at, *what) == (index, view, step);
        self.votes.seen.keys().filter(of).count()
    }

    /// A host has noted a vote that it is about to sign.
    pub fn vote_guarded(&mut self, time: u64, index: usize, host: &Host, record: &VoteRecord) {
        if !host.honest {
            return;
        }
        let key = host.public();
        let name = format!("the {:?} of seal {} view {}", record.step, record.index, record.view);
        let of_index =
            (key, record.index, 0, Step::Propose)..(key, record.index + 1, 0, Step::Propose);
        let before = self.votes.guarded.range(of_index).next_back().map(|(_, record)| *record);
        if let Some(held) = before.and_then(|before| before.lock) {
            let kept = record.lock.is_some_and(|lock| lock == held || lock.view > held.view);
            if !kept {
                self.violation(time, Some(index), format!("forgets its lock with {name}"));
            }
        }
        let ballot = (key, record.index, record.view, record.step);
        match self.votes.guarded.insert(ballot, *record) {
            Some(other) if other.value != record.value => {
                self.violation(time, Some(index), format!("notes a second value for {name}"));
            }
            // Said again. An old copy of the database may have been put back since.
            Some(_) => {}
            None if record.step == Step::Commit && !keeps_quorum(host, record) => {
                let what = format!("notes {name} without the quorum on its disk");
                self.violation(time, Some(index), what);
            }
            None => {}
        }
    }

    /// A host sends what voters have signed.
    pub fn votes_sent(&mut self, time: u64, index: usize, hosts: &[Host], message: &Message) {
        match message {
            Message::Vote(vote) => self.vote_sent(time, index, hosts, vote),
            Message::Votes(votes) => {
                votes.iter().for_each(|vote| self.vote_sent(time, index, hosts, vote));
            }
            Message::Proposal(proposal) => self.proposal_sent(time, index, hosts, proposal),
            Message::Prepared(quorum) => self.quorum_sent(time, index, hosts, quorum),
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::NewBlock { .. }
            | Message::WantBodies { .. }
            | Message::Bodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::WantVotes { .. }
            | Message::WantSeals { .. }
            | Message::Seals { .. }
            | Message::WantState { .. }
            | Message::State { .. }
            | Message::Bye(_) => {}
        }
    }

    fn proposal_sent(&mut self, time: u64, index: usize, hosts: &[Host], proposal: &Proposal) {
        let Proposal { vote, checkpoint, prepared } = proposal;
        if vote.value != Some(checkpoint.id()) {
            return;
        }
        if let Some(quorum) = prepared {
            self.quorum_sent(time, index, hosts, quorum);
        }
        let rests_on = prepared.as_ref().map(|quorum| quorum.view);
        let key = (vote.index, vote.view, checkpoint.id());
        self.votes.proposed.entry(key).or_default().insert(rests_on);
        self.vote_sent(time, index, hosts, vote);
    }

    /// The votes of a quorum count like others; honest ones among them must have been guarded.
    fn quorum_sent(&mut self, time: u64, index: usize, hosts: &[Host], quorum: &Quorum) {
        let lists: Vec<Vec<Voter>> =
            self.oracle.voters_of(quorum.checkpoint.index).into_iter().map(<[_]>::to_vec).collect();
        for voters in lists {
            let key_at = |at: u16| voters.get(usize::from(at)).map(|voter| voter.public_key);
            let votes: Vec<Vote> = quorum.votes(Step::Prepare, key_at).collect();
            votes.iter().for_each(|vote| self.vote_sent(time, index, hosts, vote));
        }
    }

    pub(super) fn vote_sent(&mut self, time: u64, index: usize, hosts: &[Host], vote: &Vote) {
        let ballot = (vote.voter, vote.index, vote.view, vote.step);
        let known = self.votes.seen.get(&ballot);
        if known.is_some_and(|values| values.contains(&vote.value))
            || !vote.is_signed(&self.cast.network, &self.cast.verifier)
        {
            return;
        }
        let values = self.votes.seen.entry(ballot).or_default();
        values.insert(vote.value);
        let votes = values.len();
        if !self.honest.contains(&vote.voter) {
            return;
        }
        let name = format!("the {:?} of seal {} view {}", vote.step, vote.index, vote.view);
        if votes > 1 {
            self.violation(time, Some(index), format!("{name} has two values of one honest voter"));
        }
        let record = self.votes.guarded.get(&ballot).copied();
        let Some(record) = record.filter(|record| record.value == vote.value) else {
            return self.violation(time, Some(index), format!("{name} is sent and not guarded"));
        };
        let Some(voter) = hosts.iter().position(|host| host.public() == vote.voter) else { return };
        let Some(value) = vote.value else { return };
        let allowed = match vote.step {
            Step::Propose => Ok(()),
            Step::Prepare => self.may_prepare(&hosts[voter], &record, value),
            Step::Commit => self.may_commit(&record, value),
        };
        if let Err(why) = allowed {
            self.violation(time, Some(voter), format!("votes in {name} {why}"));
        }
    }

    /// Lines 22 and 28: a proposal of the view that the lock allows, and that is our own chain's, or rests on a quorum.
    fn may_prepare(
        &self,
        host: &Host,
        record: &VoteRecord,
        value: Hash,
    ) -> Result<(), &'static str> {
        let mut proposed = self.votes.proposed.get(&(record.index, record.view, value)).cloned();
        // A proposal of its own, which nobody was there to hear.
        let own = (host.public(), record.index, record.view, Step::Propose);
        if self.votes.guarded.get(&own).is_some_and(|own| own.value == Some(value)) {
            let views = (0..record.view).map(Some).chain([None]);
            proposed.get_or_insert_default().extend(views);
        }
        let proposed = proposed.ok_or("for what nobody has proposed")?;
        let free = record.lock.is_none_or(|lock| lock.value == value);
        let mut why = "against its lock";
        if free && proposed.contains(&None) {
            let ballot = (host.public(), record.index, record.view, Step::Prepare);
            if self.votes.judged.get(&ballot) == Some(&true) {
                return Ok(());
            }
            why = "for what is not the end of its chain";
        }
        for view in proposed.iter().copied().flatten().filter(|view| *view < record.view) {
            let lists = self.oracle.voters_of(record.index);
            let step = (record.index, view, Step::Prepare);
            let rests = lists.iter().any(|voters| self.votes.has_quorum(step, value, voters));
            let unlocked = record.lock.is_none_or(|lock| lock.value == value || lock.view <= view);
            if rests && unlocked || lists.is_empty() {
                return Ok(());
            }
        }
        Err(why)
    }

    /// Line 36: after a prepare quorum, with the lock. That the quorum is on disk is looked at when the vote is noted.
    fn may_commit(&self, record: &VoteRecord, value: Hash) -> Result<(), &'static str> {
        let lists = self.oracle.voters_of(record.index);
        let step = (record.index, record.view, Step::Prepare);
        if !lists.is_empty()
            && !lists.iter().any(|voters| self.votes.has_quorum(step, value, voters))
        {
            return Err("without two thirds of the prepares");
        }
        if record.lock.is_none_or(|lock| (lock.view, lock.value) != (record.view, value)) {
            return Err("without a lock");
        }
        Ok(())
    }
}

/// Whether the prepare quorum that a commit rests on, or a later one, is on disk.
fn keeps_quorum(host: &Host, record: &VoteRecord) -> bool {
    let quorum = host.disk.get(Table::Prepared, &records::index_key(record.index));
    let quorum: Option<Quorum> = quorum.and_then(|bytes| records::parse(&bytes));
    record.value.is_none_or(|value| {
        quorum.is_some_and(|quorum| {
            quorum.view > record.view
                || quorum.view == record.view && quorum.checkpoint.id() == value
        })
    })
}
