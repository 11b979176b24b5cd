//! What is held, why not, and that the counts are those of a model that counts again each time.

use std::collections::BTreeMap;

use super::Mempool;
use crate::machine::bed::{self, Ground};
use crate::machine::limits::Limits;
use crate::rules::refusal::Refusal;
use crate::rules::state::ChainState;
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::codec;
use crate::types::hash::{Hash, TxId};
use crate::types::key::{PublicKey, Signature};
use crate::types::rng::Rng;
use crate::types::tx::{Body, Outcome, TestRole, Tx};

const FOUNDERS: u8 = 4;

struct Bed {
    ground: Ground,
    mempool: Mempool,
    state: ChainState,
}

impl Bed {
    fn new() -> Bed {
        let ground = Ground::new(bed::network(FOUNDERS, &[]));
        Bed { state: ground.state(), ground, mempool: Mempool::default() }
    }

    fn start_of(&self, round: u64) -> Timestamp {
        self.ground.network.clock.start_of(Round(round), Slot(0))
    }

    fn heartbeat(&self, number: u8, round: u64, capacity: u16) -> Tx {
        self.ground.heartbeat(&bed::key(number), Round(round), capacity)
    }

    fn accept(&mut self, tx: &Tx, wall: Timestamp) -> Result<(), Refusal> {
        self.mempool.accept(tx.id(), tx.clone(), wall, &self.state, &self.ground.rules())
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let mut bed = Bed::new();
    let now = bed.start_of(5);
    let held = bed.heartbeat(1, 5, 1);
    let mut forged = bed.heartbeat(3, 5, 1);
    forged.signature = held.signature;
    let in_chain = bed.heartbeat(2, 5, 1);
    bed.state.apply(&bed.ground.header(Round(5)), std::slice::from_ref(&in_chain));
    for (name, tx, verdict) in [
        ("new", held.clone(), Ok(())),
        ("again", held, Ok(())),
        ("another with its key", bed.heartbeat(1, 5, 2), Err(Refusal::KeyHeld)),
        ("in a block", in_chain, Err(Refusal::InChain)),
        ("not signed by its sender", forged, Err(Refusal::Signature)),
        ("of the round before", bed.heartbeat(3, 4, 1), Ok(())),
        ("of a round that is over", bed.heartbeat(3, 3, 1), Err(Refusal::Expired)),
        ("of the next round", bed.heartbeat(3, 6, 1), Err(Refusal::TooEarly)),
        ("not registered", bed.heartbeat(9, 5, 1), Err(Refusal::Unregistered)),
    ] {
        assert_eq!(bed.accept(&tx, now), verdict, "{name}");
    }
    assert_eq!(bed.mempool.status().messages, 2);
    let next = bed.heartbeat(3, 6, 1);
    assert_eq!(bed.accept(&next, Timestamp(bed.start_of(6).0 - 2_001)), Err(Refusal::TooEarly));
    assert_eq!(bed.accept(&next, Timestamp(bed.start_of(6).0 - 2_000)), Ok(()));
}

#[test]
fn rounds_that_are_over_leave_also_after_a_clock_that_was_far_ahead() {
    let mut bed = Bed::new();
    for round in [5, 6, 7] {
        let tx = bed.heartbeat(1, round, 1);
        bed.accept(&tx, bed.start_of(round)).expect("in its round");
        bed.mempool.expire(Round(round));
        let held = bed.mempool.status().messages;
        assert_eq!(held, if round == 5 { 1 } else { 2 }, "round {round} and the one before");
    }
    bed.mempool.expire(Round(9_000));
    assert_eq!(bed.mempool.status().messages, 0);
    bed.mempool.expire(Round(7));
    let back = bed.heartbeat(1, 7, 1);
    bed.mempool.left(&back);
    assert_eq!(bed.mempool.status().messages, 1, "the block it stood in was undone");
    bed.mempool.expire(Round(9));
    assert_eq!(bed.mempool.status().messages, 0);
}

/// A message that nobody checks: of the chain, or for a full pool.
fn unchecked(number: u32, round: u64) -> Tx {
    let mut sender = [0; 32];
    sender[..4].copy_from_slice(&number.to_be_bytes());
    let (slot, role) = (Slot(u32::MAX), TestRole::Tested);
    let (outcome, measured) = (Outcome::Passed, u64::MAX);
    let body = Body::TestReport { slot, index: u32::MAX, role, outcome, measured };
    Tx { round: Round(round), sender: PublicKey(sender), body, signature: Signature([0; 64]) }
}

#[test]
fn a_full_pool_refuses_what_waits_and_makes_room_for_what_a_block_holds() {
    let bytes = codec::encode(&unchecked(1, 5)).len();
    let limits = Limits { messages: 1_000, message_bytes: 1_000 * 4096, ..Limits::default() };
    assert!(limits.messages * bytes < limits.message_bytes, "the number is met first");
    let mut bed = Bed::new();
    bed.mempool = Mempool::new(limits);
    let most = u32::try_from(limits.messages).expect("small");
    for number in 0..most {
        bed.mempool.left(&unchecked(number, 5));
    }
    let late = bed.heartbeat(1, 5, 1);
    assert_eq!(bed.accept(&late, bed.start_of(5)), Err(Refusal::PoolFull));
    for number in most..most + 10 {
        bed.mempool.joined(&unchecked(number, 5));
        assert_eq!(bed.mempool.held.len(), limits.messages);
    }
    assert_eq!(bed.mempool.status().messages, most, "those in the chain leave first");
    bed.mempool.bytes = limits.message_bytes;
    bed.mempool.remove(&unchecked(0, 5).id());
    bed.mempool.bytes = limits.message_bytes;
    assert_eq!(bed.accept(&late, bed.start_of(5)), Err(Refusal::PoolFull), "bytes count too");
}

/// The mempool as one would write it without counting: each message with whether it waits.
#[derive(Default)]
struct Model(BTreeMap<TxId, (Tx, bool)>);

impl Model {
    fn of_key(&self, tx: &Tx) -> Option<TxId> {
        self.0.iter().find(|(_, (held, _))| held.key() == tx.key()).map(|(id, _)| *id)
    }

    fn joined(&mut self, tx: &Tx, since: u64) {
        let other = self.of_key(tx).filter(|id| *id != tx.id());
        other.map(|id| self.0.remove(&id));
        if tx.round.0 >= since || self.0.contains_key(&tx.id()) {
            self.0.insert(tx.id(), (tx.clone(), false));
        }
    }

    fn left(&mut self, tx: &Tx, since: u64) {
        if let Some(held) = self.0.get_mut(&tx.id()) {
            held.1 = true;
        } else if self.of_key(tx).is_none() && tx.round.0 >= since {
            self.0.insert(tx.id(), (tx.clone(), true));
        }
    }
}

#[test]
fn counts_never_drift() {
    for seed in 0..40 {
        let mut rng = Rng::from_text(&format!("mempool {seed}"));
        let mut bed = Bed::new();
        let mut model = Model::default();
        let mut round = 5;
        for _ in 0..200 {
            let of = round - 1 + rng.below(2);
            let number = 1 + u8::try_from(rng.below(u64::from(FOUNDERS))).expect("small");
            let tx = bed.heartbeat(number, of, u16::try_from(rng.below(2)).expect("small"));
            match rng.below(9) {
                0..=2 => {
                    let free = model.of_key(&tx).is_none_or(|id| id == tx.id());
                    let accepted = bed.accept(&tx, bed.start_of(round));
                    assert_eq!(accepted, if free { Ok(()) } else { Err(Refusal::KeyHeld) });
                    if free {
                        model.0.entry(tx.id()).or_insert((tx, true));
                    }
                }
                3 | 4 => {
                    bed.mempool.joined(&tx);
                    model.joined(&tx, round - 1);
                }
                5 | 6 => {
                    bed.mempool.left(&tx);
                    model.left(&tx, round - 1);
                }
                7 => {
                    bed.mempool.remove(&tx.id());
                    model.0.remove(&tx.id());
                }
                _ => {
                    round += rng.below(2);
                    bed.mempool.expire(Round(round));
                    model.0.retain(|_, (tx, _)| tx.round.0 + 1 >= round);
                }
            }
            let waiting: Vec<&Tx> =
                model.0.values().filter(|(_, waits)| *waits).map(|(tx, _)| tx).collect();
            let bytes: usize = waiting.iter().map(|tx| codec::encode(*tx).len()).sum();
            let status = bed.mempool.status();
            assert_eq!(status.messages as usize, waiting.len(), "seed {seed}");
            assert_eq!(status.bytes, bytes as u64, "seed {seed}");
            assert_eq!(bed.mempool.candidates().count(), waiting.len(), "seed {seed}");
            assert!(model.0.keys().all(|id| bed.mempool.contains(id)), "seed {seed}");
            assert_eq!(bed.mempool.keys.len(), model.0.len(), "seed {seed}");
        }
        assert!(!bed.mempool.contains(&TxId(Hash::default())));
    }
}
