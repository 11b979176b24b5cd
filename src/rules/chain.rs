//! Fork choice: which of two chains through the last seal is better (`docs/protocol.md` §9).
//!
//! Most distinct forgers summed over rounds, then height, then the earlier (round, slot) where they first differ, then
//! the lower hash there. Involving many jurors is what an attacker cannot fake; a hash alone is ground in milliseconds.

use std::cmp::Ordering;

use crate::types::block::Point;
use crate::types::clock::{Round, Slot};
use crate::types::hash::BlockHash;

/// What a chain is worth before the chains themselves are compared. Greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth {
    /// Distinct forgers summed over rounds.
    pub weight: u64,
    /// Height of the last block.
    pub height: u64,
}

/// The first block in which two chains differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    pub round: Round,
    pub slot: Slot,
    pub hash: BlockHash,
}

impl Worth {
    /// The worth of a chain that ends at `point`.
    pub fn new(weight: u64, point: &Point) -> Worth {
        Worth { weight, height: point.height.0 }
    }
}

/// Compares two chains of the same worth by their first blocks that differ: `Greater` when `a` is better.
pub fn compare_forks(a: &Fork, b: &Fork) -> Ordering {
    (b.round, b.slot).cmp(&(a.round, a.slot)).then_with(|| b.hash.cmp(&a.hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::Hash;

    #[test]
    fn the_earlier_slot_wins_and_only_then_the_lower_hash() {
        let fork = |round, slot, byte| Fork {
            round: Round(round),
            slot: Slot(slot),
            hash: BlockHash(Hash([byte; 32])),
        };
        assert_eq!(compare_forks(&fork(1, 2, 9), &fork(1, 3, 1)), Ordering::Greater);
        assert_eq!(compare_forks(&fork(2, 0, 1), &fork(1, 3, 9)), Ordering::Less);
        assert_eq!(compare_forks(&fork(1, 2, 1), &fork(1, 2, 9)), Ordering::Greater);
        assert_eq!(compare_forks(&fork(1, 2, 1), &fork(1, 2, 1)), Ordering::Equal);
    }
}
