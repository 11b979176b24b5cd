//! "Upon" of the paper: the conditions of its lines, read from the messages that are kept.

use std::rc::Rc;

use super::algorithm::Variables;
use super::proposals::{Proposals, Proposed, Verdict};
use super::votes::{Agreement, Votes};
use crate::types::hash::Hash;
use crate::types::seal::Step;

/// What is true of the messages, or has just happened.
#[derive(Debug, Clone)]
pub enum Upon {
    Start,
    /// It is ours to propose: the valid value, or our own.
    LeadValid(Rc<Agreement>),
    LeadOwn(Hash),
    /// A proposal that is judged, and whether well enough.
    Fresh(Hash, bool),
    /// The same for one with a prepare quorum of this view.
    Again(Hash, u32, bool),
    /// A quorum of prepares, the proposal being sound where it is for a value.
    Prepares(Option<Hash>),
    PreparesAny,
    Commits(u32, Hash),
    CommitsAny,
    Ahead(u32),
    TimeOut(u32, Step),
}

impl Upon {
    /// What is true of the messages now, the most telling first: nothing after the decision.
    pub fn all(now: &Variables, votes: &Votes, proposals: &Proposals) -> Vec<Upon> {
        let mut all = Vec::new();
        if now.decision.is_some() {
            return all;
        }
        let mut committed = votes.committed().filter(|(_, value)| knows(now, proposals, *value));
        all.extend(committed.next().map(|(view, value)| Upon::Commits(view, value)));
        all.extend(votes.ahead().map(Upon::Ahead));
        let Some(view) = now.view else { return all };
        all.extend(prepares(now, votes, proposals, view).map(Upon::Prepares));
        let judged = proposals.of_view(view).filter_map(|Proposed { value, prepared, verdict }| {
            match (prepared, verdict) {
                (_, Verdict::Unknown) => None,
                (None, _) => Some(Upon::Fresh(value, verdict == Verdict::Acceptable)),
                (Some(view), _) => Some(Upon::Again(value, view, verdict != Verdict::Wrong)),
            }
        });
        all.extend(judged);
        let lead = now.lead.filter(|_| !now.has_proposed);
        match (lead, &now.valid) {
            (Some(_), Some(valid)) if valid.view < view => {
                all.push(Upon::LeadValid(Rc::clone(valid)))
            }
            (Some(Some(value)), None) => all.push(Upon::LeadOwn(value)),
            _ => {}
        }
        if votes.is_past(Step::Prepare) {
            all.push(Upon::PreparesAny);
        }
        if votes.is_past(Step::Commit) {
            all.push(Upon::CommitsAny);
        }
        all
    }
}

/// What the prepares of the present view agree on, where line 36 or 44 may go by it.
fn prepares(
    now: &Variables,
    votes: &Votes,
    proposals: &Proposals,
    view: u32,
) -> Option<Option<Hash>> {
    let whole = now.valid.as_ref().filter(|valid| valid.view == view);
    let quorum = votes.quorum(Step::Prepare).or(whole.map(|valid| Some(valid.value)))?;
    let is_sound = |value| {
        let mut of_view = proposals.of_view(view);
        of_view.any(|proposed| match proposed.verdict {
            Verdict::Sound | Verdict::Acceptable => proposed.value == value,
            Verdict::Unknown | Verdict::Wrong => false,
        })
    };
    quorum.is_none_or(is_sound).then_some(quorum)
}

/// Whether the checkpoint of a value was in anything we took.
fn knows(now: &Variables, proposals: &Proposals, value: Hash) -> bool {
    let is_valid = now.valid.as_ref().is_some_and(|valid| valid.value == value);
    is_valid || proposals.all().any(|(_, proposed)| proposed.value == value)
}
