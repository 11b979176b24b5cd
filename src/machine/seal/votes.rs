//! The votes of one instance, by the positions of their voters, and what they weigh (`docs/protocol.md` §10).
//!
//! Bounded by the number of voters: of each are kept its votes of the present view, those of the latest view it is
//! known to be in, and its last commit for a block of any other view. The first vote of a voter for a view and step
//! stays and counts once; another one is a double.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::ballots::Ballots;
use crate::rules::quorum::Electorate;
use crate::types::hash::Hash;
use crate::types::key::Signature;
use crate::types::seal::{Checkpoint, Quorum, Step, Vote};

/// A vote whose signature holds, or a proposal as one of step `Propose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    pub view: u32,
    pub step: Step,
    pub value: Option<Hash>,
    /// Position in the electorate.
    pub voter: u16,
    pub signature: Signature,
}

/// Votes of one step of more than two thirds for one value in one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    pub view: u32,
    pub value: Hash,
    /// By position, ascending.
    pub votes: Vec<(u16, Signature)>,
}

/// What became of a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    New,
    /// Held already.
    Known,
    /// Of nobody, or of a view of its voter that no longer matters.
    Ignored,
    /// Its voter signed this other one first.
    Double(Cast),
}

/// Who has voted lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turnout {
    /// Positions of those not heard of in the present view nor in the one before.
    pub missing: Vec<u16>,
    /// Weight of the others, in percent of all, rounded down.
    pub percent: u8,
}

/// All votes kept.
#[derive(Debug, Clone)]
pub struct Votes {
    electorate: Rc<Electorate>,
    /// Nothing before the first view began: then all views are later ones.
    view: Option<u32>,
    ballots: Vec<Ballots>,
    /// Weight of each value among the prepares, and the commits, of the present view.
    prepares: BTreeMap<Option<Hash>, u64>,
    commits: BTreeMap<Option<Hash>, u64>,
    /// Weight of those who have prepared in the present view, or passed that; likewise committed.
    past_prepare: u64,
    past_commit: u64,
    /// Weight of the commits for blocks, of the present view and of earlier ones.
    blocks: BTreeMap<(u32, Hash), u64>,
    /// Weight of the voters whose latest view is this one.
    reached: BTreeMap<u32, u64>,
}

impl Cast {
    /// A vote by the position of its voter; nothing when that is no voter.
    pub fn of(vote: &Vote, electorate: &Electorate) -> Option<Cast> {
        let Vote { view, step, value, signature, .. } = *vote;
        let voter = electorate.position(&vote.voter)?;
        Some(Cast { view, step, value, voter, signature })
    }

    /// The vote as it is sent.
    pub fn to_vote(&self, index: u64, electorate: &Electorate) -> Option<Vote> {
        let Cast { view, step, value, signature, .. } = *self;
        let voter = electorate.voter(self.voter)?.public_key;
        Some(Vote { index, view, step, value, voter, signature })
    }
}

impl Agreement {
    /// What a checked quorum agrees on.
    pub fn of(quorum: &Quorum) -> Agreement {
        let votes = quorum.positions().zip(quorum.signatures.iter().copied()).collect();
        Agreement { view: quorum.view, value: quorum.checkpoint.id(), votes }
    }

    /// The quorum as it is sent, given the checkpoint of the value.
    pub fn to_quorum(&self, checkpoint: Checkpoint) -> Quorum {
        Quorum::new(checkpoint, self.view, &self.votes)
    }
}

impl Votes {
    /// No votes, before the first view.
    pub fn new(electorate: Rc<Electorate>) -> Votes {
        let ballots = vec![Ballots::default(); electorate.voters().len()];
        Votes {
            electorate,
            view: None,
            ballots,
            prepares: BTreeMap::new(),
            commits: BTreeMap::new(),
            past_prepare: 0,
            past_commit: 0,
            blocks: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    /// Who votes.
    pub fn electorate(&self) -> &Rc<Electorate> {
        &self.electorate
    }

    /// Takes a prepare or commit.
    pub fn add(&mut self, cast: &Cast) -> Added {
        self.hear(cast.voter, cast.view);
        let ballots = self.ballots.get_mut(usize::from(cast.voter));
        let Some(ballots) = ballots.filter(|_| cast.step != Step::Propose) else {
            return Added::Ignored;
        };
        if let Some((value, signature)) = ballots.held(self.view, cast.view, cast.step) {
            let first = Cast { value, signature, ..*cast };
            return if value == cast.value { Added::Known } else { Added::Double(first) };
        }
        let (mark, done) = ((cast.value, cast.signature), ballots.done(self.view));
        let weight = self.electorate.weight(cast.voter);
        if self.view == Some(cast.view) {
            *ballots.now.of_mut(cast.step) = Some(mark);
            let (past_prepare, past_commit) = gained(done, ballots.done(self.view), weight);
            self.past_prepare += past_prepare;
            self.past_commit += past_commit;
            let counts = match cast.step {
                Step::Prepare => &mut self.prepares,
                Step::Propose | Step::Commit => &mut self.commits,
            };
            *counts.entry(cast.value).or_default() += weight;
            if let (Step::Commit, Some(value)) = (cast.step, cast.value) {
                *self.blocks.entry((cast.view, value)).or_default() += weight;
            }
        } else {
            let before = ballots.last;
            let kept = ballots.keep(self.view, cast.view, cast.step, mark);
            if let (Some((view, value, _)), true) = (before, ballots.last != before) {
                lower(&mut self.blocks, (view, value), weight);
            }
            if let (Some((view, value, _)), true) = (ballots.last, ballots.last != before) {
                *self.blocks.entry((view, value)).or_default() += weight;
            }
            if !kept {
                return Added::Ignored;
            }
        }
        Added::New
    }

    /// Whether this very vote is held.
    pub fn holds(&self, cast: &Cast) -> bool {
        self.held(cast) == Some(cast.value)
    }

    /// What is held in the place of a vote.
    pub fn held(&self, cast: &Cast) -> Option<Option<Hash>> {
        let ballots = self.ballots.get(usize::from(cast.voter));
        let held = ballots.and_then(|it| it.held(self.view, cast.view, cast.step));
        held.map(|(value, _)| value)
    }

    /// Whether a vote of a view before the present one still says anything.
    pub fn is_late_news(&self, cast: &Cast) -> bool {
        let ballots = self.ballots.get(usize::from(cast.voter));
        ballots.is_some_and(|it| it.is_late_news(cast.view, cast.step, cast.value))
    }

    /// Notes that a voter is known to be in a view.
    pub fn hear(&mut self, voter: u16, view: u32) {
        let weight = self.electorate.weight(voter);
        let Some(ballots) = self.ballots.get_mut(usize::from(voter)) else { return };
        if ballots.heard >= Some(view) {
            return;
        }
        let done = ballots.done(self.view);
        if let Some(left) = ballots.heard.replace(view) {
            lower(&mut self.reached, left, weight);
        }
        let (past_prepare, past_commit) = gained(done, ballots.done(self.view), weight);
        self.past_prepare += past_prepare;
        self.past_commit += past_commit;
        *self.reached.entry(view).or_default() += weight;
    }

    /// Makes a view the present one.
    pub fn enter(&mut self, view: u32) {
        let before = self.view.replace(view);
        for ballots in &mut self.ballots {
            ballots.enter(before, view);
        }
        self.recount(view);
    }

    /// The value, or nil, of which more than two thirds sent a vote of this step in the present view.
    pub fn quorum(&self, step: Step) -> Option<Option<Hash>> {
        let mut counts = self.counts(step).iter();
        counts.find(|(_, weight)| self.electorate.is_quorum(**weight)).map(|(value, _)| *value)
    }

    /// Whether more than two thirds are known to have done this step of the present view, for whatever, or to have
    /// passed it: who committed has prepared, who is in a later view has committed.
    pub fn is_past(&self, step: Step) -> bool {
        self.electorate.is_quorum(match step {
            Step::Propose | Step::Prepare => self.past_prepare,
            Step::Commit => self.past_commit,
        })
    }

    /// The values that more than two thirds committed to in one view, of any view kept.
    pub fn committed(&self) -> impl Iterator<Item = (u32, Hash)> + '_ {
        let quorums = self.blocks.iter().filter(|(_, weight)| self.electorate.is_quorum(**weight));
        quorums.map(|(at, _)| *at)
    }

    /// The highest view that more than one third have reached or passed, when it is later than the present one.
    pub fn ahead(&self) -> Option<u32> {
        let mut weight = 0;
        for (view, of_view) in self.reached.iter().rev() {
            weight += of_view;
            if Some(*view) <= self.view {
                break;
            }
            if self.electorate.is_third(weight) {
                return Some(*view);
            }
        }
        None
    }

    /// The votes for a value, by position.
    pub fn collect(&self, view: u32, step: Step, value: Hash) -> Vec<(u16, Signature)> {
        let all = (0_u16..).zip(&self.ballots);
        let of_value = all.filter_map(|(voter, ballots)| {
            let (voted, signature) = ballots.held(self.view, view, step)?;
            (voted == Some(value)).then_some((voter, signature))
        });
        of_value.collect()
    }

    /// The votes of the present view of one voter.
    pub fn of(&self, voter: u16) -> Vec<Cast> {
        let (Some(view), Some(ballots)) = (self.view, self.ballots.get(usize::from(voter))) else {
            return Vec::new();
        };
        ballots.now.casts(view, voter).collect()
    }

    /// Whose votes of this step of the present view are held: bit i of byte i / 8, lowest first.
    pub fn bitmap(&self, step: Step) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, ballots) in self.ballots.iter().enumerate() {
            if ballots.now.of(step).is_some() {
                bytes.resize(at / 8 + 1, 0);
                bytes[at / 8] |= 1 << (at % 8);
            }
        }
        bytes
    }

    /// The votes that somebody in `view` with these bitmaps lacks: those of the present view, and commits for blocks of
    /// earlier ones where more than one third agree. Nothing for somebody who is ahead.
    pub fn lacking(&self, view: u32, prepares: &[u8], commits: &[u8]) -> Vec<Cast> {
        let Some(now) = self.view.filter(|now| *now >= view) else { return Vec::new() };
        let has = |bitmap: &[u8], voter: u16| {
            let byte = bitmap.get(usize::from(voter) / 8).copied().unwrap_or(0);
            now == view && byte >> (voter % 8) & 1 == 1
        };
        let all = || (0_u16..).zip(&self.ballots);
        let of_view = all().flat_map(|(voter, ballots)| ballots.now.casts(now, voter));
        let wanted = of_view.filter(|cast| match cast.step {
            Step::Propose | Step::Prepare => !has(prepares, cast.voter),
            Step::Commit => !has(commits, cast.voter),
        });
        let earlier = all().filter_map(|(voter, ballots)| {
            let (view, value, signature) = ballots.last?;
            let weight = self.blocks.get(&(view, value)).copied().unwrap_or(0);
            let step = Step::Commit;
            let cast = Cast { view, step, value: Some(value), voter, signature };
            self.electorate.is_third(weight).then_some(cast)
        });
        wanted.chain(earlier).collect()
    }

    /// Who takes part.
    pub fn turnout(&self) -> Turnout {
        let since = self.view.unwrap_or(0).saturating_sub(1);
        let all = (0_u16..).zip(&self.ballots);
        let silent = all.filter(|(_, ballots)| ballots.heard < Some(since));
        let missing: Vec<u16> = silent.map(|(voter, _)| voter).collect();
        let weight: u64 = missing.iter().map(|voter| self.electorate.weight(*voter)).sum();
        let total = self.electorate.total();
        let percent = ((total - weight) * 100).checked_div(total).unwrap_or(0);
        Turnout { missing, percent: u8::try_from(percent).expect("a part of the total") }
    }

    fn counts(&self, step: Step) -> &BTreeMap<Option<Hash>, u64> {
        match step {
            Step::Prepare => &self.prepares,
            Step::Propose | Step::Commit => &self.commits,
        }
    }

    fn recount(&mut self, view: u32) {
        self.prepares.clear();
        self.commits.clear();
        self.blocks.clear();
        (self.past_prepare, self.past_commit) = (0, 0);
        for (voter, ballots) in (0_u16..).zip(&self.ballots) {
            let weight = self.electorate.weight(voter);
            let (past_prepare, past_commit) = gained([false; 2], ballots.done(self.view), weight);
            self.past_prepare += past_prepare;
            self.past_commit += past_commit;
            if let Some((value, _)) = ballots.now.prepare {
                *self.prepares.entry(value).or_default() += weight;
            }
            if let Some((value, _)) = ballots.now.commit {
                *self.commits.entry(value).or_default() += weight;
                if let Some(value) = value {
                    *self.blocks.entry((view, value)).or_default() += weight;
                }
            }
            if let Some((last, value, _)) = ballots.last {
                *self.blocks.entry((last, value)).or_default() += weight;
            }
        }
    }
}

/// The weight that a voter adds to those past their prepare, and their commit.
fn gained(before: [bool; 2], after: [bool; 2], weight: u64) -> (u64, u64) {
    let gain = |at: usize| if after[at] && !before[at] { weight } else { 0 };
    (gain(0), gain(1))
}

/// Takes weight off an entry, and the entry when nothing is left.
fn lower<K: Ord>(weights: &mut BTreeMap<K, u64>, key: K, weight: u64) {
    if let Some(held) = weights.get_mut(&key) {
        *held = held.saturating_sub(weight);
        if *held == 0 {
            weights.remove(&key);
        }
    }
}
