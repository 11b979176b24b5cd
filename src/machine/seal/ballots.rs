//! What is kept of one voter: its votes of the present view, those of the latest view it is known to be in, and its
//! last commit for a block of any other view (`docs/protocol.md` §10).

use super::votes::Cast;
use crate::types::hash::Hash;
use crate::types::key::Signature;
use crate::types::seal::Step;

/// What a voter signed in one view for one step.
pub type Mark = (Option<Hash>, Signature);

/// The votes of one view.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    pub prepare: Option<Mark>,
    pub commit: Option<Mark>,
}

/// The votes of one voter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ballots {
    pub now: Pair,
    later: Option<(u32, Pair)>,
    /// Its last commit for a block outside these two views.
    pub last: Option<(u32, Hash, Signature)>,
    /// The latest view it is known to have been in.
    pub heard: Option<u32>,
}

impl Ballots {
    /// What is held for a view and step, `now` being the present view.
    pub fn held(&self, now: Option<u32>, view: u32, step: Step) -> Option<Mark> {
        match (self.later, self.last) {
            _ if now == Some(view) => self.now.of(step),
            (Some((later, pair)), _) if later == view => pair.of(step),
            (_, Some((last, value, signature))) if last == view && step == Step::Commit => {
                Some((Some(value), signature))
            }
            _ => None,
        }
    }

    /// Whether the voter has prepared in the present view, and committed, as far as its votes tell.
    pub fn done(&self, now: Option<u32>) -> [bool; 2] {
        let has_committed = self.heard > now || self.now.commit.is_some();
        [has_committed || self.now.prepare.is_some(), has_committed]
    }

    /// Keeps a vote of another view than the present one `now`, of which none is held yet; false when it does not
    /// matter any more.
    pub fn keep(&mut self, now: Option<u32>, view: u32, step: Step, mark: Mark) -> bool {
        match &mut self.later {
            Some((later, pair)) if *later == view => *pair.of_mut(step) = Some(mark),
            later if Some(view) > now && later.is_none_or(|(later, _)| later < view) => {
                let mut pair = Pair::default();
                *pair.of_mut(step) = Some(mark);
                if let Some((left, pair)) = later.replace((view, pair)) {
                    self.retire(left, pair.commit);
                }
            }
            _ => return step == Step::Commit && self.retire(view, Some(mark)),
        }
        true
    }

    /// Whether a vote of a view before the present one says anything: the last commit for a block (line 49), or that its
    /// voter is there at all.
    pub fn is_late_news(&self, view: u32, step: Step, value: Option<Hash>) -> bool {
        let is_commit = step == Step::Commit && value.is_some();
        self.heard < Some(view)
            || is_commit && self.last.as_ref().is_none_or(|(last, ..)| *last < view)
    }

    /// Makes `view` the present one after `before`.
    pub fn enter(&mut self, before: Option<u32>, view: u32) {
        let left = std::mem::take(&mut self.now);
        if let Some((_, value, signature)) = self.last.take_if(|(last, ..)| *last == view) {
            self.now.commit = Some((Some(value), signature));
        }
        if let Some(before) = before {
            self.retire(before, left.commit);
        }
        if let Some((later, pair)) = self.later.take_if(|(later, _)| *later <= view) {
            if later == view {
                self.now = pair;
            } else {
                self.retire(later, pair.commit);
            }
        }
    }

    /// A commit for a block of a view that is neither the present nor the latest: the last one stays.
    fn retire(&mut self, view: u32, commit: Option<Mark>) -> bool {
        match commit {
            Some((Some(value), signature)) if self.last.is_none_or(|(last, ..)| last < view) => {
                self.last = Some((view, value, signature));
                true
            }
            _ => false,
        }
    }
}

impl Pair {
    /// The vote of a step; a proposal is none.
    pub fn of(&self, step: Step) -> Option<Mark> {
        match step {
            Step::Propose => None,
            Step::Prepare => self.prepare,
            Step::Commit => self.commit,
        }
    }

    /// Where the vote of a step is kept.
    pub fn of_mut(&mut self, step: Step) -> &mut Option<Mark> {
        match step {
            Step::Prepare => &mut self.prepare,
            Step::Propose | Step::Commit => &mut self.commit,
        }
    }

    /// Both votes, as cast in a view by a voter.
    pub fn casts(self, view: u32, voter: u16) -> impl Iterator<Item = Cast> {
        [Step::Prepare, Step::Commit].into_iter().filter_map(move |step| {
            let (value, signature) = self.of(step)?;
            Some(Cast { view, step, value, voter, signature })
        })
    }
}
