//! The bytes of every message between peers, of every record, of a block, and the ids made of them.

use std::collections::BTreeSet;

use hypernode::machine::note::{ClockDistrust, MissReason, Ruling};
use hypernode::machine::records::{
    DutyRecord, MainRecord, StoredHeader, duty_key, height_key, point_key, pool_key, rival_key,
};
use hypernode::machine::rivals::Rival;
use hypernode::types::block::{Block, Point};
use hypernode::types::clock::{Height, Round, Slot, Timestamp};
use hypernode::types::codec::encode;
use hypernode::types::hash::BlockHash;
use hypernode::types::hex;
use hypernode::types::key::{PublicKey, Purpose};
use hypernode::types::message::{ByeReason, Hello, KIND_LATER, Message, Tip, body_max};
use hypernode::types::network::Network;
use hypernode::types::pow::PowAddress;
use hypernode::types::seal::{Checkpoint, Proposal, Quorum, Registered, Seal, Step, Vote, Voter};
use hypernode::types::sign::{BlockRecord, Doubt, Lock, SignState, Standing, VoteRecord};
use hypernode::types::tx::{Body, TestRole};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::compare;
use crate::sample::{Sample, any_hash, parent_of};

fn bytes<T: Serialize>(value: &T) -> String {
    hex::encode(&encode(value))
}

/// A chain of two blocks: the second has two heartbeats and a report.
fn chain(sample: &Sample) -> (Block, Block) {
    let mut state = sample.state(0);
    let first = sample.block(&sample.genesis(), &state, &[], sample.time(3, 0));
    state.apply(&first.header.header, &first.messages);
    let report = sample.report(3, 1, 0, TestRole::Tested);
    let messages = [sample.heartbeat(0, 3), sample.heartbeat(1, 3), report];
    let second = sample.block(&parent_of(&first), &state, &messages, sample.time(3, 2));
    (first, second)
}

fn messages(sample: &Sample) -> Vec<(&'static str, Message)> {
    let (first, second) = chain(sample);
    let ids: Vec<_> = second.messages.iter().map(|tx| tx.id()).collect();
    let (point, request) = (second.header.point(), 300);
    let (channel, key) = (any_hash("channel"), &sample.keys()[0]);
    let public = key.public();
    let signature = key.sign(Purpose::Identity, &channel, &[&[0], &public.0]);
    let parameters = sample.network.parameters_digest();
    let tip = Tip {
        point,
        round: Round(3),
        slot: Slot(2),
        weight: 2,
        seal: 0,
        forger: Some(sample.juror(3, 3).public()),
    };
    let headers = vec![first.header.clone(), second.header.clone()];
    let points = vec![first.header.point(), point];
    vec![
        (
            "hello",
            Message::Hello(Hello { key: public, signature, parameters, version: 0x0102_0003 }),
        ),
        ("ping", Message::Ping { nonce: 0x0123_4567_89ab_cdef }),
        ("pong", Message::Pong { nonce: 7, clock: Timestamp(1_700_000_000_123) }),
        ("tip", Message::Tip(tip)),
        ("tip_without_juror", Message::Tip(Tip { forger: None, ..tip })),
        ("have", Message::Have(ids.clone())),
        ("want", Message::Want(ids[..1].to_vec())),
        ("messages", Message::Messages(second.messages.clone())),
        ("new_block", Message::NewBlock { header: second.header.clone(), ids }),
        ("want_bodies", Message::WantBodies { request, points: points.clone() }),
        ("bodies", Message::Bodies { request, bodies: vec![first.messages, second.messages] }),
        ("find", Message::Find { request, locator: points }),
        ("intersect", Message::Intersect { request, point }),
        ("want_headers", Message::WantHeaders { request, above: sample.genesis().point }),
        ("headers", Message::Headers { request, headers }),
        ("gone", Message::Gone { request: u32::MAX }),
        ("bye", Message::Bye(ByeReason::Stopping)),
        ("bye_last_reason", Message::Bye(ByeReason::SetAside)),
    ]
}

fn checkpoint(block: &Block) -> Checkpoint {
    Checkpoint {
        index: 300,
        round: block.header.header.round,
        height: block.header.header.height,
        block: block.header.hash(),
        state: any_hash("state"),
        registry: any_hash("registry"),
        voters: any_hash("voters"),
    }
}

/// What voters send, and what is sent of seals.
fn seal_messages(sample: &Sample) -> Vec<(&'static str, Message)> {
    let checkpoint = checkpoint(&chain(sample).1);
    let vote = |voter: usize, view, step, value| {
        let key = &sample.keys()[voter];
        Vote::sign((300, view, step), value, key, &sample.network, &sample.verifier)
    };
    let value = Some(checkpoint.id());
    let quorum = |view, step| {
        let signed = |at: u16| (at, vote(at.into(), view, step, value).signature);
        Quorum::new(checkpoint, view, &[signed(1), signed(2)])
    };
    let proposal = |view, prepared| {
        let vote = vote(1, view, Step::Propose, value);
        Message::Proposal(Box::new(Proposal { vote, checkpoint, prepared }))
    };
    let registered = Registered {
        address: sample.network.address_of(&sample.keys()[0].public()),
        ip: [127, 1, 0, 1].into(),
        port: 6969,
        weight: 1,
        owner: PowAddress([5; 28]),
        reward: PowAddress([6; 28]),
        since: 773_801,
    };
    let public_key: PublicKey = sample.keys()[0].public();
    let certificate = quorum(2, Step::Commit);
    let unchanged = Seal { certificate: certificate.clone(), registry: None, voters: None };
    let (registry, voters) = (Some(vec![registered]), Some(vec![Voter { public_key, weight: 1 }]));
    let changed = Seal { certificate, registry, voters };
    let (request, votes) =
        (300, vec![vote(0, 2, Step::Prepare, value), vote(2, 3, Step::Commit, None)]);
    vec![
        ("proposal", proposal(0, None)),
        ("proposal_with_prepare_quorum", proposal(2, Some(quorum(1, Step::Prepare)))),
        ("vote", Message::Vote(votes[0])),
        ("vote_for_nothing", Message::Vote(votes[1])),
        (
            "want_votes",
            Message::WantVotes { index: 300, view: 2, prepares: vec![0b101], commits: vec![] },
        ),
        ("votes", Message::Votes(votes)),
        ("prepared", Message::Prepared(Box::new(quorum(1, Step::Prepare)))),
        ("want_seals", Message::WantSeals { request, after: 299 }),
        ("seals", Message::Seals { request, seals: vec![unchanged, changed] }),
        ("want_state", Message::WantState { request, index: 300, part: 1 }),
        ("state", Message::State { request, bytes_total: 600_000, bytes: vec![7; 5] }),
    ]
}

#[test]
fn frames_of_every_kind_of_message() {
    let sample = Sample::new(&[1, 2, 3]);
    let mut made = Map::new();
    let mut kinds = BTreeSet::new();
    for (name, message) in messages(&sample).into_iter().chain(seal_messages(&sample)) {
        let frame = message.to_frame();
        assert_eq!(Message::from_body(message.kind(), &frame[5..]), Ok(Some(message.clone())));
        kinds.insert(message.kind());
        made.insert(name.to_owned(), json!(hex::encode(&frame)));
    }
    let known: BTreeSet<u8> = (0..KIND_LATER).filter(|kind| body_max(*kind).is_ok()).collect();
    assert_eq!(kinds, known, "a kind without golden bytes");
    compare("frames.json", &Value::Object(made));
}

/// A second certificate, with each of what may become of it.
fn rivals(sample: &Sample, block: &Block) -> Value {
    let held = checkpoint(block);
    let other = Checkpoint { state: any_hash("other"), ..held };
    let (key, place) = (&sample.keys()[1], (300, 2, Step::Commit));
    let vote = Vote::sign(place, Some(other.id()), key, &sample.network, &sample.verifier);
    let certificate = Quorum::new(other, 2, &[(1, vote.signature)]);
    let at = Timestamp(1_700_000_000_123);
    let rival = |ruling| bytes(&Rival { at, held, ruling, certificate: certificate.clone() });
    json!({
        "halts": rival(Ruling::Halts),
        "older": rival(Ruling::Older),
        "listed": rival(Ruling::Listed),
    })
}

#[test]
fn records_and_keys_of_the_database() {
    let sample = Sample::new(&[1, 2, 3]);
    let (first, second) = chain(&sample);
    let mut state = sample.state(2);
    state.apply(&sample.header(3), &second.messages);
    let nothing = state.apply(&sample.header(4), &first.messages);
    let undo = state.apply(&sample.header(5), &first.messages);
    let point = Point { height: Height(0x0102_0304), hash: BlockHash(any_hash("block")) };
    let id = second.messages[0].id();
    let main = |undo| MainRecord { hash: point.hash, undo };
    let miss = |why| bytes(&DutyRecord::Missed(why));
    let clock = |distrust| miss(MissReason::Clock(distrust));
    let lock = Lock { view: 2, value: any_hash("checkpoint") };
    let voted = |lock: Option<Lock>, step| {
        let value = lock.map(|lock| lock.value);
        let vote = Some(VoteRecord { index: 300, view: 2, step, value, lock });
        SignState { vote, ..SignState::default() }
    };
    let unproven =
        |doubt| bytes(&SignState { standing: Standing::Unproven(doubt), ..SignState::default() });
    let made = json!({
        "stored_header": bytes(&StoredHeader {
            header: second.header.clone(),
            weight: 2,
            anchor: sample.anchor.seal,
        }),
        "body": bytes(&second.messages),
        "main_record": bytes(&main(nothing)),
        "main_record_with_forgotten_keys": bytes(&main(undo)),
        "duty_forged": bytes(&DutyRecord::Forged(point.hash)),
        "duty_missed": {
            "clock_unsynchronised": clock(ClockDistrust::Unsynchronised),
            "clock_before_build": clock(ClockDistrust::BeforeBuild),
            "clock_before_last_signature": clock(ClockDistrust::BeforeLastSignature),
            "clock_stepped": clock(ClockDistrust::Stepped),
            "clock_before_origin": clock(ClockDistrust::BeforeOrigin),
            "behind": miss(MissReason::Behind),
            "peers": miss(MissReason::Peers),
            "tips_differ": miss(MissReason::TipsDiffer),
            "messages": miss(MissReason::Messages),
            "already_signed": miss(MissReason::AlreadySigned),
            "slot_taken": miss(MissReason::SlotTaken),
            "refused": miss(MissReason::Refused),
            "not_running": miss(MissReason::NotRunning),
        },
        "sign_state": bytes(&SignState {
            block: Some(BlockRecord { round: Round(300), slot: Slot(4), hash: point.hash }),
            ..SignState::default()
        }),
        "sign_state_with_vote": bytes(&voted(Some(lock), Step::Commit)),
        "sign_state_with_vote_for_nothing": bytes(&voted(None, Step::Prepare)),
        "sign_state_standing": {
            "new": bytes(&SignState { standing: Standing::New, ..SignState::default() }),
            "waiting": bytes(&SignState { standing: Standing::Waiting, ..SignState::default() }),
            "missing": unproven(Doubt::Missing),
            "older": unproven(Doubt::Older),
            "copied": unproven(Doubt::Copied),
            "retired": unproven(Doubt::Retired),
            "elsewhere": unproven(Doubt::Elsewhere),
        },
        "rival_certificate": rivals(&sample, &second),
        "sign_state_empty": bytes(&SignState::default()),
        "keys": {
            "point": hex::encode(&point_key(&point)),
            "height": hex::encode(&height_key(Height(300))),
            "pool": hex::encode(&pool_key(Round(300), &id)),
            "duty": hex::encode(&duty_key(Round(300), Slot(4))),
            "rival": hex::encode(&rival_key(300)),
        },
    });
    compare("records.json", &made);
}

#[test]
fn a_block_its_messages_and_their_ids() {
    let sample = Sample::new(&[1, 2, 3]);
    let (first, second) = chain(&sample);
    let messages: Vec<Value> = second
        .messages
        .iter()
        .map(|tx| {
            json!({
                "kind": tx.body.kind(),
                "bytes": bytes(tx),
                "id": tx.id().to_string(),
                "key": bytes(&tx.key()),
            })
        })
        .collect();
    let longest = Body::TestReport {
        slot: Slot(u32::MAX),
        index: u32::MAX,
        role: TestRole::Tested,
        outcome: hypernode::types::tx::Outcome::Absent,
        measured: u64::MAX,
    };
    let made = json!({
        "genesis": sample.genesis().point.hash.to_string(),
        "first": { "hash": first.header.hash().to_string(), "bytes": bytes(&first) },
        "second": {
            "hash": second.header.hash().to_string(),
            "header": bytes(&second.header),
            "bytes": bytes(&second),
            "messages_root": second.header.header.messages_root.to_string(),
            "messages": messages,
        },
        "longest_body": bytes(&longest),
    });
    compare("block.json", &made);
}

#[test]
fn identities_of_networks_and_of_their_genesis() {
    let identity = |network: Network| {
        let anchor = hypernode::rules::sealed::Anchor::genesis(&network);
        json!({
            "id": network.id().to_string(),
            "parameters": network.parameters_digest().to_string(),
            "genesis": hypernode::types::block::genesis(&network).hash.to_string(),
            "state": anchor.state.digest().to_string(),
            "state_bytes": bytes(&anchor.state),
            "checkpoint": anchor.seal.checkpoint.to_string(),
            "beacon": anchor.state.beacon.to_string(),
        })
    };
    let sample = Network::clone(&Sample::new(&[1, 2, 3]).network);
    let made = json!({
        "main": identity(Network::main()),
        "test": identity(Network::test()),
        "sample": identity(sample),
    });
    compare("network.json", &made);
}
