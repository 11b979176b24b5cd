//! The open instance: between the algorithm and the node (`docs/protocol.md` §10).

mod gate;
mod speech;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::instance::{Input, Instance, Output, timeout_ms};
use super::intake::{Checked, Item, Signatures};
use super::judge::{Basis, Candidate, Judge, RegistryDoubt};
use super::own::{OwnVotes, Wanted};
use super::pace::Pace;
use super::proposals::Verdict;
use super::votes::{Agreement, Cast};
use super::{Outcome, View};
use crate::machine::event::PeerId;
use crate::machine::records::{self, Reader, Table};
use crate::machine::status::OpenSeal;
use crate::machine::turn::Turn;
use crate::rules::quorum::Electorate;
use crate::rules::sealed::Anchor;
use crate::types::clock::{Monotonic, Now};
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::message::Message;
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Proposal, Quorum, Step, Vote};
use crate::types::sign::VoteRecord;

use gate::PROPOSALS_MAX;
use speech::pass_on;

/// Checkpoints known by their identities: those of the views that still matter, and a few of liars.
const CHECKPOINTS_MAX: usize = 256;
/// Voters named in status as not having voted.
const MISSING_MAX: usize = 16;
/// A decision that is no seal yet, because its voters are not known here, is looked at again after this.
const DECIDED_MS: u64 = 50;

/// One instance, from the adoption of the seal before until it is decided.
pub struct Open {
    pub index: u64,
    /// What the sign state said when we last looked: what others have shown of our votes may change it.
    pub signed: Option<VoteRecord>,
    pub electorate: Rc<Electorate>,
    beacon: Hash,
    slot_ms: u64,
    /// Whether we may vote, if we are a voter.
    pub votes: bool,
    own: Option<u16>,
    leader: Cell<Option<(u32, Option<u16>)>>,
    instance: Instance,
    /// When its first view began here.
    started: Option<Monotonic>,
    /// What was decided.
    certificate: Option<Quorum>,
    /// What has a prepare quorum, or is proposed, and whose block is not here.
    missing: Option<Checkpoint>,
    judge: Judge,
    basis: Option<Basis>,
    checkpoints: VecDeque<(Hash, Checkpoint)>,
    /// Verified proposals of this view and later ones.
    proposals: BTreeMap<u32, Proposal>,
    /// The highest prepare quorum known.
    prepared: Option<Quorum>,
    timers: BTreeMap<(u32, Step), Monotonic>,
    pace: Pace,
    /// Voters of whose second votes we have told: one is evidence enough.
    doubles: BTreeSet<u16>,
    said: OwnVotes,
    /// Who was asked last for the votes we lack.
    asked: Option<PeerId>,
}

impl Open {
    /// The instance after a seal, as far as we had come in it before a restart; to look on, without a key.
    pub fn new(
        network: &Network,
        sealed: &Anchor,
        electorate: Rc<Electorate>,
        own: Option<PublicKey>,
        signed: Option<VoteRecord>,
        now: Now,
        db: &dyn Reader,
    ) -> Open {
        let index = sealed.seal.index + 1;
        let votes = own.is_some();
        let own = own.and_then(|own| electorate.position(&own));
        let mut open = Open {
            index,
            signed,
            beacon: sealed.state.beacon,
            slot_ms: network.clock.slot_ms,
            votes,
            own,
            leader: Cell::new(None),
            instance: Instance::new(index, electorate.clone(), own),
            started: None,
            certificate: None,
            missing: None,
            judge: Judge::default(),
            basis: None,
            checkpoints: VecDeque::new(),
            proposals: BTreeMap::new(),
            prepared: None,
            timers: BTreeMap::new(),
            pace: Pace::default(),
            doubles: BTreeSet::new(),
            said: OwnVotes::default(),
            asked: None,
            electorate,
        };
        let stored = db.get(Table::Prepared, &records::index_key(index));
        let stored: Option<Quorum> = stored.and_then(|bytes| records::parse(&bytes));
        if let Some(quorum) = &stored {
            open.know(quorum.checkpoint);
        }
        let held = stored.as_ref().map(|quorum| Rc::new(Agreement::of(quorum)));
        open.prepared = stored;
        let record = signed.filter(|record| record.index == index);
        if let (Some(record), Some(own)) = (record, own) {
            let (instance, outputs) =
                Instance::restore(&record, held, open.electorate.clone(), own);
            open.instance = instance;
            open.perform(now, outputs, &mut Vec::new());
        }
        open
    }

    /// Whether a prepare quorum says more than the one held.
    pub fn is_quorum_of_use(&self, quorum: &Quorum) -> bool {
        quorum.checkpoint.index == self.index
            && self.prepared.as_ref().is_none_or(|held| quorum.view > held.view)
    }

    /// The votes that somebody in a view lacks, who has these.
    pub fn votes_lacking(&self, view: u32, prepares: &[u8], commits: &[u8]) -> Vec<Vote> {
        let casts = self.instance.votes().lacking(view, prepares, commits);
        casts.into_iter().filter_map(|cast| cast.to_vote(self.index, &self.electorate)).collect()
    }

    /// The highest prepare quorum known.
    pub fn prepared(&self) -> Option<&Quorum> {
        self.prepared.as_ref()
    }

    /// The proposal of the running view, for whoever is in it.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposals.get(&self.instance.view()?)
    }

    /// Takes in what a peer sent, now that its signatures are looked at; what is new goes on to the others.
    pub fn take(
        &mut self,
        turn: &mut Turn,
        view: &View,
        checked: Checked,
        outcomes: &mut Vec<Outcome>,
    ) {
        match checked.signatures {
            Signatures::Good => {}
            Signatures::Forged => return outcomes.push(Outcome::Blame(checked.from)),
            Signatures::Foreign => return,
        }
        match checked.item {
            Item::Vote(vote) => {
                let Some(cast) = Cast::of(&vote, &self.electorate) else { return };
                if self.instance.holds(&cast) || !self.admits(turn.now.mono, &cast) {
                    return;
                }
                self.input(turn.now, Input::Vote(cast), outcomes);
                if self.instance.holds(&cast) {
                    pass_on(turn, view, checked.from, Message::Vote(vote));
                }
            }
            Item::Proposal(proposal) => {
                self.take_proposal(turn, view, checked.from, *proposal, outcomes)
            }
            Item::Prepared(quorum) => {
                self.know(quorum.checkpoint);
                self.hold(&quorum);
                self.input(turn.now, Input::Prepared(Rc::new(Agreement::of(&quorum))), outcomes);
            }
        }
    }

    fn take_proposal(
        &mut self,
        turn: &mut Turn,
        view: &View,
        from: PeerId,
        proposal: Proposal,
        outcomes: &mut Vec<Outcome>,
    ) {
        let Some(cast) = Cast::of(&proposal.vote, &self.electorate) else { return };
        if !self.is_news(&proposal)
            || !self.admits(turn.now.mono, &cast)
            || self.proposer(view.chain.network(), cast.view) != Some(cast.voter)
        {
            return;
        }
        let was_held = self.instance.holds(&cast);
        let known = self.checkpoints.len();
        self.know(proposal.checkpoint);
        let quorum = proposal.prepared.as_ref();
        let prepared = quorum.map(|quorum| {
            self.hold(quorum);
            Rc::new(Agreement::of(quorum))
        });
        let of = (cast.view, prepared.is_some());
        let verdict = self.verdict_on(turn, view, &proposal.checkpoint, of);
        self.input(turn.now, Input::Proposal { cast, prepared, verdict }, outcomes);
        if !self.instance.holds(&cast) {
            // A third value of a view: nobody will ask for it again.
            self.checkpoints.truncate(known);
            return;
        }
        let before = self.proposals.get(&cast.view);
        // Whoever relays a proposal could take its quorum away: it is not what the proposer signed.
        let is_fuller = before.is_some_and(|before| {
            let same = before.checkpoint == proposal.checkpoint;
            same && before.prepared.is_none() && proposal.prepared.is_some()
        });
        if before.is_none() || is_fuller {
            self.proposals.insert(cast.view, proposal.clone());
            if self.proposals.len() > PROPOSALS_MAX {
                self.proposals.pop_last();
            }
        }
        if !was_held || is_fuller {
            pass_on(turn, view, from, Message::Proposal(Box::new(proposal)));
        }
    }

    /// Starts, judges again what our chain now shows differently, and lets time pass.
    pub fn advance(
        &mut self,
        turn: &mut Turn,
        view: &View,
        network: &Network,
        outcomes: &mut Vec<Outcome>,
    ) {
        if self.certificate.is_some() {
            // Only its state is summed up now.
            return;
        }
        let basis = Basis::new(turn.now, network, view.chain, view.ledger);
        if self.basis.replace(basis) != Some(basis) || self.judge.is_summing() {
            if self.started.is_none() && self.candidate(turn, view).is_some() {
                self.started = Some(turn.now.mono);
                self.input(turn.now, Input::Start, outcomes);
            }
            self.look_for_missing(turn, view);
            self.judge_again(turn, view, outcomes);
        }
        while let Some((at, step)) = self.elapsed(turn.now.mono) {
            self.timers.remove(&(at, step));
            self.input(turn.now, Input::TimeOut { view: at, step }, outcomes);
        }
        self.lead(turn, view, network, outcomes);
    }

    /// What was decided, until it is a seal: for that it may need a state that takes some events to sum up.
    pub fn decided(&self) -> Option<Outcome> {
        let certificate = self.certificate.clone()?;
        let state = self.judge.state_of(&certificate.checkpoint);
        Some(Outcome::Decided(certificate, state))
    }

    /// What was proposed, in this view or for a later one, may be worth more by our chain as it is now.
    fn judge_again(&mut self, turn: &Turn, view: &View, outcomes: &mut Vec<Outcome>) {
        let now = self.instance.view();
        let all = self.instance.proposals().all().filter(|(of, _)| Some(*of) >= now);
        let known: Vec<(u32, bool, Checkpoint)> = all
            .filter_map(|(of, it)| Some((of, it.prepared.is_some(), self.checkpoint(&it.value)?)))
            .collect();
        for (of, has_quorum, checkpoint) in known {
            let verdict = self.verdict_on(turn, view, &checkpoint, (of, has_quorum));
            self.input(turn.now, Input::Judged { value: checkpoint.id(), verdict }, outcomes);
        }
    }

    /// When there is something to do next.
    pub fn due(&self, now: Now, view: &View) -> Monotonic {
        if self.is_decided() {
            return now.mono.plus(DECIDED_MS);
        }
        if self.said.is_waiting() && view.may_sign || self.judge.is_summing() {
            return now.mono;
        }
        let timers = self.timers.values().copied();
        let due = timers.chain(self.said.again_at().filter(|_| self.started.is_some())).min();
        due.unwrap_or(Monotonic(u64::MAX))
    }

    /// Why the last registry that was proposed is not taken here.
    pub fn registry_doubt(&self) -> Option<RegistryDoubt> {
        self.judge.doubt()
    }

    /// For people: how far it is, and who has not voted.
    pub fn status(&self, now: Monotonic, network: &Network) -> Option<OpenSeal> {
        let view = self.instance.view()?;
        let open_ms = now.since(self.started?);
        let turnout = self.instance.votes().turnout();
        let address = |position: &u16| {
            let voter = self.electorate.voter(*position)?;
            Some(network.address_of(&voter.public_key).to_string())
        };
        Some(OpenSeal {
            index: self.index,
            view,
            step: self.instance.stage(),
            open_ms,
            late: view > 0 || open_ms >= self.slot_ms,
            voted_percent: turnout.percent,
            needed_percent: 67,
            missing_count: u32::try_from(turnout.missing.len()).unwrap_or(u32::MAX),
            missing: turnout.missing.iter().filter_map(address).take(MISSING_MAX).collect(),
        })
    }

    /// Tells the algorithm something and does what it says.
    fn input(&mut self, now: Now, input: Input, outcomes: &mut Vec<Outcome>) {
        let outputs = self.instance.step(input);
        self.perform(now, outputs, outcomes);
        // What the algorithm has seen is what we say again, and what a lock rests on.
        let newer = |it: &Agreement| self.prepared.as_ref().is_none_or(|held| held.view < it.view);
        if let Some(agreement) = self.instance.prepared().filter(|it| newer(it)).cloned() {
            self.prepared = self.quorum_of(&agreement).or(self.prepared.take());
        }
    }

    fn perform(&mut self, now: Now, outputs: Vec<Output>, outcomes: &mut Vec<Outcome>) {
        for output in outputs {
            match output {
                Output::Entered { view } => {
                    self.started.get_or_insert(now.mono);
                    self.timers.clear();
                    self.proposals = self.proposals.split_off(&view);
                    self.said.rest_until(now.mono.plus(self.base_ms()));
                    outcomes.push(Outcome::Entered { index: self.index, view });
                }
                Output::Schedule { view, step } => {
                    let at = now.mono.plus(timeout_ms(self.slot_ms, view).max(1));
                    self.timers.insert((view, step), at);
                }
                Output::Cast { record, prepared } => {
                    self.said.rest_until(now.mono.plus(self.base_ms()));
                    self.said.want(Wanted { record, prepared });
                }
                Output::Double { first, second } => {
                    self.doubles.insert(first.voter);
                    let votes = (
                        first.to_vote(self.index, &self.electorate),
                        second.to_vote(self.index, &self.electorate),
                    );
                    if let (Some(first), Some(second)) = votes {
                        outcomes.push(Outcome::Double(first, second));
                    }
                }
                Output::Decided { .. } => {
                    let certificate = self.instance.certificate();
                    self.certificate = certificate.and_then(|of| self.quorum_of(&of));
                }
            }
        }
    }

    /// Our value, when the running view is ours to propose in.
    fn lead(&mut self, turn: &Turn, view: &View, network: &Network, outcomes: &mut Vec<Outcome>) {
        let Some(at) = self.instance.view() else { return };
        if !self.instance.is_to_lead() || self.own.is_none() {
            return;
        }
        if self.proposer(network, at) != self.own {
            return;
        }
        let candidate = self.candidate(turn, view).map(|candidate| candidate.in_view(at));
        candidate.iter().for_each(|checkpoint| self.know(*checkpoint));
        let value = candidate.map(|checkpoint| checkpoint.id());
        self.input(turn.now, Input::Lead { view: at, value }, outcomes);
    }

    /// Who proposes in a view, remembered for the view that was asked for last.
    fn proposer(&self, network: &Network, view: u32) -> Option<u16> {
        if let Some((_, proposer)) = self.leader.get().filter(|(of, _)| *of == view) {
            return proposer;
        }
        let proposer = self.electorate.proposer(network, &self.beacon, self.index, view);
        self.leader.set(Some((view, proposer)));
        proposer
    }

    fn candidate(&mut self, turn: &Turn, view: &View) -> Option<Candidate> {
        self.judge.candidate(&self.basis?, (view.chain, view.ledger), &turn.db)
    }

    /// What is agreed on or proposed is asked for when its block is not here (§10).
    fn look_for_missing(&mut self, turn: &Turn, view: &View) {
        let Some(basis) = self.basis else { return };
        let now = self.instance.view().and_then(|at| self.proposals.get(&at));
        let prepared = self.prepared.as_ref().map(|quorum| quorum.checkpoint);
        let candidates = prepared.into_iter().chain(now.map(|proposal| proposal.checkpoint));
        self.missing = candidates.into_iter().find(|checkpoint| {
            let sources = (view.chain, view.ledger);
            let verdict = self.judge.verdict(checkpoint, &basis, turn.now, sources, &turn.db);
            verdict == Verdict::Unknown && !self.judge.is_summing()
        });
    }

    /// What is missing here of what the voters speak of.
    pub fn missing(&self) -> Option<&Checkpoint> {
        self.missing.as_ref().filter(|_| !self.is_decided())
    }

    /// What we think of a checkpoint proposed in a view, with a prepare quorum of an earlier one or without.
    fn verdict_on(
        &mut self,
        turn: &Turn,
        view: &View,
        checkpoint: &Checkpoint,
        (of, has_quorum): (u32, bool),
    ) -> Verdict {
        let Some(basis) = self.basis else { return Verdict::Unknown };
        let sources = (view.chain, view.ledger);
        let verdict = self.judge.verdict(checkpoint, &basis, turn.now, sources, &turn.db);
        // Of a later view its quorum may have been lost on the way: then it is not refused before the time-out.
        let may_lack = !has_quorum && of > 0;
        if may_lack && verdict == Verdict::Sound { Verdict::Unknown } else { verdict }
    }

    fn elapsed(&self, now: Monotonic) -> Option<(u32, Step)> {
        self.timers.iter().find(|(_, at)| **at <= now).map(|(timer, _)| *timer)
    }

    fn is_decided(&self) -> bool {
        self.instance.decision().is_some()
    }

    fn base_ms(&self) -> u64 {
        timeout_ms(self.slot_ms, 0).max(1)
    }

    fn know(&mut self, checkpoint: Checkpoint) {
        let value = checkpoint.id();
        if self.checkpoint(&value).is_none() {
            self.checkpoints.push_back((value, checkpoint));
            if self.checkpoints.len() > CHECKPOINTS_MAX {
                self.checkpoints.pop_front();
            }
        }
    }

    fn checkpoint(&self, value: &Hash) -> Option<Checkpoint> {
        let held = self.prepared.as_ref().map(|quorum| quorum.checkpoint);
        let held = held.filter(|checkpoint| checkpoint.id() == *value);
        let known = self.checkpoints.iter().find(|(known, _)| known == value);
        held.or(known.map(|(_, checkpoint)| *checkpoint))
    }

    fn quorum_of(&self, agreement: &Agreement) -> Option<Quorum> {
        Some(agreement.to_quorum(self.checkpoint(&agreement.value)?))
    }

    fn hold(&mut self, quorum: &Quorum) {
        if self.is_quorum_of_use(quorum) {
            self.prepared = Some(quorum.clone());
        }
    }
}
