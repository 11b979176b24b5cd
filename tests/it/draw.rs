//! The draw of jurors is fair: 20,000 beacons, 19 slots, counts beside those of the Python hypernode.
//!
//! The beacons are fixed, so the figures are the same in every run. `cargo test --test it draw -- --nocapture` shows
//! them.

use std::collections::BTreeMap;

use hypernode::rules::plan::Plan;
use hypernode::types::address::Address;
use hypernode::types::clock::Round;
use hypernode::types::hash::hash;

use crate::sample::Sample;

const BEACONS: u64 = 20_000;
const SLOTS: u64 = 19;

/// How often each founder is a juror, with its weight.
fn counts(weights: &[u8]) -> Vec<(u64, u64)> {
    let edits = [("\nslots = 5\n", "\nslots = 19\n"), ("tests_per_slot = 2", "tests_per_slot = 0")];
    let sample = Sample::edited(weights, &edits);
    let mut state = sample.anchor.state.clone();
    let mut counts: BTreeMap<Address, u64> = BTreeMap::new();
    for number in 0..BEACONS {
        state.beacon = hash("draw", &[&number.to_be_bytes()]);
        let plan = Plan::new(&sample.network, &state, Round(1));
        assert_eq!(plan.jurors.len() as u64, SLOTS);
        for juror in plan.jurors {
            *counts.entry(juror).or_default() += 1;
        }
    }
    let count = |address| counts.get(address).copied().unwrap_or(0);
    state.registry.iter().map(|hn| (u64::from(hn.weight), count(&hn.address))).collect()
}

/// A ratio as a text with two decimals; the rules know no floats, and this needs none.
fn ratio(above: u64, below: u64) -> String {
    let hundredths = (above * 1000 / below.max(1) + 5) / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[test]
fn equal_hns_forge_equally_often() {
    let counts = counts(&[1; 100]);
    let most = counts.iter().map(|(_, count)| *count).max().expect("100 HNs");
    let least = counts.iter().map(|(_, count)| *count).min().expect("100 HNs");
    println!(
        "100 equal HNs, {BEACONS} draws of {SLOTS}: {least} to {most} around a fair {}, max/min {} (Python node: 7.74)",
        BEACONS * SLOTS / 100,
        ratio(most, least)
    );
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), BEACONS * SLOTS);
    assert!(most * 100 < least * 115, "{least} to {most}");
}

#[test]
fn an_hn_forges_as_often_as_its_share_of_tickets() {
    let weights: Vec<u8> = (0..30).map(|number| number % 3 + 1).collect();
    let counts = counts(&weights);
    let tickets: u64 = counts.iter().map(|(weight, _)| weight).sum();
    let mut worst = 0;
    for (weight, count) in &counts {
        let share = BEACONS * SLOTS * weight / tickets;
        worst = worst.max(count.abs_diff(share) * 10_000 / share);
        assert!(count.abs_diff(share) * 20 <= share, "{count} of weight {weight}, {share} are due");
    }
    for weight in 1..=3 {
        let drawn = counts.iter().filter(|(of, _)| *of == weight).map(|(_, count)| count);
        println!("weight {weight}: {} of {} tickets drawn", drawn.sum::<u64>(), BEACONS * SLOTS);
    }
    println!("the count furthest from its share of tickets is {}% off", ratio(worst, 100));
}
