//! Never two blocks for one slot, with whole processes: a node dies at each write of a slot in which it forges, one
//! network for each, and is started again in the same slot with other messages. `node/tests/twice.rs` has the same for
//! the core alone.
//!
//! All networks keep the same time, so that the whole takes little more than two slots. Their blocks need two messages,
//! which come from founders that do not run: so it is the test that says when a node forges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "real nodes keep real time")]
#![cfg(debug_assertions)]

pub mod member;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hypernode::machine::note::MissReason;
use hypernode::machine::status::Status;
use hypernode::shell::guard::Guard;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::sign::{BlockRecord, SignRecord};
use hypernode::types::tx::Tx;
use rustix::process::Signal;

use crate::cluster::wait_for;
use crate::disk;
use crate::sample::Sample;
use member::{Member, copy, duty};

/// A node has seven tenths of it to die, start again and try again.
const SLOT_SECONDS: u64 = 10;
/// One more than a slot has points to die at: four for a message on disk, four for a signature, four for a block.
const POINTS: u64 = 13;
/// Their places in the network file: the node under test, with the most tickets; its peer; one that is started late;
/// and those who only sign messages.
const WEIGHTS: [u8; 7] = [3, 1, 1, 1, 1, 1, 1];
const NODE: usize = 0;
const PEER: usize = 1;
const LATE: usize = 2;
const BEFORE: [usize; 2] = [3, 4];
const AFTER: [usize; 2] = [5, 6];

/// The node forges in all slots of round 0. In this one it dies.
const FATAL: Slot = Slot(1);

/// How the slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Nothing was signed before the death: another block was forged.
    Another,
    /// A block was signed and is gone: none was forged.
    Refused,
    /// The block was stored: it is shown again.
    Same,
    /// There was no death.
    Lived,
}

/// A network with a node that is to die, and a peer that sees what comes of it.
struct Trial {
    sample: Sample,
    dir: PathBuf,
    node: Member,
    peer: Member,
}

impl Trial {
    /// Starts a network whose round 0 begins at `origin`.
    fn start(folder: &Path, number: u64, origin: u64) -> Trial {
        let sample = draw(number, origin);
        let dir = folder.join(number.to_string());
        let member = |place: usize| {
            Member::new(dir.join(place.to_string()), &sample.network, &sample.keys()[place])
        };
        let (mut node, mut peer) = (member(NODE), member(PEER));
        peer.start();
        node.start();
        Trial { dir, node, peer, sample }
    }

    fn messages(&self, founders: &[usize]) -> Vec<Tx> {
        founders.iter().map(|founder| self.sample.heartbeat(*founder, 0)).collect()
    }

    /// Waits until the node has a peer with the same tip: then it may forge.
    fn wait_until_shared(&mut self) -> Status {
        self.node.wait("a peer with its tip", |status| status.peers.sharing_tip > 0)
    }

    /// Waits until node and peer have the block of a slot.
    fn wait_for_block(&mut self, slot: Slot) -> BlockHash {
        let (duty, _) = self.node.wait_for_duty(slot);
        let hash = duty.forged.unwrap_or_else(|| panic!("{duty:?}: {}", self.node.log()));
        self.peer.wait("the block", |status| status.tip.point.hash == hash);
        hash
    }

    /// Gives the node what it needs to forge in the slot in which it dies. What it has signed by then, if it dies.
    fn forge_or_die(&mut self) -> Option<Option<BlockHash>> {
        if self.node.submit(&self.messages(&BEFORE)) {
            return None;
        }
        let end = self.node.end();
        assert_eq!(end.signal(), Some(Signal::ABORT.as_raw()), "{end}: {}", self.node.log());
        let signed = self.node.signed().filter(|record| record.slot == FATAL);
        Some(signed.map(|record| record.hash))
    }

    /// The node is back: it gets other messages, and finishes the slot. The one block that there may be.
    fn try_again(&mut self, signed: Option<BlockHash>) -> (Outcome, Option<BlockHash>) {
        let before = self.wait_until_shared();
        let stored = duty(&before, FATAL).and_then(|duty| duty.forged);
        assert!(self.node.submit(&self.messages(&AFTER)), "{}", self.node.log());
        let (duty, status) = self.node.wait_for_duty(FATAL);
        let found = (duty.forged, duty.missed);
        match (signed, stored) {
            (None, _) => {
                assert!(duty.forged.is_some(), "{duty:?}: {}", self.node.log());
                assert_eq!(status.refused_signature, 0);
                (Outcome::Another, duty.forged)
            }
            (Some(_), None) => {
                assert_eq!(found, (None, Some(MissReason::AlreadySigned)), "{}", self.node.log());
                assert!(status.refused_signature >= 1);
                (Outcome::Refused, None)
            }
            (Some(_), Some(_)) => {
                assert_eq!(found, (signed, None), "{}", self.node.log());
                assert_eq!(status.refused_signature, 0);
                (Outcome::Same, signed)
            }
        }
    }

    /// The node came through the slot. It would die in the next.
    fn live(&mut self) -> BlockHash {
        let hash = self.wait_for_block(FATAL);
        self.node.stop();
        self.node.start();
        hash
    }

    /// The chain goes on with a block of the slot after; and nobody has ever seen two of the slot before.
    fn go_on(&mut self, block: Option<BlockHash>) {
        let messages = [self.messages(&BEFORE), self.messages(&AFTER)].concat();
        self.wait_until_shared();
        assert!(self.node.submit(&messages), "{}", self.node.log());
        self.wait_for_block(Slot(2));
        assert_eq!(blocks(&self.peer), block.into_iter().collect(), "{}", self.dir.display());
    }
}

/// A network in which the node under test is the juror of all slots of round 0.
fn draw(number: u64, origin: u64) -> Sample {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let place = format!("127.{high}.{low}.");
    let port = format!("port = {}", 4_100 + number);
    let (origin, seconds) =
        (format!("origin = {origin}"), format!("slot_seconds = {SLOT_SECONDS}"));
    let try_name = |attempt: u32| {
        let name = format!("name = \"twice-{attempt}\"");
        let edits = [
            ("name = \"sample\"", name.as_str()),
            ("origin = 1700000000", &origin),
            ("slot_seconds = 2", &seconds),
            ("slots = 5", "slots = 3"),
            ("127.1.0.", &place),
            ("port = 6969", &port),
            ("messages_min = 0", "messages_min = 2"),
            ("dial_count = 4", "dial_count = 8"),
            ("forge_peers_min = 0", "forge_peers_min = 1"),
        ];
        Sample::edited(&WEIGHTS, &edits)
    };
    let is_ours = |sample: &Sample| {
        (0..3).all(|slot| sample.juror(0, slot).public() == sample.keys()[NODE].public())
    };
    (0..).map(try_name).find(is_ours).unwrap()
}

/// The blocks of the fatal slot that a node has ever seen.
fn blocks(member: &Member) -> BTreeSet<BlockHash> {
    let of_slot = |round, slot| (round, slot) == (Round(0), FATAL);
    let recent = member.recent().into_iter().filter(|block| of_slot(block.round, block.slot));
    recent.map(|block| block.point.hash).collect()
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Waits until forging may begin in a slot.
fn wait_for_slot(origin: u64, slot: Slot) {
    let at = (origin + u64::from(slot.0) * SLOT_SECONDS) * 1000 + SLOT_SECONDS * 100;
    wait_for("the slot", || (wall_ms() >= at).then_some(()));
}

#[test]
fn a_death_at_any_write_of_a_forging_slot_makes_no_second_block() {
    let folder = tempfile::tempdir().unwrap();
    let origin = wall_ms() / 1000;
    let mut trials: Vec<Trial> =
        (1..=POINTS).map(|point| Trial::start(folder.path(), point, origin)).collect();
    let mut restored = Trial::start(folder.path(), POINTS + 1, origin);
    for trial in trials.iter_mut().chain([&mut restored]) {
        trial.wait_for_block(Slot(0));
    }
    for (point, trial) in (1..).zip(&mut trials) {
        trial.node.stop();
        trial.node.start_to_die_at(point);
    }
    let database = restored.dir.join("copy");
    restored.node.stop();
    copy(&restored.node.data_dir(), &database);
    restored.node.start();
    for trial in trials.iter_mut().chain([&mut restored]) {
        trial.wait_until_shared();
    }

    wait_for_slot(origin, FATAL);
    let deaths: Vec<_> = trials.iter_mut().map(Trial::forge_or_die).collect();
    for (trial, _) in trials.iter_mut().zip(&deaths).filter(|(_, death)| death.is_some()) {
        trial.node.start();
    }
    let (only, mut late) = lose_the_block(&mut restored, &database);
    let ends: Vec<(Outcome, Option<BlockHash>)> = trials
        .iter_mut()
        .zip(deaths)
        .map(|(trial, death)| match death {
            Some(signed) => trial.try_again(signed),
            None => (Outcome::Lived, Some(trial.live())),
        })
        .collect();
    find_the_block(&mut restored, only, &mut late);

    wait_for_slot(origin, Slot(2));
    for (trial, (_, block)) in trials.iter_mut().zip(&ends) {
        trial.go_on(*block);
    }
    restored.go_on(Some(only));
    assert_eq!(blocks(&late), BTreeSet::from([only]));
    let mut outcomes: Vec<Outcome> = ends.into_iter().map(|(outcome, _)| outcome).collect();
    assert!(outcomes.is_sorted(), "{outcomes:?}");
    let lived = outcomes.iter().filter(|outcome| **outcome == Outcome::Lived).count();
    assert_eq!(lived, 1, "one network more than points, no more: {outcomes:?}");
    outcomes.dedup();
    assert_eq!(outcomes, [Outcome::Another, Outcome::Refused, Outcome::Same, Outcome::Lived]);
}

/// The node has shown its block to its peer. Then it is killed, and comes back with the database of before, while the
/// peer stands still. The block, and somebody else, who has never seen it.
fn lose_the_block(trial: &mut Trial, database: &Path) -> (BlockHash, Member) {
    assert_eq!(trial.forge_or_die(), None);
    let only = trial.wait_for_block(FATAL);
    trial.peer.signal(Signal::STOP);
    trial.node.signal(Signal::KILL);
    trial.node.end();
    copy(database, &trial.node.data_dir());
    let key = &trial.sample.keys()[LATE];
    let mut late = Member::new(trial.dir.join("late"), &trial.sample.network, key);
    late.start();
    trial.node.start();
    (only, late)
}

/// Only its sign state keeps the node from showing another block to who is there now. Then the peer goes on, and all have
/// the first one.
fn find_the_block(trial: &mut Trial, only: BlockHash, late: &mut Member) {
    let (outcome, _) = trial.try_again(Some(only));
    assert_eq!(outcome, Outcome::Refused);
    trial.peer.signal(Signal::CONT);
    for member in [&mut trial.node, late] {
        member.wait("the block", |status| status.tip.point.hash == only);
    }
}

#[test]
fn a_node_with_a_cut_sign_state_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let sample = draw(0, wall_ms() / 1000);
    let key = &sample.keys()[NODE];
    let mut node = Member::new(folder.path().join("node"), &sample.network, key);
    let sign_dir = node.sign_state().parent().unwrap().to_owned();
    let mut guard = Guard::begin(&sign_dir, sample.network.id(), key.public()).unwrap();
    let record = SignRecord::Block(BlockRecord {
        round: Round(0),
        slot: FATAL,
        hash: BlockHash(Hash([1; 32])),
    });
    guard.record(record).unwrap();
    drop(guard);
    let whole = fs::read(node.sign_state()).unwrap();
    // `guard.rs` tries every length; here is what a process makes of it.
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        disk::put_file(&node.sign_state(), &whole[..length]);
        node.start();
        let end = node.end();
        assert_eq!(end.code(), Some(65), "{length} bytes: {end}: {}", node.log());
        let log = node.log();
        let said = log.lines().last().unwrap();
        assert!(said.contains("sign-state is damaged"), "{length} bytes: {log}");
        assert_eq!(fs::read(node.sign_state()).unwrap().len(), length, "it stays as it is");
    }
    disk::put_file(&node.sign_state(), &whole);
    node.start();
    node.wait("an answer", |status| status.refused_signature == 0);
    node.stop();
}
