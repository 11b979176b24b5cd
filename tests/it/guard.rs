//! The sign-state file: whatever happens to it, what was signed is known or nothing is signed.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hypernode::shell::guard::{Guard, GuardError};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash, hash};
use hypernode::types::hex;
use hypernode::types::key::PublicKey;
use hypernode::types::seal::Step;
use hypernode::types::sign::{
    BlockRecord, Doubt, Lock, SignRecord, SignState, Standing, VoteRecord,
};

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

/// A vote with its lock, in a view; for nothing when the byte is 0.
fn vote(view: u32, step: Step, byte: u8) -> SignRecord {
    let value = (byte != 0).then_some(Hash([byte; 32]));
    let lock = Some(Lock { view: 1, value: Hash([9; 32]) });
    SignRecord::Vote(VoteRecord { index: 300, view, step, value, lock })
}

/// A page as the first version wrote it, of round 300 slot 4.
fn first_format() -> Vec<u8> {
    let owner = "01".repeat(32) + &"02".repeat(32);
    let content = hex::decode(&format!("05{owner}01ac0204{}", "07".repeat(32))).unwrap();
    let mut page = b"hn-sign\n\0\0\0\x01\0\0\0".to_vec();
    page.push(u8::try_from(content.len()).unwrap());
    page.extend(content);
    page.resize(PAGE_BYTES - 32, 0);
    let checksum = hash("sign-state", &[&page]);
    page.extend(checksum.0);
    page
}

fn open(dir: &Path) -> Result<Guard, GuardError> {
    Guard::begin(dir, NETWORK, KEY)
}

/// What a node would start with, the file being `bytes`: the vote where there is one, or else the block.
fn found(dir: &Path, bytes: &[u8]) -> Result<Option<SignRecord>, GuardError> {
    disk::put_file(&dir.join("sign-state"), bytes);
    open(dir).map(|guard| newest(&guard))
}

fn newest(guard: &Guard) -> Option<SignRecord> {
    let SignState { block, vote, .. } = guard.state();
    vote.map(SignRecord::Vote).or(block.map(SignRecord::Block))
}

/// The file before and after the second of two records.
fn written(dir: &Path, records: [SignRecord; 2]) -> (Vec<u8>, Vec<u8>) {
    let mut guard = open(dir).unwrap();
    guard.record(records[0]).unwrap();
    let before = fs::read(dir.join("sign-state")).unwrap();
    guard.record(records[1]).unwrap();
    let after = fs::read(dir.join("sign-state")).unwrap();
    (before, after)
}

/// The same of slot 2, which follows slot 1.
fn two_records(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    written(dir, [record(1, 1), record(2, 2)])
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
    torn_anywhere([record(1, 1), record(2, 2)]);
    torn_anywhere([vote(2, Step::Commit, 1), vote(3, Step::Prepare, 2)]);
    torn_anywhere([vote(2, Step::Prepare, 1), vote(2, Step::Commit, 0)]);
}

fn torn_anywhere(records: [SignRecord; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = written(dir.path(), records);
    let [old, new] = records.map(Some);
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
    let (_, file) = written(dir.path(), [record(1, 1), vote(2, Step::Commit, 2)]);
    for length in 0..file.len() {
        let state = found(dir.path(), &file[..length]);
        assert!(matches!(state, Err(GuardError::Damaged { .. })), "{length} bytes: {state:?}");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert!(matches!(found(dir.path(), &longer), Err(GuardError::Damaged { .. })));
    assert_eq!(found(dir.path(), &file).unwrap(), Some(vote(2, Step::Commit, 2)));
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
fn a_vote_is_known_after_a_restart_with_its_lock_and_leaves_blocks_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut guard = open(dir.path()).unwrap();
    guard.record(record(5, 1)).unwrap();
    guard.record(vote(2, Step::Prepare, 1)).unwrap();
    drop(guard);
    let mut guard = open(dir.path()).unwrap();
    let state = guard.state();
    assert_eq!(state.block.map(SignRecord::Block), Some(record(5, 1)));
    assert_eq!(state.vote.map(SignRecord::Vote), Some(vote(2, Step::Prepare, 1)));
    for refused in [vote(2, Step::Prepare, 2), vote(2, Step::Prepare, 0), vote(1, Step::Commit, 1)]
    {
        assert!(matches!(guard.record(refused), Err(GuardError::Refused(_))), "{refused:?}");
    }
    guard.record(vote(2, Step::Prepare, 1)).unwrap();
    guard.record(vote(2, Step::Commit, 0)).unwrap();
    guard.record(record(6, 2)).unwrap();
}

#[test]
fn a_file_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let page = first_format();
    let file = page.repeat(2);
    let before = found(dir.path(), &file).unwrap();
    assert_eq!(before, Some(record(4, 7)));
    let mut guard = open(dir.path()).unwrap();
    assert_eq!(guard.state().standing, Standing::Proven);
    assert!(matches!(guard.record(record(4, 8)), Err(GuardError::Refused(_))));
    guard.record(vote(0, Step::Prepare, 1)).unwrap();
    drop(guard);
    // Half taken over: one page of each format.
    let new = fs::read(dir.path().join("sign-state")).unwrap();
    assert_ne!(new[..PAGE_BYTES], page[..]);
    for torn in [[&new[..PAGE_BYTES], &page].concat(), [&page, &new[PAGE_BYTES..]].concat()] {
        assert_eq!(found(dir.path(), &torn).unwrap(), Some(vote(0, Step::Prepare, 1)));
    }
}

#[test]
fn nothing_is_signed_from_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut guard = open(dir.path()).unwrap();
    guard.record(record(1, 1)).unwrap();
    drop(guard);
    let copy = tempfile::tempdir().unwrap();
    for name in ["sign-state", "sign-state.lock"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let mut copied = open(copy.path()).unwrap();
    let state = copied.state();
    assert_eq!(state.standing, Standing::Unproven(Doubt::Copied));
    assert_eq!(state.block.map(SignRecord::Block), Some(record(1, 1)));
    assert!(matches!(copied.record(record(2, 1)), Err(GuardError::Refused(_))));
    drop(copied);
    // It is not forgotten, and ends when somebody says so.
    let mut copied = open(copy.path()).unwrap();
    assert_eq!(copied.state().standing, Standing::Unproven(Doubt::Copied));
    let proven = SignState { standing: Standing::Proven, ..state };
    copied.record(SignRecord::Correction(proven)).unwrap();
    drop(copied);
    let mut copied = open(copy.path()).unwrap();
    copied.record(record(2, 1)).unwrap();
    // Moved, a file stays what it is.
    drop(guard_moved(dir.path()));
}

/// The guard of a directory that was renamed, which may sign.
fn guard_moved(dir: &Path) -> Guard {
    let moved = dir.join("moved");
    fs::create_dir(&moved).unwrap();
    for name in ["sign-state", "sign-state.lock"] {
        fs::rename(dir.join(name), moved.join(name)).unwrap();
    }
    let mut guard = open(&moved).unwrap();
    guard.record(record(3, 1)).unwrap();
    guard
}

#[test]
fn a_file_that_is_gone_is_missed_where_there_was_one() {
    let dir = tempfile::tempdir().unwrap();
    let look = || {
        let guard = Guard::open(dir.path(), NETWORK, KEY).unwrap();
        guard.state().standing
    };
    assert!(matches!(Guard::look(dir.path()), Err(GuardError::Missing { .. })));
    let held = Guard::open_held(dir.path(), NETWORK, KEY);
    assert!(matches!(held, Err(GuardError::Missing { .. })));
    assert_eq!(look(), Standing::New);
    fs::remove_file(dir.path().join("sign-state")).unwrap();
    assert_eq!(look(), Standing::Unproven(Doubt::Missing));
    // Also when it is a key that was made just now: this directory has seen another file.
    fs::remove_file(dir.path().join("sign-state")).unwrap();
    assert_eq!(open(dir.path()).unwrap().state().standing, Standing::Unproven(Doubt::Missing));
}

#[test]
fn a_file_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sign-state.new"), b"half").unwrap();
    fs::write(dir.path().join("sign-state.lock"), b"").unwrap();
    let mut guard = open(dir.path()).unwrap();
    assert_eq!(guard.state().standing, Standing::Proven, "there was none before");
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
