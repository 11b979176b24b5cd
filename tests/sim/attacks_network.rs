//! Simulated networks in which the network itself, or the power, is against agreement: each a scenario of its own.

use std::collections::BTreeSet;

use hypernode::sim::scenario::cuts::{self, How};
use hypernode::sim::scenario::halves::{self, halves};
use hypernode::sim::scenario::outage::{Away, outage};
use hypernode::sim::scenario::power::{self, Cut, power};
use hypernode::sim::scenario::{late_registry, recovery};
use hypernode::types::seal::Step;

#[test]
fn three_that_go_on_through_an_outage_do_not_become_the_committee() {
    for (seed, away) in [("1", Away::Off), ("2", Away::Alone), ("3", Away::Off)] {
        let it = outage(seed, 30, away);
        println!("{it:?}");
        assert!(it.violations.is_empty(), "{:?}", it.violations);
        assert!(it.blocks.iter().sum::<u64>() >= 3, "the three go on");
        assert!(it.blocks.iter().all(|blocks| 2 * blocks < it.slots), "and no round is full");
        assert_eq!(it.sealed, [4, 4], "they seal nothing");
        assert!(it.resumed_ms.is_some_and(|ms| ms <= 2 * it.round_ms), "sealing goes on");
        assert!(it.rounds.first() >= Some(&it.last_round), "and takes in all that was missed");
        assert_eq!(it.voters, [30; 3]);
        assert!(it.voters_kept);
    }
}

#[test]
fn a_lock_outlives_a_power_cut_at_every_effect_of_the_commit() {
    let (mut without, mut with, mut all) = (0, 0, 0);
    for effects_left in 0..12 {
        let it = power(&format!("all {effects_left}"), Cut::All, effects_left);
        println!("{effects_left} {it:?}");
        assert!(it.violations.is_empty(), "{:?}", it.violations);
        assert!(it.crashed > power::NODES / 2, "power was gone");
        assert!(it.locks_kept && it.went_on);
        assert_eq!(it.sealed_round, Some(1));
        without += usize::from(it.prepared > it.locked);
        with += usize::from(it.locked > 0);
        all += usize::from(3 * it.locked > 2 * power::NODES);
    }
    assert!(without > 0, "some had the quorum on disk and no lock yet");
    assert!(with > 0 && all > 0, "{with}, {all}");
}

#[test]
fn what_a_third_has_locked_is_sealed_although_the_chain_has_gone_on() {
    let mut locked = 0;
    for effects_left in 0..8 {
        let it = power(&format!("third {effects_left}"), Cut::Third, effects_left);
        println!("{effects_left} {it:?}");
        assert!(it.violations.is_empty(), "{:?}", it.violations);
        assert_eq!(it.crashed, power::NODES / 3 + 1);
        assert!(it.votes_lost > 0 && it.locks_kept && it.went_on);
        assert!(it.finished_round > 1, "the others would have proposed a later block");
        assert_eq!(it.sealed_round, Some(1));
        locked += usize::from(it.locked == it.crashed);
    }
    assert!(locked > 0);
}

#[test]
fn votes_lost_in_a_cut_are_sent_again() {
    for how in [How::Halves, How::Everyone, How::Silently] {
        for step in [Step::Prepare, Step::Commit] {
            for (seed, voted) in [1, cuts::NODES / 2, cuts::NODES].into_iter().enumerate() {
                let it = cuts::cut(&seed.to_string(), how, step, voted);
                println!("{how:?} {step:?} {it:?}");
                assert!(it.violations.is_empty(), "{:?}", it.violations);
                assert!(it.voted >= voted && it.votes_lost > 0 && !it.sealed_before);
                assert!(it.same_round);
                let took = it.took_ms.expect("it is sealed");
                assert!(took <= 4 * it.base_ms, "{took}");
            }
        }
    }
}

#[test]
fn halves_that_learn_a_seal_at_different_times_meet_on_one_chain() {
    for (seed, slots) in [("1", 3), ("2", 7), ("3", 11), ("4", 20), ("5", 28)] {
        let it = halves(seed, slots);
        println!("{it:?}");
        assert!(it.violations.is_empty(), "{:?}", it.violations);
        let half = halves::NODES / 2;
        assert!(it.votes_lost > 0);
        assert_eq!((it.parted, it.met), ([half, 0], [half, 0]));
        assert!(it.learnt_ms.is_some() && it.agreed_ms.is_some());
        assert_eq!(it.set_aside, 0);
        if slots > 4 {
            assert_eq!(it.named, [BTreeSet::from([3]), BTreeSet::from([2])]);
            assert!(it.anchors_differ > 0);
        }
        assert_eq!(it.sealed_round, it.last_round);
    }
}

#[test]
fn a_listed_checkpoint_with_new_voters_brings_sealing_back() {
    for seed in ["1", "2", "3"] {
        let it = recovery::recovery(seed);
        println!("{it:?}");
        assert!(it.violations.is_empty(), "{:?}", it.violations);
        assert_eq!(it.stalled, [3, 3], "nothing is sealed without them");
        assert!(it.is_right);
        let resumed = it.resumed_ms.expect("sealing goes on");
        assert!(resumed <= it.restarts_ms + 2 * it.round_ms, "{resumed}");
        assert_eq!((it.sealed_round, it.voters), (it.last_round, recovery::STAY));
        assert!(it.one_tip && it.last_blocks > 0, "and so do blocks");
    }
}

#[test]
fn what_old_voters_certify_beside_a_listed_checkpoint_counts_for_nobody_who_lists_it() {
    for seed in ["1", "2"] {
        let it = recovery::rival(seed);
        println!("{it:?}");
        assert!(it.end.violations.is_empty(), "{:?}", it.end.violations);
        assert!(it.is_certified, "the old voters seal on their own chain");
        assert!(it.is_ignored && !it.halted);
        assert!(it.sealed[2] > it.sealed[0], "sealing goes on, {:?}", it.sealed);
        assert_eq!(it.reason, Some("listed_checkpoint"));
        assert!(it.has_evidence && it.caught_up);
        assert_eq!((it.end.sealed_round, it.end.one_tip), (it.end.last_round, true));
        assert_eq!(it.end.voters, recovery::STAY + recovery::GONE, "who is back votes again");
    }
}

#[test]
fn every_round_is_sealed_whatever_share_of_the_voters_knows_the_registry() {
    for percent in (10..=80).step_by(10) {
        let run = late_registry(&format!("registry {percent}"), percent, 1);
        println!("{percent} %: {run:?}");
        assert_eq!(run.violations, [], "{percent} %");
        assert_eq!(
            (run.sealed, run.agreed),
            (run.rounds, true),
            "{percent} % do not know it: {run:?}"
        );
        // With the silent ones, more than two thirds have to know it.
        let know = run.nodes - run.silent - run.unknowing;
        assert_eq!(run.taken, 3 * know > 2 * run.nodes, "{percent} %");
    }
}

#[test]
fn voters_that_the_registry_has_dropped_seal_on_until_others_vote() {
    // More than a third: without them the first seal that takes in the registry would be the last one.
    let run = late_registry("dropped", 0, 8);
    println!("{run:?}");
    assert_eq!(run.violations, []);
    assert_eq!((run.sealed, run.taken, run.agreed), (run.rounds, true, true), "{run:?}");
}
