//! Attacks that shaped the protocol, each a scenario with a scripted villain: it must take place, and come to nothing.

use hypernode::sim::scenario;
use hypernode::types::clock::Round;
use hypernode::types::sign::{Doubt, Standing};

/// Otherwise one turn to propose lets a private block be sealed, and the network be taken.
#[test]
fn a_private_block_proposed_by_its_forger_is_not_sealed() {
    for seed in 1..=6 {
        let run = scenario::private_block(&format!("private block {seed}"));
        println!("{seed}: {run:?}");
        assert!(run.violations.is_empty(), "{run:?}");
        assert!(run.proposed_at_once > 0, "{run:?}");
        assert_eq!((run.heard, run.held), (run.honest, run.honest), "{run:?}");
        assert_eq!((run.prepared, run.prepared_nil), (0, run.honest), "{run:?}");
        assert_eq!((run.followed, run.in_chain), (0, 0), "{run:?}");
        assert_eq!(run.sealed, run.rounds, "{run:?}");
    }
}

/// A seal closes its round, or whoever forges last could wait, and have blocks leave the chain with everybody blamed.
#[test]
fn a_block_withheld_until_after_the_seal_is_ignored_and_nobody_is_charged() {
    use scenario::Moment;
    for moment in [Moment::Sealed, Moment::Committed] {
        let (mut refused, mut followed) = (0, 0);
        for seed in 1..=6 {
            let run = scenario::late_block(&format!("late block {seed}"), moment);
            println!("{seed}: {run:?}");
            assert!(run.violations.is_empty(), "{run:?}");
            assert!(run.shown > 0, "{run:?}");
            assert_eq!((run.charges, run.in_chain), (0, 0), "{run:?}");
            assert_eq!((run.went_on, run.sealed), (run.shown, run.rounds), "{run:?}");
            refused += run.refused;
            followed += run.followed;
        }
        assert!(refused > 0, "nobody had the seal before the block");
        assert!(moment == Moment::Sealed || followed > 0, "nobody had the block before the seal");
    }
}

/// It is shown when 200 rounds wait for their seal, and still has nothing but the slots of its forgers.
#[test]
fn a_private_chain_of_a_fifth_is_never_the_best_and_changes_no_plan() {
    for seed in 1..=2 {
        let run = scenario::private_chain(&format!("outage {seed}"), 5);
        println!("{seed}: {run:?}");
        assert!(run.violations.is_empty(), "{run:?}");
        assert!(run.stalled >= 200, "{run:?}");
        assert_eq!((run.private, run.fault), (run.slots, None), "{run:?}");
        assert!(run.private >= 100 && run.private * 2 < run.public, "{run:?}");
        assert_eq!((run.received, run.followed), (run.honest, 0), "{run:?}");
        assert!(run.same_anchor && run.asked > 0 && run.drawn_otherwise == 0, "{run:?}");
        assert!(run.resumed_within <= 2, "{run:?}");
    }
}

/// A third of the jurors show headers whose bodies never come: the others forge all the same, and the round is sealed.
#[test]
fn headers_without_bodies_at_every_slot_do_not_stop_a_round() {
    use scenario::Bait;
    for bait in [Bait::InTime, Bait::Late, Bait::Twins] {
        for seed in 1..=4 {
            let run = scenario::bodyless(&format!("bodyless {seed}"), bait);
            println!("{bait:?} {seed}: {run:?}");
            assert!(run.violations.is_empty(), "{bait:?} {run:?}");
            let shown = if bait == Bait::Twins { 6 } else { 3 };
            assert_eq!((run.shown, run.received), (shown, run.honest), "{bait:?} {run:?}");
            assert_eq!((run.filled, run.behind), (run.slots, 0), "{bait:?} {run:?}");
            assert_eq!((run.sealed_within, run.sealed), (1, run.rounds), "{bait:?} {run:?}");
        }
    }
}

/// Keys that once were enough must not stop or turn those who have newer seals.
#[test]
fn old_keys_that_certify_another_past_change_nothing() {
    use scenario::Newcomer;
    for newcomer in [Newcomer::Nobody, Newcomer::Unlisted, Newcomer::Listed] {
        for seed in 1..=2 {
            let run = scenario::old_keys(&format!("old keys {seed}"), newcomer);
            println!("{newcomer:?} {seed}: {run:?}");
            assert!(run.violations.is_empty(), "{newcomer:?} {run:?}");
            // All with newer seals were shown the false ones, hold none of them, and went on.
            assert!(run.answered >= run.answered_newcomer + 6, "{newcomer:?} {run:?}");
            assert_eq!((run.noticed, run.halted, run.deceived), (0, 0, 0), "{newcomer:?} {run:?}");
            assert_eq!(run.seals, run.seals_before + 6, "{newcomer:?} {run:?}");
            assert_eq!(newcomer != Newcomer::Nobody, run.answered_newcomer > 0, "{run:?}");
            match newcomer {
                Newcomer::Nobody => {}
                // It cannot tell which past is the true one, and says so when it sees both.
                Newcomer::Unlisted => {
                    assert_eq!(run.held, 5, "{run:?}");
                    assert!(run.newcomer_noticed && run.newcomer_halted, "{run:?}");
                }
                // Blocks on the way to the listed checkpoint show which past it is of.
                Newcomer::Listed => {
                    assert_eq!(run.held, 0, "{run:?}");
                    assert!(run.newcomer_follows && !run.newcomer_halted, "{run:?}");
                }
            }
        }
    }
}

/// Its place in an instance is what a restored sign state lacks; the world's checks see a second vote or block of any host.
#[test]
fn a_restored_sign_state_signs_nothing_twice() {
    let copied = Standing::Unproven(Doubt::Copied);
    for (put_back, kept) in [
        (copied, copied),
        (Standing::Waiting, Standing::Proven),
        (Standing::Proven, Standing::Unproven(Doubt::Older)),
    ] {
        let mut times = 0;
        for effects in 0..8 {
            let run = scenario::restored(&format!("restored {effects}"), effects, put_back);
            println!("{effects}, {put_back:?}: {run:?}");
            assert!(run.violations.is_empty(), "{run:?}");
            times += u64::from(run.restored && run.older);
            assert!(run.sealed >= Some(Round(8)), "the others go on: {run:?}");
            assert!(run.standing == kept || !run.older, "{run:?}");
            match kept {
                Standing::Proven => {
                    assert!(run.signs_after.is_some_and(|rounds| rounds >= 2), "{run:?}");
                }
                // A file as it was left is no older one.
                _ if put_back == Standing::Proven && !run.older => {}
                _ => assert_eq!(run.signs_after, None, "{run:?}"),
            }
        }
        assert!(times >= 6, "it lost something {times} times");
    }
}
