//! The other opinion: malachite's state machine and vote keeper, told the same and asked after each input.
//!
//! Theirs are the transitions, the lock, the valid value, the thresholds and the double votes. Ours is what stands between
//! the two, written the slow way: after each input all that is kept is offered to the state machine again, until it no
//! longer moves. Where the protocol differs from the paper on purpose, it is here:
//! - Votes and proposals that the protocol lets go of (`docs/protocol.md` §10) are taken from the keeper too.
//! - Line 55 counts who has reached or passed a view, proposals included; the keeper would count votes of that view.
//! - Lines 34 and 47 count who has done that step or passed it; the keeper would count votes of that step.
//! - A proposal is offered as valid or not by our three verdicts, and not at all while it is unknown.
//! - Line 49 needs the value to be named by anything, in any verdict; malachite wants a valid proposal of that view.
//! - A prepare quorum that comes as a whole becomes `valid`, and counts as one in its own view.
//! - The proposer waits for its own proposal as others do: line 21 is taken without being proposer, and lines 14 to 19 when
//!   the schedule says so.

use std::rc::Rc;

use hypernode::machine::seal::instance::Input;
use hypernode::machine::seal::proposals::Verdict;
use hypernode::machine::seal::votes::{Agreement, Cast};
use hypernode::types::hash::Hash;
use hypernode::types::seal::Step;
use hypernode::types::sign::{Lock, VoteRecord};
use informalsystems_malachitebft_core_state_machine::input::Input as Event;
use informalsystems_malachitebft_core_state_machine::output::Output as Answer;
use informalsystems_malachitebft_core_state_machine::state::{RoundValue, State, Step as Stage};
use informalsystems_malachitebft_core_state_machine::state_machine::Info;
use informalsystems_malachitebft_core_types::{
    NilOrVal, Round, SignedMessage, Threshold, ThresholdParams, TimeoutKind, VoteType,
};
use informalsystems_malachitebft_core_votekeeper::keeper::VoteKeeper;

use crate::malachite::{Ctx, Index, Position, Proposal, Validator, Validators, Value, Vote};

/// What either of the two answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Enter(u32),
    Wait(u32, Step),
    Sign { view: u32, step: Step, value: Option<Hash>, lock: Option<Lock>, over: Option<u32> },
    Double { voter: u16, view: u32, step: Step },
    Decide(u32, Hash),
}

/// A proposal as it is kept.
#[derive(Debug, Clone, Copy)]
struct Entry {
    view: u32,
    value: Hash,
    voter: u16,
    prepared: Option<u32>,
    verdict: Verdict,
}

/// Malachite's machines and what they are fed from.
pub struct Reference {
    validators: Validators,
    own: Option<u16>,
    pub state: State<Ctx>,
    keeper: VoteKeeper<Ctx>,
    /// The votes in the keeper.
    log: Vec<Vote>,
    /// The latest view of each voter.
    heard: Vec<Option<u32>>,
    proposals: Vec<Entry>,
    lead: Option<Option<Hash>>,
    has_proposed: bool,
    scheduled: Vec<(u32, Step)>,
    pub decided: Option<(u32, Hash)>,
}

impl Reference {
    pub fn new(weights: &[u8], own: Option<u16>) -> Reference {
        let of = |(at, weight): (u16, &u8)| Validator(Position(at), u64::from(*weight));
        Reference::of(Validators((0..).zip(weights).map(of).collect()), own)
    }

    fn of(validators: Validators, own: Option<u16>) -> Reference {
        Reference {
            own,
            state: State::new(Index::default(), Round::Nil),
            keeper: VoteKeeper::new(validators.clone(), ThresholdParams::default()),
            log: Vec::new(),
            heard: vec![None; validators.0.len()],
            proposals: Vec::new(),
            lead: None,
            has_proposed: false,
            scheduled: Vec::new(),
            decided: None,
            validators,
        }
    }

    /// A new machine with the variables that were on disk, and what it has to say at once.
    pub fn restart(&mut self, record: &VoteRecord, prepared: Option<&Rc<Agreement>>) -> Vec<Told> {
        *self = Reference::of(self.validators.clone(), self.own);
        self.state.round = Round::new(record.view);
        self.state.step = match record.step {
            Step::Propose => Stage::Propose,
            Step::Prepare => Stage::Prevote,
            Step::Commit => Stage::Precommit,
        };
        let round_value = |lock: Lock| RoundValue::new(Value(lock.value), Round::new(lock.view));
        self.state.locked = record.lock.map(round_value);
        self.has_proposed = true;
        let VoteRecord { view, step, value, lock, .. } = *record;
        let of_value = prepared.filter(|held| Some(held.value) == value).map(|held| held.view);
        let over = of_value.filter(|held| match step {
            Step::Propose => *held < view,
            Step::Prepare => false,
            Step::Commit => *held == view,
        });
        let mut told = vec![Told::Enter(view)];
        if step == Step::Propose {
            told.push(Told::Wait(view, step));
        }
        told.push(Told::Sign { view, step, value, lock, over });
        if let Some(prepared) = prepared {
            told.extend(self.step(&Input::Prepared(Rc::clone(prepared))));
        }
        told
    }

    /// Takes an input, then offers the state machine all that is true until it does nothing more.
    pub fn step(&mut self, input: &Input) -> Vec<Told> {
        let mut told = Vec::new();
        if self.decided.is_some() {
            return told;
        }
        let event = self.take(input, &mut told);
        if let Some((round, event)) = event {
            self.apply(round, event, &mut told);
        }
        while self.decided.is_none()
            && self.offers().into_iter().any(|(round, event)| self.apply(round, event, &mut told))
        {
        }
        told
    }

    fn view(&self) -> Option<u32> {
        self.state.round.as_u32()
    }

    fn take(&mut self, input: &Input, told: &mut Vec<Told>) -> Option<(Round, Event<Ctx>)> {
        match input {
            Input::Start => {
                return self
                    .view()
                    .is_none()
                    .then_some((Round::Nil, Event::SkipRound(Round::ZERO)));
            }
            Input::TimeOut { view, step } => {
                let event = match step {
                    Step::Propose => Event::TimeoutPropose,
                    Step::Prepare => Event::TimeoutPrevote,
                    Step::Commit => Event::TimeoutPrecommit,
                };
                return Some((Round::new(*view), event));
            }
            Input::Lead { view, value } => {
                if self.view() == Some(*view) {
                    self.lead = Some(value.or(self.lead.flatten()));
                }
            }
            Input::Judged { value, verdict } => {
                for entry in self.proposals.iter_mut().filter(|entry| entry.value == *value) {
                    entry.verdict = *verdict;
                }
            }
            Input::Vote(cast) => self.take_vote(cast, told),
            Input::Prepared(agreement) => self.take_whole(agreement, told),
            Input::Proposal { cast, prepared, verdict } => {
                let value = cast.value.expect("a proposal is for a block");
                let prepared_view = prepared.as_ref().map(|agreement| agreement.view);
                if prepared_view >= Some(cast.view) {
                    return None;
                }
                let Cast { view, voter, .. } = *cast;
                let entry =
                    Entry { view, value, voter, prepared: prepared_view, verdict: *verdict };
                self.take_proposal(entry, told);
                self.hear(voter, view);
                if let Some(agreement) = prepared {
                    self.take_whole(agreement, told);
                }
            }
        }
        None
    }

    /// Two values of a view; of a proposer one view later than the present one.
    fn take_proposal(&mut self, new: Entry, told: &mut Vec<Told>) {
        let now = self.view();
        let mut of_view = self.proposals.iter_mut().filter(|entry| entry.view == new.view);
        if let Some(held) = of_view.find(|entry| entry.value == new.value) {
            *held = Entry { prepared: held.prepared.max(new.prepared), ..new };
            return;
        }
        let held = self.proposals.iter().filter(|entry| entry.view == new.view).count();
        if held > 0 {
            told.push(Told::Double { voter: new.voter, view: new.view, step: Step::Propose });
        } else if Some(new.view) > now {
            let is_rival = |entry: &Entry| entry.voter == new.voter && Some(entry.view) > now;
            if self.proposals.iter().any(|entry| is_rival(entry) && entry.view > new.view) {
                return;
            }
            self.proposals.retain(|entry| !is_rival(entry));
        }
        if held < 2 {
            self.proposals.push(new);
        }
    }

    fn take_whole(&mut self, agreement: &Agreement, told: &mut Vec<Told>) {
        let Agreement { view, value, votes } = agreement;
        for (voter, signature) in votes {
            let (voter, signature, value) = (*voter, *signature, Some(*value));
            self.take_vote(
                &Cast { view: *view, step: Step::Prepare, value, voter, signature },
                told,
            );
        }
        let round = Round::new(*view);
        if self.state.valid.as_ref().is_none_or(|valid| valid.round < round) {
            self.state.valid = Some(RoundValue::new(Value(*value), round));
        }
    }

    fn take_vote(&mut self, cast: &Cast, told: &mut Vec<Told>) {
        let Cast { view, step, voter, .. } = *cast;
        let value = cast.value.map_or(NilOrVal::Nil, NilOrVal::Val);
        let kind = match step {
            Step::Prepare => VoteType::Prevote,
            Step::Propose | Step::Commit => VoteType::Precommit,
        };
        let vote = Vote { view, kind, value, voter: Position(voter) };
        let doubles =
            |of: &Reference| of.keeper.evidence().get(&vote.voter).map_or(0, |pairs| pairs.len());
        let before = doubles(self);
        self.keeper.apply_vote(SignedMessage::new(vote.clone(), ()), self.state.round);
        self.hear(voter, view);
        if doubles(self) > before {
            told.push(Told::Double { voter, view, step });
        } else if !self.log.contains(&vote) {
            self.log.push(vote);
            self.forget();
        }
    }

    fn hear(&mut self, voter: u16, view: u32) {
        let heard = &mut self.heard[usize::from(voter)];
        *heard = (*heard).max(Some(view));
    }

    /// Of each voter: the present view, its latest one, and its last commit for a block of the others.
    fn forget(&mut self) {
        let now = self.view();
        let latest = |voter: Position| {
            let of_voter = self.log.iter().filter(|vote| vote.voter == voter);
            of_voter.map(|vote| vote.view).max().filter(|latest| Some(*latest) > now)
        };
        let is_near = |vote: &Vote| Some(vote.view) == now || Some(vote.view) == latest(vote.voter);
        let is_commit = |vote: &Vote| vote.kind == VoteType::Precommit && vote.value.is_val();
        let last = |voter: Position| {
            let others = self.log.iter().filter(|vote| vote.voter == voter && !is_near(vote));
            others.filter(|vote| is_commit(vote)).map(|vote| vote.view).max()
        };
        let stays = |vote: &&Vote| {
            is_near(vote) || (is_commit(vote) && Some(vote.view) == last(vote.voter))
        };
        let log: Vec<Vote> = self.log.iter().filter(stays).cloned().collect();
        if log.len() < self.log.len() {
            self.log = log;
            self.keeper = VoteKeeper::new(self.validators.clone(), ThresholdParams::default());
            for vote in &self.log {
                self.keeper.apply_vote(SignedMessage::new(vote.clone(), ()), self.state.round);
            }
        }
    }

    fn weight(&self, of: impl Fn(usize) -> bool) -> u64 {
        let all = self.validators.0.iter().enumerate();
        all.filter(|(at, _)| of(*at)).map(|(_, validator)| validator.1).sum()
    }

    fn is_met(&self, view: u32, kind: VoteType, threshold: Threshold<Hash>) -> bool {
        self.keeper.is_threshold_met(&Round::new(view), kind, threshold)
    }

    /// All inputs of the state machine whose condition holds, in the order in which our instance asks.
    #[allow(clippy::too_many_lines, reason = "one list of all that may happen, in one order")]
    fn offers(&self) -> Vec<(Round, Event<Ctx>)> {
        let params = ThresholdParams::default();
        let total = self.weight(|_| true);
        let round = self.state.round;
        let mut all = Vec::new();
        all.extend(self.committed().map(|(view, value)| {
            (Round::new(view), Event::ProposalAndPrecommitValue(proposal(view, value, None)))
        }));
        let mut views: Vec<u32> = self.heard.iter().flatten().copied().collect();
        views.sort_unstable();
        let is_ahead = |view: &&u32| {
            let weight = self.weight(|at| self.heard[at] >= Some(**view));
            Some(**view) > self.view() && params.honest.is_met(weight, total)
        };
        all.extend(
            views.iter().rev().find(is_ahead).map(|view| (round, Event::SkipRound((*view).into()))),
        );
        let Some(now) = self.view() else { return all };
        let of_now = || self.proposals.iter().filter(|entry| entry.view == now);
        let whole = self.state.valid.iter().find(|valid| valid.round == round);
        let is_prepared =
            |value: Hash| self.is_met(now, VoteType::Prevote, Threshold::Value(value));
        let any_prepared = of_now().any(|entry| is_prepared(entry.value));
        let is_nil = self.is_met(now, VoteType::Prevote, Threshold::Nil);
        for entry in of_now().filter(|entry| match entry.verdict {
            Verdict::Unknown | Verdict::Wrong => false,
            Verdict::Sound | Verdict::Acceptable => true,
        }) {
            let is_whole = whole.is_some_and(|valid| valid.value.0 == entry.value);
            if is_prepared(entry.value) || (is_whole && !any_prepared && !is_nil) {
                let proposal = proposal(now, entry.value, entry.prepared);
                all.push((round, Event::ProposalAndPolkaCurrent(proposal)));
            }
        }
        if is_nil {
            all.push((round, Event::PolkaNil));
        }
        for entry in of_now() {
            let proposal = proposal(now, entry.value, entry.prepared);
            all.extend(match (entry.prepared, entry.verdict) {
                (_, Verdict::Unknown) => None,
                (None, Verdict::Acceptable) => Some((round, Event::Proposal(proposal))),
                (None, _) => Some((round, Event::InvalidProposal)),
                (Some(_), Verdict::Wrong) => {
                    Some((round, Event::InvalidProposalAndPolkaPrevious(proposal)))
                }
                (Some(_), _) => Some((round, Event::ProposalAndPolkaPrevious(proposal))),
            });
        }
        if let (Some(lead), false) = (self.lead, self.has_proposed) {
            match (&self.state.valid, lead) {
                (Some(valid), _) if valid.round < round => {
                    all.push((round, Event::NewRound(round)))
                }
                (None, Some(value)) => all.push((round, Event::ProposeValue(Value(value)))),
                _ => {}
            }
        }
        let has_voted = |at: usize, kind: Option<VoteType>| {
            let mut of_now = self.log.iter().filter(|vote| vote.view == now);
            of_now.any(|vote| {
                usize::from(vote.voter.0) == at && kind.is_none_or(|kind| kind == vote.kind)
            })
        };
        let is_past = |kind: Option<VoteType>| {
            let past = self.weight(|at| self.heard[at] > Some(now) || has_voted(at, kind));
            params.quorum.is_met(past, total)
        };
        let is_new = |step: Step| !self.scheduled.contains(&(now, step));
        if is_past(None) && is_new(Step::Prepare) {
            all.push((round, Event::PolkaAny));
        }
        if is_past(Some(VoteType::Precommit)) && is_new(Step::Commit) {
            all.push((round, Event::PrecommitAny));
        }
        all
    }

    /// The first view and value, in their order, that a quorum committed to, if anything has named it.
    fn committed(&self) -> Option<(u32, Hash)> {
        let now = self.view();
        // A later view is entered before its commits decide.
        let is_commit = |vote: &&Vote| vote.kind == VoteType::Precommit && Some(vote.view) <= now;
        let commits = self.log.iter().filter(is_commit);
        let blocks = commits.filter_map(|vote| match vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(value) => Some((vote.view, value)),
        });
        let is_quorum = |(view, value): &(u32, Hash)| {
            self.is_met(*view, VoteType::Precommit, Threshold::Value(*value))
        };
        let is_known = |(_, value): &(u32, Hash)| {
            let is_valid = self.state.valid.as_ref().is_some_and(|valid| valid.value.0 == *value);
            is_valid || self.proposals.iter().any(|entry| entry.value == *value)
        };
        blocks.filter(is_quorum).filter(is_known).min()
    }

    /// Applies an input; whether that changed or said anything.
    fn apply(&mut self, round: Round, event: Event<Ctx>, told: &mut Vec<Told>) -> bool {
        let own = Position(self.own.unwrap_or(u16::MAX));
        let nobody = Position(u16::MAX - 1);
        let leads = matches!(event, Event::ProposeValue(_) | Event::NewRound(_));
        let info = Info::new(round, &own, if leads { &own } else { &nobody });
        let mut state = self.state.clone();
        if let Event::NewRound(_) = event {
            // Lines 14 to 16 are part of entering a round there.
            if state.step != Stage::Propose {
                return false;
            }
            state.step = Stage::Unstarted;
        }
        let before = self.state.clone();
        let transition = state.apply(&Ctx, &info, event);
        if !transition.valid || (transition.next_state == before && transition.output.is_none()) {
            return false;
        }
        self.state = transition.next_state;
        if let Some(output) = transition.output {
            self.answer(round, output, told);
        }
        true
    }

    fn answer(&mut self, round: Round, output: Answer<Ctx>, told: &mut Vec<Told>) {
        let lock = self.state.locked.as_ref().map(|locked| Lock {
            view: locked.round.as_u32().expect("a lock is of a view"),
            value: locked.value.0,
        });
        match output {
            Answer::NewRound(round) => {
                told.push(Told::Enter(round.as_u32().expect("a view")));
                self.lead = None;
                self.has_proposed = false;
                self.forget();
                let (own, nobody) = (Position(u16::MAX), Position(u16::MAX - 1));
                let info = Info::new(round, &own, &nobody);
                let transition = self.state.clone().apply(&Ctx, &info, Event::NewRound(round));
                self.state = transition.next_state;
                let scheduled = transition.output.expect("line 21");
                self.answer(round, scheduled, told);
            }
            Answer::Proposal(proposal) => {
                self.has_proposed = true;
                let (view, value) = (proposal.view, Some(proposal.value.0));
                let over = proposal.prepared.as_u32();
                told.push(Told::Sign { view, step: Step::Propose, value, lock, over });
            }
            Answer::Vote(vote) => {
                let value = match vote.value {
                    NilOrVal::Nil => None,
                    NilOrVal::Val(value) => Some(value),
                };
                let (step, over) = match vote.kind {
                    VoteType::Prevote => (Step::Prepare, None),
                    VoteType::Precommit => (Step::Commit, value.map(|_| vote.view)),
                };
                if self.own.is_some() {
                    told.push(Told::Sign { view: vote.view, step, value, lock, over });
                }
            }
            Answer::ScheduleTimeout(timeout)
            | Answer::GetValueAndScheduleTimeout(_, _, timeout) => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => Step::Propose,
                    TimeoutKind::Prevote => Step::Prepare,
                    TimeoutKind::Precommit => Step::Commit,
                    TimeoutKind::Rebroadcast => unreachable!("nobody asks for that"),
                };
                let view = timeout.round.as_u32().expect("a view");
                self.scheduled.push((view, step));
                told.push(Told::Wait(view, step));
            }
            Answer::Decision(_, proposal) => {
                let view = round.as_u32().expect("a view");
                self.decided = Some((view, proposal.value.0));
                told.push(Told::Decide(view, proposal.value.0));
            }
        }
    }
}

fn proposal(view: u32, value: Hash, prepared: Option<u32>) -> Proposal {
    Proposal { view, value: Value(value), prepared: prepared.into(), voter: Position(0) }
}
