//! An outage in which three of many go on forging. Their rounds have a block in less than half of their slots, so who is
//! seen in them must not become the committee: when the others return, these vote, and seal what was missed.

use super::village::{adopted, all_sealed, round_ms, run_while, seal_of, state_of, village};
use crate::sim::cast::Shape;
use crate::sim::checks::Violation;
use crate::sim::world::World;

/// Who goes on.
const LEFT: usize = 3;
/// Rounds before the outage: more than activity looks back.
const BEFORE: u64 = 4;
/// Rounds of the outage, likewise.
const ROUNDS: u64 = 4;

/// How the others are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Their machines are off.
    Off,
    /// They run, and each hears nobody.
    Alone,
}

/// What came of it.
#[derive(Debug)]
pub struct Outage {
    pub nodes: usize,
    pub slots: u64,
    /// Blocks of each round of the outage on the chain of the three.
    pub blocks: Vec<u64>,
    /// Newest seal when it began, and at the three when it ended.
    pub sealed: [u64; 2],
    /// How long after the end all had adopted the next seal, and the length of a round.
    pub resumed_ms: Option<u64>,
    pub round_ms: u64,
    /// Rounds of the seals made after it, and the last round of the outage that has a block.
    pub rounds: Vec<u64>,
    pub last_round: u64,
    /// Voters before the outage, after its first seal, and rounds later.
    pub voters: [usize; 3],
    /// Whether the first seal kept the voters as they were.
    pub voters_kept: bool,
    pub violations: Vec<Violation>,
}

/// An outage of four rounds in a network of so many.
pub fn outage(seed: &str, nodes: usize, away: Away) -> Outage {
    let mut shape = Shape::new(nodes);
    // Not the minimum of active HNs is to be what keeps the voters.
    shape.active_min = 3;
    let mut world = village(seed, &shape);
    let from = world.start_of(BEFORE);
    world.run_until(from);
    let before = state_of(&world, 0).map(|state| state.voters).unwrap_or_default();
    let first = adopted(&world, 0);
    // The three stay together, everybody else is alone.
    let sides = (0..nodes).map(|host| (host + 1).saturating_sub(LEFT)).collect();
    match away {
        Away::Off => (LEFT..nodes).for_each(|host| world.switch_off(host)),
        Away::Alone => world.split(&sides, false),
    }
    let end = world.start_of(BEFORE + ROUNDS);
    world.run_until(end);
    let last = adopted(&world, 0);
    let blocks = blocks(&world);
    let last_round = (BEFORE..).zip(&blocks).filter(|(_, blocks)| **blocks > 0).last();
    match away {
        Away::Off => (LEFT..nodes).for_each(|host| world.start_at(host, end)),
        Away::Alone => world.rejoin(&sides),
    }
    let round_ms = round_ms(&world);
    let resumed = run_while(&mut world, end + 3 * round_ms, 1_000, |world| {
        !all_sealed(world, 0..nodes, first + 1)
    });
    let resumed_ms = resumed.then_some(world.now - end);
    let after = state_of(&world, 0).map(|state| state.voters).unwrap_or_default();
    world.run_until(world.start_of(BEFORE + ROUNDS + 3));
    world.check_disks();
    let later = state_of(&world, 0).map_or(0, |state| state.voters.len());
    let rounds = (first + 1..).map_while(|index| seal_of(&world, 0, index));
    Outage {
        nodes,
        slots: u64::from(shape.slots),
        sealed: [first, last],
        resumed_ms,
        round_ms,
        rounds: rounds.map(|seal| seal.round.0).collect(),
        last_round: last_round.map_or(0, |(round, _)| round),
        voters: [before.len(), after.len(), later],
        voters_kept: before == after,
        blocks,
        violations: world.checks.violations,
    }
}

/// Blocks of each round of the outage on the chain of the first host.
fn blocks(world: &World) -> Vec<u64> {
    let chain = world.checks.oracle.chain(&world.checks.tips[0].hash);
    let of = |round: u64| chain.iter().filter(|block| block.round.0 == round).count() as u64;
    (BEFORE..BEFORE + ROUNDS).map(of).collect()
}
