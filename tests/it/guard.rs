//! The sign-state file: whatever happens to it, what was signed is known or nothing is signed.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hypernode::shell::guard::{Guard, GuardError};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::PublicKey;
use hypernode::types::sign::{BlockRecord, SignRecord};

use crate::disk;

const NETWORK: Hash = Hash([1; 32]);
const KEY: PublicKey = PublicKey([2; 32]);
const PAGE_BYTES: usize = 4096;

fn record(slot: u32, byte: u8) -> SignRecord {
    SignRecord::Block(BlockRecord {
        round: Round(300),
        slot: Slot(slot),
        hash: BlockHash(Hash([byte; 32])),
    })
}

fn open(dir: &Path) -> Result<Guard, GuardError> {
    Guard::begin(dir, NETWORK, KEY)
}

/// What a node would start with, the file being `bytes`.
fn found(dir: &Path, bytes: &[u8]) -> Result<Option<SignRecord>, GuardError> {
    disk::put_file(&dir.join("sign-state"), bytes);
    open(dir).map(|guard| guard.state().block.map(SignRecord::Block))
}

/// The file before and after the record of slot 2, which follows that of slot 1.
fn two_records(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut guard = open(dir).unwrap();
    guard.record(record(1, 1)).unwrap();
    let before = fs::read(dir.join("sign-state")).unwrap();
    guard.record(record(2, 2)).unwrap();
    let after = fs::read(dir.join("sign-state")).unwrap();
    (before, after)
}

#[test]
fn what_was_signed_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut guard = open(dir.path()).unwrap();
    assert_eq!(guard.state().block, None);
    guard.record(record(5, 1)).unwrap();
    for refused in [record(5, 2), record(4, 1)] {
        assert!(matches!(guard.record(refused), Err(GuardError::Refused(_))));
    }
    drop(guard);
    let mut guard = open(dir.path()).unwrap();
    assert_eq!(guard.state().block.map(SignRecord::Block), Some(record(5, 1)));
    assert!(matches!(guard.record(record(5, 2)), Err(GuardError::Refused(_))));
    guard.record(record(5, 1)).unwrap();
    guard.record(record(6, 2)).unwrap();
}

#[test]
fn a_write_torn_at_any_length_leaves_the_old_record_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = two_records(dir.path());
    let (old, new) = (Some(record(1, 1)), Some(record(2, 2)));
    let mut seen = BTreeSet::new();
    for written in 0..=after.len() {
        let torn = [&after[..written], &before[written..]].concat();
        if !seen.insert(torn.clone()) {
            continue;
        }
        let state = found(dir.path(), &torn).unwrap();
        // The first copy is whole from here on.
        let expected = if written >= PAGE_BYTES { [new, new] } else { [old, new] };
        assert!(expected.contains(&state), "{written} bytes: {state:?}");
        let repaired = fs::read(dir.path().join("sign-state")).unwrap();
        assert_eq!(repaired[..PAGE_BYTES], repaired[PAGE_BYTES..], "{written} bytes");
    }
    assert!(seen.len() > 2 * 64, "both copies differ in many bytes: {}", seen.len());
}

#[test]
fn a_file_cut_at_any_byte_is_damaged_and_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = two_records(dir.path());
    for length in 0..file.len() {
        let state = found(dir.path(), &file[..length]);
        assert!(matches!(state, Err(GuardError::Damaged { .. })), "{length} bytes: {state:?}");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert!(matches!(found(dir.path(), &longer), Err(GuardError::Damaged { .. })));
    assert_eq!(found(dir.path(), &file).unwrap(), Some(record(2, 2)));
}

#[test]
fn a_page_that_the_disk_lost_loses_nothing_and_two_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (before, file) = two_records(dir.path());
    for copy in 0..2 {
        for rot in [vec![0; PAGE_BYTES], vec![0xff; PAGE_BYTES]] {
            let mut lost = file.clone();
            lost[copy * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&rot);
            assert_eq!(found(dir.path(), &lost).unwrap(), Some(record(2, 2)));
        }
    }
    let mut both = before;
    both[100] ^= 1;
    both[PAGE_BYTES + 100] ^= 1;
    assert!(matches!(found(dir.path(), &both), Err(GuardError::Damaged { .. })));
    assert!(matches!(found(dir.path(), &vec![0; 2 * PAGE_BYTES]), Err(GuardError::Damaged { .. })));
}

#[test]
fn a_file_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sign-state.new"), b"half").unwrap();
    let mut guard = open(dir.path()).unwrap();
    guard.record(record(1, 1)).unwrap();
    assert_eq!(fs::read(dir.path().join("sign-state")).unwrap().len(), 2 * PAGE_BYTES);
}

#[test]
fn it_serves_one_process_one_key_and_one_network() {
    let dir = tempfile::tempdir().unwrap();
    let guard = open(dir.path()).unwrap();
    let own = std::process::id();
    let second = open(dir.path());
    assert!(matches!(second, Err(GuardError::Locked { by: Some(by), .. }) if by == own));
    drop(guard);
    let other = Guard::begin(dir.path(), NETWORK, PublicKey([3; 32]));
    assert!(matches!(other, Err(GuardError::OtherKey { found: KEY, .. })), "{other:?}");
    let other = Guard::begin(dir.path(), Hash([4; 32]), KEY);
    assert!(matches!(other, Err(GuardError::OtherNetwork { found: NETWORK, .. })), "{other:?}");
    open(dir.path()).unwrap();
}
