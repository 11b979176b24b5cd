//! Values of every type that is stored or sent: well formed, seldom valid.

use hypernode::machine::note::{ClockDistrust, MissReason};
use hypernode::machine::records::{DutyRecord, StoredHeader};
use hypernode::types::address::Address;
use hypernode::types::block::{Block, Header, Point, SealRef, SignedHeader};
use hypernode::types::clock::{Height, Round, Slot, Timestamp};
use hypernode::types::hash::{BlockHash, Hash, TxId};
use hypernode::types::key::{PublicKey, Signature};
use hypernode::types::message::{ByeReason, Hello, Message, Tip};
use hypernode::types::pow::PowAddress;
use hypernode::types::seal::{Checkpoint, Proposal, Quorum, Registered, Seal, Step, Vote, Voter};
use hypernode::types::sign::{BlockRecord, Doubt, Lock, SignState, Standing, VoteRecord};
use hypernode::types::tx::{Body, Outcome, TestRole, Tx};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

pub fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey)
}

/// Numbers of all sizes: on the wire, small ones are shorter.
pub fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(low, high)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        Signature(bytes)
    })
}

pub fn point() -> impl Strategy<Value = Point> {
    (number(), hash())
        .prop_map(|(height, hash)| Point { height: Height(height), hash: BlockHash(hash) })
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![0_u32..20, any::<u32>()].prop_map(Slot)
}

fn body() -> impl Strategy<Value = Body> {
    let role = prop_oneof![Just(TestRole::Tester), Just(TestRole::Tested)];
    let outcome = prop_oneof![Just(Outcome::Passed), Just(Outcome::Failed), Just(Outcome::Absent)];
    prop_oneof![
        (any::<u32>(), hash(), any::<u16>()).prop_map(|(version, commitment, capacity)| {
            Body::Heartbeat { version, commitment, capacity }
        }),
        (slot(), any::<u32>(), role, outcome, number()).prop_map(
            |(slot, index, role, outcome, measured)| Body::TestReport {
                slot,
                index,
                role,
                outcome,
                measured
            }
        ),
    ]
}

pub fn tx() -> impl Strategy<Value = Tx> {
    (number().prop_map(Round), key(), body(), signature())
        .prop_map(|(round, sender, body, signature)| Tx { round, sender, body, signature })
}

pub fn header() -> impl Strategy<Value = SignedHeader> {
    let place = (any::<u32>(), number(), number(), slot(), number());
    let content = (hash(), hash(), number(), hash(), option::of(hash()), key());
    (place, content, signature()).prop_map(|(place, content, signature)| {
        let (version, height, round, slot, timestamp) = place;
        let (previous, messages_root, index, checkpoint, reveal, forger) = content;
        let header = Header {
            version,
            height: Height(height),
            round: Round(round),
            slot,
            timestamp: Timestamp(timestamp),
            previous: BlockHash(previous),
            messages_root,
            seal: SealRef { index, checkpoint },
            reveal,
            forger,
        };
        SignedHeader { header, signature }
    })
}

pub fn block() -> impl Strategy<Value = Block> {
    (header(), vec(tx(), 0..4)).prop_map(|(header, messages)| Block { header, messages })
}

pub fn stored_header() -> impl Strategy<Value = StoredHeader> {
    (header(), number(), number(), hash()).prop_map(|(header, weight, index, checkpoint)| {
        StoredHeader { header, weight, anchor: SealRef { index, checkpoint } }
    })
}

pub fn duty() -> impl Strategy<Value = DutyRecord> {
    let missed = |why| Just(DutyRecord::Missed(why));
    prop_oneof![
        hash().prop_map(|hash| DutyRecord::Forged(BlockHash(hash))),
        missed(MissReason::Clock(ClockDistrust::Stepped)),
        missed(MissReason::Behind),
        missed(MissReason::NotRunning),
    ]
}

pub fn sign_state() -> impl Strategy<Value = SignState> {
    let block = (number().prop_map(Round), slot(), hash().prop_map(BlockHash))
        .prop_map(|(round, slot, hash)| BlockRecord { round, slot, hash });
    let lock = (any::<u32>(), hash()).prop_map(|(view, value)| Lock { view, value });
    let vote = (number(), any::<u32>(), step(), option::of(hash()), option::of(lock))
        .prop_map(|(index, view, step, value, lock)| VoteRecord { index, view, step, value, lock });
    let doubt = prop_oneof![Just(Doubt::Missing), Just(Doubt::Copied), Just(Doubt::Elsewhere)];
    let standing = prop_oneof![
        Just(Standing::Proven),
        Just(Standing::New),
        Just(Standing::Waiting),
        doubt.prop_map(Standing::Unproven)
    ];
    (option::of(block), option::of(vote), standing).prop_map(|(block, vote, standing)| SignState {
        block,
        vote,
        standing,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Propose), Just(Step::Prepare), Just(Step::Commit)]
}

pub fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    (number(), number(), point(), hash(), hash(), hash()).prop_map(
        |(index, round, point, state, registry, voters)| Checkpoint {
            index,
            round: Round(round),
            height: point.height,
            block: point.hash,
            state,
            registry,
            voters,
        },
    )
}

pub fn vote() -> impl Strategy<Value = Vote> {
    let place = (number(), any::<u32>(), step());
    (place, option::of(hash()), key(), signature()).prop_map(|(place, value, voter, signature)| {
        let (index, view, step) = place;
        Vote { index, view, step, value, voter, signature }
    })
}

/// Positions and signatures need not belong together: the codec does not ask.
pub fn quorum() -> impl Strategy<Value = Quorum> {
    (checkpoint(), any::<u32>(), vec(any::<u8>(), 0..4), vec(signature(), 0..3)).prop_map(
        |(checkpoint, view, voters, signatures)| Quorum { checkpoint, view, voters, signatures },
    )
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (vote(), checkpoint(), option::of(quorum())).prop_map(|(vote, checkpoint, prepared)| Proposal {
        vote,
        checkpoint,
        prepared,
    })
}

fn registered() -> impl Strategy<Value = Registered> {
    let place = (key(), any::<[u8; 4]>(), any::<u16>(), any::<u8>());
    let pow = || any::<[u8; 28]>().prop_map(PowAddress);
    (place, pow(), pow(), number()).prop_map(|((key, ip, port, weight), owner, reward, since)| {
        let address = Address::of(&key, 0x7f);
        Registered { address, ip: ip.into(), port, weight, owner, reward, since }
    })
}

pub fn seal() -> impl Strategy<Value = Seal> {
    let voter = (key(), any::<u8>()).prop_map(|(public_key, weight)| Voter { public_key, weight });
    (quorum(), option::of(vec(registered(), 0..3)), option::of(vec(voter, 0..3)))
        .prop_map(|(certificate, registry, voters)| Seal { certificate, registry, voters })
}

fn tip() -> impl Strategy<Value = Tip> {
    (point(), number(), slot(), number(), number(), option::of(key())).prop_map(
        |(point, round, slot, weight, seal, forger)| {
            let round = Round(round);
            Tip { point, round, slot, weight, seal, forger }
        },
    )
}

fn reason() -> impl Strategy<Value = ByeReason> {
    prop_oneof![
        Just(ByeReason::Stopping),
        Just(ByeReason::Duplicate),
        Just(ByeReason::Own),
        Just(ByeReason::Full),
        Just(ByeReason::Rotation),
        Just(ByeReason::Timeout),
        Just(ByeReason::Budget),
        Just(ByeReason::Identity),
        Just(ByeReason::Protocol),
        Just(ByeReason::Invalid),
        Just(ByeReason::Promise),
        Just(ByeReason::SetAside),
    ]
}

/// Every kind of message, with lists that fit.
pub fn message() -> impl Strategy<Value = Message> {
    prop_oneof![chain_message(), seal_message()]
}

fn seal_message() -> impl Strategy<Value = Message> {
    let request = any::<u32>;
    let bits = || vec(any::<u8>(), 0..5);
    prop_oneof![
        proposal().prop_map(|proposal| Message::Proposal(Box::new(proposal))),
        vote().prop_map(Message::Vote),
        (number(), any::<u32>(), bits(), bits()).prop_map(|(index, view, prepares, commits)| {
            Message::WantVotes { index, view, prepares, commits }
        }),
        vec(vote(), 0..4).prop_map(Message::Votes),
        quorum().prop_map(|quorum| Message::Prepared(Box::new(quorum))),
        (request(), number()).prop_map(|(request, after)| Message::WantSeals { request, after }),
        (request(), vec(seal(), 0..3))
            .prop_map(|(request, seals)| Message::Seals { request, seals }),
        (request(), number(), any::<u32>()).prop_map(|(request, index, part)| Message::WantState {
            request,
            index,
            part
        }),
        (request(), any::<u32>(), vec(any::<u8>(), 0..60)).prop_map(
            |(request, bytes_total, bytes)| Message::State { request, bytes_total, bytes }
        ),
    ]
}

fn chain_message() -> impl Strategy<Value = Message> {
    let ids = |least| vec(hash().prop_map(TxId), least..5_usize);
    let request = any::<u32>;
    prop_oneof![
        (key(), signature(), hash(), any::<u32>()).prop_map(
            |(key, signature, parameters, version)| {
                Message::Hello(Hello { key, signature, parameters, version })
            }
        ),
        number().prop_map(|nonce| Message::Ping { nonce }),
        (number(), number())
            .prop_map(|(nonce, clock)| Message::Pong { nonce, clock: Timestamp(clock) }),
        tip().prop_map(Message::Tip),
        ids(1).prop_map(Message::Have),
        ids(1).prop_map(Message::Want),
        vec(tx(), 0..4).prop_map(Message::Messages),
        (header(), ids(0)).prop_map(|(header, ids)| Message::NewBlock { header, ids }),
        (request(), vec(point(), 1..5))
            .prop_map(|(request, points)| Message::WantBodies { request, points }),
        (request(), vec(vec(tx(), 0..3), 1..4))
            .prop_map(|(request, bodies)| Message::Bodies { request, bodies }),
        (request(), vec(point(), 1..5))
            .prop_map(|(request, locator)| Message::Find { request, locator }),
        (request(), point()).prop_map(|(request, point)| Message::Intersect { request, point }),
        (request(), point()).prop_map(|(request, above)| Message::WantHeaders { request, above }),
        (request(), vec(header(), 0..4))
            .prop_map(|(request, headers)| Message::Headers { request, headers }),
        request().prop_map(|request| Message::Gone { request }),
        reason().prop_map(Message::Bye),
    ]
}

/// What a hostile hand does to good bytes.
#[derive(Debug, Clone)]
pub enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    /// A number is written one byte longer than it needs.
    Lengthen(prop::sample::Index),
    Append(Vec<u8>),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        place().prop_map(Damage::Lengthen),
        vec(any::<u8>(), 1..9).prop_map(Damage::Append),
    ]
}

impl Damage {
    /// The bytes after it.
    pub fn done_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let place = |at: &prop::sample::Index, bytes: &Vec<u8>| at.index(bytes.len().max(1));
        match self {
            Damage::Append(more) => bytes.extend_from_slice(more),
            Damage::Insert(at, byte) => bytes.insert(place(at, &bytes), *byte),
            _ if bytes.is_empty() => {}
            Damage::Flip(at, bit) => {
                let at = place(at, &bytes);
                bytes[at] ^= 1 << bit;
            }
            Damage::Cut(at) => bytes.truncate(place(at, &bytes)),
            Damage::Lengthen(at) => {
                let at = place(at, &bytes);
                bytes[at] |= 0x80;
                bytes.insert(at + 1, 0);
            }
        }
        bytes
    }
}
