//! Who votes after an outage, and who draws tickets after signing twice.

use hypernode::rules::plan::Plan;
use hypernode::rules::sealed::{Penalty, SealedState};
use hypernode::types::address::Address;
use hypernode::types::clock::Round;
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use crate::history::{History, committed, double, proof};
use crate::sample::Sample;

/// Six HNs, three of them needed, activity since the second last full round.
fn sample() -> Sample {
    Sample::edited(
        &[1, 2, 3, 1, 2, 3],
        &[("activity_rounds = 1", "activity_rounds = 2"), ("active_min = 1", "active_min = 3")],
    )
}

/// A round with heartbeats of these founders, and blocks in so many slots.
fn round(history: &mut History, number: u64, blocks: u32, senders: std::ops::Range<usize>) {
    let sample = history.sample;
    for slot in 0..blocks {
        let keys = sample.keys()[senders.clone()].iter().filter(|_| slot == 0);
        let messages: Vec<_> = keys.map(|key| committed(sample, key, number)).collect();
        history.forge(number, slot, &messages);
    }
}

#[test]
fn an_outage_round_with_three_senders_does_not_make_them_the_committee() {
    let sample = sample();
    let mut history = History::new(&sample);
    round(&mut history, 1, 5, 0..6);
    let first = history.seal();
    assert_eq!(first.state.full_rounds, [Round(1)]);
    assert_eq!(first.state.voters, sample.anchor.state.voters, "one full round is too few");
    round(&mut history, 2, 5, 0..6);
    let second = history.seal();
    assert_eq!(second.state.full_rounds, [Round(1), Round(2)]);
    assert_eq!(second.state.active.len(), 6);
    // Fewer than half of the slots, however many such rounds.
    for number in 3..20 {
        round(&mut history, number, 2, 0..3);
        let state = history.seal().state.clone();
        assert_eq!(state.full_rounds, [Round(1), Round(2)]);
        assert_eq!(state.voters, second.state.voters, "round {number}");
    }
    // Half of five is three. Who was seen in neither of the two full rounds has left.
    for number in 20..22 {
        round(&mut history, number, 3, 0..3);
        history.seal();
    }
    let state = &history.seals.last().expect("a seal").0.state;
    let since: Vec<Round> = state.active.iter().map(|hn| hn.last_round).collect();
    assert!(since.iter().all(|round| *round >= Round(20)), "{since:?}");
    assert_eq!(state.voters.len(), state.active.len());
}

#[test]
fn a_round_is_full_with_a_block_in_half_of_its_slots() {
    let sample = Sample::edited(&[1, 1, 1], &[("\nslots = 5\n", "\nslots = 4\n")]);
    for (blocks, full) in [(1, false), (2, true), (4, true)] {
        let mut history = History::new(&sample);
        round(&mut history, 1, blocks, 0..3);
        let rounds = if full { vec![Round(1)] } else { vec![] };
        assert_eq!(history.sealed().full_rounds, rounds, "{blocks} of 4");
    }
}

#[test]
fn with_fewer_active_than_the_minimum_the_voters_stay() {
    let sample = Sample::edited(
        &[1, 2, 3, 1, 2, 3],
        &[("activity_rounds = 1", "activity_rounds = 1"), ("active_min = 1", "active_min = 6")],
    );
    let mut history = History::new(&sample);
    round(&mut history, 1, 5, 0..6);
    let all = history.seal();
    assert_eq!(all.state.active.len(), 6);
    // Whoever forges is seen too, so the quiet one must not be a juror.
    let quiet = (2..60).find_map(|number| {
        let forging = |who: &&usize| {
            let key = sample.keys()[**who].public();
            (0..5).all(|slot| history.juror(number, slot).public() != key)
        };
        (0..6).collect::<Vec<_>>().iter().find(forging).map(|who| (number, *who))
    });
    let (number, who) = quiet.expect("a round in which somebody is no juror");
    let others = (0..6).filter(|other| *other != who).map(|other| &sample.keys()[other]);
    let messages: Vec<_> = others.map(|key| committed(&sample, key, number)).collect();
    (0..5).for_each(|slot| {
        drop(history.forge(number, slot, if slot == 0 { &messages } else { &[] }).clone())
    });
    let state = &history.seal().state;
    assert_eq!(state.active.len(), 5);
    assert_eq!(state.voters, all.state.voters);
}

#[test]
fn who_signed_twice_draws_no_tickets_for_24_rounds_and_votes_on() {
    let sample = sample();
    let mut history = History::new(&sample);
    let offender = &sample.keys()[2];
    let address = sample.network.address_of(&offender.public());
    let message = proof(&sample, &sample.keys()[0], 1, double(&sample, offender, 1));
    history.forge(1, 0, &[message]);
    let first = history.seal();
    assert_eq!(first.state.penalties, [Penalty { address, last_round: Round(25) }]);
    assert_eq!(first.state.voters, sample.anchor.state.voters);
    assert!(first.state.active(&address).is_some() && first.state.registered(&address).is_some());
    let draws = |state: &SealedState, round| {
        let plan = Plan::new(&sample.network, state, Round(round));
        plan.jurors.contains(&address)
    };
    let without = SealedState { penalties: Vec::new(), ..first.state.clone() };
    assert!((2..=25).any(|round| draws(&without, round)), "it would have been drawn");
    assert!((2..=25).all(|round| !draws(&first.state, round)));
    assert!((26..80).any(|round| draws(&first.state, round)));
    // Another offence, taken in later: the later end wins.
    history.forge(2, 0, &[]);
    let message = proof(&sample, &sample.keys()[0], 3, double(&sample, offender, 3));
    history.forge(3, 0, &[message]);
    let second = history.seal();
    assert_eq!(second.state.penalties, [Penalty { address, last_round: Round(27) }]);
    // And when it is over, it is forgotten.
    history.forge(27, 0, &[]);
    assert_eq!(history.seal().state.penalties, []);
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn tickets_are_those_of_the_active_without_penalty(
        weights in vec(1_u8..4, 1..9),
        active in vec(any::<bool>(), 9),
        punished in vec(proptest::option::of(5_u64..15), 9),
        round in 5_u64..15,
    ) {
        let sample = Sample::new(&weights);
        let mut state = sample.anchor.state.clone();
        let keep: Vec<bool> = active.into_iter().take(weights.len()).collect();
        let mut at = 0;
        state.active.retain(|_| { at += 1; keep[at - 1] });
        for (hn, until) in state.registry.iter().zip(&punished) {
            if let Some(last) = until {
                state.penalties.push(Penalty { address: hn.address, last_round: Round(*last) });
            }
        }
        // Who may draw: the active, or all; of them those without penalty, or all.
        let addresses = |list: Vec<Address>| list;
        let mut may = addresses(state.active.iter().map(|hn| hn.address).collect());
        if may.is_empty() {
            may = state.registry.iter().map(|hn| hn.address).collect();
        }
        let free = |address: &Address| {
            state.penalties.iter().all(|it| it.address != *address || it.last_round.0 < round)
        };
        if may.iter().any(free) {
            may.retain(|address| free(address));
        }
        // Tickets in the order of their scores, the list repeated until there are enough.
        let mut tickets = Vec::new();
        for times in 0..5_u64 {
            if tickets.len() >= 5 {
                break;
            }
            for address in &may {
                let hn = state.registered(address).expect("registered");
                for number in 0..u64::from(hn.weight) {
                    let number = times * u64::from(hn.weight) + number;
                    let parts: [&[u8]; 4] = [
                        &state.beacon.0,
                        &round.to_be_bytes(),
                        &address.0,
                        &number.to_be_bytes(),
                    ];
                    tickets.push((hypernode::types::hash::hash("ticket", &parts), *address));
                }
            }
        }
        tickets.sort();
        let expected: Vec<Address> = tickets.into_iter().take(5).map(|(_, it)| it).collect();
        prop_assert_eq!(Plan::new(&sample.network, &state, Round(round)).jurors, expected);
    }
}
