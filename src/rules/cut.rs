//! Up to which block the PoW ledger counts for a round (`docs/protocol.md` §5).

use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::network::{LedgerValues, Network};

/// Finds the height h(r) of a round from the times of the ledger's blocks, seen in ledger order.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Blocks mined later do not count; nothing counts for the first round.
    start: Option<Timestamp>,
    last: u64,
    is_settled: bool,
}

impl Cut {
    /// No block seen yet.
    pub fn new(network: &Network, round: Round) -> Cut {
        let before = round.0.checked_sub(1);
        let start = before.map(|before| network.clock.start_of(Round(before), Slot(0)));
        Cut { start, last: 0, is_settled: false }
    }

    /// Sees the next block; one that nobody mined has no time and says nothing.
    pub fn see(&mut self, height: u64, mined_at: Option<Timestamp>) {
        let (Some(start), Some(mined_at)) = (self.start, mined_at) else { return };
        match mined_at <= start {
            true => self.last = height,
            false => self.is_settled = true,
        }
    }

    /// Whether a block was seen that is too late, so that a longer ledger says the same.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The depth below the last block that is not too late, down to a step; 0 where nothing counts.
    pub fn height(&self, values: &LedgerValues) -> u64 {
        let step = values.step.max(1);
        self.last.saturating_sub(values.depth) / step * step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// What counts of blocks mined in these milliseconds after the start of round 1, for round 2.
    fn cut(blocks: &[(u64, Option<i64>)]) -> Cut {
        let network = Network::main();
        let start = network.clock.start_of(Round(1), Slot(0)).0;
        let mut cut = Cut::new(&network, Round(2));
        for (height, ms) in blocks {
            cut.see(*height, ms.map(|ms| Timestamp(start.checked_add_signed(ms).expect("a time"))));
        }
        cut
    }

    #[test]
    fn depth_and_step_round_down_and_end_at_nothing() {
        for (last, depth, step, height) in [
            (0, 2, 3, 0),
            (1, 2, 3, 0),
            (4, 2, 3, 0),
            (5, 2, 3, 3),
            (7, 2, 3, 3),
            (8, 2, 3, 6),
            (8, 0, 1, 8),
            (89, 30, 60, 0),
            (90, 30, 60, 60),
            (u64::MAX, 0, 1, u64::MAX),
        ] {
            let values = LedgerValues { depth, step, first_height: 1, controller: String::new() };
            let found = cut(&[(last, Some(0))]).height(&values);
            assert_eq!(found, height, "{last} {depth} {step}");
        }
    }

    #[test]
    fn the_last_block_in_time_counts_and_a_later_one_settles_it() {
        let values = LedgerValues { depth: 0, step: 1, first_height: 1, controller: String::new() };
        let open = cut(&[(1, Some(-1)), (2, Some(0)), (3, None)]);
        assert_eq!((open.height(&values), open.is_settled()), (2, false));
        // Times of a ledger do not always ascend.
        let settled = cut(&[(1, Some(-1)), (2, Some(1)), (3, Some(0)), (4, Some(1))]);
        assert_eq!((settled.height(&values), settled.is_settled()), (3, true));
        let mut first = Cut::new(&Network::main(), Round(0));
        first.see(1, Some(Timestamp(HOUR)));
        assert_eq!((first.height(&values), first.is_settled()), (0, false));
    }
}
