//! What a forger can do to the plans to come: withhold its secret, and nothing else.

use std::collections::BTreeSet;

use hypernode::rules::plan::Plan;
use hypernode::rules::refusal::Refusal;
use hypernode::rules::tally::Tally;
use hypernode::types::block::{Block, messages_root};
use hypernode::types::clock::Round;
use hypernode::types::hash::hash;
use hypernode::types::tx::Tx;

use crate::history::{History, committed, double, proof};
use crate::sample::Sample;

/// As many as a forger would try.
const SECRETS: u64 = 10_000;

/// A chain up to the last slot of round 3, in which its juror is to reveal a secret; that slot is still empty.
fn before_the_last(sample: &Sample) -> History<'_> {
    let mut history = History::new(sample);
    let all: Vec<Tx> = sample.keys().iter().map(|key| committed(sample, key, 1)).collect();
    history.forge(1, 0, &all);
    history.forge(2, 0, &[]);
    let last = history.juror(3, 4).public();
    for slot in (0..4).filter(|slot| history.juror(3, *slot).public() != last).collect::<Vec<_>>() {
        history.forge(3, slot, &[]);
    }
    assert!(history.state.due_reveal(Round(3), &last).is_some());
    history
}

/// The plans of the next rounds when this block is sealed, or when the chain ends without it.
fn plans_after(history: &History, last: Option<&Block>) -> Vec<Plan> {
    let sample = history.sample;
    let mut tally = Tally::new(sample.anchor.clone());
    let blocks = history.steps.iter().map(|step| &step.block).chain(last);
    blocks.for_each(|block| tally.apply(&block.header.header, &block.messages));
    let state = tally.seal(&sample.network, &sample.anchor.state.registry);
    (5..8).map(|round| Plan::new(&sample.network, &state, Round(round))).collect()
}

#[test]
fn ten_thousand_secrets_of_a_private_forger_move_no_plan() {
    let sample = Sample::new(&[1, 2, 3, 1, 2, 3]);
    let history = before_the_last(&sample);
    let (rules, good) = (sample.rules(), history.build(3, 4, &[]));
    let (mut taken, mut header) = (0, good.header.header.clone());
    for number in 0..SECRETS {
        header.reveal = Some(hash("secret of a private forger", &[&number.to_be_bytes()]));
        let verdict = rules.check_body(&header, &[], &history.state);
        taken += u32::from(verdict != Err(Refusal::Reveal));
    }
    assert_eq!(taken, 0);
    // Neither does anything else that it can put into its block.
    let expected = plans_after(&history, Some(&good));
    let offender = &sample.keys()[0];
    let proof = proof(&sample, &sample.keys()[1], 3, double(&sample, offender, 2));
    for (number, messages) in [vec![], vec![sample.heartbeat(0, 3)], vec![proof]].iter().enumerate()
    {
        for ms in 0..100_u64 {
            let mut block = Block { messages: messages.clone(), ..good.clone() };
            let header = &mut block.header.header;
            header.timestamp = sample.network.clock.start_of(Round(3), header.slot).plus(ms);
            let ids: Vec<_> = messages.iter().map(Tx::id).collect();
            header.messages_root = messages_root(&ids);
            assert_eq!(rules.check_body(header, messages, &history.state), Ok(()));
            // A penalty is no draw: who is proven to have signed twice loses its tickets, and nobody chooses who wins.
            if number < 2 {
                assert_eq!(plans_after(&history, Some(&block)), expected);
            }
        }
    }
}

#[test]
fn a_forger_that_withholds_its_secret_has_one_other_draw() {
    let sample = Sample::new(&[1, 2, 3, 1, 2, 3]);
    let history = before_the_last(&sample);
    let good = history.build(3, 4, &[]);
    let without = plans_after(&history, None);
    let with = plans_after(&history, Some(&good));
    assert_ne!(with, without);
    // All that it can do: forge, with the one secret, or not forge; without the secret its block is refused.
    let mut silent = good.header.header.clone();
    silent.reveal = None;
    let verdict = sample.rules().check_body(&silent, &[], &history.state);
    assert_eq!(verdict, Err(Refusal::Reveal));
    let draws: BTreeSet<Vec<String>> = [&with, &without]
        .iter()
        .map(|plans| plans.iter().map(|plan| format!("{:?}", plan.jurors)).collect())
        .collect();
    assert_eq!(draws.len(), 2);
}

#[test]
fn what_is_not_sealed_moves_no_plan() {
    let sample = Sample::new(&[1, 2, 3, 1, 2, 3]);
    let mut history = before_the_last(&sample);
    let plan = history.plan(30);
    history.forge(3, 4, &[]);
    for round in 4..20 {
        history.forge(round, 0, &[]);
        assert_eq!(history.plan(30), plan, "a private chain up to round {round} has one beacon");
    }
    let anchor = history.seal();
    assert_eq!(history.plan(30), plan, "as long as no block names the seal");
    history.forge(20, 0, &[]);
    assert_ne!(history.plan(30), plan);
    assert_ne!(anchor.state.beacon, sample.anchor.state.beacon, "a secret was revealed");
}
