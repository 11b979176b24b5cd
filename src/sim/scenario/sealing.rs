//! What agreement costs when nothing goes wrong: how long after the last slot of a round its certificate is there, and the
//! bytes of votes.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::sim::cast::{Cast, Shape};
use crate::sim::checks::Violation;
use crate::sim::traffic::{Traffic, VOTE_KIND, VOTING_KINDS};
use crate::sim::world::World;
use crate::types::clock::{Round, Slot};
use crate::types::rng::Rng;

/// Time is looked at in steps of this.
const STEP_MS: u64 = 10;
/// And told of in steps of this.
const TELL_MS: u64 = 10_000;
/// Rounds at the start that do not count, since genesis closes no round; and how many slots of the first there are: enough
/// for hosts to find each other and to be heard of in a block.
const LEAD_ROUNDS: u64 = 1;
const LEAD_SLOTS: u32 = 3;

/// Seals of a network without faults.
#[derive(Debug)]
pub struct Sealing {
    pub nodes: u64,
    /// Rounds that count, each with the milliseconds from the end of its last forging slot until the first host, half of
    /// the hosts and the last host had its certificate; nothing for who had none within a slot.
    pub first_ms: Vec<Option<u64>>,
    pub half_ms: Vec<Option<u64>>,
    pub last_ms: Vec<Option<u64>>,
    /// Views that all seals took together.
    pub views: u64,
    pub seals: u64,
    /// Bytes of votes, proposals and quorums that a host received in a round, on average; and of everything.
    pub vote_bytes: u64,
    pub bytes: u64,
    /// Votes that a host received in a round, on average, each as often as it came.
    pub votes: u64,
    pub violations: Vec<Violation>,
}

impl Sealing {
    /// The median of delays, those that never came last.
    pub fn median(delays: &[Option<u64>]) -> Option<u64> {
        let mut sorted: Vec<u64> = delays.iter().map(|ms| ms.unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().filter(|ms| *ms < u64::MAX)
    }
}

/// What is simulated: hosts with links of `link_ms` one way and up to a fifth more, the main network's dial lists and length
/// of a slot, no faults.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    pub nodes: usize,
    /// Those that count, and the forging slots of each: the main network has 19.
    pub rounds: u64,
    pub slots: u32,
    pub link_ms: u64,
}

/// Simulates it. `tell` hears now and then how much of the time is over, in percent.
pub fn sealing(seed: &str, trial: Trial, tell: &mut dyn FnMut(u64)) -> Sealing {
    let Trial { nodes, rounds, slots, link_ms } = trial;
    let mut rng = Rng::from_text(seed);
    let shape = Shape { slots, ..Shape::new(nodes) };
    let cast = Rc::new(Cast::new(&shape, &mut rng.fork("cast")));
    let clock = cast.network.clock;
    let start = clock.start_of(Round(0), Slot(clock.slots.saturating_sub(LEAD_SLOTS)));
    let mut world = World::new(cast, Vec::new(), start, rng.fork("world"));
    world.net.level(link_ms);
    for host in 0..nodes {
        world.start_at(host, rng.below(5_000));
    }
    let forging_ms = clock.slot_ms * u64::from(clock.slots);
    let mut found = Sealing {
        nodes: nodes as u64,
        first_ms: Vec::new(),
        half_ms: Vec::new(),
        last_ms: Vec::new(),
        views: 0,
        seals: 0,
        vote_bytes: 0,
        bytes: 0,
        votes: 0,
        violations: Vec::new(),
    };
    let (begin, last) = (world.now, world.start_of(LEAD_ROUNDS + rounds));
    let mut pass = |world: &mut World, until: u64| {
        while world.now < until {
            world.run_until(until.min(world.now + TELL_MS));
            tell(100 * (world.now - begin) / (last - begin));
        }
    };
    let lead = world.start_of(LEAD_ROUNDS);
    pass(&mut world, lead);
    let before = Traffic::sum(&world.traffic);
    for round in LEAD_ROUNDS..LEAD_ROUNDS + rounds {
        let end = world.start_of(round) + forging_ms;
        // By a clock that is ahead it is over a little earlier.
        pass(&mut world, end - clock.slot_ms / 4);
        let times = adopted(&mut world, nodes, Round(round), end);
        found.first_ms.push(times.first().copied());
        found.half_ms.push(times.get(nodes / 2).copied());
        found.last_ms.push(times.get(nodes - 1).copied());
    }
    pass(&mut world, last);
    let after = Traffic::sum(&world.traffic);
    let count = |traffic: &Traffic, of: fn(u8) -> bool| {
        let of_kinds = traffic.received.iter().filter(|(kind, _)| of(**kind));
        of_kinds.fold((0, 0), |(frames, bytes), (_, it)| (frames + it.frames, bytes + it.bytes))
    };
    let per_host = |of: fn(u8) -> bool| {
        let (was, is) = (count(&before, of), count(&after, of));
        let host_rounds = nodes as u64 * rounds;
        ((is.0 - was.0) / host_rounds, (is.1 - was.1) / host_rounds)
    };
    found.votes = per_host(|kind| kind == VOTE_KIND).0;
    found.vote_bytes = per_host(|kind| VOTING_KINDS.contains(&kind)).1;
    found.bytes = per_host(|_| true).1;
    found.views = world.checks.seals.views();
    found.seals = world.seals();
    found.violations = world.checks.violations;
    found
}

/// Runs until all hosts have the seal of a round, for at most a slot after its last forging slot, which ends at `end`. For
/// each that has it the milliseconds since then, in their order.
fn adopted(world: &mut World, nodes: usize, round: Round, end: u64) -> Vec<u64> {
    let mut held: BTreeMap<usize, u64> = BTreeMap::new();
    let until = end + world.cast.network.clock.slot_ms;
    while world.now < until && held.len() < nodes {
        world.run_until(world.now + STEP_MS);
        for host in 0..nodes {
            let newest = world.checks.seals.adopted(host);
            if newest.is_some_and(|seal| seal.round >= round) {
                held.entry(host).or_insert(world.now.saturating_sub(end));
            }
        }
    }
    let mut times: Vec<u64> = held.into_values().collect();
    times.sort_unstable();
    times
}
