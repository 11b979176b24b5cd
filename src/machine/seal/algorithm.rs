//! "The latest gossip on BFT consensus" (Buchman, Kwon, Milosevic 2018), algorithm 1, as a function of its variables:
//! what to do upon what. The numbers are its lines.
//!
//! A round of the paper is a view here, a prevote a prepare, a precommit a commit (`docs/protocol.md` §10).

use std::rc::Rc;

use super::upon::Upon;
use super::votes::Agreement;
use crate::types::hash::Hash;
use crate::types::seal::Step;
use crate::types::sign::Lock;

/// The variables of lines 1 to 9, for one index.
#[derive(Debug, Clone)]
pub struct Variables {
    /// Nothing before the start.
    pub view: Option<u32>,
    pub step: Step,
    pub lock: Option<Lock>,
    /// The valid value and its view.
    pub valid: Option<Rc<Agreement>>,
    /// The view and value of line 51.
    pub decision: Option<(u32, Hash)>,
    /// Whether we propose in the present view, and with what value.
    pub lead: Option<Option<Hash>>,
    /// Of the present view: line 19 is for once, lines 34 and 47 are for the first time.
    pub has_proposed: bool,
    pub has_scheduled_prepare: bool,
    pub has_scheduled_commit: bool,
}

/// What a line does.
#[derive(Debug, Clone)]
pub enum Act {
    Enter(u32),
    Propose(Hash, Option<Rc<Agreement>>),
    Prepare(Option<Hash>),
    Lock(Hash),
    Keep(Hash),
    CommitNil,
    Schedule(Step),
    Decide(u32, Hash),
}

/// Which line was followed, by what it does and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Start11,
    ProposeValid16,
    ProposeOwn18,
    Schedule21,
    Prepare24,
    Prepare24Locked,
    Nil26Locked,
    Nil26Judged,
    Prepare30,
    Prepare30Older,
    Prepare30Locked,
    Nil32Locked,
    Nil32Judged,
    Schedule35,
    Lock38,
    Valid42,
    Nil45,
    Schedule48,
    Decide51,
    Skip56,
    Nil59,
    Nil63,
    Next67,
}

impl Line {
    /// All of them, in the order of the paper.
    pub const ALL: [Line; 23] = [
        Line::Start11,
        Line::ProposeValid16,
        Line::ProposeOwn18,
        Line::Schedule21,
        Line::Prepare24,
        Line::Prepare24Locked,
        Line::Nil26Locked,
        Line::Nil26Judged,
        Line::Prepare30,
        Line::Prepare30Older,
        Line::Prepare30Locked,
        Line::Nil32Locked,
        Line::Nil32Judged,
        Line::Schedule35,
        Line::Lock38,
        Line::Valid42,
        Line::Nil45,
        Line::Schedule48,
        Line::Decide51,
        Line::Skip56,
        Line::Nil59,
        Line::Nil63,
        Line::Next67,
    ];
}

impl Default for Variables {
    fn default() -> Variables {
        Variables {
            view: None,
            step: Step::Propose,
            lock: None,
            valid: None,
            decision: None,
            lead: None,
            has_proposed: false,
            has_scheduled_prepare: false,
            has_scheduled_commit: false,
        }
    }
}

impl Variables {
    /// The algorithm: what to do upon what, in which step.
    pub fn line(&self, upon: &Upon) -> Option<(Line, Act)> {
        let now = |view: &u32| self.view == Some(*view);
        let locked = self.lock.map(|lock| lock.value);
        let locked_view = self.lock.map(|lock| lock.view);
        let valid_view = self.valid.as_ref().map(|valid| valid.view);
        Some(match (self.step, upon) {
            // Lines 10 and 11. Line 21 is part of entering a view.
            (_, Upon::Start) if self.view.is_none() => (Line::Start11, Act::Enter(0)),
            // Lines 14 to 16 and 19.
            (Step::Propose, Upon::LeadValid(valid)) => {
                (Line::ProposeValid16, Act::Propose(valid.value, Some(Rc::clone(valid))))
            }
            // Lines 18 and 19.
            (Step::Propose, Upon::LeadOwn(value)) => {
                (Line::ProposeOwn18, Act::Propose(*value, None))
            }
            // Lines 22 to 24: nothing locked, or this value.
            (Step::Propose, Upon::Fresh(value, true)) if locked.is_none() => {
                (Line::Prepare24, Act::Prepare(Some(*value)))
            }
            (Step::Propose, Upon::Fresh(value, true)) if locked == Some(*value) => {
                (Line::Prepare24Locked, Act::Prepare(Some(*value)))
            }
            // Lines 25 and 26.
            (Step::Propose, Upon::Fresh(_, true)) => (Line::Nil26Locked, Act::Prepare(None)),
            (Step::Propose, Upon::Fresh(_, false)) => (Line::Nil26Judged, Act::Prepare(None)),
            // Lines 28 to 30: nothing locked, or not after that quorum, or this value.
            (Step::Propose, Upon::Again(value, _, true)) if locked.is_none() => {
                (Line::Prepare30, Act::Prepare(Some(*value)))
            }
            (Step::Propose, Upon::Again(value, view, true)) if locked_view <= Some(*view) => {
                (Line::Prepare30Older, Act::Prepare(Some(*value)))
            }
            (Step::Propose, Upon::Again(value, _, true)) if locked == Some(*value) => {
                (Line::Prepare30Locked, Act::Prepare(Some(*value)))
            }
            // Lines 31 and 32.
            (Step::Propose, Upon::Again(_, _, true)) => (Line::Nil32Locked, Act::Prepare(None)),
            (Step::Propose, Upon::Again(_, _, false)) => (Line::Nil32Judged, Act::Prepare(None)),
            // Lines 34 and 35.
            (Step::Prepare, Upon::PreparesAny) if !self.has_scheduled_prepare => {
                (Line::Schedule35, Act::Schedule(Step::Prepare))
            }
            // Lines 36 to 43.
            (Step::Prepare, Upon::Prepares(Some(value))) => (Line::Lock38, Act::Lock(*value)),
            // Lines 36, 42 and 43.
            (Step::Commit, Upon::Prepares(Some(value))) if valid_view < self.view => {
                (Line::Valid42, Act::Keep(*value))
            }
            // Lines 44 to 46.
            (Step::Prepare, Upon::Prepares(None)) => (Line::Nil45, Act::CommitNil),
            // Lines 47 and 48.
            (_, Upon::CommitsAny) if !self.has_scheduled_commit => {
                (Line::Schedule48, Act::Schedule(Step::Commit))
            }
            // Lines 49 to 54.
            (_, Upon::Commits(view, value)) => (Line::Decide51, Act::Decide(*view, *value)),
            // Lines 55 and 56.
            (_, Upon::Ahead(view)) => (Line::Skip56, Act::Enter(*view)),
            // Lines 57 to 60.
            (Step::Propose, Upon::TimeOut(view, Step::Propose)) if now(view) => {
                (Line::Nil59, Act::Prepare(None))
            }
            // Lines 61 to 64.
            (Step::Prepare, Upon::TimeOut(view, Step::Prepare)) if now(view) => {
                (Line::Nil63, Act::CommitNil)
            }
            // Lines 65 to 67.
            (_, Upon::TimeOut(view, Step::Commit)) if now(view) => {
                (Line::Next67, Act::Enter(view.checked_add(1)?))
            }
            _ => return None,
        })
    }
}
