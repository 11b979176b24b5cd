//! The database over LMDB: what was acknowledged is there, errors are told apart, and none of them is a panic.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hypernode::machine::records::{Batch, Draft, Reader, Table};
use hypernode::shell::guard::Guard;
use hypernode::shell::store::{Depth, Store, StoreError, inspect};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::PublicKey;
use hypernode::types::sign::{BlockRecord, SignRecord};
use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::disk;

const NETWORK: Hash = Hash([1; 32]);
const MAP: u64 = 1024 * 1024;

fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, NETWORK, MAP)
}

/// A value of many bytes, of its own for each number.
fn batch(number: u64, bytes: usize) -> Batch {
    let value = number.to_be_bytes().repeat(bytes / 8);
    Batch(BTreeMap::from([((Table::Headers, number.to_be_bytes().to_vec()), Some(value))]))
}

/// Asserts that the batches of these numbers, and no others, are there.
fn assert_holds(store: &Store, numbers: std::ops::Range<u64>, bytes: usize) {
    let reader = store.reader();
    for number in numbers.clone() {
        let value = reader.get(Table::Headers, &number.to_be_bytes());
        assert_eq!(value, Some(number.to_be_bytes().repeat(bytes / 8)), "batch {number}");
    }
    assert_eq!(reader.next(Table::Headers, &numbers.end.to_be_bytes()), None);
    reader.finish().unwrap();
}

#[test]
fn batches_are_there_after_a_restart_and_the_end_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    assert!(store.was_clean());
    store.persist(&batch(0, 800)).unwrap();
    store.close().unwrap();
    let mut store = open(dir.path()).unwrap();
    assert!(store.was_clean());
    store.persist(&batch(1, 800)).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert!(!store.was_clean());
    assert_holds(&store, 0..2, 800);
}

#[test]
fn the_map_grows_within_one_batch_and_over_many() {
    const BYTES: usize = 400_000;
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    for number in 0..10 {
        store.persist(&batch(number, BYTES)).unwrap();
    }
    let large = Batch((10..40).flat_map(|number| batch(number, BYTES).0).collect());
    store.persist(&large).unwrap();
    assert_holds(&store, 0..40, BYTES);
    drop(store);
    let mut store = open(dir.path()).unwrap();
    store.persist(&batch(40, BYTES)).unwrap();
    assert_holds(&store, 0..41, BYTES);
}

/// The most that a 32-bit process maps: it needs that much of its addresses in one piece.
#[test]
fn a_map_of_a_gibibyte_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), NETWORK, 1 << 30).unwrap();
    store.persist(&batch(0, 800)).unwrap();
    // Again in the same process, as after a failed write.
    store.recover().unwrap();
    assert_holds(&store, 0..1, 800);
}

/// Each page begins with its number, of 8 bytes or of 4.
#[test]
fn a_database_of_the_other_word_size_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().unwrap();
    let file = dir.path().join("chain/data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    match cfg!(target_pointer_width = "64") {
        true => drop(bytes.drain(..4)),
        false => drop(bytes.splice(..0, [0; 4])),
    }
    fs::write(&file, bytes).unwrap();
    let refused = open(dir.path()).err().expect("it is refused");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("32- and 64-bit differ"), "{refused}");
    assert!(refused.action().contains("fetches the chain from its peers"), "{refused}");
    let found = inspect(dir.path(), None, Depth::Pages, &mut |_, _| ()).unwrap();
    assert!(format!("{:?}", found.flaws).contains("32 and 64 bits differ"), "{:?}", found.flaws);
}

#[test]
fn a_small_write_does_not_make_the_file_longer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    let length = || fs::metadata(dir.path().join("chain/data.mdb")).unwrap().len();
    store.persist(&batch(0, 800)).unwrap();
    let first = length();
    for number in 1..20 {
        store.persist(&batch(number, 800)).unwrap();
    }
    assert_eq!(length(), first);
    for number in 20..200 {
        store.persist(&batch(number, 8000)).unwrap();
    }
    assert!(length() > first, "it has 1.4 MB more in it");
}

#[test]
fn it_serves_one_process_and_one_network() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let own = std::process::id();
    let second = open(dir.path()).err();
    assert!(matches!(second, Some(StoreError::Locked { by: Some(by), .. }) if by == own));
    drop(store);
    let other = Store::open(dir.path(), Hash([2; 32]), MAP).err();
    assert!(matches!(other, Some(StoreError::OtherNetwork { found: NETWORK, .. })), "{other:?}");
    open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_and_a_foreign_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().unwrap();
    let file = dir.path().join("chain/data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    // The record is a key of the meta table, with its value behind it.
    let marks: Vec<usize> =
        (0..bytes.len() - 10).filter(|at| bytes[*at..].starts_with(b"format\0\0\0\x01")).collect();
    assert!(!marks.is_empty());
    for mark in marks {
        bytes[mark + 9] = 3;
    }
    fs::write(&file, &bytes).unwrap();
    let newer = open(dir.path()).err();
    assert!(matches!(newer, Some(StoreError::NewerFormat { found: 3, .. })), "{newer:?}");
    fs::write(&file, "no database, but as long as one ".repeat(1000)).unwrap();
    let foreign = open(dir.path()).err();
    assert!(matches!(foreign, Some(StoreError::Damaged { .. })), "{foreign:?}");
}

#[test]
fn a_value_that_changed_on_disk_is_a_failure_and_not_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    for number in 0..50 {
        store.persist(&batch(number, 800)).unwrap();
    }
    drop(store);
    let file = dir.path().join("chain/data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let mark = 17u64.to_be_bytes().repeat(100);
    for at in 0..bytes.len() - mark.len() {
        if bytes[at..].starts_with(&mark) {
            bytes[at + 400] ^= 1;
        }
    }
    fs::write(&file, bytes).unwrap();
    let store = open(dir.path()).unwrap();
    let reader = store.reader();
    assert!(reader.get(Table::Headers, &16u64.to_be_bytes()).is_some());
    assert_eq!(reader.get(Table::Headers, &17u64.to_be_bytes()), None);
    assert!(reader.get(Table::Headers, &18u64.to_be_bytes()).is_some());
    let failure = reader.finish().err();
    assert!(matches!(failure, Some(StoreError::Damaged { .. })), "{failure:?}");
    let reader = store.reader();
    assert!(reader.get(Table::Headers, &18u64.to_be_bytes()).is_some());
    reader.finish().unwrap();
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_harmless() {
    const RECORDS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    let first = |value| Batch(BTreeMap::from([((Table::Pool, vec![1]), value)]));
    store.persist(&first(Some(vec![1; 100_000]))).unwrap();
    let all = Batch((0..RECORDS).flat_map(|number| batch(number, 800).0).collect());
    store.persist(&all).unwrap();
    // The newest root comes to lie in pages freed before, with the records behind it.
    for size in [None, Some(1), Some(2), Some(3)] {
        store.persist(&first(size.map(|size| vec![1; size]))).unwrap();
    }
    drop(store);
    let file = dir.path().join("chain/data.mdb");
    let whole = fs::read(&file).unwrap();
    let (mut refused, mut failed) = (0, 0);
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for length in (1..used).step_by(709) {
        disk::put_file(&file, &whole[..length]);
        let store = match open(dir.path()) {
            Ok(store) => store,
            Err(StoreError::Damaged { .. }) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("cut at {length}: {other}"),
        };
        for number in 0..RECORDS {
            let reader = store.reader();
            let found = reader.get(Table::Headers, &number.to_be_bytes()).is_some();
            match reader.finish() {
                Ok(()) => assert!(found, "cut at {length}: nothing is said of {number}"),
                Err(StoreError::Damaged { .. }) => failed += 1,
                Err(other) => panic!("cut at {length}: {other}"),
            }
        }
    }
    assert!(refused > 0 && failed > 0, "{refused} refused, {failed} failed");
}

/// A write that fails for want of room leaves a store that goes on when there is room again.
fn fail_and_go_on(dir: &Path, fill: impl FnOnce(), free: impl FnOnce()) -> StoreError {
    const BYTES: usize = 80_000;
    let (network, key) = (NETWORK, PublicKey([2; 32]));
    let mut guard = Guard::begin(&dir.join("sign"), network, key).unwrap();
    let mut store = open(dir).unwrap();
    store.persist(&batch(0, BYTES)).unwrap();
    fill();
    let mut written = 1;
    let error = loop {
        match store.persist(&batch(written, BYTES)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the room has no end");
    };
    let hash = BlockHash(Hash([3; 32]));
    guard.record(SignRecord::Block(BlockRecord { round: Round(1), slot: Slot(1), hash })).unwrap();
    store.recover().unwrap();
    assert_holds(&store, 0..written, BYTES);
    assert!(store.persist(&batch(written, BYTES)).is_err());
    free();
    store.recover().unwrap();
    store.persist(&batch(written, BYTES)).unwrap();
    assert_holds(&store, 0..written + 1, BYTES);
    drop(store);
    assert_holds(&open(dir).unwrap(), 0..written + 1, BYTES);
    error
}

#[test]
fn work_within_a_limit() {
    let Some(dir) = disk::dir() else { return };
    let limit = |bytes| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
    };
    let error = fail_and_go_on(&dir, || limit(Some(500_000)), || limit(None));
    assert!(matches!(error, StoreError::Io { doing: "write", .. }), "{error:?}");
}

#[test]
fn a_write_that_the_system_refuses_is_an_error_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let child = disk::command("store::work_within_a_limit", dir.path());
    // Past the limit a process gets a signal, unless it ignores it; only a shell can say so without unsafe code.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(child.get_program());
    shell.args(child.get_args());
    for (name, value) in child.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", disk::words(&output));
}

/// `tests/disks` runs this on a small disk of its own.
#[test]
fn work_on_a_small_disk() {
    let Some(dir) = disk::variable("HYPERNODE_TEST_SMALL_DISK") else { return };
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 1_000_000]).unwrap();
    let error = fail_and_go_on(&dir, || (), || fs::remove_file(&ballast).unwrap());
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
}

/// What the database is to be like.
#[derive(Clone, Default)]
struct Model(disk::Content);

impl Model {
    fn persist(&mut self, batch: &Batch) {
        disk::apply(batch, &mut self.0);
    }
}

impl Reader for Model {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let from = (table, from.to_vec());
        let (place, value) = self.0.range(from..).next()?;
        (place.0 == table).then(|| (place.1.clone(), value.clone()))
    }

    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        let (place, value) = self.0.iter().rev().find(|(place, _)| place.0 == table)?;
        Some((place.1.clone(), value.clone()))
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..40u64).prop_map(|height| height.to_be_bytes().to_vec()),
        ((0..6u64), prop::collection::vec(0..3u8, 0..4)).prop_map(|(height, rest)| [
            height.to_be_bytes().as_slice(),
            &rest
        ]
        .concat()),
        prop::sample::select(vec![u64::MAX.to_be_bytes().to_vec(), vec![0xff; 40]]),
    ]
}

/// Any bytes may be asked for.
fn asked() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => key(), 1 => prop::collection::vec(any::<u8>(), 0..12)]
}

fn random_batch() -> impl Strategy<Value = Batch> {
    let place = (prop::sample::select(Table::ALL.to_vec()), key());
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::btree_map(place, value, 0..12).prop_map(Batch)
}

/// Asserts that both give the same answers to every question about these keys.
fn assert_alike(one: &dyn Reader, other: &dyn Reader, keys: &[Vec<u8>]) {
    for table in Table::ALL {
        assert_eq!(one.last(table), other.last(table), "last of {table:?}");
        assert_eq!(one.next(table, &[]), other.next(table, &[]), "first of {table:?}");
        for key in keys {
            assert_eq!(one.get(table, key), other.get(table, key), "{table:?} {key:?}");
            assert_eq!(one.next(table, key), other.next(table, key), "{table:?} {key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_answers_like_a_map(
        batches in prop::collection::vec(random_batch(), 1..6),
        asked in prop::collection::vec(asked(), 8),
        written in prop::collection::vec((prop::sample::select(Table::ALL.to_vec()), key(), any::<Option<u16>>()), 8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).unwrap();
        let mut model = Model::default();
        for batch in &batches {
            store.persist(batch).unwrap();
            model.persist(batch);
            let reader = store.reader();
            assert_alike(&reader, &model, &asked);
            let mut over_store = Draft::new(&reader);
            let mut over_model = Draft::new(&model);
            let mut both = model.clone();
            for (table, key, value) in &written {
                for draft in [&mut over_store, &mut over_model] {
                    match value {
                        Some(value) => draft.put(*table, key.clone(), value),
                        None => draft.delete(*table, key.clone()),
                    }
                }
            }
            assert_alike(&over_store, &over_model, &asked);
            let draft = over_store.into_batch();
            prop_assert_eq!(&draft, &over_model.into_batch());
            both.persist(&draft);
            let mut over_store = Draft::new(&reader);
            for (table, key, value) in &written {
                match value {
                    Some(value) => over_store.put(*table, key.clone(), value),
                    None => over_store.delete(*table, key.clone()),
                }
            }
            assert_alike(&over_store, &both, &asked);
            drop(over_store);
            reader.finish().unwrap();
        }
    }
}
