//! Power cuts replayed: a child works on a store and a sign state, each write and flush of it is recorded, and what a
//! card could hold at any moment is built and opened. Nothing is damaged, and nothing acknowledged is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
// The recorder is preloaded, and knows the calls of this C library.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use hypernode::machine::records::{Batch, Table};
use hypernode::shell::guard::{Guard, GuardError};
use hypernode::shell::store::Store;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::PublicKey;
use hypernode::types::rng::Rng;
use hypernode::types::seal::Step;
use hypernode::types::sign::{BlockRecord, Lock, SignRecord, SignState, Standing, VoteRecord};

use self::replay::{Card, Deed, Loss, What};
use crate::disk;

mod replay;

const NETWORK: Hash = Hash([1; 32]);
const KEY: PublicKey = PublicKey([2; 32]);
/// Small, so that it grows on the way.
const MAP: u64 = 256 * 1024;
/// Things that a child does.
const WORKS: u32 = 60;
/// Cuts in every run of the tests, and the variable that names another number.
const CUTS: u64 = 2_000;
const CAMPAIGN: &str = "HYPERNODE_CUTS";
/// Cuts of one record.
const CUTS_OF_ONE: u64 = 500;
/// Names the seed of a child.
const SEED: &str = "HYPERNODE_TEST_SEED";
/// Where a child says that a thing is done, and the node's directory, which is not there yet.
const DONE: &str = "done";
const HOME: &str = "srv/node";

/// One thing that a node does with its disk.
enum Work {
    Sign(SignRecord),
    Persist(Batch),
    /// A stop and a start: in order, or not.
    Restart {
        in_order: bool,
    },
}

/// What a child of this seed does.
fn works(seed: &str) -> Vec<Work> {
    let mut rng = Rng::from_text(seed);
    let mut keys = BTreeSet::new();
    (0..WORKS)
        .map(|number| match rng.below(10) {
            0..3 => Work::Sign(block(number)),
            3..6 => Work::Sign(vote(number)),
            6 if rng.one_in(2) => Work::Restart { in_order: rng.one_in(2) },
            _ => Work::Persist(batch(&mut rng, &mut keys)),
        })
        .collect()
}

fn block(number: u32) -> SignRecord {
    let hash = BlockHash(Hash([7; 32]));
    SignRecord::Block(BlockRecord { round: Round(1), slot: Slot(number), hash })
}

fn vote(number: u32) -> SignRecord {
    let value = Hash([8; 32]);
    let lock = Some(Lock { view: number, value });
    let (view, step, value) = (number, Step::Commit, Some(value));
    SignRecord::Vote(VoteRecord { index: 1, view, step, value, lock })
}

/// A few values, small ones and some of several pages, written new, over others, or taken away.
fn batch(rng: &mut Rng, keys: &mut BTreeSet<(Table, Vec<u8>)>) -> Batch {
    let mut batch = BTreeMap::new();
    for _ in 0..rng.below(5) {
        let table = Table::ALL[rng.index(Table::ALL.len())];
        let key = rng.below(40).to_be_bytes().to_vec();
        let length = if rng.one_in(4) { 30_000 } else { 400 };
        let value = vec![b"abcdefgh"[rng.index(8)]; rng.index(length)];
        keys.insert((table, key.clone()));
        batch.insert((table, key), Some(value));
    }
    for _ in 0..rng.below(3) {
        if let Some(place) = keys.iter().nth(rng.index(keys.len().max(1))).cloned() {
            keys.remove(&place);
            batch.insert(place, None);
        }
    }
    Batch(batch)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test has no other arguments")]
fn work_of_the_child() {
    let Some(dir) = disk::dir() else { return };
    let works = works(&std::env::var(SEED).unwrap());
    let mut done = fs::File::create(dir.join(DONE)).unwrap();
    let dir = dir.join(HOME);
    let mut guard = Guard::begin(&dir, NETWORK, KEY).unwrap();
    let mut store = Store::open(&dir, NETWORK, MAP).unwrap();
    done.write_all(b"x").unwrap();
    for work in works {
        match work {
            Work::Sign(record) => guard.record(record).unwrap(),
            Work::Persist(batch) => store.persist(&batch).unwrap(),
            Work::Restart { in_order } => {
                drop(guard);
                if in_order {
                    store.close().unwrap()
                } else {
                    drop(store)
                }
                guard = Guard::begin(&dir, NETWORK, KEY).unwrap();
                store = Store::open(&dir, NETWORK, MAP).unwrap();
            }
        }
        done.write_all(b"x").unwrap();
    }
}

/// What the disk is to hold after so many works.
#[derive(Clone, Default)]
struct Expected {
    state: SignState,
    content: disk::Content,
    /// The work that follows stops in order.
    stops: bool,
}

fn expected(works: &[Work]) -> Vec<Expected> {
    let mut now = Expected::default();
    let mut all = Vec::new();
    for work in works {
        now.stops = matches!(work, Work::Restart { in_order: true });
        all.push(now.clone());
        match work {
            Work::Sign(record) => now.state = now.state.admit(*record).unwrap(),
            Work::Persist(batch) => disk::apply(batch, &mut now.content),
            Work::Restart { .. } => {}
        }
    }
    all.push(Expected { stops: false, ..now });
    all
}

/// Runs a child under the recorder; what it did.
fn record(seed: &str, recorder: &Path) -> Vec<Deed> {
    let dir = tempfile::tempdir().unwrap();
    let (log, work) = (dir.path().join("log"), dir.path().join("work"));
    fs::create_dir(&work).unwrap();
    let output = disk::command("power::work_of_the_child", &work)
        .env(SEED, seed)
        .env("LD_PRELOAD", recorder)
        .env("RECORDER_LOG", &log)
        .env("RECORDER_DIR", &work)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", disk::words(&output));
    assert!(log.exists(), "the recorder was not loaded; can what is in {recorder:?} be executed?");
    replay::read(&log, &work)
}

/// Builds the recorder with the compiler that built LMDB.
fn build_recorder(dir: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/power/recorder.c");
    let target = dir.join("recorder.so");
    let compiler = disk::variable("CC").unwrap_or_else(|| "cc".into());
    let compiler = compiler.to_str().unwrap().split_whitespace().collect::<Vec<_>>();
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]);
    command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&target).arg(source).arg("-ldl");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", disk::words(&output));
    target
}

/// Opens what a card holds. `done`: works that were acknowledged; nothing before the first opening was.
fn look(dir: &Path, done: Option<usize>, expected: &[Expected], what: &str) {
    let first = done.unwrap_or(0);
    let possible = &expected[first..(first + 2).min(expected.len())];

    let signed = match Guard::look(dir) {
        Ok(look) => look.state,
        Err(GuardError::Missing { .. }) if done.is_none() => SignState::default(),
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(possible.iter().any(|it| it.state == signed), "{what}: {signed:?}");
    let guard = Guard::begin(dir, NETWORK, KEY).unwrap_or_else(|error| panic!("{what}: {error}"));
    let standing = guard.state().standing;
    // The file is another than the one that was recorded, and is told from it. One that never was is new.
    let is_copy = matches!(standing, Standing::Unproven(hypernode::types::sign::Doubt::Copied));
    assert!(is_copy || standing == Standing::Proven, "{what}: {standing:?}");

    let open = || Store::open(dir, NETWORK, MAP).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut store = open();
    let read = |store: &Store| {
        let reader = store.reader();
        let found = disk::content(&reader);
        reader.finish().unwrap_or_else(|error| panic!("{what}: {error}"));
        found
    };
    let found = read(&store);
    assert!(possible.iter().any(|it| it.content == found), "{what}: {} rows", found.len());
    // A start that checks nothing is only for a store to which nothing was written since.
    let may_be_clean = done.is_none() || possible.iter().any(|it| it.stops);
    assert!(may_be_clean || !store.was_clean(), "{what}");

    let place = (Table::Pool, vec![9; 8]);
    let more = Batch(BTreeMap::from([(place.clone(), Some(vec![1; 9_000]))]));
    store.persist(&more).unwrap();
    drop(store);
    let mut whole = found;
    whole.insert(place, vec![1; 9_000]);
    assert!(read(&open()) == whole, "{what}: it does not go on");
}

#[test]
fn a_power_cut_at_any_write_damages_nothing_and_loses_nothing_acknowledged() {
    // Where programs may be: /tmp may be mounted without.
    let tools = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let recorder = build_recorder(tools.path());
    let asked = disk::variable(CAMPAIGN).map(|number| number.to_str().unwrap().parse().unwrap());
    let cuts: u64 = asked.unwrap_or(CUTS);
    let mut counts = BTreeMap::new();
    for number in 0..cuts.div_ceil(CUTS_OF_ONE) {
        let seed = format!("power {number}");
        let works = works(&seed);
        let expected = expected(&works);
        let (done, deeds): (Vec<_>, Vec<_>) =
            record(&seed, &recorder).into_iter().enumerate().partition(|(_, it)| it.path == DONE);
        let acknowledged: Vec<usize> = done
            .iter()
            .filter(|(_, deed)| matches!(deed.what, What::Write { .. }))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(acknowledged.len(), works.len() + 1, "{seed}");

        let mut rng = Rng::from_text(&seed).fork("cuts");
        let mut moments: Vec<usize> =
            (0..CUTS_OF_ONE.min(cuts)).map(|_| rng.index(deeds.len() + 1)).collect();
        moments.sort_unstable();
        let mut card = Card::default();
        let mut next = 0;
        for moment in moments {
            for (_, deed) in &deeds[next..moment] {
                card.work(deed);
            }
            next = moment;
            let mut cut = card.clone();
            // What the process has begun, it does not know to be done.
            let at = deeds.get(moment).map_or(usize::MAX, |(at, deed)| {
                cut.begin(deed);
                *at
            });
            let loss = Loss::ALL[rng.index(Loss::ALL.len())];
            cut.lose(loss, &mut rng);
            let dir = disk::quick();
            cut.put(dir.path());
            let known = acknowledged.partition_point(|it| *it < at);
            let what = format!("{seed}, cut at {moment} of {}, {loss:?}", deeds.len());
            look(&dir.path().join(HOME), known.checked_sub(1), &expected, &what);
            *counts.entry(format!("{loss:?}")).or_insert(0) += 1;
        }
        // A record without its writes would be of nothing.
        let flushes = deeds.iter().filter(|(_, it)| matches!(it.what, What::Flush)).count();
        assert!(flushes > works.len(), "{flushes} flushes");
    }
    // What the campaign reports.
    writeln!(std::io::stdout(), "cuts: {counts:?}, 0 damaged, 0 acknowledged lost").unwrap();
}
