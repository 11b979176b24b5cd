//! What is admitted, and how two sign states come together.

use super::*;

#[test]
fn only_what_is_later_or_identical_is_admitted() {
    let record = |round, slot, byte| {
        SignRecord::Block(BlockRecord {
            round: Round(round),
            slot: Slot(slot),
            hash: BlockHash(Hash([byte; 32])),
        })
    };
    let state = SignState::default().admit(record(5, 3, 1)).expect("nothing was signed before");
    for (asked, admitted) in [
        (record(5, 3, 1), true),
        (record(5, 3, 2), false),
        (record(5, 2, 1), false),
        (record(4, 9, 1), false),
        (record(5, 4, 2), true),
        (record(6, 0, 2), true),
    ] {
        assert_eq!(state.admit(asked).is_ok(), admitted, "{asked:?}");
    }
}

#[test]
fn votes_only_go_forward_and_know_nothing_of_blocks() {
    let record = |index, view, step, byte| {
        let value = (byte != 0).then_some(Hash([byte; 32]));
        SignRecord::Vote(VoteRecord { index, view, step, value, lock: None })
    };
    let block = BlockRecord { round: Round(9), slot: Slot(0), hash: BlockHash(Hash([1; 32])) };
    let state = SignState { block: Some(block), ..SignState::default() };
    let state = state.admit(record(5, 2, Step::Prepare, 1)).expect("no vote was cast before");
    assert_eq!(state.block, Some(block));
    for (asked, admitted) in [
        (record(5, 2, Step::Prepare, 1), true),
        (record(5, 2, Step::Prepare, 2), false),
        (record(5, 2, Step::Prepare, 0), false),
        (record(5, 2, Step::Propose, 1), false),
        (record(5, 1, Step::Commit, 1), false),
        (record(4, 9, Step::Commit, 1), false),
        (record(5, 2, Step::Commit, 0), true),
        (record(5, 3, Step::Propose, 2), true),
        (record(6, 0, Step::Propose, 2), true),
    ] {
        assert_eq!(state.admit(asked).is_ok(), admitted, "{asked:?}");
    }
}

fn vote(view: u32, step: Step, byte: u8, lock: Option<u32>) -> VoteRecord {
    let value = (byte != 0).then_some(Hash([byte; 32]));
    let lock = lock.map(|view| Lock { view, value: Hash([byte; 32]) });
    VoteRecord { index: 5, view, step, value, lock }
}

fn voted(vote: VoteRecord) -> SignState {
    SignState { vote: Some(vote), ..SignState::default() }
}

#[test]
fn only_a_proven_state_lets_anything_be_signed() {
    let block = BlockRecord { round: Round(9), slot: Slot(0), hash: BlockHash(Hash([1; 32])) };
    let asked = SignRecord::Block(block);
    for standing in [Standing::New, Standing::Waiting, Standing::Unproven(Doubt::Older)] {
        let state = SignState { standing, ..SignState::default() };
        let refused = state.admit(asked).expect_err("it may lack something");
        assert_eq!(*refused, SignError::Unproven { standing, asked });
        let proven = state.admit(SignRecord::Correction(SignState::default()));
        assert!(proven.expect("a correction signs nothing").admit(asked).is_ok());
    }
}

#[test]
fn what_others_show_takes_nothing_back() {
    let held = voted(vote(3, Step::Prepare, 1, Some(1)));
    let raised = |other| held.raised(&voted(other)).vote;
    assert_eq!(raised(vote(2, Step::Commit, 2, None)), held.vote);
    assert_eq!(raised(vote(3, Step::Prepare, 2, None)), held.vote, "one place: what is held");
    // A commit that was forgotten brings its lock back, whether it is the newest vote or not.
    let locked = raised(vote(2, Step::Commit, 2, Some(2))).and_then(|vote| vote.lock);
    assert_eq!(locked, Some(Lock { view: 2, value: Hash([2; 32]) }));
    let later = raised(vote(4, Step::Commit, 0, None)).expect("a vote");
    assert_eq!((later.view, later.lock), (4, held.vote.and_then(|vote| vote.lock)));
    let next = VoteRecord { index: 6, ..vote(0, Step::Prepare, 3, None) };
    assert_eq!(raised(next), Some(next), "an instance knows no lock of the one before");
    let corrected = SignState { standing: Standing::Waiting, ..SignState::default() };
    let state = held.admit(SignRecord::Correction(corrected)).expect("it signs nothing");
    assert_eq!((state.vote, state.standing), (held.vote, Standing::Waiting));
}

#[test]
fn two_states_that_signed_different_things_in_one_place_are_not_joined() {
    let held = voted(vote(3, Step::Prepare, 1, None));
    assert!(held.joined(&voted(vote(3, Step::Prepare, 2, None))).is_err());
    assert!(held.joined(&voted(vote(3, Step::Prepare, 0, None))).is_err());
    assert_eq!(held.joined(&voted(vote(3, Step::Prepare, 1, None))), Ok(held));
    assert_eq!(held.joined(&SignState::default()), Ok(held));
    let later = voted(vote(3, Step::Commit, 2, Some(3)));
    assert_eq!(held.joined(&later), Ok(later));
}
