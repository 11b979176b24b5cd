//! A run from its options to its report, and the smallest plan that still shows what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::cast::{Cast, Shape};
use super::checks::Violation;
use super::faults::{Fault, FaultKind, Mix, Stage, draw};
use super::traffic::Traffic;
use super::world::{Task, World};
use crate::rules::plan::Test;
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::hash::Hash;
use crate::types::rng::Rng;
use crate::types::tx::{Body, Outcome, TestRole, Tx};

/// Hosts in a network: a registry holds no more.
pub const NODES_MAX: u32 = 4_096;
/// Rounds in a run: forty days of the main network.
pub const ROUNDS_MAX: u32 = 1_000;
/// Clients submit to so many hosts in a round, at most.
const SUBMISSIONS_MAX: usize = 24;
/// Virtual time before round 0, in which hosts find each other.
const LEAD_MS: u64 = 60_000;
/// Hosts start within this time.
const START_MS: u64 = 20_000;

/// What to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Any text.
    pub seed: String,
    pub nodes: u32,
    pub rounds: u32,
    pub faults: Mix,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    pub options: Options,
    /// Events delivered to nodes.
    pub events: u64,
    /// Height of the chain that the network ends with.
    pub blocks: u64,
    pub trace_hash: Hash,
    pub violations: Vec<Violation>,
    pub plan: Vec<Fault>,
    /// Slots of honest HNs that they filled, and why they did not fill the others.
    pub forged: u64,
    pub missed: BTreeMap<&'static str, u64>,
    /// Blocks that hosts refused, by code, and how often they saw two blocks for a slot.
    pub refused: BTreeMap<&'static str, u64>,
    pub equivocations: u64,
    pub traffic: Traffic,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: "1".to_owned(), nodes: 10, rounds: 6, faults: Mix::Default }
    }
}

impl Options {
    /// The command that runs this again.
    pub fn command(&self) -> String {
        let Options { seed, nodes, rounds, faults } = self;
        let faults = match faults {
            Mix::Default => String::new(),
            other => format!(" --faults {other}"),
        };
        let seed = seed.replace('\'', r"'\''");
        format!("hypernode sim --seed '{seed}' --nodes {nodes} --rounds {rounds}{faults}")
    }

    /// Rounds at the end in which nothing goes wrong any more: a third, and at least two.
    fn healed_rounds(&self) -> u64 {
        u64::from((self.rounds / 3).max(2).min(self.rounds))
    }

    fn rng(&self) -> Rng {
        Rng::from_text(&format!("{} {} {}", self.seed, self.nodes, self.rounds))
    }
}

impl Report {
    /// Faults of each kind in the plan.
    pub fn faults(&self) -> BTreeMap<FaultKind, u32> {
        let mut counts = BTreeMap::new();
        for fault in &self.plan {
            *counts.entry(fault.kind).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time / 1000;
        write!(f, "{}:{:02}:{:02} ", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        match self.host {
            Some(host) => write!(f, "host {host}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, at, until, host, amount, .. } = self;
        write!(f, "{kind} at host {host}, {} to {} s, {amount}", at / 1000, until / 1000)
    }
}

/// Runs a network.
pub fn run(options: &Options) -> Report {
    let shape = shape(options);
    let clock_ms = shape.slot_seconds * 1000;
    let round_ms = clock_ms * u64::from(shape.slots + shape.seal_slots);
    let stage = Stage {
        nodes: shape.nodes,
        slot_ms: clock_ms,
        round_ms,
        start: LEAD_MS,
        heal: LEAD_MS + (u64::from(options.rounds) - options.healed_rounds()) * round_ms,
    };
    let plan = draw(&options.faults, &stage, &mut options.rng().fork("plan"));
    run_plan(options, plan)
}

/// Cuts the plan of a run down, as long as something is wrong, in at most so many runs: the faults that matter.
pub fn shrink(report: &Report, runs_max: u32) -> Report {
    let mut best = report.clone();
    let mut runs = 0;
    let mut part = best.plan.len().div_ceil(2);
    while part > 0 && !best.violations.is_empty() {
        let mut from = 0;
        while from < best.plan.len() && runs < runs_max {
            let mut fewer = best.plan.clone();
            fewer.drain(from..(from + part).min(fewer.len()));
            runs += 1;
            let tried = run_plan(&best.options, fewer);
            if tried.violations.is_empty() {
                from += part;
            } else {
                best = tried;
            }
        }
        part /= 2;
    }
    best
}

/// The network of a seed: its weights and the peers that forging asks for differ.
fn shape(options: &Options) -> Shape {
    let mut rng = options.rng().fork("shape");
    let nodes = options.nodes as usize;
    let mut shape = Shape::new(nodes);
    shape.weighted = rng.one_in(2);
    shape.forge_peers_min = if nodes >= 8 { rng.below_u32(3) } else { 0 };
    shape
}

/// Runs a network with these faults instead of those of its seed.
pub fn run_plan(options: &Options, plan: Vec<Fault>) -> Report {
    let mut shape = shape(options);
    let strangers = plan.iter().filter(|fault| fault.kind == FaultKind::Stranger);
    shape.strangers = strangers.map(|fault| fault.host + 1 - shape.nodes).max().unwrap_or(0);
    let mut rng = options.rng();
    let cast = Rc::new(Cast::new(&shape, &mut rng.fork("cast")));
    let start = Timestamp(cast.network.clock.origin.0 - LEAD_MS);
    let mut world = World::new(cast, plan.clone(), start, rng.fork("world"));
    let mut starts = rng.fork("starts");
    for host in 0..world.hosts.len() {
        world.start_at(host, starts.below(START_MS));
    }
    let rounds = u64::from(options.rounds);
    let healed = rounds - options.healed_rounds();
    let heal = world.start_of(healed);
    world.add(heal, Task::Heal);
    world.add(LEAD_MS, Task::Inspect);
    submit(&mut world, rounds, &mut rng.fork("load"));
    // Two rounds after healing, and at the end: in the middle of the seal slots, when the last block has come.
    let seal_slot = Slot(shape.slots);
    let quiet = |world: &World, round: u64| {
        let into = world.cast.network.clock.slot_ms * (2 * u64::from(seal_slot.0) + 1) / 2;
        world.start_of(round) + into
    };
    for round in [healed + 1, rounds - 1] {
        world.run_until(quiet(&world, round));
        if !world.checks.is_full() {
            world.check_agreement(Round(round));
        }
    }
    if !world.checks.is_full() {
        world.check_messages(heal, Round(healed), Round(rounds - 1));
        world.check_duties(healed + 1..rounds);
        world.check_disks();
    }
    report(options, plan, &world)
}

/// Clients submit reports of tests to the HNs that are in them.
fn submit(world: &mut World, rounds: u64, rng: &mut Rng) {
    let cast = world.cast.clone();
    let clock = cast.network.clock;
    for round in 0..rounds {
        let plan = cast.plan(Round(round));
        for _ in 0..cast.nodes.min(SUBMISSIONS_MAX) {
            let slot = Slot(rng.below_u32(clock.slots));
            let tests = plan.tests.get(slot.0 as usize).map_or(&[][..], |tests| tests);
            if tests.is_empty() {
                continue;
            }
            let index = rng.index(tests.len());
            let Test { tester, tested, .. } = tests[index];
            let (role, address) = match rng.one_in(2) {
                true => (TestRole::Tester, tester),
                false => (TestRole::Tested, tested),
            };
            let key =
                cast.keys.iter().position(|key| cast.network.address_of(&key.public()) == address);
            let Some(host) = key else { continue };
            let (outcome, measured) = (Outcome::Passed, rng.below(10_000));
            let index = u32::try_from(index).expect("few tests");
            let body = Body::TestReport { slot, index, role, outcome, measured };
            let tx = Tx::sign(Round(round), body, &cast.keys[host], &cast.network, &cast.verifier);
            // Early enough that the slots after it can take it.
            let at = world.start_of(round) + rng.below(clock.slot_ms * u64::from(clock.slots));
            world.add(at, Task::Submit { host, tx: Box::new(tx) });
        }
    }
}

fn report(options: &Options, plan: Vec<Fault>, world: &World) -> Report {
    let mut missed: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut forged = 0;
    for ((host, ..), why) in &world.checks.duties {
        match why {
            _ if !world.hosts[*host].honest => {}
            None => forged += 1,
            Some(why) => *missed.entry(why.name()).or_default() += 1,
        }
    }
    Report {
        options: options.clone(),
        events: world.events(),
        blocks: world.best_honest().map_or(0, |tip| tip.height.0),
        trace_hash: world.trace_hash(),
        violations: world.checks.violations.clone(),
        plan,
        forged,
        missed,
        refused: world.checks.refused.clone(),
        equivocations: world.checks.equivocations,
        traffic: Traffic::sum(&world.traffic),
    }
}
