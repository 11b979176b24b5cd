//! A database that lost bits: `db check` finds each that matters, and nothing ends a process.
//!
//! What does not matter is what the node reads as before. Whether it does, a process of its own says: LMDB follows
//! what a page says, and a page that is damaged may end it by a signal.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use hypernode::machine::note::MissReason;
use hypernode::machine::records::{
    Batch, Draft, DutyRecord, MainRecord, Reader, StoredHeader, StoredSeal, Table, duty_key,
    evidence_key, height_key, index_key, point_key, pool_key,
};
use hypernode::rules::sealed::Anchor;
use hypernode::shell::store::{Depth, Flaw, Store, inspect};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{Hash, hash};
use hypernode::types::rng::Rng;
use hypernode::types::seal::{Quorum, Seal};

use crate::cli::{bad, bad_json, good, json, run, stderr, stdout};
use crate::disk;
use crate::history::{History, committed, double};
use crate::sample::Sample;

const MAP: u64 = 1 << 20;
/// The mark of a page that leads to others.
const BRANCH: u8 = 1;
/// Flips in every run of the tests.
const FLIPS: u64 = 300;
/// Names another number, for a campaign.
const CAMPAIGN: &str = "HYPERNODE_FLIPS";

/// Writes a chain of six rounds with seals, and something in every table but that of a halt.
fn build(dir: &Path, sample: &Sample) {
    let mut history = History::new(sample);
    let mut store = Store::open(dir, sample.network.id(), MAP).unwrap();
    let (mut written, mut persist) = (0, |batch: Batch| store.persist(&batch).unwrap());
    for round in 0..6 {
        for slot in 0..5 {
            let key = history.juror(round, slot);
            let said = slot == 0 && round > 0;
            let messages: Vec<_> =
                said.then(|| committed(sample, key, round)).into_iter().collect();
            history.forge(round, slot, &messages);
        }
        let before = history.seals.last().unwrap().0.clone();
        let anchor = history.seal();
        let mut draft = Draft::new(&Nothing);
        for step in &history.steps[written..] {
            let header = step.block.header.clone();
            let point = header.point();
            let record = MainRecord { hash: point.hash, undo: step.undo.clone() };
            draft.put(Table::Main, height_key(point.height), &record);
            let stored = StoredHeader { header, weight: point.height.0, anchor: before.seal };
            draft.put(Table::Headers, point_key(&point), &stored);
            draft.put(Table::Bodies, point_key(&point), &step.block.messages);
        }
        written = history.steps.len();
        seal(&mut draft, &anchor);
        let missed = DutyRecord::Missed(MissReason::Peers);
        draft.put(Table::Duties, duty_key(Round(round), Slot(2)), &missed);
        let waiting = committed(sample, &sample.keys()[0], round + 9);
        draft.put(Table::Pool, pool_key(waiting.round, &waiting.id()), &waiting);
        let proof = double(sample, &sample.keys()[1], round);
        draft.put(Table::Evidence, evidence_key(&proof.offence()), &proof);
        persist(draft.into_batch());
        // Pages become free, and values of several pages come to be.
        let run = |bytes: usize| Some(hypernode::types::codec::encode(&vec![7_u8; bytes]));
        let odd = vec![(Table::Pool, vec![9; 8])];
        persist(Batch(odd.iter().cloned().map(|place| (place, run(9_000))).collect()));
        persist(Batch(odd.into_iter().map(|place| (place, None)).collect()));
    }
    store.close().unwrap();
}

fn seal(draft: &mut Draft<'_>, anchor: &Anchor) {
    let checkpoint = anchor.checkpoint;
    let certificate = Quorum { checkpoint, view: 0, voters: Vec::new(), signatures: Vec::new() };
    let voters = Some(anchor.state.voters.clone());
    let registry = Some(anchor.state.registry.clone());
    let index = checkpoint.index;
    let seal = Seal { certificate: certificate.clone(), registry, voters };
    let stored = StoredSeal { seal, registry_at: index, voters_at: index };
    draft.put(Table::Seals, index_key(index), &stored);
    draft.put(Table::States, index_key(index), &anchor.state);
    draft.put(Table::Prepared, index_key(index), &certificate);
}

/// A database without anything in it.
struct Nothing;

impl Reader for Nothing {
    fn get(&self, _: Table, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn next(&self, _: Table, _: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        None
    }
    fn last(&self, _: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        None
    }
}

fn sample() -> Sample {
    Sample::new(&[1, 1, 1, 1])
}

/// What is wrong with the database of the sample in this directory.
fn flaws(dir: &Path, network: Hash) -> Vec<Flaw> {
    inspect(dir, Some(network), Depth::Records, &mut |_, _| {}).unwrap().flaws.kept
}

/// All that the node can read, as one hash, and how often two ways of reading it differ.
fn digest(reader: &dyn Reader) -> Hash {
    let mut all: BTreeMap<(Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut odd = 0;
    for table in Table::ALL {
        let mut from = Vec::new();
        while let Some((key, value)) = reader.next(table, &from) {
            odd += u32::from(reader.get(table, &key).as_ref() != Some(&value));
            from = [key.as_slice(), &[0]].concat();
            assert!(all.insert((table, key), value).is_none(), "it goes round in circles");
        }
        let last = all.range((table, Vec::new())..).take_while(|it| it.0.0 == table).last();
        odd += u32::from(reader.last(table).map(|(key, _)| key) != last.map(|it| it.0.1.clone()));
    }
    hash("test", &[format!("{odd} {all:?}").as_bytes()])
}

#[test]
fn read_as_the_node_does() {
    let Some(dir) = disk::dir() else { return };
    let network = sample().network.id();
    let said = match Store::open(&dir, network, MAP) {
        Ok(store) => {
            let reader = store.reader();
            let found = digest(&reader);
            reader.finish().map_or_else(|error| error.to_string(), |()| found.to_string())
        }
        Err(error) => error.to_string(),
    };
    writeln!(std::io::stdout(), "read: {said}").unwrap();
}

/// How a process that reads the database ends, and what it says.
fn read(dir: &Path) -> String {
    let output = disk::command("damage::read_as_the_node_does", dir).output().unwrap();
    if let Some(signal) = output.status.signal() {
        return format!("signal {signal}");
    }
    let words = disk::words(&output);
    let said = words.lines().find_map(|line| line.split_once("read: "));
    let panic = || words.lines().find(|line| line.contains("panicked at")).unwrap_or_default();
    said.map_or_else(|| panic().to_owned(), |(_, said)| said.to_owned())
}

#[test]
fn each_flipped_bit_is_found_or_harmless() {
    let campaign = disk::variable(CAMPAIGN).map(|count| count.to_str().unwrap().parse().unwrap());
    let folder = disk::quick();
    let dir = folder.path();
    let sample = sample();
    let network = sample.network.id();
    build(dir, &sample);
    let file = dir.join("chain/data.mdb");
    let mut whole = fs::read(&file).unwrap();
    let found = inspect(dir, Some(network), Depth::Records, &mut |_, _| {}).unwrap();
    assert_eq!(found.flaws.kept, []);
    assert_eq!((found.height, found.sealed), (30, Some((6, 30))));
    // Zeros that were written ahead are no part of it.
    whole.truncate(usize::try_from(found.used_bytes).unwrap());
    disk::put_file(&file, &whole);
    let before = read(dir);
    assert_eq!(before.len(), 64, "{before}");
    let (mut tables, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
    let mut harmless = 0;
    let mut rng = Rng::from_text("flips");
    let flips = campaign.unwrap_or(FLIPS);
    for flip in 0..flips {
        let at = usize::try_from(rng.below(whole.len() as u64)).unwrap();
        let bit = 1 << rng.below(8);
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        disk::put_file(&file, &bytes);
        let flaws = flaws(dir, network);
        if let Some(flaw) = flaws.first() {
            assert!(!flaw.table.is_empty() && !flaw.why.is_empty(), "flip {flip}: {flaw:?}");
            *tables.entry(flaw.table).or_insert(0) += 1;
        } else {
            harmless += 1;
        }
        let said = read(dir);
        assert!(!flaws.is_empty() || said == before, "flip {flip}: bit {bit} of {at}: {said}");
        assert!(!said.contains("panicked"), "flip {flip}: bit {bit} of {at}: {said}");
        let said = match said.len() {
            _ if said == before => "as before".to_owned(),
            64 => "something else, without an error".to_owned(),
            _ => said.replace(&dir.display().to_string(), ""),
        };
        *outcomes.entry(said).or_insert(0) += 1;
    }
    writeln!(std::io::stdout(), "harmless {harmless}, found in {tables:?}; LMDB: {outcomes:#?}")
        .unwrap();
    // Fewer flips hit fewer tables.
    let tables_min = if flips < FLIPS { 1 } else { 6 };
    assert!(harmless > 0 && tables.len() >= tables_min, "{harmless} harmless, found in {tables:?}");
}

#[test]
fn records_out_of_order_are_an_error_and_no_circle() {
    let folder = disk::quick();
    let dir = folder.path();
    let sample = sample();
    build(dir, &sample);
    let file = dir.join("chain/data.mdb");
    let whole = fs::read(&file).unwrap();
    // On the way down, keys of the chain have the area and a height, which becomes a late one: who looks for what is there
    // comes to what is before it.
    let key = [8, 0, 0, 0, 0];
    let mut said = Vec::new();
    // The first two pages begin alike; how long they are, the machine says.
    let magic = &whole[2 * size_of::<usize>()..][..8];
    let sizes = (12..17).map(|bits| 1_usize << bits);
    let size =
        { sizes }.find(|size| whole[size + 2 * size_of::<usize>()..].starts_with(magic)).unwrap();
    // The number of the page, two bytes, and the mark.
    let mark = size_of::<usize>() + 2;
    for (number, page) in whole.chunks(size).enumerate().filter(|(_, page)| page[mark] == BRANCH) {
        for at in (0..size).filter(|at| page[*at..].starts_with(&key)) {
            let mut bytes = whole.clone();
            bytes[number * size + at + 1] = 1;
            disk::put_file(&file, &bytes);
            said.push(read(dir));
        }
    }
    assert!(!said.is_empty(), "a tree of one page");
    assert!(said.iter().all(|words| !words.contains("panicked")), "{said:?}");
    assert!(said.iter().any(|words| words.contains("are not in their order")), "{said:?}");
}

#[test]
fn a_damaged_database_ends_with_65_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let name = dir.to_str().unwrap();
    let sample = sample();
    build(dir, &sample);
    let check = ["db", "check", "--data-dir", name];
    let with_json = [&check[..], &["--json"]].concat();
    assert_eq!(good(&check), format!("{name}: valid: 126 records, height 30, sealed 30\n"));
    let said = json(&good(&with_json));
    assert_eq!((&said["schema"], &said["valid"]), (&"hypernode.db.check/1".into(), &true.into()));
    assert_eq!(said["network"], sample.network.id().to_string());

    let stat = json(&good(&["db", "stat", "--data-dir", name, "--json"]));
    assert_eq!(stat["schema"], "hypernode.db.stat/1");
    assert_eq!((&stat["height"], &stat["sealed_height"]), (&30.into(), &30.into()));
    let rows = stat["tables"].as_array().unwrap();
    let main = rows.iter().find(|row| row["table"] == "main").unwrap();
    assert!(rows.len() == 10 && main["entries"] == 30 && main["bytes"].as_u64() > Some(30 * 40));
    assert!(good(&["db", "stat", "--data-dir", name]).contains("\nsealed      30 (seal 6)\n"));

    // A value changes in its place.
    let file = dir.join("chain/data.mdb");
    let whole = fs::read(&file).unwrap();
    let mark = point_key(&hypernode::types::block::Point {
        height: hypernode::types::clock::Height(30),
        hash: last_hash(dir, &sample),
    });
    let mark = [&mark[..8], &[1], &mark[8..]].concat();
    let mut bytes = whole.clone();
    for at in 0..bytes.len() - mark.len() {
        if whole[at..].starts_with(&mark) {
            bytes[at + mark.len() + 5] ^= 1;
        }
    }
    disk::put_file(&file, &bytes);
    let output = run(&check);
    assert_eq!((output.status.code(), stderr(&output)), (Some(65), String::new()));
    assert!(stdout(&output).starts_with("error: headers, height 30, "), "{}", stdout(&output));
    let said = json(&stdout(&run(&with_json)));
    assert_eq!((&said["valid"], &said["errors"][0]["table"]), (&false.into(), &"headers".into()));

    // Nothing of it is left.
    disk::put_file(&file, &whole[..5000]);
    assert_eq!(run(&check).status.code(), Some(65));
    disk::put_file(&file, b"");
    let output = run(&with_json);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(json(&stdout(&output))["errors"][0]["table"], "metadata");
    fs::remove_file(&file).unwrap();
    assert!(bad(66, &check).contains("--data-dir"));
    assert!(bad(2, &[&check[..], &["--config", "x"]].concat()).contains("exclude each other"));
}

fn last_hash(dir: &Path, sample: &Sample) -> hypernode::types::hash::BlockHash {
    let store = Store::open(dir, sample.network.id(), MAP).unwrap();
    let reader = store.reader();
    let (_, value) = reader.last(Table::Main).unwrap();
    let record: MainRecord = hypernode::machine::records::parse(&value).unwrap();
    record.hash
}

#[test]
fn a_database_in_use_or_of_another_network_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let sample = sample();
    build(folder.path(), &sample);
    let store = Store::open(folder.path(), sample.network.id(), MAP).unwrap();
    for action in ["check", "stat"] {
        let said = bad(1, &["db", action, "--data-dir", name]);
        assert!(said.contains("in use by process") && said.contains("stop the node"), "{said}");
    }
    assert_eq!(bad_json(1, &["db", "check", "--data-dir", name, "--json"])["code"], "database");
    store.close().unwrap();
    good(&["db", "check", "--data-dir", name]);
    let found = flaws(folder.path(), Hash([1; 32]));
    assert_eq!((found.len(), found[0].table), (1, "marks"), "{found:?}");
}

#[test]
fn records_that_contradict_each_other_are_found() {
    let sample = sample();
    // Each has a right checksum: only its neighbours show that it is wrong.
    let broken = |table: Table, key: Vec<u8>, value: Option<Vec<u8>>| {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), &sample);
        let mut store = Store::open(folder.path(), sample.network.id(), MAP).unwrap();
        store.persist(&Batch(BTreeMap::from([((table, key), value)]))).unwrap();
        store.close().unwrap();
        let found = flaws(folder.path(), sample.network.id());
        found.first().map(|flaw| (flaw.table, flaw.why.clone()))
    };
    let height = |height: u64| height.to_be_bytes().to_vec();
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &sample);
    let last = last_hash(folder.path(), &sample);
    let mut body = height(30);
    body.extend_from_slice(&last.0.0);
    for (table, key, value, name, why) in [
        (Table::Main, height(7), None, "main", "height 7 is missing"),
        (Table::Bodies, body.clone(), None, "bodies", "missing"),
        (Table::Bodies, body.clone(), Some(vec![1, 2]), "bodies", "cannot be read"),
        (Table::Headers, body, None, "main", "header is missing"),
        (Table::Seals, height(3), None, "seals", "seal 3 is missing"),
        (Table::States, height(9), Some(vec![0]), "states", "cannot be read"),
        (Table::Pool, vec![1], Some(vec![0]), "pool", "cannot be read"),
        (Table::Duties, vec![1], Some(vec![0]), "duties", ""),
        (Table::Halt, b"halt".to_vec(), Some(vec![0]), "halt", "cannot be read"),
    ] {
        let (found, said) = broken(table, key, value).expect(name);
        assert!(found == name && said.contains(why), "{name}: {found}: {said}");
    }
}
