//! What is refused, and with which code: every code that a header, a body or a message can get.
//!
//! Each case changes one thing of what is valid and signs it again, so that nothing else can be the reason.

mod seal;

use std::collections::BTreeSet;

use hypernode::rules::refusal::Refusal;
use hypernode::rules::validity::Parent;
use hypernode::types::block::{Header, messages_root};
use hypernode::types::clock::{Height, Round, Slot, Timestamp};
use hypernode::types::codec;
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::{SecretKey, Signature};
use hypernode::types::network::Network;
use hypernode::types::tx::{Body, Outcome, TestRole, Tx};

use crate::sample::{Sample, any_hash, identified, key, network_text, parent_of};

type Verdict = Result<(), Refusal>;

/// Founders of the sample networks.
const WEIGHTS: [u8; 6] = [1, 2, 3, 1, 2, 3];

/// A parent in round 3, slot 1, and the header of its child in slot 3.
fn child(sample: &Sample) -> (Parent, Header) {
    let state = sample.state(0);
    let first = sample.block(&sample.genesis(), &state, &[], sample.time(3, 1));
    let second = sample.block(&parent_of(&first), &state, &[], sample.time(3, 3));
    (parent_of(&first), second.header.header)
}

/// The verdict on a header, signed by the forger that it names.
fn check(sample: &Sample, parent: &Parent, header: Header) -> Verdict {
    let signer = sample.keys().iter().find(|key| key.public() == header.forger);
    let signed = header.sign(signer.expect("a founder"), &sample.network, &sample.verifier);
    sample.rules().check_header(&signed, parent)
}

fn in_slot(slot: u32, after_ms: u64) -> Timestamp {
    Sample::new(&WEIGHTS).network.clock.start_of(Round(3), Slot(slot)).plus(after_ms)
}

fn another(sample: &Sample, key: &SecretKey) -> SecretKey {
    let other = sample.keys().iter().find(|other| other.public() != key.public());
    other.expect("two founders").clone()
}

/// One change to a header, and the verdict on it.
type HeaderCase = (&'static str, fn(&mut Header), Verdict);

const HEADER_CASES: [HeaderCase; 18] = [
    ("nothing", |_| {}, Ok(())),
    ("the height twice", |h| h.height = Height(1), Err(Refusal::Parent)),
    ("a height left out", |h| h.height = Height(3), Err(Refusal::Parent)),
    ("another parent", |h| h.previous = BlockHash(any_hash("other")), Err(Refusal::Parent)),
    ("the parent's slot", |h| h.slot = Slot(1), Err(Refusal::Slot)),
    ("an earlier slot", |h| h.slot = Slot(0), Err(Refusal::Slot)),
    ("an earlier round", |h| h.round = Round(2), Err(Refusal::Slot)),
    ("a seal slot", |h| (h.slot, h.timestamp) = (Slot(5), in_slot(5, 0)), Err(Refusal::Slot)),
    ("no slot of a round", |h| h.slot = Slot(u32::MAX), Err(Refusal::Slot)),
    ("version 0", |h| h.version = 0, Err(Refusal::Version)),
    ("a version to come", |h| h.version = 2, Err(Refusal::Version)),
    ("the first moment", |h| h.timestamp = in_slot(3, 0), Ok(())),
    ("the last moment", |h| h.timestamp = in_slot(3, 1999), Ok(())),
    ("too soon", |h| h.timestamp = Timestamp(in_slot(3, 0).0 - 1), Err(Refusal::Timestamp)),
    ("too late", |h| h.timestamp = in_slot(4, 0), Err(Refusal::Timestamp)),
    ("before the origin", |h| h.timestamp = Timestamp(0), Err(Refusal::Timestamp)),
    ("a seal to come", |h| h.seal.index = 1, Err(Refusal::UnknownSeal)),
    ("another seal 0", |h| h.seal.checkpoint = any_hash("other"), Err(Refusal::Seal)),
];

#[test]
fn headers_are_refused_with_their_code() {
    let sample = Sample::new(&WEIGHTS);
    let (parent, header) = child(&sample);
    for (what, change, verdict) in HEADER_CASES {
        let mut header = header.clone();
        change(&mut header);
        assert_eq!(check(&sample, &parent, header), verdict, "{what}");
    }
}

#[test]
fn only_the_juror_of_the_slot_may_forge() {
    let sample = Sample::new(&WEIGHTS);
    let (parent, header) = child(&sample);
    let juror = sample.juror(3, 3).clone();
    let mut of_another = header.clone();
    of_another.forger = another(&sample, &juror).public();
    assert_eq!(check(&sample, &parent, of_another), Err(Refusal::WrongJuror));

    let plan = sample.plan(3);
    assert_ne!(
        plan.juror(Slot(3)),
        plan.juror(Slot(4)),
        "the sample needs another juror in slot 4"
    );
    let mut in_another = header;
    (in_another.slot, in_another.timestamp) = (Slot(4), in_slot(4, 500));
    assert_eq!(check(&sample, &parent, in_another), Err(Refusal::WrongJuror));

    let stranger = key(77);
    let mut of_nobody = child(&sample).1;
    of_nobody.forger = stranger.public();
    let signed = of_nobody.sign(&stranger, &sample.network, &sample.verifier);
    assert_eq!(sample.rules().check_header(&signed, &parent), Err(Refusal::WrongJuror));
}

#[test]
fn a_header_is_signed_by_its_forger_for_its_network() {
    let sample = Sample::new(&WEIGHTS);
    let (parent, header) = child(&sample);
    let juror = sample.juror(3, 3);
    let verdict = |signed| sample.rules().check_header(&signed, &parent);
    let good = header.clone().sign(juror, &sample.network, &sample.verifier);
    assert_eq!(verdict(good.clone()), Ok(()));

    let mut flipped = good;
    flipped.signature.0[40] ^= 1;
    assert_eq!(verdict(flipped), Err(Refusal::Signature));
    let forged = header.clone().sign(&another(&sample, juror), &sample.network, &sample.verifier);
    assert_eq!(verdict(forged), Err(Refusal::Signature));
    let elsewhere = Network::parse(&network_text(&WEIGHTS, &[("\"sample\"", "\"other\"")]));
    let elsewhere = elsewhere.expect("a valid file");
    assert_eq!(verdict(header.sign(juror, &elsewhere, &sample.verifier)), Err(Refusal::Signature));
}

#[test]
fn a_first_block_needs_the_first_round_and_a_parent_no_newer_seal() {
    let late = Sample::edited(&WEIGHTS, &[("first_round = 0", "first_round = 4")]);
    let state = late.state(0);
    let header =
        |round| late.block(&late.genesis(), &state, &[], late.time(round, 0)).header.header;
    assert_eq!(check(&late, &late.genesis(), header(4)), Ok(()));
    assert_eq!(check(&late, &late.genesis(), header(3)), Err(Refusal::Slot));

    let sample = Sample::new(&WEIGHTS);
    let (mut parent, header) = child(&sample);
    parent.seal.index = 1;
    assert_eq!(check(&sample, &parent, header), Err(Refusal::Seal));
}

#[test]
fn the_version_is_the_number_of_the_parameters_in_force() {
    let sample = Sample::changing_at(&WEIGHTS, 3);
    let state = sample.state(0);
    for (round, version, other) in [(2, 1, 2), (3, 2, 1)] {
        let at = sample.time(round, 0);
        let mut header = sample.block(&sample.genesis(), &state, &[], at).header.header;
        assert_eq!(header.version, version);
        assert_eq!(check(&sample, &sample.genesis(), header.clone()), Ok(()));
        header.version = other;
        assert_eq!(check(&sample, &sample.genesis(), header), Err(Refusal::Version));
    }
}

/// The verdict on messages in a block of round 3, in this order, on a chain that holds others.
fn check_body(sample: &Sample, held: &[Tx], messages: &[Tx]) -> Verdict {
    let mut state = sample.state(2);
    state.apply(&sample.header(3), held);
    let ids: Vec<_> = messages.iter().map(Tx::id).collect();
    let header = Header { messages_root: messages_root(&ids), ..child(&Sample::new(&WEIGHTS)).1 };
    assert_eq!(sample.rules().check_root(&header, messages), Ok(()));
    sample.rules().check_body(&header, messages, &state)
}

fn sorted(mut messages: Vec<Tx>) -> Vec<Tx> {
    messages.sort_by_key(Tx::id);
    messages
}

/// Another heartbeat of the same founder for the same round.
fn second_heartbeat(sample: &Sample, number: usize, round: u64) -> Tx {
    let body = Body::Heartbeat { version: 1, commitment: Hash([0; 32]), capacity: 1 };
    sample.tx(&sample.keys()[number], round, body)
}

#[test]
fn bodies_are_refused_with_their_code() {
    let sample = Sample::new(&WEIGHTS);
    let (a, b) = (sample.heartbeat(0, 3), sample.heartbeat(1, 3));
    let late = sample.heartbeat(1, 2);
    let good =
        sorted(vec![a.clone(), b.clone(), late.clone(), sample.report(3, 0, 0, TestRole::Tester)]);
    assert_eq!(check_body(&sample, &[], &[]), Ok(()));
    assert_eq!(check_body(&sample, &[], &good), Ok(()));

    let reversed: Vec<Tx> = good.iter().rev().cloned().collect();
    assert_eq!(check_body(&sample, &[], &reversed), Err(Refusal::Order));
    assert_eq!(check_body(&sample, &[], &[a.clone(), a.clone()]), Err(Refusal::Order));

    let twice = sorted(vec![a.clone(), second_heartbeat(&sample, 0, 3)]);
    assert_eq!(check_body(&sample, &[], &twice), Err(Refusal::DuplicateKey));
    let held = [second_heartbeat(&sample, 0, 3)];
    assert_eq!(check_body(&sample, &held, std::slice::from_ref(&a)), Err(Refusal::DuplicateKey));
    // A message of the round before may have been taken in the round before.
    let held = [late];
    assert_eq!(check_body(&sample, &held, &held), Err(Refusal::DuplicateKey));

    let mut header = child(&sample).1;
    header.messages_root = messages_root(&[b.id()]);
    let other = std::slice::from_ref(&a);
    let rules = sample.rules();
    assert_eq!(rules.check_root(&header, other), Err(Refusal::MessagesRoot));
    let state = sample.state(3);
    assert_eq!(rules.check_body(&header, other, &state), Err(Refusal::MessagesRoot));
    assert_eq!(check_body(&sample, &[], &[second_heartbeat(&sample, 0, 1)]), Err(Refusal::Expired));
}

#[test]
fn a_block_has_enough_messages_of_enough_senders_and_not_too_many() {
    let limits = [
        ("messages_min = 0", "messages_min = 2"),
        ("senders_min = 0", "senders_min = 2"),
        ("messages_max = 1000", "messages_max = 3"),
    ];
    let sample = Sample::edited(&WEIGHTS, &limits);
    let beat = |number, round| sample.heartbeat(number, round);
    for (what, messages, verdict) in [
        ("two of two", vec![beat(0, 3), beat(1, 3)], Ok(())),
        ("one", vec![beat(0, 3)], Err(Refusal::TooFew)),
        ("none", vec![], Err(Refusal::TooFew)),
        ("two of one", vec![beat(0, 3), beat(0, 2)], Err(Refusal::TooFew)),
        ("three", vec![beat(0, 3), beat(1, 3), beat(2, 3)], Ok(())),
        ("four", vec![beat(0, 3), beat(1, 3), beat(2, 3), beat(3, 3)], Err(Refusal::TooMany)),
    ] {
        assert_eq!(check_body(&sample, &[], &sorted(messages)), verdict, "{what}");
    }
}

fn report(index: u32, role: TestRole) -> Body {
    Body::TestReport { slot: Slot(0), index, role, outcome: Outcome::Failed, measured: 1 }
}

#[test]
fn messages_are_refused_with_their_code() {
    let sample = Sample::new(&WEIGHTS);
    let rules = sample.rules();
    let state = sample.state(2);
    let check = |tx: &Tx, round| rules.check_message(tx, &sample.place(round), &state);
    let beat = sample.heartbeat(0, 3);
    for (round, verdict) in [
        (2, Err(Refusal::TooEarly)),
        (3, Ok(())),
        (4, Ok(())),
        (5, Err(Refusal::Expired)),
        (u64::MAX, Err(Refusal::Expired)),
    ] {
        assert_eq!(check(&beat, round), verdict, "in a block of round {round}");
    }
    let stranger = key(77);
    let body = Body::Heartbeat { version: 1, commitment: Hash([0; 32]), capacity: 1 };
    assert_eq!(check(&sample.tx(&stranger, 3, body), 3), Err(Refusal::Unregistered));

    let body = Body::Heartbeat { version: 1, commitment: any_hash("c"), capacity: 1 };
    assert_eq!(check(&sample.tx(&sample.keys()[0], 3, body), 3), Ok(()), "any commitment");

    let mut flipped = beat.clone();
    flipped.signature.0[0] ^= 1;
    assert_eq!(check(&flipped, 3), Err(Refusal::Signature));
    assert_eq!(
        check(&Tx { signature: Signature([0; 64]), ..beat.clone() }, 3),
        Err(Refusal::Signature)
    );
    let for_next = Tx { round: Round(4), ..beat };
    assert_eq!(check(&for_next, 4), Err(Refusal::Signature));

    let first = Sample::edited(&WEIGHTS, &[("first_round = 0", "first_round = 3")]);
    let verdict =
        first.rules().check_message(&first.heartbeat(0, 2), &first.place(3), &first.state(2));
    assert_eq!(verdict, Err(Refusal::Expired), "before the first round");
}

#[test]
fn a_report_names_a_test_of_the_plan_in_which_its_sender_takes_part() {
    let sample = Sample::new(&WEIGHTS);
    let rules = sample.rules();
    let check = |tx: Tx| rules.check_message(&tx, &sample.place(3), &sample.state(2));
    let plan = sample.plan(3);
    let test = *plan.test(Slot(0), 0).expect("two tests a slot");
    let (tester, tested) = (sample.key_of(&test.tester), sample.key_of(&test.tested));
    assert_eq!(check(sample.tx(tester, 3, report(0, TestRole::Tester))), Ok(()));
    assert_eq!(check(sample.tx(tested, 3, report(0, TestRole::Tested))), Ok(()));
    let swapped = sample.tx(tester, 3, report(0, TestRole::Tested));
    assert_eq!(check(swapped), Err(Refusal::NotInPlan));
    let beyond = sample.tx(tester, 3, report(2, TestRole::Tester));
    assert_eq!(check(beyond), Err(Refusal::NotInPlan));
    let body = Body::TestReport {
        slot: Slot(5),
        index: 0,
        role: TestRole::Tester,
        outcome: Outcome::Passed,
        measured: 0,
    };
    assert_eq!(check(sample.tx(tester, 3, body)), Err(Refusal::NotInPlan), "in a seal slot");
    let third = sample.keys().iter().find(|key| {
        let address = sample.network.address_of(&key.public());
        address != test.tester && address != test.tested
    });
    let third = sample.tx(third.expect("six founders"), 3, report(0, TestRole::Tester));
    assert_eq!(check(third), Err(Refusal::NotInPlan));
}

#[test]
fn a_forger_leaves_out_what_is_not_valid_and_says_why() {
    let sample = Sample::edited(&WEIGHTS, &[("messages_min = 0", "messages_min = 1")]);
    let mut state = sample.state(3);
    state.apply(&sample.header(3), &[sample.heartbeat(4, 3)]);
    let good = [sample.heartbeat(0, 3), sample.heartbeat(1, 2), sample.heartbeat(2, 3)];
    let bad = [
        (second_heartbeat(&sample, 0, 3), Refusal::DuplicateKey),
        (second_heartbeat(&sample, 4, 3), Refusal::DuplicateKey),
        (sample.heartbeat(3, 1), Refusal::Expired),
        (sample.heartbeat(3, 4), Refusal::TooEarly),
    ];
    let all: Vec<Tx> = good.iter().cloned().chain(bad.iter().map(|(tx, _)| tx.clone())).collect();
    let build = |messages: &[Tx]| {
        let (at, key) = (sample.time(3, 2), sample.juror(3, 2));
        let candidates = identified(messages).into_iter();
        sample.rules().build_block(&sample.genesis(), &state, candidates, at, key)
    };
    let (block, left_out) = build(&all).expect("enough messages");
    assert_eq!(block.messages, sorted(good.to_vec()));
    let expected: Vec<_> = bad.iter().map(|(tx, why)| (tx.id(), *why)).collect();
    assert_eq!(left_out, expected);
    assert_eq!(
        build(&[bad[0].0.clone(), bad[0].0.clone()]).expect("one is enough").0.messages.len(),
        1
    );
    assert_eq!(build(&[bad[1].0.clone()]).expect_err("no message"), Refusal::TooFew);
}

#[test]
fn every_refusal_has_a_code_of_its_own_and_its_case_here() {
    // These are given by the mempool and by the tree, and provoked where they are.
    let elsewhere = [Refusal::KeyHeld, Refusal::PoolFull, Refusal::InChain, Refusal::BesideSeal];
    let cases = concat!(include_str!("rules.rs"), include_str!("rules/seal.rs"));
    let mut codes = BTreeSet::new();
    let mut provable = Vec::new();
    for number in 0_u8.. {
        let Ok(refusal) = codec::decode::<Refusal>(&[number], 1) else { break };
        assert!(codes.insert(refusal.code()), "{} is there twice", refusal.code());
        let json = serde_json::to_string(&refusal).expect("plain data");
        assert_eq!(json, format!("\"{}\"", refusal.code()));
        let sentence = refusal.to_string();
        assert!(sentence.starts_with(char::is_lowercase) && !sentence.ends_with('.'), "{sentence}");
        let provoked = cases.contains(&format!("Err(Refusal::{refusal:?})"));
        assert!(provoked || elsewhere.contains(&refusal), "nothing provokes {refusal:?}");
        if refusal.is_provable() {
            provable.push(refusal);
        }
    }
    assert!(codes.len() >= 24, "only {} codes", codes.len());
    let own = [Refusal::Signature, Refusal::MessagesRoot, Refusal::Order, Refusal::Evidence];
    assert_eq!(provable, own);
}
