//! Barriers that fail, and what comes after them.

use super::*;
use crate::machine::limits::Limits;
use crate::machine::records::{Batch, Table};
use crate::types::clock::{Height, Round, Slot};
use crate::types::hash::BlockHash;
use crate::types::seal::Step as SealStep;
use crate::types::sign::{BlockRecord, Doubt, SignRecord, VoteRecord};

fn now(mono: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + mono), mono: Monotonic(mono), synchronised: true }
}

fn engine(dir: &tempfile::TempDir) -> Engine {
    let network = Rc::new(Network::test());
    let key = SecretKey::from_seed([1; 32]);
    let store = Store::open(&dir.path().join("data"), network.id(), 1 << 20).expect("a new one");
    let guard = Guard::begin(&dir.path().join("sign"), network.id(), key.public()).expect("new");
    let limits = Limits::default();
    let parts = Parts { network, key, built: Timestamp(0), store, guard, limits };
    Engine::open(parts, now(0)).expect("an empty database is a good one")
}

fn record(slot: u32, byte: u8) -> Effect {
    let hash = BlockHash(Hash([byte; 32]));
    Effect::Guard(SignRecord::Block(BlockRecord { round: Round(1), slot: Slot(slot), hash }))
}

fn vote(view: u32) -> VoteRecord {
    VoteRecord { index: 1, view, step: SealStep::Prepare, value: None, lock: None }
}

fn persist(key: &[u8]) -> Effect {
    Effect::Persist(Batch([((Table::Duties, key.to_vec()), Some(vec![1]))].into()))
}

/// The database takes no key of this length: what a full disk does, without one.
fn failing_persist() -> Effect {
    persist(&[1; 600])
}

fn send() -> Effect {
    let message = Rc::new(Message::Ping { nonce: 1 });
    Effect::Send { peers: vec![PeerId(1)], message }
}

#[test]
fn what_is_for_others_comes_back_in_its_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(&dir);
    let close = Effect::Close { peer: PeerId(1), reason: ByeReason::Full };
    let step = engine.perform(now(1), vec![record(1, 1), persist(b"k"), send(), close]);
    assert!(!step.is_lost);
    assert!(matches!(step.outward[..], [Outward::Send { .. }, Outward::Close { .. }]));
    let read = engine.read(|db| db.get(Table::Duties, b"k"));
    assert_eq!(read.expect("the disk is fine"), Some(vec![1]));
}

#[test]
fn nothing_happens_after_a_write_that_failed_until_the_core_is_open_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(&dir);
    let step = engine.perform(now(1), vec![failing_persist(), persist(b"k"), send()]);
    assert_eq!(step, Step { is_lost: true, ..Step::default() });
    assert!(engine.status(now(2)).is_err());
    assert_eq!(engine.next_wake(), Monotonic(30_001));
    engine.handle(now(30_000), Event::Wake);
    assert!(engine.node().is_err(), "too early");
    engine.handle(now(30_001), Event::Wake);
    assert!(engine.node().is_ok());
    assert_eq!(engine.read(|db| db.get(Table::Duties, b"k")).expect("the disk is fine"), None);
}

#[test]
fn each_failure_waits_twice_as_long_until_a_write_succeeds() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(&dir);
    let mut at = 0;
    for wait in [30_000, 60_000, 120_000, 240_000, 300_000, 300_000] {
        engine.perform(now(at), vec![failing_persist()]);
        assert_eq!(engine.next_wake(), Monotonic(at + wait));
        at += wait;
        engine.handle(now(at), Event::Wake);
    }
    engine.perform(now(at), vec![persist(b"k")]);
    engine.perform(now(at), vec![failing_persist()]);
    assert_eq!(engine.next_wake(), Monotonic(at + 30_000));
}

#[test]
fn the_blocks_that_came_in_last_are_remembered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(&dir);
    for height in 1..=300 {
        let point = Point { height: Height(height), hash: BlockHash(Hash::default()) };
        let (round, slot, forger) = (Round(1), Slot(1), PublicKey([1; 32]));
        let note = Note::BlockStored { point, round, slot, forger, messages: 0 };
        engine.perform(now(1), vec![Effect::Note(note)]);
    }
    let heights: Vec<u64> = engine.recent().map(|block| block.point.height.0).collect();
    assert_eq!(heights, (45..=300).collect::<Vec<u64>>());
    let point = Point { height: Height(301), hash: BlockHash(Hash::default()) };
    let (round, slot) = (Round(1), Slot(2));
    engine.perform(now(1), vec![Effect::Note(Note::Forged { point, round, slot, messages: 3 })]);
    let own = engine.recent().last().expect("our own block is one of them");
    assert_eq!((own.point, own.forger, own.messages), (point, engine.parts.key.public(), 3));
}

#[test]
fn a_refused_signature_is_counted_and_never_sent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut engine = engine(&dir);
    assert_eq!(engine.perform(now(1), vec![record(1, 1), send()]).outward.len(), 1);
    assert_eq!(engine.perform(now(1), vec![record(1, 1), send()]).outward.len(), 1, "the same");
    let step = engine.perform(now(2), vec![record(1, 2), send()]);
    assert_eq!(step, Step { is_lost: true, ..Step::default() });
    assert_eq!(engine.refused_signature, 1);
    assert!(engine.node().is_ok(), "a new core knows what was signed");
    engine.perform(now(3), vec![record(1, 2), send()]);
    assert!(engine.node().is_err(), "one that tries again stands still");
    let hash = BlockHash(Hash([1; 32]));
    let asked = SignRecord::Block(BlockRecord { round: Round(1), slot: Slot(1), hash });
    let note = Note::SignatureRefused { asked };
    engine.perform(now(3), vec![Effect::Note(note)]);
    assert_eq!(engine.refused_signature, 3, "those that the core refuses itself count too");
}

#[test]
fn an_older_sign_state_written_over_the_file_itself_is_noticed() {
    for is_written in [true, false] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("sign/sign-state");
        let mut first = engine(&dir);
        first.perform(now(1), vec![Effect::Guard(SignRecord::Vote(vote(1))), persist(b"k")]);
        let backup = std::fs::read(&file).expect("it is there");
        first.perform(now(2), vec![Effect::Guard(SignRecord::Vote(vote(2)))]);
        // A later write brings the vote to the database, or a stop in order does.
        if is_written {
            first.perform(now(3), vec![persist(b"l")]);
            drop(first);
        } else {
            first.close().expect("the disk is fine");
        }
        // As `cp` does it: the file stays the same one.
        std::fs::write(&file, backup).expect("it is ours");
        let signs = engine(&dir).status(now(4)).expect("it runs").sign_state;
        assert_eq!((signs.doubt, signs.vote), (Some(Doubt::Older), Some(vote(2))));
    }
}
