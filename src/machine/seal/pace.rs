//! How fast a voter may move on: what is relayed of later views than ours is bounded by time, or one voter that runs
//! through the views would have everybody relay its votes without end (`docs/protocol.md` §10).
//!
//! What is dropped here comes again: voters repeat what they say.

use std::collections::BTreeMap;

use crate::types::clock::Monotonic;

/// Votes of a voter taken in one later view, told again ones included.
const VOTES_MAX: u8 = 8;

/// The later views that voters were last heard of in; as many as there are voters.
#[derive(Debug, Default)]
pub struct Pace {
    later: BTreeMap<u16, Later>,
}

#[derive(Debug, Clone, Copy)]
struct Later {
    view: u32,
    votes_left: u8,
    /// Before this, no other view of this voter is taken.
    until: Monotonic,
}

impl Pace {
    /// Whether a vote would be taken if its signature held.
    pub fn may_admit(&self, voter: u16, view: u32, now: Monotonic) -> bool {
        match self.later.get(&voter) {
            Some(later) if later.view == view => later.votes_left > 0,
            Some(later) => now >= later.until,
            None => true,
        }
    }

    /// Whether a verified vote of a view later than ours is taken; a voter may go on to another such view after
    /// `pause_ms`.
    pub fn admits(&mut self, voter: u16, view: u32, now: Monotonic, pause_ms: u64) -> bool {
        match self.later.get_mut(&voter) {
            Some(later) if later.view == view => {
                let admitted = later.votes_left > 0;
                later.votes_left = later.votes_left.saturating_sub(1);
                admitted
            }
            Some(later) if now < later.until => false,
            _ => {
                let (votes_left, until) = (VOTES_MAX - 1, now.plus(pause_ms));
                self.later.insert(voter, Later { view, votes_left, until });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_gets_through_one_later_view_per_pause() {
        let mut pace = Pace::default();
        let mut admits = |voter, view, ms| pace.admits(voter, view, Monotonic(ms), 100);
        assert!(admits(1, 5, 0) && admits(1, 5, 1), "prepare and commit");
        assert!(!admits(1, 6, 99), "too fast");
        assert!(admits(2, 6, 99), "another voter");
        assert!(admits(1, 6, 100));
        assert!((0..7).all(|_| admits(1, 6, 100)) && !admits(1, 6, 100), "eight votes of a view");
    }
}
