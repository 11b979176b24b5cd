//! Votes lost just as they are sent: nothing but sending them again brings the seal.

use super::village::{all_sealed, end_of_forging, run_while, seal_of, small, village};
use crate::sim::checks::Violation;
use crate::sim::world::{Loss, Sides};
use crate::types::rng::Rng;
use crate::types::seal::Step;

/// Hosts.
pub const NODES: usize = 12;
/// The seal of round 1.
const INDEX: u64 = 2;
const ROUND: u64 = 1;
/// How long a cut lasts.
const CUT_MS: u64 = 4_000;

/// How votes are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Two halves: connections between them end, with what is on its way, and cannot be made for a while.
    Halves,
    /// Likewise, with each host on its own.
    Everyone,
    /// Connections stand, and all votes of the step are lost for everybody in its first seconds.
    Silently,
}

/// What came of it.
#[derive(Debug)]
pub struct Cut {
    /// Voters whose vote was out when it came, and how many votes were lost.
    pub voted: usize,
    pub votes_lost: u64,
    /// Whether anybody had the seal by then.
    pub sealed_before: bool,
    /// View of the decision, and whether the seal is of the round that the votes were about.
    pub view: Option<u32>,
    pub same_round: bool,
    /// From the end of the loss to the seal at everybody, and the period after which votes are sent again.
    pub took_ms: Option<u64>,
    pub base_ms: u64,
    pub violations: Vec<Violation>,
}

/// The votes of a step are lost when so many voters have sent theirs.
pub fn cut(seed: &str, how: How, step: Step, voted: usize) -> Cut {
    let mut world = village(seed, &small(NODES));
    let end = end_of_forging(&world, ROUND);
    world.run_until(end - 1_000);
    let base_ms = world.cast.network.clock.slot_ms / 12;
    let (sides, lasts_ms): (Sides, u64) = match how {
        How::Halves => (halves(&mut Rng::from_text(seed)), CUT_MS),
        How::Everyone => ((0..NODES).collect(), CUT_MS),
        How::Silently => (vec![0; NODES], base_ms / 2),
    };
    if how == How::Silently {
        let (to, for_ms) = (vec![true; NODES], lasts_ms);
        world.losses.push(Loss { index: INDEX, step, to, for_ms, since: None });
    }
    run_while(&mut world, end + 60_000, 1, |world| world.checks.votes_in(INDEX, 0, step) < voted);
    let voted = world.checks.votes_in(INDEX, 0, step);
    let sealed_before = (0..NODES).any(|host| seal_of(&world, host, INDEX).is_some());
    world.split(&sides, true);
    world.run_until(world.now + lasts_ms);
    world.rejoin(&sides);
    let (mended, votes_lost) = (world.now, world.votes_lost);
    let late = mended + 20 * base_ms;
    let sealed = run_while(&mut world, late, 50, |world| !all_sealed(world, 0..NODES, INDEX));
    let took_ms = sealed.then_some(world.now - mended);
    let seal = seal_of(&world, 0, INDEX);
    let decided = seal.and_then(|seal| world.checks.seals.decided.get(&seal.id()));
    Cut {
        voted,
        votes_lost,
        sealed_before,
        view: decided.map(|(view, _)| *view),
        same_round: seal.is_some_and(|seal| seal.round.0 == ROUND),
        took_ms,
        base_ms,
        violations: world.checks.violations,
    }
}

/// Two halves, drawn.
fn halves(rng: &mut Rng) -> Sides {
    let mut sides = vec![0; NODES];
    while sides.iter().sum::<usize>() < NODES / 2 {
        sides[rng.index(NODES)] = 1;
    }
    sides
}
