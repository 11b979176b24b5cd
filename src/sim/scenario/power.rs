//! Power cuts around the commit: a voter that has locked a value must come back with its lock, whatever effect of the
//! commit was its last.

use super::village::{all_sealed, end_of_forging, round_ms, run_while, seal_of, small, village};
use crate::machine::records::{self, Reader, Table};
use crate::sim::checks::Violation;
use crate::sim::host::{Crash, Moment};
use crate::sim::world::{Loss, World};
use crate::types::seal::{Quorum, Step};
use crate::types::sign::Lock;

/// Hosts.
pub const NODES: usize = 10;
/// The seal of round 1.
const INDEX: u64 = 2;
const ROUND: u64 = 1;

/// Who loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everybody, for less than a slot.
    All,
    /// More than a third, for more than a round, while the others have heard of no prepare but their own: they go on
    /// forging, and the end of their chain is not what is locked.
    Third,
}

/// What came of it.
#[derive(Debug)]
pub struct Power {
    /// Hosts that crashed, those of them with the prepare quorum on disk, and those with a lock.
    pub crashed: usize,
    pub prepared: usize,
    pub locked: usize,
    /// Votes that did not reach the others.
    pub votes_lost: u64,
    /// Whether what was sealed is what the locks are on, of those that there are.
    pub locks_kept: bool,
    /// Round of the seal, and the last round that was finished on the best chain when power came back.
    pub sealed_round: Option<u64>,
    pub finished_round: u64,
    /// From power coming back to the seal at everybody.
    pub took_ms: Option<u64>,
    /// Whether the seal after it came within two rounds.
    pub went_on: bool,
    pub violations: Vec<Violation>,
}

/// Power goes after so many effects from the event on in which a voter notes its prepare quorum.
pub fn power(seed: &str, cut: Cut, effects_left: u64) -> Power {
    let mut world = village(seed, &small(NODES));
    let slot_ms = world.cast.network.clock.slot_ms;
    let (end, round_ms) = (end_of_forging(&world, ROUND), round_ms(&world));
    world.run_until(end - 1_000);
    let (struck, down_ms) = match cut {
        Cut::All => (0..NODES, slot_ms / 2),
        Cut::Third => (0..NODES / 3 + 1, round_ms + slot_ms),
    };
    for host in struck.clone() {
        let (moment, until) = (Moment::Locking, end + slot_ms);
        let crash = Crash { moment, effects_left, until, down_ms, power: true, restore: false };
        world.expect_crash(host, crash);
    }
    if cut == Cut::Third {
        let to: Vec<bool> = (0..NODES).map(|host| !struck.contains(&host)).collect();
        let (step, for_ms) = (Step::Prepare, slot_ms);
        world.losses.push(Loss { index: INDEX, step, to, for_ms, since: None });
    }
    let is_up = |world: &World, host: usize| world.hosts[host].node.is_some();
    run_while(&mut world, end + 20_000, 500, |world| struck.clone().any(|host| is_up(world, host)));
    let down: Vec<usize> = struck.clone().filter(|host| !is_up(&world, *host)).collect();
    let prepared = down.iter().filter(|host| quorum_on(&world, **host).is_some()).count();
    let locks: Vec<Lock> = down.iter().filter_map(|host| lock_on(&world, *host)).collect();
    let votes_lost = world.votes_lost;
    world.run_until(world.now + down_ms);
    let back = world.now;
    let finished_round = finished_round(&world, NODES - 1);
    let late = back + 2 * round_ms;
    let sealed = run_while(&mut world, late, 500, |world| !all_sealed(world, 0..NODES, INDEX));
    let took_ms = sealed.then_some(world.now - back);
    let went_on = run_while(&mut world, late, 500, |world| !all_sealed(world, 0..NODES, INDEX + 1));
    let seal = seal_of(&world, 0, INDEX);
    let kept = |lock: &Lock| seal.is_some_and(|seal| seal.id() == lock.value);
    Power {
        crashed: down.len(),
        prepared,
        locked: locks.len(),
        votes_lost,
        locks_kept: locks.iter().all(kept),
        sealed_round: seal.map(|seal| seal.round.0),
        finished_round,
        took_ms,
        went_on,
        violations: world.checks.violations,
    }
}

/// The last round with a block on a host's chain whose forging slots are over.
fn finished_round(world: &World, host: usize) -> u64 {
    let mut chain = world.checks.oracle.down(&world.checks.tips[host].hash);
    let finished = chain.find(|block| end_of_forging(world, block.round.0) < world.now);
    finished.map_or(0, |block| block.round.0)
}

/// The prepare quorum on a host's disk.
fn quorum_on(world: &World, host: usize) -> Option<Quorum> {
    let stored = world.hosts[host].disk.get(Table::Prepared, &records::index_key(INDEX));
    stored.and_then(|bytes| records::parse(&bytes))
}

/// The lock in a host's sign state.
fn lock_on(world: &World, host: usize) -> Option<Lock> {
    let vote = world.hosts[host].disk.signed.vote.filter(|vote| vote.index == INDEX);
    vote.and_then(|vote| vote.lock)
}
