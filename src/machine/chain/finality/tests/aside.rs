//! A block that the best chain has left long ago: voters may be locked on it, and seal it still.

use super::*;

/// Two nodes: the first held two blocks of round 4 and some of its children, and then all of the other's heavier chain of
/// rounds 4 to 9. Also the block that it held last of its own in round 4, and the one above.
fn left() -> (Village, Village, Block, Block) {
    let (mut one, mut other) = two();
    let own = one.round(4, &[1, 2], &[]);
    let above = one.round(5, &[0, 1, 2], &[]).remove(2);
    for round in 4..=9 {
        for block in other.round(round, &[0, 1, 2], &[]) {
            assert_eq!(one.take(&block), HeaderVerdict::Added);
        }
    }
    assert_eq!(one.chain.best(), other.chain.best(), "the other's is heavier");
    (one, other, own[1].clone(), above)
}

#[test]
fn what_the_best_chain_has_left_is_whole_and_has_its_state() {
    let (mut one, other, agreed, _) = left();
    let point = agreed.header.point();
    assert!(one.chain.entry(&point.hash).is_none(), "it is older than what is held in memory");
    for _ in 0..2 {
        assert_eq!(one.chain.round_of_full(&point, &one.disk), Some(Round(4)));
        let state = one.chain.state_at(&point, &one.disk).expect("all is on the disk");
        assert_eq!(state.round, Round(4));
        let best = one.chain.best().point;
        let (ours, theirs) =
            (one.chain.state_at(&best, &one.disk), other.chain.state_at(&best, &other.disk));
        assert_eq!(ours, theirs, "the sum for one block does not spoil that for another");
        one.restart();
    }
    assert_eq!(other.chain.round_of_full(&point, &other.disk), None, "it has never had it");
    assert_eq!(other.chain.state_at(&point, &other.disk), None);
}

#[test]
fn what_the_best_chain_has_left_is_gone_back_to_when_it_is_sealed() {
    let seal = {
        let (mut third, _) = two();
        let blocks = third.round(4, &[1, 2], &[]);
        third.seal_of(&blocks[1].header.point())
    };
    for restarts in [false, true] {
        let (mut one, other, agreed, above) = left();
        assert_eq!(seal.certificate.checkpoint.block, agreed.header.hash());
        if restarts {
            one.restart();
        }
        let heavy = other.chain.best().point;
        assert_eq!(one.certify(&seal), SealVerdict::Added);
        assert_eq!(one.chain.sealed().checkpoint, seal.certificate.checkpoint);
        assert_eq!(one.chain.best().point, above.header.point(), "with what stands on it");
        assert_eq!(one.chain.round_of_full(&heavy, &one.disk), None, "what is beside it is gone");
        one.restart();
    }
}

#[test]
fn what_was_the_worst_of_many_tips_is_gone_to_when_it_is_sealed() {
    let (mut one, mut other) = two();
    let own = one.round(4, &[1, 2], &[]);
    let agreed = own[1].header.point();
    let seal = one.seal_of(&agreed);
    for block in other.round(4, &[0, 1, 2], &[]) {
        assert_eq!(one.take(&block), HeaderVerdict::Added);
    }
    // A juror shows header after header of its slot, and no body.
    for after_ms in 1..=70 {
        one.header(&other.forge((Round(5), Slot(0)), Vec::new(), after_ms));
    }
    assert!(one.chain.entry(&agreed.hash).is_none(), "there are better ones than may be held");
    assert_eq!(one.chain.round_of_full(&agreed, &one.disk), Some(Round(4)));
    assert_eq!(one.certify(&seal), SealVerdict::Added);
    assert_eq!(one.chain.best().point, agreed);
    assert_eq!(one.chain.sealed().checkpoint, seal.certificate.checkpoint);
}
