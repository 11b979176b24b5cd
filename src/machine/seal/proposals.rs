//! The proposals of one instance and what their receiver thinks of them (`docs/protocol.md` §10).
//!
//! Bounded: two values for a view, `PAST_VIEWS` views up to the present one, and of each voter one later view.

use std::collections::BTreeMap;

use super::votes::{Added, Cast};
use crate::types::hash::Hash;

/// Views up to the present one whose proposals are kept, for commits that come late: some steps of the longest time-out
/// each, hours on the main network. Who is later still learns of the seal from those who hold it.
pub const PAST_VIEWS: u32 = 64;

/// Values of one view: the proposer's first, and another one so that a view with two is not lost at once.
pub const VALUES_MAX: usize = 2;

/// What the receiver of a proposal can say of its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lacks the block.
    Unknown,
    /// The block is invalid, of an unfinished round, or not through the last seal.
    Wrong,
    /// The block is none of that: enough with a prepare quorum.
    Sound,
    /// It is also the last such block of the receiver's best chain, with these digests: enough on its own.
    Acceptable,
}

/// A proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    pub value: Hash,
    /// View of the prepare quorum that it carries.
    pub prepared: Option<u32>,
    pub verdict: Verdict,
}

/// All proposals kept.
#[derive(Debug, Clone, Default)]
pub struct Proposals {
    /// Of each view at least one, the first one first.
    views: BTreeMap<u32, Vec<(Cast, Proposed)>>,
}

impl Proposals {
    /// Takes a proposal by the proposer of its view, `now` being the present view. One that is held gets the new
    /// verdict and the later prepare quorum.
    pub fn add(&mut self, cast: &Cast, proposed: Proposed, now: Option<u32>) -> Added {
        if let Some(held) = self.views.get_mut(&cast.view) {
            if let Some((_, old)) = held.iter_mut().find(|(_, old)| old.value == proposed.value) {
                *old = Proposed { prepared: old.prepared.max(proposed.prepared), ..proposed };
                return Added::Known;
            }
            let (first, _) = held[0];
            if held.len() < VALUES_MAX {
                held.push((*cast, proposed));
            }
            return Added::Double(first);
        }
        if Some(cast.view) > now {
            let of_voter = |(view, held): (&u32, &Vec<(Cast, _)>)| {
                (Some(*view) > now && held[0].0.voter == cast.voter).then_some(*view)
            };
            match self.views.iter().find_map(of_voter) {
                Some(later) if later > cast.view => return Added::Ignored,
                Some(left) => drop(self.views.remove(&left)),
                None => {}
            }
        } else if now.is_some_and(|now| now - cast.view >= PAST_VIEWS) {
            return Added::Ignored;
        }
        self.views.insert(cast.view, vec![(*cast, proposed)]);
        Added::New
    }

    /// Gives all proposals of a value another verdict.
    pub fn judge(&mut self, value: Hash, verdict: Verdict) {
        let all = self.views.values_mut().flatten();
        for (_, proposed) in all.filter(|(_, proposed)| proposed.value == value) {
            proposed.verdict = verdict;
        }
    }

    /// Lets go of what is long past in this view.
    pub fn enter(&mut self, view: u32) {
        self.views.retain(|of, _| view.saturating_sub(*of) < PAST_VIEWS);
    }

    /// The proposals of a view, the first one first.
    pub fn of_view(&self, view: u32) -> impl Iterator<Item = Proposed> + '_ {
        self.views.get(&view).into_iter().flatten().map(|(_, proposed)| *proposed)
    }

    /// All proposals kept, with their views.
    pub fn all(&self) -> impl Iterator<Item = (u32, Proposed)> + '_ {
        let all = self.views.iter();
        all.flat_map(|(view, held)| held.iter().map(move |(_, proposed)| (*view, *proposed)))
    }
}
