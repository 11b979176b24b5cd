//! A process that dies at each write to disk, one after another: what it acknowledged is there, and nothing is half.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![cfg(debug_assertions)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use hypernode::machine::records::{Batch, Table};
use hypernode::shell::crash;
use hypernode::shell::guard::{Guard, GuardError};
use hypernode::shell::store::Store;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::PublicKey;
use hypernode::types::seal::Step;
use hypernode::types::sign::{BlockRecord, Lock, SignRecord, VoteRecord};

use crate::disk;

const NETWORK: Hash = Hash([1; 32]);
const KEY: PublicKey = PublicKey([2; 32]);
const STEPS: u32 = 4;

fn record(step: u32, byte: u8) -> SignRecord {
    SignRecord::Block(BlockRecord {
        round: Round(1),
        slot: Slot(step),
        hash: BlockHash(Hash([byte; 32])),
    })
}

fn vote(step: u32, byte: u8) -> SignRecord {
    let value = Hash([byte; 32]);
    let lock = Some(Lock { view: step, value });
    SignRecord::Vote(VoteRecord {
        index: 1,
        view: step,
        step: Step::Commit,
        value: Some(value),
        lock,
    })
}

/// Adds to three tables, changes one key and deletes another.
fn batch(step: u32) -> Batch {
    let key = u64::from(step).to_be_bytes().to_vec();
    let before = u64::from(step).wrapping_sub(1).to_be_bytes().to_vec();
    Batch(BTreeMap::from([
        ((Table::Headers, key.clone()), Some(vec![1; 300])),
        ((Table::Bodies, key.clone()), Some(vec![2; 5000])),
        ((Table::Main, b"the newest".to_vec()), Some(key.clone())),
        ((Table::Pool, key), Some(vec![3; 100])),
        ((Table::Pool, before), None),
    ]))
}

/// The content after so many steps.
fn expected(steps: u32) -> disk::Content {
    let mut all = disk::Content::new();
    (0..steps).for_each(|step| disk::apply(&batch(step), &mut all));
    all
}

#[test]
fn work_of_the_child() {
    let Some(dir) = disk::dir() else { return };
    let mut guard = Guard::begin(&dir, NETWORK, KEY).unwrap();
    let mut store = Store::open(&dir, NETWORK, 1 << 20).unwrap();
    for step in 0..STEPS {
        guard.record(record(step, 1)).unwrap();
        guard.record(vote(step, 1)).unwrap();
        writeln!(std::io::stdout(), "guarded").unwrap();
        // Where the driver has written and not yet sent.
        crash::point();
        store.persist(&batch(step)).unwrap();
        writeln!(std::io::stdout(), "persisted").unwrap();
    }
    store.close().unwrap();
    writeln!(std::io::stdout(), "closed").unwrap();
}

/// Lets a child die at point `at`, and looks at what it left. Whether it came to its end.
fn die_at(at: u64, dir: &Path) -> bool {
    let mut command = disk::command("crash::work_of_the_child", dir);
    let output = command.env(crash::VARIABLE, at.to_string()).output().unwrap();
    let words = disk::words(&output);
    let count = |word| u32::try_from(words.matches(word).count()).unwrap();
    let closed = count("closed") == 1;
    assert_eq!(closed, output.status.success(), "point {at}: {words}");

    let mut guard = Guard::begin(dir, NETWORK, KEY).unwrap();
    let signed = guard.state().block.map_or(0, |block| block.slot.0 + 1);
    let guarded = count("guarded");
    assert!((guarded..=guarded + 1).contains(&signed), "point {at}: {signed} of {words}");
    if let Some(newest) = signed.checked_sub(1) {
        let second = guard.record(record(newest, 9));
        assert!(matches!(second, Err(GuardError::Refused(_))), "point {at}");
    }
    let voted = guard.state().vote.map_or(0, |vote| vote.view + 1);
    assert!((guarded..=signed).contains(&voted), "point {at}: {voted} of {words}");
    if let Some(newest) = voted.checked_sub(1) {
        assert_eq!(guard.state().vote.map(SignRecord::Vote), Some(vote(newest, 1)), "point {at}");
        let second = guard.record(vote(newest, 9));
        assert!(matches!(second, Err(GuardError::Refused(_))), "point {at}");
    }

    let store = Store::open(dir, NETWORK, 1 << 20).unwrap();
    let reader = store.reader();
    let found = disk::content(&reader);
    reader.finish().unwrap();
    let persisted = count("persisted");
    let whole = [persisted, persisted + 1].map(expected).contains(&found);
    assert!(whole, "point {at}: {found:?} after {words}");
    assert_eq!(store.was_clean(), closed, "point {at}");
    closed
}

#[test]
fn a_death_at_any_write_loses_nothing_acknowledged() {
    let mut at = 1;
    loop {
        let dir = tempfile::tempdir().unwrap();
        if die_at(at, dir.path()) {
            break;
        }
        at += 1;
    }
    assert!(at > u64::from(STEPS) * 8, "only {at} points");
}
