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
/// Rounds at the start that do not count: hosts find each other, and genesis closes no round.
const LEAD_ROUNDS: u64 = 1;

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

/// Hosts with links of `link_ms` one way and up to a fifth more, the main network's slots and dial lists, no faults.
pub fn sealing(seed: &str, nodes: usize, rounds: u64, link_ms: u64) -> Sealing {
    let mut rng = Rng::from_text(seed);
    let cast = Rc::new(Cast::new(&Shape::new(nodes), &mut rng.fork("cast")));
    let clock = cast.network.clock;
    let mut world =
        World::new(cast, Vec::new(), clock.start_of(Round(0), Slot(0)), rng.fork("world"));
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
    world.run_until(world.start_of(LEAD_ROUNDS));
    let before = Traffic::sum(&world.traffic);
    for round in LEAD_ROUNDS..LEAD_ROUNDS + rounds {
        let end = world.start_of(round) + forging_ms;
        // By a clock that is ahead it is over a little earlier.
        world.run_until(end - clock.slot_ms / 4);
        let mut held: BTreeMap<usize, u64> = BTreeMap::new();
        while world.now < end + clock.slot_ms && held.len() < nodes {
            world.run_until(world.now + STEP_MS);
            for host in 0..nodes {
                let newest = world.checks.seals.adopted(host);
                if newest.is_some_and(|seal| seal.round >= Round(round)) {
                    held.entry(host).or_insert(world.now.saturating_sub(end));
                }
            }
        }
        let mut times: Vec<u64> = held.into_values().collect();
        times.sort_unstable();
        found.first_ms.push(times.first().copied());
        found.half_ms.push(times.get(nodes / 2).copied());
        found.last_ms.push(times.get(nodes - 1).copied());
    }
    world.run_until(world.start_of(LEAD_ROUNDS + rounds));
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
