//! One instance of agreement, as one voter or observer sees it: "The latest gossip on BFT consensus" (Buchman, Kwon,
//! Milosevic 2018), algorithm 1, with the names of `docs/protocol.md` §10: a round of the paper is a view here, a
//! prevote a prepare, a precommit a commit.
//!
//! Pure: it checks no signature, reads no clock and knows no block. What differs from the paper:
//! - Messages are bounded as `votes` and `proposals` say; line 55 counts who has reached *or passed* a view.
//! - What a value is worth, the caller says, and may say better later (`Verdict`).
//! - Line 21 holds for the proposer too, so that one who lacks the block it proposes again does not wait for ever.
//! - Lines 34 and 47 count who has done that step *or passed it*, in this view or by being in a later one: votes are
//!   only sent again for the present view, so voters of two views could wait for each other's lost ones for ever.
//! - Any prepare quorum may become `valid`, which only says what to propose.
//!
//! Invariant: votes leave in ascending order of (view, step), one for each, and none at or below what was signed
//! before a restart, except that one again.

use std::rc::Rc;

use super::algorithm::{Act, Line, Variables};
use super::proposals::{Proposals, Proposed, VALUES_MAX, Verdict};
use super::upon::Upon;
use super::votes::{Added, Agreement, Cast, Votes};
use crate::rules::quorum::Electorate;
use crate::types::hash::Hash;
use crate::types::seal::Step;
use crate::types::sign::{Lock, VoteRecord};

/// What an instance is told. Signatures, proposers and quorums in it have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Line 10: there is something to seal.
    Start,
    /// We propose in this view; our value, once there is one.
    Lead { view: u32, value: Option<Hash> },
    /// A proposal by the proposer of its view, with its prepare quorum of an earlier one. Its value is a checkpoint.
    Proposal { cast: Cast, prepared: Option<Rc<Agreement>>, verdict: Verdict },
    /// Another verdict on what is proposed.
    Judged { value: Hash, verdict: Verdict },
    /// A prepare or commit.
    Vote(Cast),
    /// Prepares that came as a whole.
    Prepared(Rc<Agreement>),
    /// The time-out of `Output::Schedule`.
    TimeOut { view: u32, step: Step },
}

/// What its caller has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A view began: its proposer answers with `Input::Lead`.
    Entered { view: u32 },
    /// Answer with `Input::TimeOut` after `timeout_ms`.
    Schedule { view: u32, step: Step },
    /// Sign and send this vote, or as step `Propose` this proposal, and give it back as an input. Before it leaves, the
    /// record is on disk, and what it rests on: the quorum that a proposal carries, or that a commit locks.
    Cast { record: VoteRecord, prepared: Option<Rc<Agreement>> },
    /// Somebody signed two values for one view and step. The second does not count.
    Double { first: Cast, second: Cast },
    /// Line 51: the certificate is `Instance::certificate`.
    Decided { view: u32, value: Hash },
}

/// The instance of one index.
#[derive(Debug, Clone)]
pub struct Instance {
    index: u64,
    own: Option<u16>,
    now: Variables,
    /// The last vote that we were to send.
    signed: Option<(u32, Step, Option<Hash>)>,
    votes: Votes,
    proposals: Proposals,
    /// How often each line was followed.
    followed: [u32; Line::ALL.len()],
}

/// Time for each step of a view: min(slot, slot / 12 × 2^view), in milliseconds.
pub fn timeout_ms(slot_ms: u64, view: u32) -> u64 {
    (slot_ms / 12).saturating_mul(2_u64.saturating_pow(view)).min(slot_ms)
}

impl Instance {
    /// An instance before its start, in which we have signed nothing; `own` is our position, nothing for observers.
    pub fn new(index: u64, electorate: Rc<Electorate>, own: Option<u16>) -> Instance {
        Instance {
            index,
            own,
            now: Variables::default(),
            signed: None,
            votes: Votes::new(electorate),
            proposals: Proposals::default(),
            followed: [0; Line::ALL.len()],
        }
    }

    /// The instance of the last vote that we signed, after a restart: it goes on from there, and that vote is sent again.
    /// `prepared` is the highest prepare quorum on disk.
    pub fn restore(
        record: &VoteRecord,
        prepared: Option<Rc<Agreement>>,
        electorate: Rc<Electorate>,
        own: u16,
    ) -> (Instance, Vec<Output>) {
        let VoteRecord { index, view, step, value, lock } = *record;
        let mut instance = Instance::new(index, electorate, Some(own));
        instance.begin(view);
        instance.now = Variables { step, lock, has_proposed: true, ..instance.now };
        let rests_on = prepared.clone().filter(|held| match step {
            Step::Propose => Some(held.value) == value && held.view < view,
            Step::Prepare => false,
            Step::Commit => Some(held.value) == value && held.view == view,
        });
        let mut outputs = vec![Output::Entered { view }];
        if step == Step::Propose {
            outputs.push(Output::Schedule { view, step });
        }
        instance.cast(step, value, rests_on, &mut outputs);
        if let Some(prepared) = prepared {
            outputs.extend(instance.step(Input::Prepared(prepared)));
        }
        (instance, outputs)
    }

    /// Takes an input and follows every line that it lets be followed. After the decision nothing is taken.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.now.decision.is_some() {
            return outputs;
        }
        if let Some(upon) = self.take(input, &mut outputs) {
            self.follow(&upon, &mut outputs);
        }
        while self.upon().iter().any(|upon| self.follow(upon, &mut outputs)) {}
        outputs
    }

    /// Whether this vote or proposal was taken in already.
    pub fn holds(&self, cast: &Cast) -> bool {
        match cast.step {
            Step::Propose => {
                self.proposals.of_view(cast.view).any(|held| Some(held.value) == cast.value)
            }
            Step::Prepare | Step::Commit => self.votes.holds(cast),
        }
    }

    /// Whether a proposal is one too many of its view: two are held, and evidence.
    pub fn is_full(&self, cast: &Cast) -> bool {
        !self.holds(cast) && self.proposals.of_view(cast.view).count() >= VALUES_MAX
    }

    /// Whether the present view still has no proposal of ours, should it be ours to make.
    pub fn is_to_lead(&self) -> bool {
        !self.now.has_proposed && self.now.step == Step::Propose
    }

    /// What it is about.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The present view; nothing before the start.
    pub fn view(&self) -> Option<u32> {
        self.now.view
    }

    /// The step of the present view: the last one that we did, or `Propose`.
    pub fn stage(&self) -> Step {
        self.now.step
    }

    /// What we are locked on.
    pub fn lock(&self) -> Option<Lock> {
        self.now.lock
    }

    /// The highest prepare quorum known: to send again, and to propose with.
    pub fn prepared(&self) -> Option<&Rc<Agreement>> {
        self.now.valid.as_ref()
    }

    /// The view and value decided.
    pub fn decision(&self) -> Option<(u32, Hash)> {
        self.now.decision
    }

    /// The commits of the decision.
    pub fn certificate(&self) -> Option<Agreement> {
        let (view, value) = self.now.decision?;
        let votes = self.votes.collect(view, Step::Commit, value);
        Some(Agreement { view, value, votes })
    }

    /// All votes kept, to ask for others, to answer who asks, and to tell who is missing.
    pub fn votes(&self) -> &Votes {
        &self.votes
    }

    /// All proposals kept, to judge them again.
    pub fn proposals(&self) -> &Proposals {
        &self.proposals
    }

    /// How often a line was followed.
    pub fn times(&self, line: Line) -> u32 {
        self.followed[line as usize]
    }

    /// Takes an input into what is kept; what it lets be done at once, or nothing.
    fn take(&mut self, input: Input, outputs: &mut Vec<Output>) -> Option<Upon> {
        match input {
            Input::Start => return Some(Upon::Start),
            Input::TimeOut { view, step } => return Some(Upon::TimeOut(view, step)),
            Input::Lead { view, value } => {
                if self.now.view == Some(view) {
                    self.now.lead = Some(value.or(self.now.lead.flatten()));
                }
            }
            Input::Proposal { cast, prepared, verdict } => {
                self.take_proposal(&cast, prepared, verdict, outputs);
            }
            Input::Judged { value, verdict } => self.proposals.judge(value, verdict),
            Input::Vote(cast) => {
                if let Added::Double(first) = self.votes.add(&cast) {
                    outputs.push(Output::Double { first, second: cast });
                }
            }
            Input::Prepared(agreement) => self.take_prepared(agreement, outputs),
        }
        None
    }

    fn take_proposal(
        &mut self,
        cast: &Cast,
        prepared: Option<Rc<Agreement>>,
        verdict: Verdict,
        outputs: &mut Vec<Output>,
    ) {
        let Some(value) = cast.value else { return };
        let is_earlier = |of: &Rc<Agreement>| of.view < cast.view && of.value == value;
        if cast.step != Step::Propose || !prepared.as_ref().is_none_or(is_earlier) {
            return;
        }
        let proposed = Proposed { value, prepared: prepared.as_ref().map(|of| of.view), verdict };
        if let Added::Double(first) = self.proposals.add(cast, proposed, self.now.view) {
            outputs.push(Output::Double { first, second: *cast });
        }
        self.votes.hear(cast.voter, cast.view);
        if let Some(agreement) = prepared {
            self.take_prepared(agreement, outputs);
        }
    }

    fn take_prepared(&mut self, agreement: Rc<Agreement>, outputs: &mut Vec<Output>) {
        let Agreement { view, value, ref votes } = *agreement;
        for &(voter, signature) in votes {
            let second = Cast { view, step: Step::Prepare, value: Some(value), voter, signature };
            if let Added::Double(first) = self.votes.add(&second) {
                outputs.push(Output::Double { first, second });
            }
        }
        if self.now.valid.as_ref().is_none_or(|valid| valid.view < view) {
            self.now.valid = Some(agreement);
        }
    }

    fn upon(&self) -> Vec<Upon> {
        Upon::all(&self.now, &self.votes, &self.proposals)
    }

    /// Does what the algorithm says; false when that is nothing.
    fn follow(&mut self, upon: &Upon, outputs: &mut Vec<Output>) -> bool {
        let Some((line, act)) = self.now.line(upon) else { return false };
        self.count(line);
        match act {
            Act::Enter(view) => {
                self.begin(view);
                self.count(Line::Schedule21);
                outputs.push(Output::Entered { view });
                outputs.push(Output::Schedule { view, step: Step::Propose });
            }
            Act::Propose(value, prepared) => {
                self.now.has_proposed = true;
                self.cast(Step::Propose, Some(value), prepared, outputs);
            }
            Act::Prepare(value) => {
                self.now.step = Step::Prepare;
                self.cast(Step::Prepare, value, None, outputs);
            }
            Act::Lock(value) => {
                let prepared = self.keep(value);
                self.now.lock = Some(Lock { view: prepared.view, value });
                self.now.step = Step::Commit;
                self.cast(Step::Commit, Some(value), Some(prepared), outputs);
            }
            Act::Keep(value) => drop(self.keep(value)),
            Act::CommitNil => {
                self.now.step = Step::Commit;
                self.cast(Step::Commit, None, None, outputs);
            }
            Act::Schedule(step) => {
                match step {
                    Step::Prepare => self.now.has_scheduled_prepare = true,
                    Step::Propose | Step::Commit => self.now.has_scheduled_commit = true,
                }
                outputs.extend(self.now.view.map(|view| Output::Schedule { view, step }));
            }
            Act::Decide(view, value) => {
                self.now.decision = Some((view, value));
                outputs.push(Output::Decided { view, value });
            }
        }
        true
    }

    fn begin(&mut self, view: u32) {
        self.now = Variables {
            view: Some(view),
            lock: self.now.lock,
            valid: self.now.valid.take(),
            ..Variables::default()
        };
        self.votes.enter(view);
        self.proposals.enter(view);
    }

    /// Makes the prepare quorum of the present view the valid one.
    fn keep(&mut self, value: Hash) -> Rc<Agreement> {
        let view = self.now.view.unwrap_or(0);
        let held = self.now.valid.take().filter(|valid| valid.view == view && valid.value == value);
        let prepared = held.unwrap_or_else(|| {
            let votes = self.votes.collect(view, Step::Prepare, value);
            Rc::new(Agreement { view, value, votes })
        });
        self.now.valid = Some(Rc::clone(&prepared));
        prepared
    }

    /// Has a vote sent, unless we are none who votes or have signed it, or a later one.
    fn cast(
        &mut self,
        step: Step,
        value: Option<Hash>,
        prepared: Option<Rc<Agreement>>,
        outputs: &mut Vec<Output>,
    ) {
        let (Some(view), Some(_)) = (self.now.view, self.own) else { return };
        if self.signed.is_some_and(|(signed, of, _)| (signed, of) >= (view, step)) {
            return;
        }
        self.signed = Some((view, step, value));
        let record = VoteRecord { index: self.index, view, step, value, lock: self.now.lock };
        outputs.push(Output::Cast { record, prepared });
    }

    fn count(&mut self, line: Line) {
        let times = &mut self.followed[line as usize];
        *times = times.saturating_add(1);
    }
}
