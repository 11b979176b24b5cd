//! A registry that some of the voters do not know yet and others are not in, while a tenth of them is silent
//! (`docs/protocol.md` §5): seals come round after round, with the new registry as soon as enough know it, and with the
//! present one until then.

use std::rc::Rc;

use super::village::{adopted, end_of_forging, small, state_of};
use crate::machine::ledger::LedgerNews;
use crate::rules::registry::sealable;
use crate::sim::cast::Cast;
use crate::sim::checks::Violation;
use crate::sim::world::{Task, World};
use crate::types::clock::Timestamp;
use crate::types::hash::hash;
use crate::types::pow::{COIN, Order, OrderKind, PowAddress, PowBlock, PowRow};
use crate::types::rng::Rng;
use crate::types::seal::Registered;

/// HNs: a share of them is a whole number.
const NODES: usize = 20;
/// A tenth.
const SILENT: usize = 2;
/// Rounds that are to be sealed.
const ROUNDS: u64 = 5;
/// Virtual time before round 0, in which hosts find each other.
const LEAD_MS: u64 = 60_000;
/// Blocks of the ledger before round 0, the second with all registrations; and their time.
const BLOCKS_BEFORE: u64 = 20;
const BLOCK_MS: u64 = 30_000;

/// What came of it.
#[derive(Debug)]
pub struct LateRegistry {
    pub nodes: usize,
    pub silent: usize,
    /// HNs that never learn the registry.
    pub unknowing: usize,
    /// Founders that are not in it.
    pub dropped: usize,
    /// Rounds whose seal all hosts that run had adopted when the next round was half over; of how many.
    pub sealed: u64,
    pub rounds: u64,
    /// Whether the registry of the ledger was in force in the end, everywhere or nowhere.
    pub taken: bool,
    pub agreed: bool,
    pub violations: Vec<Violation>,
}

/// A network of which this share, in percent, has no ledger, and that many founders are not in it.
pub fn late_registry(seed: &str, unknowing_percent: usize, dropped: usize) -> LateRegistry {
    let mut shape = small(NODES);
    (shape.ledger, shape.active_min) = (true, 3);
    let mut rng = Rng::from_text(seed);
    let cast = Rc::new(Cast::new(&shape, &mut rng.fork("cast")));
    let start = Timestamp(cast.network.clock.origin.0 - LEAD_MS);
    let mut world = World::new(cast.clone(), Vec::new(), start, rng.fork("world"));
    world.checks.oracle.ledger = Some(registry(&cast, dropped));
    // Who is silent never came up.
    for host in SILENT..NODES {
        world.start_at(host, rng.below(LEAD_MS / 3));
    }
    world.add(LEAD_MS, Task::Inspect);
    let unknowing = NODES * unknowing_percent / 100;
    let knowing = SILENT..NODES - unknowing.min(NODES - SILENT);
    let origin = cast.network.clock.origin;
    let mut height = 0;
    let mut tell = |world: &mut World, until: u64| {
        while origin.0 - BLOCKS_BEFORE * BLOCK_MS + (height + 1) * BLOCK_MS <= start.0 + until {
            height += 1;
            let mined_at = Timestamp(origin.0 - BLOCKS_BEFORE * BLOCK_MS + height * BLOCK_MS);
            world.run_until(mined_at.0.saturating_sub(start.0).max(LEAD_MS / 2));
            let after = (height > 1).then(|| block(&cast, height - 1, dropped).id);
            let blocks = vec![block(&cast, height, dropped)];
            let news = LedgerNews::Blocks { after, blocks, end: true };
            knowing.clone().for_each(|host| world.tell_ledger(host, news.clone()));
        }
        world.run_until(until);
    };
    let (mut sealed, running) = (0, SILENT..NODES);
    for round in 0..ROUNDS {
        let late = end_of_forging(&world, round) + cast.network.clock.round_ms() / 2;
        tell(&mut world, late);
        let is_sealed = |host| {
            let newest = world.checks.seals.adopted(host);
            newest.is_some_and(|seal| seal.index > 0 && seal.round.0 >= round)
        };
        sealed += u64::from(running.clone().all(is_sealed));
    }
    let expected = registry(&cast, dropped);
    let taken = |host| state_of(&world, host).is_some_and(|state| state.registry == expected);
    let all = running.clone().filter(|host| taken(*host)).count();
    let indices: Vec<u64> = running.clone().map(|host| adopted(&world, host)).collect();
    let agreed = (all == 0 || all == running.len()) && indices.iter().all(|it| *it == indices[0]);
    world.check_disks();
    let violations = world.checks.violations;
    let (nodes, silent, rounds, taken) = (NODES, SILENT, ROUNDS, all > 0);
    LateRegistry { nodes, silent, unknowing, dropped, sealed, rounds, taken, agreed, violations }
}

fn owner(host: usize) -> PowAddress {
    let digest = hash("sim-owner", &[&(host as u64).to_be_bytes()]);
    PowAddress(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

/// All founders but the last ones, with their owners.
fn registry(cast: &Cast, dropped: usize) -> Vec<Registered> {
    let of = |(host, founder): (usize, &crate::types::network::Founder)| Registered {
        address: cast.network.address_of(&founder.public_key),
        ip: founder.ip,
        port: founder.port,
        weight: 1,
        owner: owner(host),
        reward: owner(host),
        since: 2,
    };
    let founders = cast.network.founders.iter().enumerate().take(NODES - dropped);
    sealable(founders.map(of).collect::<Vec<_>>().iter())
}

/// A block of the ledger: the first brings the collateral, the second the registrations.
fn block(cast: &Cast, height: u64, dropped: usize) -> PowBlock {
    let origin = cast.network.clock.origin;
    let row = |host: usize| {
        let founder = &cast.network.founders[host];
        let address = cast.network.address_of(&founder.public_key);
        let data = format!("{}:{address}", founder.endpoint());
        let (kind, sender) = (OrderKind::Register, owner(host).to_string());
        let order = Order { height: 2, sender, kind, data };
        match height {
            1 => PowRow {
                sender: None,
                recipient: Some(owner(host)),
                sent: 0,
                received: 10_000 * COIN,
                order: None,
            },
            _ => PowRow {
                sender: Some(owner(host)),
                recipient: None,
                sent: 0,
                received: 0,
                order: Some(Box::new(order)),
            },
        }
    };
    let rows = if height <= 2 { (0..NODES - dropped).map(row).collect() } else { Vec::new() };
    PowBlock {
        height,
        id: hash("sim-pow", &[&height.to_be_bytes()]),
        mined_at: Some(Timestamp(origin.0 - BLOCKS_BEFORE * BLOCK_MS + height * BLOCK_MS)),
        last_row: i64::try_from(height).expect("few blocks"),
        damage: None,
        rows,
    }
}
