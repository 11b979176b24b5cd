//! What is kept of voters and proposers, and how it is asked for.

use super::{BEGIN, cast, electorate, table, value};
use crate::machine::seal::instance::Input;
use crate::machine::seal::proposals::Verdict;
use crate::machine::seal::votes::{Added, Cast, Votes};
use crate::types::hash::Hash;
use crate::types::seal::Step;

#[test]
fn votes_are_asked_for_by_bitmap() {
    let mut votes = Votes::new(electorate(&[1; 10]));
    let add = |votes: &mut Votes, view, step, of, voters: &[u16]| {
        for voter in voters {
            assert_eq!(votes.add(&cast(view, step, of, *voter)), Added::New);
        }
    };
    let whose = |casts: Vec<Cast>| -> Vec<(u32, u16)> {
        casts.iter().map(|cast| (cast.view, cast.voter)).collect()
    };
    votes.enter(0);
    add(&mut votes, 0, Step::Prepare, "A", &[0, 3, 9]);
    add(&mut votes, 0, Step::Commit, "A", &[3, 4, 5]);
    assert_eq!(votes.bitmap(Step::Prepare), [0b1001, 0b10]);
    assert_eq!(votes.bitmap(Step::Commit), [0b11_1000]);
    assert_eq!(whose(votes.lacking(0, &[0b1000], &[0xff])), [(0, 0), (0, 9)]);
    assert_eq!(votes.lacking(1, &[], &[]), []);
    assert_eq!(votes.of(3).len(), 2);
    assert_eq!(votes.turnout().missing, [1, 2, 6, 7, 8]);
    assert_eq!(votes.turnout().percent, 50);
    // In the next view commits for a block of more than a third are still worth telling.
    votes.enter(1);
    add(&mut votes, 1, Step::Prepare, "nil", &[1]);
    assert_eq!(whose(votes.lacking(0, &[0xff], &[0xff])), [(1, 1)]);
    add(&mut votes, 0, Step::Commit, "A", &[1]);
    assert_eq!(whose(votes.lacking(1, &[], &[])), [(1, 1), (0, 1), (0, 3), (0, 4), (0, 5)]);
    assert_eq!(votes.add(&cast(0, Step::Prepare, "A", 8)), Added::Ignored);
    assert_eq!(votes.turnout().percent, 70);
}

#[test]
fn of_each_voter_the_present_view_the_latest_and_the_last_commit_stay() {
    let mut votes = Votes::new(electorate(&[1; 4]));
    votes.enter(2);
    let commit = |view, of| cast(view, Step::Commit, of, 1);
    for (vote, added) in [
        (commit(1, "A"), Added::New),
        (commit(0, "A"), Added::Ignored),
        (commit(2, "B"), Added::New),
        (commit(5, "C"), Added::New),
        (cast(5, Step::Prepare, "C", 1), Added::New),
        (commit(4, "D"), Added::New),
        (commit(3, "E"), Added::Ignored),
        (cast(6, Step::Prepare, "nil", 1), Added::New),
        (commit(5, "F"), Added::Double(commit(5, "C"))),
    ] {
        assert_eq!(votes.add(&vote), added, "{vote:?}");
    }
    assert_eq!(votes.collect(5, Step::Commit, value("C").unwrap()).len(), 1);
    votes.enter(5);
    assert_eq!(votes.of(1), [commit(5, "C")]);
    votes.enter(6);
    assert_eq!(votes.of(1), [cast(6, Step::Prepare, "nil", 1)]);
    assert_eq!(votes.collect(5, Step::Commit, value("C").unwrap()).len(), 1);
}

#[test]
fn a_proposer_fills_no_memory() {
    let mut instance = table(&[BEGIN]);
    for view in 1..10_000_u32 {
        let cast = Cast { voter: 3, ..cast(view, Step::Propose, "A", 3) };
        instance.step(Input::Proposal { cast, prepared: None, verdict: Verdict::Unknown });
    }
    assert_eq!(instance.proposals().all().count(), 1);
    for byte in 0..100 {
        let mut cast = cast(0, Step::Propose, "A", 0);
        cast.value = Some(Hash([byte; 32]));
        instance.step(Input::Proposal { cast, prepared: None, verdict: Verdict::Unknown });
    }
    assert_eq!(instance.proposals().all().count(), 3);
}
