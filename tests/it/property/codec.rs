//! Whatever is encoded is read back; whatever is read is canonical; nothing that comes from outside stops a node.

use hypernode::machine::records::{
    self, DutyRecord, MainRecord, StoredHeader, parse_point_key, point_key,
};
use hypernode::rules::sealed::SealedState;
use hypernode::types::address::Address;
use hypernode::types::block::{BODY_BYTES_MAX, Block, Point};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::codec::{CodecError, decode, encode};
use hypernode::types::hash::{Hash, TxId};
use hypernode::types::hex;
use hypernode::types::key::{PublicKey, SecretKey};
use hypernode::types::message::{
    BODIES_MAX, FRAME_HEAD, FrameError, HEADERS_MAX, IDS_MAX, LOCATOR_MAX, Message, SEALS_MAX,
    STATE_PART_BYTES, VOTES_MAX, body_max, parse_head,
};
use hypernode::types::network::Network;
use hypernode::types::seal::{Checkpoint, HNS_MAX, Proposal, Quorum, Seal, Step, Vote, Voter};
use hypernode::types::sign::SignState;
use hypernode::types::tx::{Body, Outcome, TX_BYTES_MAX, TestRole, Tx};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arbitrary::{self, Damage};
use super::cases;
use crate::sample::{Sample, network_text};

/// Reads a frame as a connection does: head, then body. Nothing when it is refused or for a later version.
fn read(frame: &[u8]) -> Option<Message> {
    let (head, body) = frame.split_at_checked(FRAME_HEAD)?;
    let (kind, length) = parse_head(head.try_into().ok()?).ok()?;
    assert!(length <= body_max(kind).expect("a known kind"));
    if body.len() != length {
        return None;
    }
    Message::from_body(kind, body).ok()?
}

/// What decodes must be what encodes to these bytes.
fn only_canonical<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes, usize::MAX) {
        assert_eq!(encode(&value), bytes);
    }
}

fn every_record(bytes: &[u8]) {
    only_canonical::<Tx>(bytes);
    only_canonical::<Vec<Tx>>(bytes);
    only_canonical::<Block>(bytes);
    only_canonical::<StoredHeader>(bytes);
    only_canonical::<MainRecord>(bytes);
    only_canonical::<DutyRecord>(bytes);
    only_canonical::<SignState>(bytes);
    only_canonical::<SealedState>(bytes);
    only_canonical::<Checkpoint>(bytes);
    only_canonical::<Seal>(bytes);
    only_canonical::<Quorum>(bytes);
    only_canonical::<Vote>(bytes);
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(records::parse::<T>(&encode(value)).as_ref(), Some(value));
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_message_is_read_back_from_its_frame(message in arbitrary::message()) {
        let frame = message.to_frame();
        prop_assert_eq!(read(&frame), Some(message));
    }

    #[test]
    fn a_damaged_frame_is_refused_or_another_message(
        message in arbitrary::message(),
        damages in vec(arbitrary::damage(), 1..4),
    ) {
        let whole = message.to_frame();
        // The length is made right again, so that the damage reaches the decoder.
        let damaged = |body: &[u8], damage: &Damage| damage.done_to(body);
        let body = damages.iter().fold(whole[FRAME_HEAD..].to_vec(), |body, damage| damaged(&body, damage));
        let length = u32::try_from(body.len()).expect("a small body").to_be_bytes();
        let frame = [&whole[..1], &length, &body].concat();
        if let Some(read) = read(&frame) {
            prop_assert_eq!(read.to_frame(), frame);
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(kind in any::<u8>(), body in vec(any::<u8>(), 0..300)) {
        match Message::from_body(kind, &body) {
            Ok(Some(message)) => {
                prop_assert_eq!(message.kind(), kind);
                prop_assert_eq!(&message.to_frame()[FRAME_HEAD..], &body[..]);
            }
            Ok(None) => prop_assert!(kind >= 64),
            Err(FrameError::Kind(refused)) => prop_assert!(refused == kind && kind < 64),
            Err(FrameError::Body { .. } | FrameError::TooLong { .. }) => {}
        }
    }

    #[test]
    fn any_head_is_within_its_limit_or_refused(head in any::<[u8; FRAME_HEAD]>()) {
        if let Ok((kind, length)) = parse_head(head) {
            prop_assert_eq!(kind, head[0]);
            prop_assert!(length <= body_max(kind).expect("a known kind"));
        }
    }

    #[test]
    fn records_are_read_back(
        block in arbitrary::block(),
        header in arbitrary::stored_header(),
        duty in arbitrary::duty(),
        signed in arbitrary::sign_state(),
    ) {
        round_trip(&block);
        round_trip(&block.messages);
        round_trip(&header);
        round_trip(&duty);
        round_trip(&signed);
    }

    #[test]
    fn seals_are_read_back_and_only_from_canonical_bytes(
        seal in arbitrary::seal(),
        vote in arbitrary::vote(),
        signed in arbitrary::sign_state(),
        damage in arbitrary::damage(),
    ) {
        round_trip(&seal);
        round_trip(&seal.certificate);
        round_trip(&seal.certificate.checkpoint);
        round_trip(&vote);
        every_record(&damage.done_to(&encode(&seal)));
        every_record(&damage.done_to(&encode(&vote)));
        every_record(&damage.done_to(&encode(&signed)));
    }

    #[test]
    fn records_are_read_only_from_canonical_bytes(
        block in arbitrary::block(),
        header in arbitrary::stored_header(),
        damage in arbitrary::damage(),
        noise in vec(any::<u8>(), 0..200),
    ) {
        every_record(&damage.done_to(&encode(&block)));
        every_record(&damage.done_to(&encode(&block.messages)));
        every_record(&damage.done_to(&encode(&header)));
        every_record(&noise);
    }

    #[test]
    fn points_as_keys_are_in_the_order_of_heights(a in arbitrary::point(), b in arbitrary::point()) {
        prop_assert_eq!(parse_point_key(&point_key(&a)), Some(a));
        prop_assert_eq!(point_key(&a).cmp(&point_key(&b)), a.cmp(&b));
        prop_assert_eq!(parse_point_key(&point_key(&a)[..39]), None);
        prop_assert_eq!(parse_point_key(&[point_key(&a), vec![0]].concat()), None);
    }

    #[test]
    fn an_address_has_one_text(key in arbitrary::key(), prefix in any::<u8>(), damage in arbitrary::damage()) {
        let address = Address::of(&key, prefix);
        let text = address.to_string();
        prop_assert_eq!(Address::parse(&text, prefix), Ok(address));
        prop_assert!(Address::parse(&text, prefix.wrapping_add(1)).is_err());
        if let Ok(other) = String::from_utf8(damage.done_to(text.as_bytes())) {
            let read = Address::parse(&other, prefix);
            prop_assert!(read.is_err() || read == Ok(address) && other == text, "{} is {:?}", other, read);
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}", hexed in "[0-9a-fA-F]{0,70}") {
        for text in [&text, &hexed] {
            if let Ok(hash) = text.parse::<Hash>() {
                prop_assert_eq!(hash.to_string(), text.to_lowercase());
            }
            if let Ok(bytes) = hex::decode(text) {
                prop_assert_eq!(hex::encode(&bytes), text.to_lowercase());
            }
            if let Ok(address) = Address::parse(text, 0x19) {
                prop_assert_eq!(&address.to_string(), text);
            }
            prop_assert!(SecretKey::from_pem(text).is_err());
            prop_assert!(Network::parse(text).is_err());
        }
    }

    #[test]
    fn a_network_is_its_file(weights in vec(1_u8..4, 0..9), damage in arbitrary::damage()) {
        let network = Sample::new(&weights).network;
        prop_assert_eq!(Network::parse(&network.to_toml()), Ok(Network::clone(&network)));
        if let Ok(text) = String::from_utf8(damage.done_to(network_text(&weights, &[]).as_bytes())) {
            if let Ok(other) = Network::parse(&text) {
                prop_assert_eq!(Network::parse(&other.to_toml()), Ok(other));
            }
        }
    }
}

#[test]
fn lists_in_messages_have_limits() {
    let sample = Sample::new(&[1]);
    let (id, point) = (TxId(Hash([7; 32])), sample.genesis().point);
    let tx = sample.heartbeat(0, 0);
    let header = {
        let state = sample.state(0);
        sample.block(&sample.genesis(), &state, &[], sample.time(0, 0)).header
    };
    let with = |kind: u8, n: usize| match kind {
        5 => Message::Have(vec![id; n]),
        6 => Message::Want(vec![id; n]),
        7 => Message::Messages(vec![tx.clone(); n]),
        8 => Message::NewBlock { header: header.clone(), ids: vec![id; n] },
        9 => Message::WantBodies { request: 1, points: vec![point; n] },
        10 => Message::Bodies { request: 1, bodies: vec![vec![]; n] },
        11 => Message::Find { request: 1, locator: vec![point; n] },
        _ => Message::Headers { request: 1, headers: vec![header.clone(); n] },
    };
    let limits = [
        (5, 1, IDS_MAX),
        (6, 1, IDS_MAX),
        (7, 0, IDS_MAX),
        (8, 0, 1000),
        (9, 1, BODIES_MAX),
        (10, 1, BODIES_MAX),
        (11, 1, LOCATOR_MAX),
        (14, 0, HEADERS_MAX),
    ];
    for (kind, least, most) in limits {
        let fits = |n: usize| read(&with(kind, n).to_frame()) == Some(with(kind, n));
        assert!(fits(least) && fits(most), "kind {kind}");
        assert!(!fits(most + 1), "kind {kind} with {} entries", most + 1);
        assert!(least == 0 || !fits(0), "kind {kind} without entries");
    }
    let two_blocks = Message::Bodies { request: 1, bodies: vec![vec![tx; 1000]; 2] };
    assert!(read(&two_blocks.to_frame()) == Some(two_blocks), "two large bodies fit in a frame");
}

#[test]
fn lists_in_messages_about_seals_have_limits() {
    let sample = Sample::new(&[1]);
    let (key, id) = (&sample.keys()[0], Hash([1; 32]));
    let Point { height, hash: block } = sample.genesis().point;
    let (round, state, registry, voters) = (Round(1), id, id, id);
    let checkpoint = Checkpoint { index: 1, round, height, block, state, registry, voters };
    let place = (1, 0, Step::Propose);
    let vote = Vote::sign(place, None, key, &sample.network, &sample.verifier);
    let quorum = |bytes: usize, signatures: usize| Quorum {
        checkpoint,
        view: 0,
        voters: vec![0xff; bytes],
        signatures: vec![vote.signature; signatures],
    };
    let seal = |certificate| Seal { certificate, registry: None, voters: None };
    let (voter, request) = (Voter { public_key: key.public(), weight: 1 }, 1);
    let registered = sample.anchor.state.registry[0];
    let bits = |prepares: usize, commits: usize| {
        let (prepares, commits) = (vec![1; prepares], vec![1; commits]);
        Message::WantVotes { index: 1, view: 0, prepares, commits }
    };
    let proposal = |prepared| Message::Proposal(Box::new(Proposal { vote, checkpoint, prepared }));
    let prepared = |quorum| Message::Prepared(Box::new(quorum));
    let seals = |seal: Seal, n: usize| Message::Seals { request, seals: vec![seal; n] };
    let with_voters = |n: usize| Seal { voters: Some(vec![voter; n]), ..seal(quorum(0, 0)) };
    let with_registry =
        |n: usize| Seal { registry: Some(vec![registered; n]), ..seal(quorum(0, 0)) };
    let state = |n: usize| Message::State { request, bytes_total: 1, bytes: vec![1; n] };
    let (bytes, voters) = (HNS_MAX / 8, HNS_MAX);
    let cases = [
        (bits(bytes, bytes), bits(bytes + 1, bytes)),
        (bits(bytes, bytes), bits(bytes, bytes + 1)),
        (Message::Votes(vec![vote; VOTES_MAX]), Message::Votes(vec![vote; VOTES_MAX + 1])),
        (proposal(Some(quorum(bytes, voters))), proposal(Some(quorum(bytes + 1, voters)))),
        (proposal(None), proposal(Some(quorum(bytes, voters + 1)))),
        (prepared(quorum(bytes, voters)), prepared(quorum(bytes + 1, voters))),
        (prepared(quorum(bytes, voters)), prepared(quorum(bytes, voters + 1))),
        (seals(seal(quorum(8, 60)), SEALS_MAX), seals(seal(quorum(8, 60)), SEALS_MAX + 1)),
        (seals(seal(quorum(bytes, voters)), 1), seals(seal(quorum(bytes, voters + 1)), 1)),
        (seals(with_voters(voters), 1), seals(with_voters(voters + 1), 1)),
        (seals(with_registry(voters), 1), seals(with_registry(voters + 1), 1)),
        (state(STATE_PART_BYTES), state(STATE_PART_BYTES + 1)),
    ];
    for (number, (fits, too_long)) in cases.into_iter().enumerate() {
        assert!(read(&fits.to_frame()) == Some(fits), "the longest of case {number}");
        let (kind, error) = (too_long.kind(), CodecError::TooLong);
        let refused = Message::from_body(kind, &too_long.to_frame()[FRAME_HEAD..]);
        assert!(refused == Err(FrameError::Body { kind, error }), "case {number}");
    }
}

#[test]
fn bodies_and_seals_are_counted_before_there_is_room_for_them() {
    // request 0, and one more than there may be, of which nothing follows: read one by one, they would be malformed.
    for (kind, body) in [(10, [0, 129, 1].as_slice()), (23, &[0, 65])] {
        let error = CodecError::TooLong;
        assert_eq!(Message::from_body(kind, body), Err(FrameError::Body { kind, error }));
    }
}

#[test]
fn the_largest_block_of_the_kinds_known_stays_below_the_limit_of_bytes() {
    let sample = Sample::new(&[1]);
    let body = Body::TestReport {
        slot: Slot(u32::MAX),
        index: u32::MAX,
        role: TestRole::Tested,
        outcome: Outcome::Absent,
        measured: u64::MAX,
    };
    let heartbeat =
        Body::Heartbeat { version: u32::MAX, commitment: Hash([1; 32]), capacity: u16::MAX };
    for body in [body, heartbeat] {
        let tx = sample.tx(&sample.keys()[0], u64::MAX, body);
        let bytes = encode(&vec![tx.clone(); 1000]).len();
        assert!(bytes < BODY_BYTES_MAX, "{bytes} bytes");
        assert!(encode(&tx).len() < TX_BYTES_MAX);
    }
}

#[test]
fn a_size_limit_comes_before_everything() {
    assert_eq!(decode::<PublicKey>(&[0; 33], 32), Err(CodecError::TooLong));
    for kind in 1..=25_u8 {
        let max = u32::try_from(body_max(kind).expect("a known kind")).expect("far below 4 GiB");
        let head = |length: u32| {
            [&[kind][..], &length.to_be_bytes()].concat().try_into().expect("5 bytes")
        };
        assert!(parse_head(head(max)).is_ok());
        assert_eq!(parse_head(head(max + 1)), Err(FrameError::TooLong { kind, length: max + 1 }));
    }
}
