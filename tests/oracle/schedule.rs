//! What may happen to one voter, drawn from a seed: votes and proposals of others in any order, twice or never, time-outs,
//! restarts, and its own votes coming back.
//!
//! Others are honest (one vote for each view and step) except for up to a third by weight, so that no view has two
//! quorums. Every view has a favourite, which most vote for: without, nothing would ever be agreed on.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use hypernode::machine::seal::instance::Input;
use hypernode::machine::seal::proposals::Verdict;
use hypernode::machine::seal::votes::{Agreement, Cast};
use hypernode::types::hash::Hash;
use hypernode::types::key::Signature;
use hypernode::types::rng::Rng;
use hypernode::types::seal::Step;

use crate::reference::Told;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Happening {
    Input(Input),
    Restart,
}

/// Where chance stands.
pub struct Schedule {
    rng: Rng,
    pub weights: Vec<u8>,
    /// The voter under test; nothing for an observer.
    pub own: Option<u16>,
    is_liar: Vec<bool>,
    /// Of each view: its favourite and its proposer.
    views: Vec<(Option<Hash>, u16)>,
    /// What honest voters voted.
    voted: BTreeMap<(u32, Step, u16), Option<Hash>>,
    queue: VecDeque<Input>,
    time_outs: Vec<(u32, Step)>,
    /// What our voter said, to come back to it, and everything that was ever told it.
    said: Vec<Input>,
    past: Vec<Input>,
}

impl Schedule {
    pub fn new(number: u64) -> Schedule {
        let mut rng = Rng::from_text(&format!("oracle {number}"));
        let voters = if rng.one_in(50) { 1 } else { 4 + rng.index(4) };
        let weights: Vec<u8> = (0..voters).map(|_| [1, 1, 2, 3][rng.index(4)]).collect();
        let own = (!rng.one_in(10)).then(|| position(rng.index(voters)));
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut lies = 0;
        let is_liar = (0..).zip(&weights).map(|(at, weight)| {
            let lying = lies + u64::from(*weight);
            let is_liar = Some(at) != own && 3 * lying < total && rng.one_in(2);
            lies = if is_liar { lying } else { lies };
            is_liar
        });
        let is_liar = is_liar.collect();
        Schedule {
            rng,
            weights,
            own,
            is_liar,
            views: Vec::new(),
            voted: BTreeMap::new(),
            queue: VecDeque::from([Input::Start]),
            time_outs: Vec::new(),
            said: Vec::new(),
            past: Vec::new(),
        }
    }

    /// What happens to a voter that is in this view.
    pub fn next(&mut self, now: u32) -> Happening {
        if self.own.is_some() && self.rng.one_in(120) {
            self.queue.clear();
            self.time_outs.clear();
            return Happening::Restart;
        }
        let queued = if self.rng.one_in(10) { None } else { self.queue.pop_front() };
        let input = queued.unwrap_or_else(|| self.input(now));
        self.past.push(input.clone());
        Happening::Input(input)
    }

    /// Takes what the voter answered: its votes come back later or never, its time-outs end.
    pub fn hear(&mut self, told: &[Told]) {
        for told in told {
            match told {
                Told::Enter(view) => {
                    let value = [Some(any_value(&mut self.rng)), None][self.rng.index(2)];
                    if Some(self.view(*view).1) == self.own {
                        self.queue.push_back(Input::Lead { view: *view, value });
                    }
                }
                Told::Wait(view, step) => self.time_outs.push((*view, *step)),
                Told::Sign { view, step, value, over, .. } => {
                    self.come_back(*view, *step, *value, *over);
                }
                Told::Double { .. } | Told::Decide(..) => {}
            }
        }
    }

    fn come_back(&mut self, view: u32, step: Step, value: Option<Hash>, over: Option<u32>) {
        let voter = self.own.expect("an observer says nothing");
        let cast = cast(view, step, value, voter);
        self.voted.insert((view, step, voter), value);
        let input = if step == Step::Propose {
            let prepared = over.and_then(|of| self.agreement(of, value?));
            Input::Proposal { cast, prepared, verdict: self.verdict() }
        } else {
            Input::Vote(cast)
        };
        self.said.push(input.clone());
        match self.rng.index(4) {
            0 => {}
            1 => self.queue.push_back(input),
            _ => self.queue.push_front(input),
        }
    }

    fn input(&mut self, now: u32) -> Input {
        match self.rng.index(30) {
            24.. => self.whole_view(now),
            0..=4 => self.votes_of_many(now),
            5..=8 => {
                let view = self.view_near(now);
                let step = [Step::Prepare, Step::Commit][self.rng.index(2)];
                self.vote(view, step)
            }
            9..=13 => self.proposal(now),
            14 | 15 => {
                let (value, verdict) = (any_value(&mut self.rng), self.verdict());
                Input::Judged { value, verdict }
            }
            16 => {
                let view = self.view_near(now);
                let favourite = self.view(view).0;
                match favourite.and_then(|value| self.agreement(view, value)) {
                    Some(agreement) => Input::Prepared(agreement),
                    None => self.votes_of_many(now),
                }
            }
            17..=20 => {
                if self.time_outs.is_empty() || self.rng.one_in(8) {
                    let step = [Step::Propose, Step::Prepare, Step::Commit][self.rng.index(3)];
                    return Input::TimeOut { view: self.view_near(now), step };
                }
                let at = self.rng.index(self.time_outs.len());
                let (view, step) = self.time_outs.swap_remove(at);
                Input::TimeOut { view, step }
            }
            21 => {
                let value = any_value(&mut self.rng);
                let view = if self.rng.one_in(4) { now + 1 } else { now };
                if Some(self.view(view).1) == self.own {
                    Input::Lead { view, value: Some(value) }
                } else {
                    self.votes_of_many(now)
                }
            }
            22 if !self.said.is_empty() => self.said[self.rng.index(self.said.len())].clone(),
            _ if !self.past.is_empty() => self.past[self.rng.index(self.past.len())].clone(),
            _ => Input::Start,
        }
    }

    /// A view as it goes when nearly all goes well up to the commits, which often fail: so locks come about and last.
    fn whole_view(&mut self, now: u32) -> Input {
        let proposal = self.proposal(now);
        if let Input::Proposal { cast, .. } = &proposal {
            self.queue
                .extend(cast.value.map(|value| Input::Judged { value, verdict: Verdict::Sound }));
        }
        self.queue.push_back(Input::TimeOut { view: now, step: Step::Propose });
        for voter in 0..position(self.weights.len()) {
            let favourite = self.view(now).0;
            self.queue_vote(now, Step::Prepare, voter, favourite);
        }
        self.queue.push_back(Input::TimeOut { view: now, step: Step::Prepare });
        let value = if self.rng.one_in(12) { self.view(now).0 } else { None };
        for voter in 0..position(self.weights.len()) {
            self.queue_vote(now, Step::Commit, voter, value);
        }
        self.queue.push_back(Input::TimeOut { view: now, step: Step::Commit });
        proposal
    }

    fn queue_vote(&mut self, view: u32, step: Step, voter: u16, value: Option<Hash>) {
        if Some(voter) != self.own && !self.rng.one_in(12) {
            let value = self.settle(view, step, voter, value);
            self.queue.push_back(Input::Vote(cast(view, step, value, voter)));
        }
    }

    /// Most voters vote for the same step, in any order.
    fn votes_of_many(&mut self, now: u32) -> Input {
        let view = if self.rng.one_in(4) { self.view_near(now) } else { now };
        let step = [Step::Prepare, Step::Prepare, Step::Commit][self.rng.index(3)];
        for _ in 0..self.weights.len() {
            let vote = self.vote(view, step);
            let at = self.rng.index(self.queue.len() + 1);
            self.queue.insert(at, vote);
        }
        self.vote(view, step)
    }

    fn vote(&mut self, view: u32, step: Step) -> Input {
        let voter = position(self.rng.index(self.weights.len()));
        if Some(voter) == self.own {
            // It speaks for itself.
            let again = self.said.iter().rev().find(|input| matches!(input, Input::Vote(_)));
            return again.cloned().unwrap_or(Input::Start);
        }
        let value = match self.rng.index(10) {
            0 => None,
            1 => Some(any_value(&mut self.rng)),
            _ => self.view(view).0,
        };
        Input::Vote(cast(view, step, self.settle(view, step, voter, value), voter))
    }

    /// What this voter votes there, when it would like to vote for `value`: honest ones have one vote.
    fn settle(&mut self, view: u32, step: Step, voter: u16, value: Option<Hash>) -> Option<Hash> {
        if self.is_liar[usize::from(voter)] {
            return value;
        }
        *self.voted.entry((view, step, voter)).or_insert(value)
    }

    fn proposal(&mut self, now: u32) -> Input {
        let view = if self.rng.one_in(3) { self.view_near(now) } else { now };
        let (favourite, proposer) = self.view(view);
        if Some(proposer) == self.own {
            let mut said = self.said.iter().rev();
            let again = said.find(|input| matches!(input, Input::Proposal { .. }));
            return again.cloned().unwrap_or(Input::Start);
        }
        let mut value = favourite.unwrap_or(any_value(&mut self.rng));
        let mut prepared = None;
        if view > 0 && !self.rng.one_in(3) {
            let views = 0..view;
            let liked: Vec<u32> = views.filter(|earlier| self.view(*earlier).0.is_some()).collect();
            let earlier = liked.get(self.rng.index(liked.len())).copied().unwrap_or(0);
            prepared = self.view(earlier).0.and_then(|value| self.agreement(earlier, value));
            value = prepared.as_ref().map_or(value, |prepared| prepared.value);
        }
        if self.rng.one_in(8) {
            (value, prepared) = (any_value(&mut self.rng), None);
        }
        let settled = self.settle(view, Step::Propose, proposer, Some(value));
        prepared = prepared.filter(|prepared| settled == Some(prepared.value));
        let cast = cast(view, Step::Propose, settled, proposer);
        Input::Proposal { cast, prepared, verdict: self.verdict() }
    }

    /// A prepare quorum, of voters who did not vote otherwise.
    fn agreement(&mut self, view: u32, value: Hash) -> Option<Rc<Agreement>> {
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let all = (0_u16..).zip(self.weights.clone());
        let would = all.filter(|(voter, _)| {
            let voted = self.voted.get(&(view, Step::Prepare, *voter));
            let is_own = Some(*voter) == self.own;
            voted.map_or(!is_own, |voted| *voted == Some(value))
                || self.is_liar[usize::from(*voter)]
        });
        let mut would: Vec<(u16, u8)> = would.collect();
        let mut weight: u64 = would.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if 3 * weight <= 2 * total {
            return None;
        }
        // Without those it does not need, some of the time.
        for _ in 0..self.rng.index(3) {
            let at = self.rng.index(would.len());
            let less = weight - u64::from(would[at].1);
            if 3 * less > 2 * total {
                would.remove(at);
                weight = less;
            }
        }
        let signed = would.into_iter().map(|(voter, _)| {
            self.voted.entry((view, Step::Prepare, voter)).or_insert(Some(value));
            (voter, cast(view, Step::Prepare, Some(value), voter).signature)
        });
        let votes = signed.collect();
        Some(Rc::new(Agreement { view, value, votes }))
    }

    fn verdict(&mut self) -> Verdict {
        match self.rng.index(12) {
            0 | 1 => Verdict::Unknown,
            2 => Verdict::Wrong,
            3 | 4 => Verdict::Sound,
            _ => Verdict::Acceptable,
        }
    }

    fn view_near(&mut self, now: u32) -> u32 {
        match self.rng.index(12) {
            0..=5 => now,
            6 | 7 => now.saturating_sub(1),
            8 => self.rng.below_u32(now + 1),
            9 | 10 => now + 1,
            _ => now + 2 + self.rng.below_u32(3),
        }
    }

    /// The favourite and the proposer of a view.
    fn view(&mut self, view: u32) -> (Option<Hash>, u16) {
        let at = usize::try_from(view).expect("few views");
        while self.views.len() <= at {
            let favourite = match self.rng.index(8) {
                0 | 1 => None,
                2..=4 => self.views.last().and_then(|(favourite, _)| *favourite),
                _ => Some(any_value(&mut self.rng)),
            };
            let proposer = match self.own {
                Some(own) if self.rng.one_in(4) => own,
                _ => position(self.rng.index(self.weights.len())),
            };
            self.views.push((favourite, proposer));
        }
        self.views[at]
    }
}

fn position(at: usize) -> u16 {
    u16::try_from(at).expect("few voters")
}

fn any_value(rng: &mut Rng) -> Hash {
    Hash([b"ABC"[rng.index(3)]; 32])
}

fn cast(view: u32, step: Step, value: Option<Hash>, voter: u16) -> Cast {
    // No two alike.
    let mut signature = [0; 64];
    signature[..2].copy_from_slice(&voter.to_be_bytes());
    signature[2] = step as u8;
    signature[3..7].copy_from_slice(&view.to_be_bytes());
    signature[7] = value.map_or(0, |value| value.0[0]);
    Cast { view, step, value, voter, signature: Signature(signature) }
}
