//! What is taken back, what is kept over a start, and what makes a follower read anew.

use super::*;

const JOURNAL: u64 = JOURNAL_MAX as u64;

/// Follows blocks 1 to 7 and then so many that nobody mined that the newest one below the journal has this height.
fn summed_up_to(height: u64) -> Follower {
    let mut follower = following(blocks(7));
    tell(&mut follower, fillers(8..=JOURNAL + height));
    follower
}

/// Whether the first owner has an HN after the newest block.
fn registers_first(follower: &Follower) -> bool {
    follower.registry().by_owner().any(|hn| hn.owner == owner(1))
}

#[test]
fn a_rollback_takes_registrations_back_and_another_branch_brings_its_own() {
    let mut follower = following(blocks(8));
    assert_eq!(owners(&follower, 2), Some(vec![1]));
    assert_eq!(follower.take_undone(), None);
    let revision = follower.revision();
    take_back(&mut follower, 6);
    assert_eq!(owners(&follower, 2), None, "what comes is not read yet");
    assert_eq!(follower.take_undone(), None);
    assert_eq!(follower.revision(), revision + 6);
    assert_eq!(follower.registry(), following(blocks(2)).registry());
    let branch = |height| match height {
        3 => vec![register(2, 1, 1)],
        _ => Vec::new(),
    };
    let branch: Vec<PowBlock> = (3..=8).map(|height| block(height, 1, branch(height))).collect();
    tell(&mut follower, branch.clone());
    assert_eq!(owners(&follower, 2), Some(vec![2]));
    let whole: Vec<PowBlock> = blocks(2).into_iter().chain(branch).collect();
    assert_eq!(follower.registry(), following(whole).registry());
    assert_eq!((follower.take_undone(), follower.take_undone()), (Some(6), None));
    // Nothing is left to take back: it reads from the start.
    take_back(&mut follower, 8);
    assert_eq!(follower.tip(), None);
    assert_eq!(follower.registry(), Follower::new(network(None)).registry());
    tell(&mut follower, blocks(8));
    assert_eq!(owners(&follower, 2), Some(vec![1]));
}

#[test]
fn a_block_in_which_much_happens_is_taken_back_whole() {
    let mut follower = following(blocks(4));
    let before = follower.registry().clone();
    // Owner 2 is dropped, owner 1 goes and comes back elsewhere, 3 takes the place of 1, goes, and 2 takes that of 3.
    let rows = vec![
        pay(owner(2), -5_000),
        pay(owner(3), 30_000),
        unregister(owner(1), 1, 1),
        register(3, 1, 1),
        register(1, 2, 2),
        unregister(CONTROLLER, 1, 1),
        register(2, 1, 1),
        register(3, 2, 3),
    ];
    let told = tell(&mut follower, vec![block(5, 0, rows)]);
    let codes: Vec<&str> = told[0].verdicts.iter().map(|verdict| verdict.code()).collect();
    assert_eq!(codes, ["ok", "ok", "ok", "ok", "ok", "ip_taken"]);
    assert_eq!(told[0].dropped.iter().map(|hn| hn.owner).collect::<Vec<_>>(), [owner(2)]);
    tell(&mut follower, [6, 7, 8].map(|height| block(height, 0, Vec::new())).to_vec());
    // Looked at from behind it, and taken back.
    assert_eq!(owners(&follower, 2), Some(vec![1]));
    take_back(&mut follower, 4);
    assert_eq!(follower.registry(), &before);
}

#[test]
fn a_journal_that_is_too_short_says_nothing_wrong() {
    let within = summed_up_to(3);
    assert_eq!(within.height_of(Round(2)), Some(3));
    assert_eq!(owners(&within, 2), Some(vec![1]));
    assert_eq!(owners(&within, 1), None, "there was nobody, and that is forgotten");
    // One block more, and the registry after block 3 cannot be had any more.
    assert_eq!(owners(&summed_up_to(4), 2), None);
    // The block that tells the time is gone.
    assert_eq!(owners(&summed_up_to(7), 2), None);
}

#[test]
fn a_start_from_a_summary_answers_as_before() {
    assert_eq!(following(blocks(7)).summary(), None, "nothing is below the journal");
    let mut follower = summed_up_to(4);
    let news = block(JOURNAL + 5, 0, vec![pay(owner(1), -1), pay(owner(2), 1)]);
    tell(&mut follower, vec![news.clone()]);
    let summary = follower.summary().expect("the journal ran over");

    let mut next = Follower::new(network(None));
    next.resume(&summary);
    assert_eq!(next.tip(), Some(blocks(5)[4].mark()));
    assert_eq!(next.registry(), following(blocks(5)).registry());
    assert!(!next.is_current());
    assert_eq!(next.summary(), Some(summary.clone()));
    let rest: Vec<PowBlock> =
        blocks(7)[5..].iter().cloned().chain(fillers(8..=JOURNAL + 4)).chain([news]).collect();
    tell(&mut next, rest.clone());
    assert_eq!(next.registry(), follower.registry());
    assert_eq!((next.tip(), next.summary()), (follower.tip(), Some(summary.clone())));
    for follower in [&mut follower, &mut next] {
        let later = [6, 7, 13].map(|at| {
            let mined_at = block(at, 0, Vec::new()).mined_at;
            PowBlock { mined_at, ..block(JOURNAL + at, 2, Vec::new()) }
        });
        tell(follower, later.to_vec());
        assert_eq!(follower.height_of(Round(2)), Some((JOURNAL + 4) / 3 * 3));
        assert_eq!(owners(follower, 2), Some(vec![1, 2]));
        take_back(follower, 4);
        assert_eq!(follower.registry(), following(blocks(7)).registry());
    }
}

#[test]
fn a_summary_that_is_garbage_or_of_other_rules_is_not_taken() {
    let summary = summed_up_to(4).summary().expect("the journal ran over");
    let untouched = |follower: &Follower| follower.tip().is_none() && follower.revision() == 0;
    let mut follower = Follower::new(network(None));
    let long = [&summary[..], &[0]].concat();
    for bytes in [&[][..], &[0xff; 100], &summary[..summary.len() - 1], &summary[1..], &long] {
        follower.resume(bytes);
        assert!(untouched(&follower), "{} bytes", bytes.len());
    }
    // Two HNs on one IP.
    let mut twice: Summary = codec::decode(&summary, SUMMARY_BYTES_MAX).expect("a summary");
    twice.registered[1].ip = twice.registered[0].ip;
    follower.resume(&codec::encode(&twice));
    assert!(untouched(&follower));
    // Rows of lower heights count there.
    let mut other = Follower::new(network(None));
    other.registry = Registry::new(Scope { first_height: 2, ..other.registry.scope().clone() });
    other.resume(&summary);
    assert!(untouched(&other));
    // Somebody reads already.
    let mut reading = following(blocks(2));
    let before = (reading.tip(), reading.revision());
    reading.resume(&summary);
    assert_eq!((reading.tip(), reading.revision()), before);
    follower.resume(&summary);
    assert_eq!(follower.tip().map(|tip| tip.height), Some(4));
}

#[test]
fn a_summary_of_another_ledger_leads_to_reading_anew() {
    let summary = summed_up_to(4).summary().expect("the journal ran over");
    let mut follower = Follower::new(network(None));
    follower.resume(&summary);
    let id = follower.tip().expect("that of the summary").id;
    follower.hear(&LedgerNews::Gone { id });
    assert_eq!((follower.tip(), follower.summary()), (None, None));
    assert_eq!(follower.registry(), Follower::new(network(None)).registry());
    let branch = |height| block(height, 1, vec![pay(owner(3), 10_000)]);
    tell(&mut follower, (1..=7).map(branch).collect());
    assert_eq!(follower.registry().balances().count(), 1);
    assert_eq!(owners(&follower, 2), Some(Vec::new()));
    assert_eq!(owners(&follower, 1), Some(Vec::new()), "it began with the ledger");
    // The reader says so by itself when rows turn out to be out of order.
    follower.hear(&LedgerNews::Anew);
    assert_eq!((follower.tip(), follower.is_current()), (None, false));
    assert_eq!(follower.registry(), Follower::new(network(None)).registry());
}

#[test]
fn another_controller_reads_the_ledger_again_and_another_depth_does_not() {
    let next = PowAddress([0xdd; 28]);
    let mut follower = Follower::new(network(Some((5, next, 2))));
    let rows = |who| vec![unregister(who, 1, 1)];
    let told: Vec<PowBlock> = blocks(7).into_iter().chain([block(8, 0, rows(next))]).collect();
    tell(&mut follower, told.clone());
    follower.begin_round(Round(4));
    assert_eq!(follower.tip().map(|tip| tip.height), Some(8));
    assert!(registers_first(&follower), "it was nobody's order yet");
    let summary_rules = rules_digest(follower.registry().scope());
    let revision = follower.revision();
    follower.begin_round(Round(5));
    assert_eq!((follower.tip(), follower.is_current()), (None, false));
    assert!(follower.revision() > revision);
    assert_eq!(follower.registry().scope().controller, next);
    assert_ne!(rules_digest(follower.registry().scope()), summary_rules);
    tell(&mut follower, told);
    assert!(!registers_first(&follower));
    follower.begin_round(Round(6));
    assert_eq!(follower.tip().map(|tip| tip.height), Some(8));
    // A summary under the old controller is of no use now.
    let summary = summed_up_to(4).summary().expect("the journal ran over");
    let mut late = Follower::new(network(Some((5, next, 2))));
    late.begin_round(Round(5));
    late.resume(&summary);
    assert_eq!(late.tip(), None);
    // Depth and step are only asked when a registry is.
    let mut deeper = Follower::new(network(Some((2, CONTROLLER, 4))));
    tell(&mut deeper, blocks(13));
    deeper.begin_round(Round(2));
    assert_eq!(deeper.tip().map(|tip| tip.height), Some(13));
    assert_eq!(deeper.height_of(Round(2)), Some(0), "6 less 4, down to a step of 3");
    assert_eq!(deeper.height_of(Round(3)), Some(6));
}
