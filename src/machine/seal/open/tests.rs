//! Votes that had to wait before they could be signed.

use std::rc::Rc;

use super::Open;
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::ledger::Follower;
use crate::machine::seal::View;
use crate::machine::seal::instance::Input;
use crate::machine::seal::proposals::Verdict;
use crate::machine::seal::votes::Cast;
use crate::machine::seals::Seals;
use crate::types::key::Signature;
use crate::types::seal::Step;
use crate::types::sign::{SignState, Standing, VoteRecord};

/// Founder 1 of four prepares what is proposed, but cannot sign before it is judged again; what it then signs, its sign
/// state holding this of the instance already.
fn signs_after(verdict: Verdict, before: Option<VoteRecord>) -> VoteRecord {
    let network = bed::network(4, &[]);
    let ground = Ground::new(network.clone());
    let (disk, verifier) = (Disk::default(), ground.verifier.clone());
    let (chain, peers, key) = (ground.chain(&disk), ground.peers(), bed::key(1));
    let seals = Seals::open(network.clone(), verifier.clone(), &disk).expect("an empty disk");
    let mut turn = bed::turn(&network, 0, &disk);
    let (now, electorate) = (turn.now, Rc::clone(seals.electorate()));
    let own = Some(key.public());
    let mut open = Open::new(&network, chain.sealed(), electorate, own, None, now, &turn.db);
    let mut outcomes = Vec::new();
    let (checkpoint, voter) = (bed::checkpoint(1, 7), open.proposer(&network, 0).expect("voters"));
    open.know(checkpoint);
    open.input(now, Input::Start, &mut outcomes);
    let (value, signature) = (checkpoint.id(), Signature([1; 64]));
    let cast = Cast { view: 0, step: Step::Propose, value: Some(value), voter, signature };
    let proposal = Input::Proposal { cast, prepared: None, verdict: Verdict::Acceptable };
    open.input(now, proposal, &mut outcomes);
    assert!(open.said.is_waiting());
    open.input(now, Input::Judged { value, verdict }, &mut outcomes);

    let ledger = Follower::new(Rc::new(chain.network().clone()));
    let view =
        View { chain: &chain, ledger: &ledger, peers: &peers, seals: &seals, may_sign: true };
    let mut signed = SignState { standing: Standing::Proven, vote: before, ..SignState::default() };
    open.sign_one(&mut turn, &view, (&key, &network, &verifier), &mut signed, &mut outcomes);
    let record = signed.vote.expect("it has signed");
    let (_, said) = open.said.said();
    let said: Vec<_> = said.iter().map(|vote| (vote.view, vote.step, vote.value)).collect();
    assert_eq!(said, [(record.view, record.step, record.value)], "as guarded");
    record
}

#[test]
fn a_prepare_that_waited_until_it_is_worth_nothing_becomes_nil() {
    let value = Some(bed::checkpoint(1, 7).id());
    let prepare = |value| VoteRecord { index: 1, view: 0, step: Step::Prepare, value, lock: None };
    for (verdict, signs) in [
        (Verdict::Acceptable, value),
        (Verdict::Sound, None),
        (Verdict::Unknown, None),
        (Verdict::Wrong, None),
    ] {
        assert_eq!(signs_after(verdict, None), prepare(signs), "{verdict:?}");
    }
    // What was signed before a restart is never another vote.
    let before = Some(prepare(value));
    assert_eq!(signs_after(Verdict::Sound, before), prepare(value));
}
