//! What the scenarios of round seals share: a network that runs, its moments, and what its hosts have sealed.

use std::rc::Rc;

use crate::machine::records::{self, Table};
use crate::rules::sealed::SealedState;
use crate::sim::cast::{Cast, Shape};
use crate::sim::world::{Task, World};
use crate::types::clock::Timestamp;
use crate::types::rng::Rng;
use crate::types::seal::Checkpoint;

/// Virtual time before round 0, in which hosts find each other.
const LEAD_MS: u64 = 60_000;
/// Hosts start within this time.
const START_MS: u64 = 20_000;

/// A network whose hosts start, all honest, with nothing that goes wrong by itself.
pub fn village(seed: &str, shape: &Shape) -> World {
    let mut rng = Rng::from_text(seed);
    let cast = Rc::new(Cast::new(shape, &mut rng.fork("cast")));
    let start = Timestamp(cast.network.clock.origin.0 - LEAD_MS);
    let mut world = World::new(cast, Vec::new(), start, rng.fork("world"));
    for host in 0..shape.nodes {
        world.start_at(host, rng.below(START_MS));
    }
    world.add(LEAD_MS, Task::Inspect);
    world
}

/// A smaller network than that of the main parameters: rounds of 7 slots of a minute, and one in which seals are made.
pub fn small(nodes: usize) -> Shape {
    let mut shape = Shape::new(nodes);
    (shape.slots, shape.slot_seconds) = (7, 60);
    shape
}

/// When the last forging slot of a round is over.
pub fn end_of_forging(world: &World, round: u64) -> u64 {
    let clock = world.cast.network.clock;
    world.start_of(round) + clock.slot_ms * u64::from(clock.slots)
}

/// Length of a round.
pub fn round_ms(world: &World) -> u64 {
    world.start_of(1) - world.start_of(0)
}

/// Lets time pass in steps while something goes on; whether it is over before a time.
pub fn run_while(
    world: &mut World,
    until: u64,
    step_ms: u64,
    goes_on: impl Fn(&World) -> bool,
) -> bool {
    while goes_on(world) {
        if world.now >= until || world.checks.is_full() {
            return false;
        }
        world.run_until((world.now + step_ms).min(until));
    }
    true
}

/// The newest seal that a host has adopted.
pub fn adopted(world: &World, host: usize) -> u64 {
    world.checks.seals.adopted(host).map_or(0, |checkpoint| checkpoint.index)
}

/// Whether all of these have adopted a seal of this index, or a later one.
pub fn all_sealed(world: &World, hosts: impl IntoIterator<Item = usize>, index: u64) -> bool {
    hosts.into_iter().all(|host| adopted(world, host) >= index)
}

/// The seal of an index on a host's disk.
pub fn seal_of(world: &World, host: usize, index: u64) -> Option<Checkpoint> {
    records::seal(&world.hosts[host].disk, index).map(|stored| *stored.checkpoint())
}

/// The newest sealed state on a host's disk.
pub fn state_of(world: &World, host: usize) -> Option<SealedState> {
    let rows = world.hosts[host].disk.rows(Table::States);
    rows.last().and_then(|(_, bytes)| SealedState::from_bytes(bytes).ok())
}
