//! What is refused because of a seal, a secret, or evidence.

use std::rc::Rc;

use hypernode::rules::refusal::Refusal;
use hypernode::rules::sealed::Anchor;
use hypernode::rules::validity::{Parent, Place};
use hypernode::types::block::{Block, Header, SealRef, SignedHeader};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::evidence::Evidence;
use hypernode::types::hash::Hash;
use hypernode::types::key::{SecretKey, Signature};
use hypernode::types::network::Network;
use hypernode::types::seal::{Step, Vote};
use hypernode::types::tx::Tx;

use super::{Verdict, WEIGHTS};
use crate::history::{History, committed, double, proof};
use crate::sample::{Sample, any_hash, key, network_text};

/// A block of a slot with another header, signed by the forger that it names.
fn changed(sample: &Sample, block: &Block, change: impl Fn(&mut Header)) -> SignedHeader {
    let mut header = block.header.header.clone();
    change(&mut header);
    let signer = sample.keys().iter().find(|key| key.public() == header.forger);
    header.sign(signer.expect("a founder"), &sample.network, &sample.verifier)
}

/// Rounds 1 and 2 with a block in each slot, sealed at the end of round 1.
fn sealed(sample: &Sample) -> (History<'_>, Rc<Anchor>) {
    let mut history = History::new(sample);
    (0..5).for_each(|slot| drop(history.forge(1, slot, &[]).clone()));
    let anchor = history.seal();
    (0..5).for_each(|slot| drop(history.forge(2, slot, &[]).clone()));
    (history, anchor)
}

#[test]
fn a_header_names_a_seal_that_its_chain_has_and_none_before_its_parents() {
    let sample = Sample::new(&WEIGHTS);
    let (history, anchor) = sealed(&sample);
    let block = history.build(3, 0, &[]);
    assert_eq!(block.header.header.seal, anchor.seal);
    let check = |seal: SealRef, parent: &Parent| {
        let header = changed(&sample, &block, |header| header.seal = seal);
        sample.rules().check_header(&header, parent)
    };
    let parent = history.parent;
    let genesis = sample.anchor.seal;
    assert_eq!(check(anchor.seal, &parent), Ok(()));
    assert_eq!(check(genesis, &parent), Err(Refusal::Seal), "older than the parent's");
    let other = SealRef { checkpoint: any_hash("other"), ..anchor.seal };
    assert_eq!(check(other, &parent), Err(Refusal::Seal), "another one of this index");
    let later = SealRef { index: 2, ..other };
    assert_eq!(check(later, &parent), Err(Refusal::UnknownSeal));
    // On a parent that names genesis still, both are possible, unless the sealed block is not below it.
    let mut parent = Parent { seal: genesis, anchor: genesis, ..parent };
    let juror = sample.juror(3, 0).public();
    for seal in [genesis, anchor.seal] {
        let header = changed(&sample, &block, |it| (it.seal, it.forger) = (seal, juror));
        assert_eq!(sample.rules().check_header(&header, &parent), Ok(()), "{seal:?}");
    }
    let height = anchor.checkpoint.height;
    let below = |header: &mut Header| header.height = height;
    parent.point.height.0 = height.0 - 1;
    let header = changed(&sample, &block, below);
    assert_eq!(sample.rules().check_header(&header, &parent), Err(Refusal::Seal));
}

#[test]
fn a_plan_rests_on_the_seal_named_by_the_last_block_before_its_round() {
    let sample = Sample::new(&WEIGHTS);
    let (history, anchor) = sealed(&sample);
    // Round 2 itself has the plan of genesis still: the blocks before it could not name the seal.
    assert_eq!(history.parent.anchor_of(Round(2)), sample.anchor.seal);
    assert_eq!(history.parent.anchor_of(Round(3)), anchor.seal);
    let slot =
        (0..5).find(|slot| history.juror(3, *slot).public() != sample.juror(3, *slot).public());
    let slot = slot.expect("the beacons differ, and so does a juror");
    let block = history.build(3, slot, &[]);
    let rules = sample.rules();
    assert_eq!(rules.check_header(&block.header, &history.parent), Ok(()));
    let by_genesis = sample.juror(3, slot).public();
    let wrong = changed(&sample, &block, |header| header.forger = by_genesis);
    assert_eq!(rules.check_header(&wrong, &history.parent), Err(Refusal::WrongJuror));
    // Who does not have the state of the seal cannot say who forges.
    let fresh = Sample::new(&WEIGHTS);
    let verdict = fresh.rules().check_header(&block.header, &history.parent);
    assert_eq!(verdict, Err(Refusal::UnknownSeal));
    let heartbeat = sample.heartbeat(0, 3);
    let place = Place { round: Round(3), seal: anchor.seal };
    let verdict = fresh.rules().check_message(&heartbeat, &place, &history.state);
    assert_eq!(verdict, Err(Refusal::UnknownSeal));
    assert_eq!(rules.check_message(&heartbeat, &place, &history.state), Ok(()));
}

#[test]
fn a_seal_closes_its_round() {
    let sample = Sample::new(&WEIGHTS);
    let mut history = History::new(&sample);
    history.forge(1, 0, &[]);
    let next = history.build(1, 1, &[]);
    assert_eq!(sample.rules().check_header(&next.header, &history.parent), Ok(()));
    history.seal();
    let verdict = sample.rules().check_header(&next.header, &history.parent);
    assert_eq!(verdict, Err(Refusal::RoundSealed));
    assert!(!Refusal::RoundSealed.is_provable(), "honest forgers of the round come too late");
    history.forge(2, 0, &[]);
}

/// The verdict on the reveal of a block of slot 0 of round 3, when somebody's heartbeat committed in round 1.
fn reveal(history: &History, reveal: Option<Hash>) -> Verdict {
    let block = history.build(3, 0, &[]);
    let signed = changed(history.sample, &block, |header| header.reveal = reveal);
    history.sample.rules().check_body(&signed.header, &block.messages, &history.state)
}

#[test]
fn the_first_block_of_a_forger_reveals_what_its_heartbeat_committed_to() {
    let sample = Sample::new(&WEIGHTS);
    let (forger, id) = (sample.juror(3, 0), sample.network.id());
    let (secret, other) = (forger.secret_of(&id, Round(3)), forger.secret_of(&id, Round(4)));
    let foreign = sample.keys().iter().find(|key| key.public() != forger.public());
    let foreign = foreign.expect("six founders");

    let mut history = History::new(&sample);
    history.forge(1, 0, &[]);
    let none = reveal(&history, None);
    assert_eq!(none, Ok(()), "nobody has committed to anything");
    assert_eq!(reveal(&history, Some(secret)), Err(Refusal::Reveal), "where none is due");
    assert_eq!(
        reveal(&history, Some(Hash([0; 32]))),
        Err(Refusal::Reveal),
        "not even an empty one"
    );

    // The heartbeat of round 1 comes with a block of round 2, as late as it can.
    history.forge(2, 0, &[committed(&sample, forger, 1), committed(&sample, foreign, 1)]);
    assert_eq!(reveal(&history, Some(secret)), Ok(()));
    for (what, wrong) in [
        ("none where one is due", None),
        ("that of another round", Some(other)),
        ("that of another HN", Some(foreign.secret_of(&id, Round(3)))),
        ("what was committed to itself", Some(any_hash("anything"))),
    ] {
        assert_eq!(reveal(&history, wrong), Err(Refusal::Reveal), "{what}");
    }
    assert_eq!(history.forge(3, 0, &[]).header.header.reveal, Some(secret));
    assert_eq!(history.state.due_reveal(Round(3), &forger.public()), None, "its next block");
    assert!(history.state.due_reveal(Round(3), &foreign.public()).is_some());
    assert_eq!(history.state.due_reveal(Round(4), &forger.public()), None, "nor its next round");
}

#[test]
fn who_committed_to_what_it_cannot_reveal_does_not_forge() {
    let sample = Sample::new(&WEIGHTS);
    let mut history = History::new(&sample);
    let (forger, at) = (sample.juror(3, 0), sample.time(3, 0));
    // A heartbeat of ours that another program made.
    let body = hypernode::types::tx::Body::Heartbeat {
        version: 1,
        commitment: any_hash("nobody knows"),
        capacity: 1,
    };
    history.forge(1, 0, &[sample.tx(forger, 1, body)]);
    let rules = sample.rules();
    let built = rules.build_block(&history.parent, &history.state, [].into_iter(), at, forger);
    assert_eq!(built, Err(Refusal::Reveal));
}

fn vote(sample: &Sample, who: &SecretKey, at: (u64, u32, Step), value: Option<Hash>) -> Vote {
    Vote::sign(at, value, who, &sample.network, &sample.verifier)
}

/// The verdict on evidence in a block of round 30 that names seal 30.
fn judged(sample: &Sample, evidence: Evidence) -> Verdict {
    let tx = proof(sample, &sample.keys()[0], 30, evidence);
    let seal = SealRef { index: 30, checkpoint: any_hash("seal") };
    let place = Place { round: Round(30), seal };
    sample.rules().check_message(&tx, &place, &sample.state(29))
}

#[test]
fn two_blocks_for_a_slot_are_proven_in_time() {
    let sample = Sample::new(&WEIGHTS);
    let offender = &sample.keys()[1];
    for (round, verdict) in [
        (30, Ok(())),
        (6, Ok(())),
        (5, Err(Refusal::Expired)),
        (31, Err(Refusal::TooEarly)),
        (u64::MAX / 100_000, Err(Refusal::TooEarly)),
    ] {
        assert_eq!(judged(&sample, double(&sample, offender, round)), verdict, "round {round}");
    }
    let stranger = double(&sample, &key(77), 29);
    assert_eq!(judged(&sample, stranger), Err(Refusal::Unregistered));
}

#[test]
fn two_blocks_prove_something_only_when_they_exclude_each_other() {
    let sample = Sample::new(&WEIGHTS);
    let (offender, other) = (&sample.keys()[1], &sample.keys()[2]);
    let Evidence::Blocks(low, high) = double(&sample, offender, 29) else {
        panic!("they are blocks")
    };
    let resigned = |change: &dyn Fn(&mut Header), key: &SecretKey| {
        let mut header = high.header.clone();
        change(&mut header);
        header.sign(key, &sample.network, &sample.verifier)
    };
    let mut broken = high.clone();
    broken.signature = Signature([1; 64]);
    let elsewhere = network_text(&WEIGHTS, &[("\"sample\"", "\"other\"")]);
    let elsewhere = Network::parse(&elsewhere).expect("a valid file");
    let abroad = high.header.clone().sign(offender, &elsewhere, &sample.verifier);
    let later = resigned(&|header| header.slot = Slot(1), offender);
    let earlier = resigned(&|header| header.round = Round(28), offender);
    let of_another = resigned(&|header| header.forger = other.public(), other);
    // Another signature under the same header: a signer that adds noise has done nothing wrong.
    let again = SignedHeader { signature: Signature([2; 64]), ..low.clone() };
    for (what, second) in [
        ("the same block", low.clone()),
        ("the same header", again),
        ("another slot", later),
        ("another round", earlier),
        ("another forger", of_another),
        ("a signature that does not hold", broken),
        ("a signature for another network", abroad),
    ] {
        for (a, b) in [(&low, &second), (&second, &low)] {
            let evidence = Evidence::Blocks(a.clone(), b.clone());
            assert_eq!(judged(&sample, evidence), Err(Refusal::Evidence), "{what}");
        }
    }
    let swapped = Evidence::Blocks(high.clone(), low.clone());
    assert_eq!(judged(&sample, swapped), Err(Refusal::Evidence), "one pair has one form");
    assert_eq!(Evidence::of_blocks(&high, &low), Evidence::of_blocks(&low, &high));
    assert_eq!(Evidence::of_blocks(&low, &low), None);
    assert_eq!(judged(&sample, Evidence::Blocks(low, high)), Ok(()));
}

#[test]
fn two_votes_prove_something_only_when_they_exclude_each_other() {
    let sample = Sample::new(&WEIGHTS);
    let (who, other) = (&sample.keys()[1], &sample.keys()[2]);
    let (a, b) = (Some(any_hash("a")), Some(any_hash("b")));
    let at = |index| (index, 2, Step::Prepare);
    let pair = |index| {
        Evidence::of_votes(&vote(&sample, who, at(index), a), &vote(&sample, who, at(index), b))
    };
    for (index, verdict) in [
        (31, Ok(())),
        (30, Ok(())),
        (7, Ok(())),
        (6, Err(Refusal::Expired)),
        (32, Err(Refusal::TooEarly)),
    ] {
        let evidence = pair(index).expect("they exclude each other");
        assert_eq!(judged(&sample, evidence), verdict, "for seal {index}");
    }
    let first = vote(&sample, who, at(30), a);
    let nil = vote(&sample, who, at(30), None);
    assert_eq!(judged(&sample, Evidence::Votes(nil, first)), Ok(()), "nil is a vote");
    assert_eq!(judged(&sample, Evidence::Votes(first, nil)), Err(Refusal::Evidence));
    let mut broken = vote(&sample, who, at(30), b);
    broken.signature = Signature([1; 64]);
    for (what, second) in [
        ("the same vote", first),
        ("another view", vote(&sample, who, (30, 1, Step::Prepare), b)),
        ("another step", vote(&sample, who, (30, 2, Step::Commit), b)),
        ("another seal", vote(&sample, who, at(29), b)),
        ("another voter", vote(&sample, other, at(30), b)),
        ("a signature that does not hold", broken),
    ] {
        for (low, high) in [(first, second), (second, first)] {
            let evidence = Evidence::Votes(low, high);
            assert_eq!(judged(&sample, evidence), Err(Refusal::Evidence), "{what}");
        }
    }
}

#[test]
fn evidence_is_in_a_chain_once_whoever_brings_it() {
    let sample = Sample::new(&WEIGHTS);
    let mut history = History::new(&sample);
    let [a, b, offender] = [0, 1, 2].map(|number| &sample.keys()[number]);
    let evidence = double(&sample, offender, 1);
    let by = |sender, round| proof(&sample, sender, round, evidence.clone());
    let sorted = |mut messages: Vec<Tx>| {
        messages.sort_by_key(Tx::id);
        messages
    };
    let mut twice = history.build(1, 0, &[]);
    twice.messages = sorted(vec![by(a, 1), by(b, 1)]);
    let ids: Vec<_> = twice.messages.iter().map(Tx::id).collect();
    let root = hypernode::types::block::messages_root(&ids);
    let header = changed(&sample, &twice, |header| header.messages_root = root).header;
    let verdict = sample.rules().check_body(&header, &twice.messages, &history.state);
    assert_eq!(verdict, Err(Refusal::DuplicateKey));

    history.forge(1, 0, &[by(a, 1)]);
    let key = by(b, 1).key();
    for round in 1..=25 {
        if round > 1 {
            history.forge(round, 0, &[]);
        }
        assert!(history.state.holds(&key), "round {round}");
    }
    // Then it could not be brought again anyway.
    history.forge(26, 0, &[]);
    assert!(!history.state.holds(&key));
    let place = sample.place(26);
    let verdict = sample.rules().check_message(&by(b, 26), &place, &history.state);
    assert_eq!(verdict, Err(Refusal::Expired));
}
