//! Runs that are about one thing, with what they measure; attacks by scripted villains are below.

mod bodyless;
mod late;
mod past;
mod private;
mod registry;
mod restored;
mod sealing;
mod stage;
mod stalled;
pub(super) mod village;

/// Votes lost just as they are sent.
pub mod cuts;
/// Two halves that learn a seal at different times.
pub mod halves;
/// An outage in which three go on.
pub mod outage;
/// Power cuts around the commit.
pub mod power;
/// Voters gone for good, and the way out.
pub mod recovery;

use std::rc::Rc;

use super::cast::{Cast, Shape};
use super::checks::Violation;
use super::faults::{Fault, FaultKind};
use super::prefab::Chain;
use super::traffic::Traffic;
use super::world::World;
use crate::types::clock::{Round, Slot};
use crate::types::message::Message;
use crate::types::rng::Rng;
use crate::types::sign::Standing;

pub use bodyless::{Bait, Bodyless, bodyless};
pub use late::{LateBlocks, Moment, late_block};
pub use past::{Newcomer, Past, old_keys};
pub use private::{PrivateBlocks, private_block};
pub use registry::{LateRegistry, late_registry};
pub use restored::{Restored, restored};
pub use sealing::{Sealing, Trial, sealing};
pub use stalled::{PrivateChain, private_chain};

/// How a newcomer caught up.
#[derive(Debug)]
pub struct Sync {
    /// Blocks of the best chain, and its bytes.
    pub blocks: u64,
    pub chain_bytes: u64,
    /// Whether the newcomer ends at its tip, after so many virtual milliseconds.
    pub reached: bool,
    pub took_ms: u64,
    /// All bytes that it received.
    pub bytes_received: u64,
    /// Headers that it held ahead of their bodies, at most.
    pub ahead_max: u64,
    pub violations: Vec<Violation>,
}

/// What gossip costs.
#[derive(Debug)]
pub struct Relay {
    pub nodes: u64,
    /// Distinct messages sent.
    pub messages: u64,
    /// Bodies of messages that all nodes together received.
    pub bodies_received: u64,
    /// Bytes that all nodes together received to announce, ask for and deliver messages, and in all.
    pub message_bytes: u64,
    pub bytes: u64,
    pub violations: Vec<Violation>,
}

/// Peers of the newcomer, by number of host.
const NEWCOMER: usize = 0;
const STALLER: usize = 1;
const LIAR: usize = 2;
const FORKED: usize = 3;
const DROPPER: usize = 4;
const FULL: usize = 5;

/// A newcomer 10,000 blocks behind with five peers: one stalls at one byte a second, one lies about its tip, one has a
/// valid shorter fork, one drops the connection after each range of bodies, and one is as it should be.
pub fn sync(seed: &str) -> Sync {
    const ROUNDS: u64 = 527;
    let mut rng = Rng::from_text(seed);
    let cast = Rc::new(Cast::new(&Shape::new(6), &mut rng.fork("cast")));
    let best = Chain::empty().extend(&cast, 0, 0..ROUNDS, |_, _| true);
    let kept = best.blocks.len() - 1_000;
    let from = best.blocks[kept].header.header.round.0 + 1;
    let shorter = best.extend(&cast, kept, from..ROUNDS, |_, slot| slot.0 % 3 != 1);
    let length = 3_600_000;
    let fault = |kind, host, amount| Fault { kind, at: 0, until: length, host, amount, seed: 1 };
    let plan = vec![fault(FaultKind::Slow, STALLER, 1), fault(FaultKind::Lie, LIAR, 0)];
    // In a seal slot: the chain stays as it is for a while.
    let seal_slot = Slot(cast.network.clock.slots);
    let start = cast.network.clock.start_of(Round(ROUNDS - 1), seal_slot);
    let mut world = World::new(cast.clone(), plan, start, rng.fork("world"));
    for host in [STALLER, LIAR, DROPPER, FULL] {
        world.hosts[host].disk = best.disk(&cast);
    }
    world.hosts[FORKED].disk = shorter.disk(&cast);
    for host in &mut world.hosts {
        // The chain has blocks of theirs, which nobody has signed here.
        host.disk.signed.standing = Standing::Waiting;
    }
    world.hosts[DROPPER].drops_after_bodies = true;
    // The peers know of nobody but the newcomer: each keeps the chain that it has.
    for one in STALLER..=FULL {
        for other in STALLER..=FULL {
            world.net.cut(one, other);
        }
        world.start_at(one, 0);
    }
    world.start_at(NEWCOMER, 1_000);
    let tip = best.tip(&cast);
    let mut ahead_max = 0;
    while world.checks.tips[NEWCOMER] != tip && world.now < cast.network.clock.slot_ms {
        world.run_until(world.now + 200);
        if let Some(status) = world.status(NEWCOMER) {
            let height = status.tip.point.height.0;
            ahead_max = ahead_max.max(status.sync.target.map_or(0, |target| target - height));
        }
    }
    Sync {
        blocks: tip.height.0,
        chain_bytes: best.bytes(),
        reached: world.checks.tips[NEWCOMER] == tip,
        took_ms: world.now - 1_000,
        bytes_received: world.traffic[NEWCOMER].bytes_received(),
        ahead_max,
        violations: world.checks.violations,
    }
}

/// A hundred HNs, eight dialled by each and a juror's fellow jurors besides, for some rounds.
pub fn relay(seed: &str, nodes: usize, rounds: u64) -> Relay {
    let mut rng = Rng::from_text(seed);
    let cast = Rc::new(Cast::new(&Shape::new(nodes), &mut rng.fork("cast")));
    let start = cast.network.clock.start_of(Round(0), Slot(0));
    let mut world = World::new(cast, Vec::new(), start, rng.fork("world"));
    for host in 0..nodes {
        world.start_at(host, rng.below(5_000));
    }
    world.run_until(world.start_of(rounds));
    let total = Traffic::sum(&world.traffic);
    let bytes_of = |kinds: &[u8]| {
        kinds.iter().filter_map(|kind| total.received.get(kind)).map(|count| count.bytes).sum()
    };
    let gossip = [Message::Have(vec![]), Message::Want(vec![]), Message::Messages(vec![])];
    Relay {
        nodes: nodes as u64,
        messages: world.checks.messages.len() as u64,
        bodies_received: total.bodies_received,
        message_bytes: bytes_of(&gossip.map(|message| message.kind())),
        bytes: total.bytes_received(),
        violations: world.checks.violations,
    }
}
