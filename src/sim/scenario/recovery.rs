//! More than a third of the voters is gone for good: a checkpoint with new voters in the network file brings sealing back.
//! And the old voters, once they are there again without that file, certify what they like: it counts nowhere else.

use std::rc::Rc;

use super::village::{
    adopted, all_sealed, end_of_forging, round_ms, run_while, seal_of, small, state_of, village,
};
use crate::machine::halt::{self, HaltReason};
use crate::sim::checks::Violation;
use crate::sim::world::World;
use crate::types::clock::Round;
use crate::types::network::{Listed, Network};
use crate::types::seal::Checkpoint;

/// Hosts that stay; the last of them takes the new file late.
pub const STAY: usize = 5;
/// Those that are gone: with one of the others they are more than two thirds.
pub const GONE: usize = 8;
const NODES: usize = STAY + GONE;
const LATE: usize = STAY - 1;
/// The round in which the others go.
const GOES: u64 = 3;
/// The round whose last block is listed.
const LISTED: u64 = 5;

/// How it went.
#[derive(Debug)]
pub struct Recovery {
    /// Newest seal when the others went, and when the file was made.
    pub stalled: [u64; 2],
    /// Whether the checkpoint is the one that the rules give, computed anew.
    pub is_right: bool,
    /// Blocks above the listed one that were lost.
    pub lost_blocks: u64,
    /// From the first restart to the first seal of the new voters at all who have the file; of the last one; a round.
    pub resumed_ms: Option<u64>,
    pub restarts_ms: u64,
    pub round_ms: u64,
    /// Newest seal and its round in the end, of who has the file, and the last round.
    pub sealed: u64,
    pub sealed_round: u64,
    pub last_round: u64,
    /// Voters in the end, and hosts with the file that have one tip.
    pub voters: usize,
    pub one_tip: bool,
    /// Of the blocks of the last round.
    pub last_blocks: usize,
    pub violations: Vec<Violation>,
}

/// What the old voters did.
#[derive(Debug)]
pub struct Rival {
    /// Whether they have certified another checkpoint of the listed index.
    pub is_certified: bool,
    /// Newest seal of those with the file when the old voters came, when they went again, and a round later.
    pub sealed: [u64; 3],
    /// Whether all with the file still hold the listed one, and whether any of them has halted.
    pub is_ignored: bool,
    pub halted: bool,
    /// Why the one halts that holds the rival and now starts with the file.
    pub reason: Option<&'static str>,
    /// Whether the evidence is the rival's certificate and the listed checkpoint.
    pub has_evidence: bool,
    /// Whether it comes to the others' seals with a new database.
    pub caught_up: bool,
    /// In the end, when all have the file, and new databases where they had the rival.
    pub end: Recovery,
}

/// All who stay restart with the new file, one after the other.
pub fn recovery(seed: &str) -> Recovery {
    let (mut world, listed, mut recovery) = until_agreed(seed);
    restart(&mut world, &listed, STAY, &mut recovery);
    finish(&mut world, STAY, recovery)
}

/// One of them has not restarted when the old voters come back without the file, for as long as it takes them to certify
/// another checkpoint of the index.
pub fn rival(seed: &str) -> Rival {
    let (mut world, listed, mut recovery) = until_agreed(seed);
    let index = listed.checkpoint.index;
    restart(&mut world, &listed, LATE, &mut recovery);
    let mut sealed = [adopted(&world, 0); 3];
    (STAY..NODES).for_each(|host| world.start_at(host, world.now));
    let until = world.now + 3 * round_ms(&world);
    run_while(&mut world, until, 1_000, |world| seal_of(world, LATE, index).is_none());
    world.run_until(world.now + world.cast.network.clock.slot_ms);
    let held = seal_of(&world, LATE, index);
    sealed[1] = adopted(&world, 0);
    (STAY..NODES).for_each(|host| world.switch_off(host));
    world.run_until(world.now + round_ms(&world));
    sealed[2] = adopted(&world, 0);
    let is_ignored = (0..LATE).all(|host| seal_of(&world, host, index) == Some(listed.checkpoint));
    let halted = (0..LATE).any(|host| world.checks.seals.halted.contains(&host));
    // The late one takes the file, with what it has.
    world.checks.may_halt.insert(LATE);
    give(&mut world, LATE, &listed);
    world.run_until(world.now + 30_000);
    let reason = halt::read(&world.hosts[LATE].disk).map(|record| record.reason);
    let has_evidence = reason.as_ref().is_some_and(|reason| shows(reason, held, &listed));
    renew(&mut world, LATE, &listed);
    world.run_until(world.now + world.cast.network.clock.slot_ms);
    let caught_up = (index..=adopted(&world, 0))
        .all(|index| seal_of(&world, LATE, index) == seal_of(&world, 0, index));
    (STAY..NODES).for_each(|host| renew(&mut world, host, &listed));
    world.run_until(world.now + 2 * round_ms(&world));
    Rival {
        is_certified: held.is_some_and(|held| held != listed.checkpoint),
        sealed,
        is_ignored,
        halted,
        reason: reason.map(|reason| reason.code()),
        has_evidence,
        caught_up,
        end: finish(&mut world, NODES, recovery),
    }
}

/// Whether the evidence of a halt is the seal that was held, and the listed checkpoint.
fn shows(reason: &HaltReason, held: Option<Checkpoint>, listed: &Listed) -> bool {
    match reason {
        HaltReason::Listed { held: quorum, listed: other } => {
            *other == listed.checkpoint && Some(quorum.checkpoint) == held
        }
        HaltReason::Certificates { .. } | HaltReason::Refused { .. } | HaltReason::State { .. } => {
            false
        }
    }
}

/// A host starts with the file and a new database.
fn renew(world: &mut World, host: usize, listed: &Listed) {
    world.switch_off(host);
    world.hosts[host].disk.wipe();
    give(world, host, listed);
}

/// Voters go, sealing waits, and those who stay agree on a checkpoint.
fn until_agreed(seed: &str) -> (World, Listed, Recovery) {
    let mut world = village(seed, &small(NODES));
    world.run_until(world.start_of(GOES));
    let before = adopted(&world, 0);
    (STAY..NODES).for_each(|host| world.switch_off(host));
    // In the middle of the round after the one whose last block is listed.
    world.run_until(end_of_forging(&world, LISTED) + round_ms(&world) / 2);
    let stalled = [before, adopted(&world, 0)];
    let host = &world.hosts[0];
    let node = host.node.as_ref().expect("who stays runs");
    let listed = node.listing(Round(LISTED), Round(GOES), &host.disk);
    let listed = listed.expect("those who stay were seen, and have made blocks");
    let is_right = world.checks.oracle.list(&listed) == Some(listed.checkpoint);
    let lost_blocks = world.checks.tips[0].height.0 - listed.checkpoint.height.0;
    let recovery = Recovery {
        stalled,
        is_right,
        lost_blocks,
        resumed_ms: None,
        restarts_ms: 0,
        round_ms: round_ms(&world),
        sealed: 0,
        sealed_round: 0,
        last_round: 0,
        voters: 0,
        one_tip: false,
        last_blocks: 0,
        violations: Vec::new(),
    };
    (world, listed, recovery)
}

/// The first so many hosts restart with the file, a slot and a half after each other, and wait for the first seal.
fn restart(world: &mut World, listed: &Listed, hosts: usize, recovery: &mut Recovery) {
    let from = world.now;
    for host in 0..hosts {
        give(world, host, listed);
        world.run_until(world.now + world.cast.network.clock.slot_ms * 3 / 2);
    }
    recovery.restarts_ms = world.now - from;
    let (until, next) = (world.now + 4 * recovery.round_ms, listed.checkpoint.index + 1);
    let resumed = run_while(world, until, 500, |world| !all_sealed(world, 0..hosts, next));
    recovery.resumed_ms = resumed.then_some(world.now - from);
}

/// A host restarts with a file that lists the checkpoint.
fn give(world: &mut World, host: usize, listed: &Listed) {
    let mut network = Network::clone(&world.cast.network);
    network.checkpoints.push(listed.clone());
    // Written and read again, as an operator would have it.
    let text = network.to_toml();
    let network = Network::parse(&text).expect("the file of a network that lists a checkpoint");
    world.hosts[host].network = Some(Rc::new(network));
    world.restart(host, 3_000);
}

/// Two more rounds, and how those with the file stand then.
fn finish(world: &mut World, hosts: usize, recovery: Recovery) -> Recovery {
    let last_round = world.now / round_ms(world) + 2;
    let slot_ms = world.cast.network.clock.slot_ms;
    world.run_until(end_of_forging(world, last_round) + slot_ms * 9 / 10);
    world.check_disks();
    let tip = world.checks.tips[0];
    let chain = world.checks.oracle.down(&tip.hash);
    let last_blocks = chain.take_while(|block| block.round.0 == last_round).count();
    let sealed = world.checks.seals.adopted(0);
    Recovery {
        sealed: sealed.map_or(0, |seal| seal.index),
        sealed_round: sealed.map_or(0, |seal| seal.round.0),
        last_round,
        voters: state_of(world, 0).map_or(0, |state| state.voters.len()),
        one_tip: (0..hosts).all(|host| world.checks.tips[host] == tip),
        last_blocks,
        violations: world.checks.violations.clone(),
        ..recovery
    }
}
