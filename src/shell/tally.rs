//! When to speak of what others can make happen without end: the 1st, 2nd, 4th, 8th … time, so that nobody fills the log.

use std::collections::BTreeMap;

use crate::types::clock::Monotonic;

/// After so long without any of a kind, the next one is the first again.
const QUIET_MS: u64 = 60 * 60_000;

/// Counts of events by kind.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<&'static str, (u64, Monotonic)>,
}

impl Tally {
    /// Counts one; how many there were lately, when it is time to speak.
    pub fn count(&mut self, kind: &'static str, now: Monotonic) -> Option<u64> {
        let (count, last) = self.kinds.entry(kind).or_insert((0, now));
        if now.since(*last) >= QUIET_MS {
            *count = 0;
        }
        (*count, *last) = (*count + 1, now);
        count.is_power_of_two().then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_spoken_of_ever_more_seldom_until_it_has_been_quiet() {
        let mut tally = Tally::default();
        let said: Vec<u64> =
            (0..1_000).filter_map(|ms| tally.count("flood", Monotonic(ms))).collect();
        assert_eq!(said, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(tally.count("other", Monotonic(1_000)), Some(1), "each kind for itself");
        assert_eq!(tally.count("flood", Monotonic(999 + QUIET_MS - 1)), None);
        assert_eq!(tally.count("flood", Monotonic(999 + 2 * QUIET_MS)), Some(1));
    }
}
