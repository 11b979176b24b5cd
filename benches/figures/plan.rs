//! A new round: the plan of networks of 100, 500 and 2,000 HNs with the main network's parameters, beside the hashes
//! that its rules ask for.

use std::time::Duration;

use hypernode::rules::plan::Plan;
use hypernode::types::clock::Round;
use hypernode::types::hash::{Hasher, hash};

use crate::sample::Sample;
use crate::{median, ms, row, timed};

/// Rounds measured; the median counts.
const ROUNDS: u64 = 101;

pub fn figures() {
    let main = [("\nslots = 5\n", "\nslots = 19\n"), ("tests_per_slot = 2", "tests_per_slot = 10")];
    for count in [100, 500, 2000] {
        for (name, weights) in [("1", vec![1; count]), ("1 to 3", mixed(count))] {
            let sample = Sample::edited(&weights, &main);
            let tickets = weights.iter().map(|weight| u64::from(*weight)).sum();
            let (mut plans, mut hashes) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let plan = || Plan::new(&sample.network, &sample.anchor.state, Round(round));
                plans.push(timed(plan));
                hashes.push(bare(&sample, tickets, round));
            }
            let (plan, hashes) = (median(plans), median(hashes));
            row(
                &format!("plan of a round, {count} HNs of weight {name}"),
                &ms(plan),
                &format!("{} for its {} hashes", ms(hashes), tickets + 190),
                plan.as_secs_f64() / hashes.as_secs_f64(),
            );
        }
    }
}

fn mixed(count: usize) -> Vec<u8> {
    [1, 2, 3].into_iter().cycle().take(count).collect()
}

/// A hash for each ticket and each of 19 × 10 tests, and nothing else.
fn bare(sample: &Sample, tickets: u64, round: u64) -> Duration {
    let beacon = hash("beacon", &[&sample.network.id().0]);
    let address = sample.anchor.state.registry[0].address;
    timed(|| {
        let mut prefix = Hasher::new("ticket");
        prefix.update(&beacon.0);
        prefix.update(&round.to_be_bytes());
        let mut least = u64::MAX;
        for number in 0..tickets + 190 {
            let mut score = prefix.clone();
            score.update(&address.0);
            score.update(&number.to_be_bytes());
            least = least.min(score.finish().leading_u64());
        }
        least
    })
}
