//! Two halves that learn a seal at different times: one has its certificate, the other goes on without it. Their blocks
//! name different seals, so the anchors of later rounds differ, until they hear each other again.

use std::collections::BTreeSet;

use super::village::{
    adopted, all_sealed, end_of_forging, round_ms, run_while, seal_of, small, village,
};
use crate::sim::checks::Violation;
use crate::sim::world::{Loss, World};
use crate::types::clock::Round;
use crate::types::seal::Step;

/// Hosts: the first half learns the seal at once.
pub const NODES: usize = 14;
/// The seal of round 2.
const INDEX: u64 = 3;
const ROUND: u64 = 2;

/// What came of it.
#[derive(Debug)]
pub struct Halves {
    /// Commits that the second half did not get.
    pub votes_lost: u64,
    /// Hosts of each half that had adopted the seal when they parted, and when they met again.
    pub parted: [usize; 2],
    pub met: [usize; 2],
    /// Blocks that each half had made meanwhile, and the seals that these name.
    pub blocks: [usize; 2],
    pub named: [BTreeSet<u64>; 2],
    /// Rounds whose anchors differed when they met.
    pub anchors_differ: usize,
    /// From meeting to the seal at everybody, and to one tip of all.
    pub learnt_ms: Option<u64>,
    pub agreed_ms: Option<u64>,
    /// The newest seal, its round, and the round that was over last.
    pub seals: u64,
    pub sealed_round: u64,
    pub last_round: u64,
    /// Peers that anybody has set aside.
    pub set_aside: u32,
    pub violations: Vec<Violation>,
}

/// The second half is cut off for so many slots from the seal on.
pub fn halves(seed: &str, slots: u64) -> Halves {
    let mut world = village(seed, &small(NODES));
    let slot_ms = world.cast.network.clock.slot_ms;
    let end = end_of_forging(&world, ROUND);
    world.run_until(end - 1_000);
    let is_second = |host: usize| host >= NODES / 2;
    let (to, for_ms) = ((0..NODES).map(is_second).collect(), slot_ms / 2);
    world.losses.push(Loss { index: INDEX, step: Step::Commit, to, for_ms, since: None });
    let has_seal = |world: &World, host: usize| seal_of(world, host, INDEX).is_some();
    let nobody = |world: &World| !(0..NODES).any(|host| has_seal(world, host));
    run_while(&mut world, end + slot_ms / 2, 1, nobody);
    let sides = (0..NODES).map(|host| usize::from(is_second(host))).collect();
    world.split(&sides, true);
    let votes_lost = world.votes_lost;
    // What is on its way within the first half still comes.
    world.run_until(world.now + 2_000);
    let parted = count(&world);
    world.run_until(world.now + slots * slot_ms);
    let met = count(&world);
    let made = [0, NODES - 1].map(|host| names(&world, host));
    let anchors_differ = anchors_differ(&world, 0, NODES - 1);
    world.rejoin(&sides);
    let mended = world.now;
    let late = mended + 2 * round_ms(&world);
    let learnt = run_while(&mut world, late, 200, |world| !all_sealed(world, 0..NODES, INDEX));
    let learnt_ms = learnt.then_some(world.now - mended);
    let differ = |world: &World| (1..NODES).any(|it| world.checks.tips[it] != world.checks.tips[0]);
    let agreed = run_while(&mut world, late, 200, differ);
    let agreed_ms = agreed.then_some(world.now - mended);
    let last_round = mended / round_ms(&world) + 2;
    // The end of a seal slot, two rounds later.
    world.run_until(end_of_forging(&world, last_round) + slot_ms * 9 / 10);
    world.check_agreement(Round(last_round));
    world.check_seals(Round(last_round));
    world.check_disks();
    let sealed = world.checks.seals.adopted(0);
    let status = (0..NODES).filter_map(|host| world.status(host));
    Halves {
        votes_lost,
        parted,
        met,
        blocks: [made[0].len(), made[1].len()],
        anchors_differ,
        learnt_ms,
        agreed_ms,
        seals: world.seals(),
        sealed_round: sealed.map_or(0, |seal| seal.round.0),
        last_round,
        set_aside: status.map(|status| status.peers.set_aside).sum(),
        named: made.map(|names| names.into_iter().collect()),
        violations: world.checks.violations,
    }
}

/// Hosts of each half that have adopted the seal.
fn count(world: &World) -> [usize; 2] {
    [0..NODES / 2, NODES / 2..NODES]
        .map(|half| half.filter(|host| adopted(world, *host) >= INDEX).count())
}

/// The seals that the blocks since the sealed round on a host's chain name, one for each.
fn names(world: &World, host: usize) -> Vec<u64> {
    let chain = world.checks.oracle.down(&world.checks.tips[host].hash);
    let since = chain.take_while(|block| block.round.0 > ROUND);
    since.map(|block| block.seal.index).collect()
}

/// Rounds whose anchor is another on the one host's chain than on the other's.
fn anchors_differ(world: &World, one: usize, other: usize) -> usize {
    let anchor = |host: usize, round: u64| {
        world.checks.oracle.anchor(&world.checks.tips[host].hash, Round(round))
    };
    (ROUND..ROUND + 8).filter(|round| anchor(one, *round) != anchor(other, *round)).count()
}
