//! The seals of a devnet as its nodes showed them, and how long after each round they came.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::machine::status::SealStatus;
use crate::shell::document::HeaderDocument;
use crate::types::clock::{Clock, Height, Round, Timestamp};

/// Seals remembered, the newest: days of the shortest rounds.
const KEPT_MAX: usize = 100_000;

/// A seal, and when the first node had its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenSeal {
    pub index: u64,
    pub round: Round,
    pub height: Height,
    /// From the end of its last forging slot: what the fastest node says, or when it was seen first.
    pub delay_ms: u64,
}

/// All seals seen, by index.
#[derive(Debug)]
pub struct SealRecord {
    clock: Clock,
    seen: BTreeMap<u64, SeenSeal>,
}

/// The sum over some rounds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SealSum {
    /// Rounds whose last block is at or below a sealed height.
    pub rounds: u64,
    /// Median over the seals of these rounds, of the time from the last forging slot to the certificate.
    pub delay_ms: Option<u64>,
    /// The longest that one of the sealed rounds waited for the certificate that covers it, be it that of a later one.
    pub delay_max_ms: Option<u64>,
}

impl SealRecord {
    /// Nothing seen yet.
    pub fn new(clock: Clock) -> SealRecord {
        SealRecord { clock, seen: BTreeMap::new() }
    }

    /// Takes in what a node shows at a time; a seal that nobody had before comes back.
    pub fn take(&mut self, time: Timestamp, seal: &SealStatus) -> Option<SeenSeal> {
        if seal.index == 0 {
            return None;
        }
        let seen_ms = time.since(self.clock.end_of_forging(seal.round));
        let delay_ms = seal.delay_ms.unwrap_or(seen_ms);
        let (index, round, height) = (seal.index, seal.round, seal.height);
        let new = SeenSeal { index, round, height, delay_ms };
        if let Some(held) = self.seen.get_mut(&index) {
            held.delay_ms = held.delay_ms.min(delay_ms);
            return None;
        }
        self.seen.insert(index, new);
        while self.seen.len() > KEPT_MAX {
            self.seen.pop_first();
        }
        Some(new)
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&SeenSeal> {
        self.seen.last_key_value().map(|(_, seal)| seal)
    }

    /// Whether a round is over with a seal.
    pub fn closes(&self, round: Round) -> bool {
        self.newest().is_some_and(|seal| seal.round >= round)
    }

    /// The sum over these rounds; `chain` is what lies under the final tip, from the first of them on.
    pub fn sum(&self, rounds: Range<Round>, chain: &[HeaderDocument]) -> SealSum {
        let mut tops: BTreeMap<Round, Height> = BTreeMap::new();
        for link in chain {
            if let Some(round) = link.round {
                let top = tops.entry(round).or_default();
                *top = link.height.max(*top);
            }
        }
        let mut sum = SealSum::default();
        for round in (rounds.start.0..rounds.end.0).map(Round) {
            // A round without a block is sealed with what is before it.
            let Some((_, top)) = tops.range(..=round).next_back() else {
                sum.rounds += 1;
                continue;
            };
            let Some(seal) = self.seen.values().find(|seal| seal.height >= *top) else { continue };
            sum.rounds += 1;
            let certified_at = self.clock.end_of_forging(seal.round).plus(seal.delay_ms);
            let waited_ms = certified_at.since(self.clock.end_of_forging(round));
            sum.delay_max_ms = sum.delay_max_ms.max(Some(waited_ms));
        }
        let of_rounds = self.seen.values().filter(|seal| rounds.contains(&seal.round));
        sum.delay_ms = median(of_rounds.map(|seal| seal.delay_ms).collect());
        sum
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(values[low].midpoint(values[high]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::Slot;

    /// Rounds of 3 + 1 slots of 1 s.
    const CLOCK: Clock = Clock { origin: Timestamp(0), slot_ms: 1_000, slots: 3, seal_slots: 1 };

    fn sealed(index: u64, round: u64, height: u64, delay_ms: Option<u64>) -> SealStatus {
        SealStatus {
            index,
            round: Round(round),
            height: Height(height),
            adopted: index,
            age_rounds: Some(0),
            delay_ms,
            open: None,
        }
    }

    fn link(height: u64, round: u64) -> HeaderDocument {
        let (height, round) = (Height(height), Some(Round(round)));
        HeaderDocument { height, round, slot: Some(Slot(0)), ..HeaderDocument::default() }
    }

    fn at(round: u64, ms: u64) -> Timestamp {
        CLOCK.end_of_forging(Round(round)).plus(ms)
    }

    #[test]
    fn the_fastest_node_tells_when_a_seal_came() {
        let mut seals = SealRecord::new(CLOCK);
        assert_eq!(seals.take(at(0, 500), &sealed(0, 0, 0, None)), None, "genesis is no seal");
        // Fetched, not decided: it was there when we saw it.
        let first = seals.take(at(0, 500), &sealed(1, 0, 3, None)).expect("a new one");
        assert_eq!(first.delay_ms, 500);
        for delay_ms in [300, 900] {
            assert_eq!(seals.take(at(0, 950), &sealed(1, 0, 3, Some(delay_ms))), None);
        }
        assert_eq!(seals.newest().map(|seal| seal.delay_ms), Some(300));
        assert!(seals.closes(Round(0)) && !seals.closes(Round(1)));
    }

    #[test]
    fn a_round_waits_for_the_certificate_that_covers_it() {
        let mut seals = SealRecord::new(CLOCK);
        // Rounds 2 and 3 are sealed with round 4, round 5 is not.
        seals.take(at(1, 500), &sealed(1, 1, 2, Some(100)));
        seals.take(at(4, 500), &sealed(2, 4, 7, Some(250)));
        let chain = [link(8, 5), link(7, 4), link(6, 4), link(5, 3), link(4, 2), link(2, 1)];
        let sum = seals.sum(Round(1)..Round(6), &chain);
        assert_eq!((sum.rounds, sum.delay_ms), (4, Some(175)));
        assert_eq!(sum.delay_max_ms, Some(2 * 4_000 + 250), "round 2 waited for round 4");
        let one = seals.sum(Round(1)..Round(2), &chain);
        assert_eq!(one, SealSum { rounds: 1, delay_ms: Some(100), delay_max_ms: Some(100) });
    }

    #[test]
    fn a_round_without_a_block_is_sealed_with_the_one_before() {
        let mut seals = SealRecord::new(CLOCK);
        seals.take(at(1, 500), &sealed(1, 1, 2, Some(100)));
        let sum = seals.sum(Round(0)..Round(4), &[link(3, 3), link(2, 1)]);
        assert_eq!((sum.rounds, sum.delay_max_ms), (3, Some(100)), "all but round 3");
        assert_eq!(SealRecord::new(CLOCK).sum(Round(1)..Round(1), &[]), SealSum::default());
    }
}
