//! A node that starts on 100,000 blocks, beside opening the bare LMDB file; then the same as a process, and what a
//! person waits for who asks it, beside the smallest thing that the binary can do.
//!
//! Most blocks hold one message, those of the last two rounds hold a heartbeat of every founder: these are what a start
//! reads. Wall time, because most of a start is waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heed::EnvOpenOptions;
use hypernode::machine::limits::Limits;
use hypernode::machine::records::{Batch, MainRecord, StoredHeader, Table, height_key, point_key};
use hypernode::node::{Node, Setup};
use hypernode::rules::state::ChainState;
use hypernode::rules::validity::IdentifiedTx;
use hypernode::shell::guard::Guard;
use hypernode::shell::memory::MemoryClass;
use hypernode::shell::store::Store;
use hypernode::types::address::Address;
use hypernode::types::block::Block;
use hypernode::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use hypernode::types::codec;
use hypernode::types::hash::Hash;
use hypernode::types::key::{SecretKey, Verifier};
use hypernode::types::sign::SignState;
use hypernode::types::tx::Tx;
use rustix::process::{Pid, Signal, kill_process};

use crate::sample::{Sample, network_text, parent_of};
use crate::{median, ms, row};

const BLOCKS: u64 = 100_000;
const FOUNDERS: usize = 500;
const SLOTS: u64 = 19;
const EDITS: [(&str, &str); 1] = [("slots = 5", "slots = 19")];
/// Slots left out at the beginning, so that the last block is the last of its round.
const SKIPPED: u64 = SLOTS - BLOCKS % SLOTS;
/// Blocks written at once.
const FILL: u64 = 1_000;
const STARTS: usize = 21;
const QUESTIONS: usize = 101;

pub fn figures() {
    let weights = [1; FOUNDERS];
    let sample = Sample::edited(&weights, &EDITS);
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let tip = fill(&sample, dir);
    // The slot after the last block.
    let wall = sample.time(tip.0.0 + 1, 0);

    let (mut starts, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        starts.push(open(&sample, dir, wall));
        bare.push(open_bare(&dir.join("chain")));
    }
    compare(
        &format!("core of a node on {BLOCKS} blocks opened"),
        starts,
        "the bare LMDB file",
        bare,
    );

    let config = configure(&sample, dir, &network_text(&weights, &EDITS));
    let (mut starts, mut smallest) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (time, node) = start(&config);
        starts.push(time);
        smallest.push(hypernode(&["version"]));
        stop(node);
    }
    let what = format!("`run` on {BLOCKS} blocks, from its start to READY=1");
    compare(&what, starts, "`version`", smallest);

    let (_, node) = start(&config);
    let socket = dir.join("api.sock").display().to_string();
    let (mut questions, mut smallest) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        questions.push(hypernode(&["status", "--json", "--api", &socket]));
        smallest.push(hypernode(&["version"]));
    }
    stop(node);
    compare("`status --json`, the whole process", questions, "`version`", smallest);
}

fn compare(what: &str, measured: Vec<Duration>, beside: &str, other: Vec<Duration>) {
    let (measured, other) = (median(measured), median(other));
    let ratio = measured.as_secs_f64() / other.as_secs_f64();
    row(what, &ms(measured), &format!("{} {beside}", ms(other)), ratio);
}

/// Makes a chain in which each slot has its block; the place of its last one.
fn fill(sample: &Sample, dir: &Path) -> (Round, Slot) {
    let mut store = Store::open(dir, sample.network.id(), MemoryClass::Small.bounds().map_bytes)
        .expect("a new one");
    let keys: BTreeMap<Address, &SecretKey> =
        sample.keys().iter().map(|key| (sample.network.address_of(&key.public()), key)).collect();
    let (mut parent, mut state) = (sample.genesis(), sample.state(0));
    let (mut weight, mut round_forgers) = (0, BTreeSet::new());
    let (mut batch, mut at) = (Batch::default(), (Round(0), Slot(0)));
    for number in 0..BLOCKS {
        let (round, slot) = ((SKIPPED + number) / SLOTS, (SKIPPED + number) % SLOTS);
        if slot == 0 {
            round_forgers.clear();
        }
        at = (Round(round), Slot(u32::try_from(slot).expect("below 19")));
        let plan = sample.plan(at.0.0);
        let key = keys[plan.juror(at.1).expect("a forging slot")];
        let messages = messages(sample, round, usize::try_from(slot).expect("below 19"));
        let time = sample.time(at.0.0, at.1.0);
        let built = sample.rules().build_block(&parent, &state, messages.into_iter(), time, key);
        let (block, left_out) = built.expect("a block");
        assert_eq!(left_out, []);
        weight += u64::from(round_forgers.insert(key.public()));
        add(&mut batch, &block, weight, &mut state);
        parent = parent_of(&block);
        if (number + 1) % FILL == 0 {
            store.persist(&std::mem::take(&mut batch)).expect("room on the disk");
        }
    }
    store.close().expect("it closes");
    at
}

/// Heartbeats for a block: one, and in the last two rounds all founders' over the slots.
fn messages(sample: &Sample, round: u64, slot: usize) -> Vec<IdentifiedTx> {
    let slots = usize::try_from(SLOTS).expect("19");
    let senders: Vec<usize> = match round + 2 >= (SKIPPED + BLOCKS) / SLOTS {
        true => (slot..FOUNDERS).step_by(slots).collect(),
        false => vec![slot],
    };
    let sent = senders.into_iter().map(|number| sample.heartbeat(number, round));
    sent.map(|tx: Tx| IdentifiedTx { id: tx.id(), tx }).collect()
}

fn add(batch: &mut Batch, block: &Block, weight: u64, state: &mut ChainState) {
    let point = block.header.point();
    let header =
        StoredHeader { header: block.header.clone(), weight, anchor: block.header.header.seal };
    let undo = state.apply(&block.header.header, &block.messages);
    let main = MainRecord { hash: point.hash, undo };
    let mut put = |table, key, value| batch.0.insert((table, key), Some(value));
    put(Table::Headers, point_key(&point), codec::encode(&header));
    put(Table::Bodies, point_key(&point), codec::encode(&block.messages));
    put(Table::Main, height_key(point.height), codec::encode(&main));
}

/// What `run` does before it answers, without its sockets.
fn open(sample: &Sample, dir: &Path, wall: Timestamp) -> Duration {
    let now = Now { wall, mono: Monotonic(0), synchronised: true };
    let key = sample.keys()[0].clone();
    let (id, public) = (sample.network.id(), key.public());
    let start = Instant::now();
    let store =
        Store::open(dir, id, MemoryClass::Small.bounds().map_bytes).expect("it stands there");
    let guard = Guard::begin(&dir.join("sign"), id, public).expect("a sign state");
    let setup = Setup {
        network: sample.network.clone(),
        key,
        seed: Hash::default(),
        built: Timestamp(0),
        signed: guard.state(),
        seen: SignState::default(),
        verifier: Verifier::default(),
        limits: Limits::default(),
    };
    let node = Node::open(setup, now, &store.reader()).expect("a whole chain");
    let time = start.elapsed();
    assert_eq!(node.status(now).tip.point.height, Height(BLOCKS));
    store.close().expect("it closes");
    time
}

#[allow(unsafe_code, reason = "a memory map is unsafe to open")]
fn open_bare(dir: &Path) -> Duration {
    let bytes = fs::metadata(dir.join("data.mdb")).expect("a database").len();
    let start = Instant::now();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(usize::try_from(bytes.next_multiple_of(64 * 1024)).expect("it fits"));
    // SAFETY: the folder is ours, and the store that had it open is closed.
    let env = unsafe { options.open(dir) }.expect("a database");
    let txn = env.read_txn().expect("a reader");
    let time = start.elapsed();
    drop(txn);
    time
}

/// A configuration of the first founder; its path.
fn configure(sample: &Sample, dir: &Path, network: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    fs::write(dir.join("network.toml"), network).expect("a file");
    let key = dir.join("key.pem");
    fs::write(&key, sample.keys()[0].to_pem()).expect("a file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our file");
    // The database is in `chain` below the folder.
    let text = "network = \"network.toml\"\nkey = \"key.pem\"\ndata_dir = \".\"\nsign_dir = \"sign\"\n\
                listen = \"127.1.0.1:6969\"\napi_socket = \"api.sock\"\n";
    let config = dir.join("hypernode.toml");
    fs::write(&config, text).expect("a file");
    config.display().to_string()
}

/// Starts a node and waits until it tells its supervisor that it is ready.
fn start(config: &str) -> (Duration, Child) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let begin = Instant::now();
    let node = Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["run", "--log", "error", "--config", config])
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // It either says so or ends; then nobody ever will.
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    let mut text = [0; 512];
    let mut length = 0;
    while !text[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
        length = socket.recv(&mut text).expect("a node that says something");
    }
    (begin.elapsed(), node)
}

fn stop(mut node: Child) {
    let pid = i32::try_from(node.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(node.wait().expect("our child").success());
}

/// How long a command takes, as a whole process.
fn hypernode(arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the binary starts");
    let time = begin.elapsed();
    assert!(output.status.success(), "{output:?}");
    time
}
