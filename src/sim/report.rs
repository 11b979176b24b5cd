//! A run from its options to its report, and the smallest plan that still shows what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::cast::{Cast, Shape};
use super::checks::{Misvotes, Violation};
use super::faults::{Fault, FaultKind, Mix, Stage, draw, may_break};
use super::traffic::Traffic;
use super::world::{Task, World};
use crate::types::clock::{Round, Timestamp};
use crate::types::hash::Hash;
use crate::types::rng::Rng;

/// Hosts in a network: a registry holds no more.
pub const NODES_MAX: u32 = 4_096;
/// Rounds in a run: forty days of the main network.
pub const ROUNDS_MAX: u32 = 1_000;
/// Clients submit to so many hosts in a round, at most.
const SUBMISSIONS_MAX: usize = 24;
/// Virtual time before round 0, in which hosts find each other.
const LEAD_MS: u64 = 60_000;
/// The last seal may take so many slots more than the others.
const LAST_SEAL_SLOTS: u64 = 5;
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
    pub two_blocks: u64,
    /// What Byzantine voters said.
    pub misvotes: Misvotes,
    /// Seals that the network ends with, and the views that it took to decide them.
    pub seals: u64,
    pub views: u64,
    /// Seals for which two checkpoints were certified: the Byzantine were too many.
    pub conflicts: u64,
    /// Honest HNs that halted.
    pub halted: u64,
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
    let stage = stage(options);
    let plan = draw(&options.faults, &stage, &mut options.rng().fork("plan"));
    run_plan(options, plan)
}

/// Where and when a plan for these options may have faults.
pub fn stage(options: &Options) -> Stage {
    let shape = shape(options);
    let clock_ms = shape.slot_seconds * 1000;
    let round_ms = clock_ms * u64::from(shape.slots + shape.seal_slots);
    Stage {
        nodes: shape.nodes,
        weights: shape.weights(&options.rng().fork("cast")),
        active_min: shape.active_min as usize,
        slot_ms: clock_ms,
        round_ms,
        start: LEAD_MS,
        heal: LEAD_MS + (u64::from(options.rounds) - options.healed_rounds()) * round_ms,
    }
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
    // In half of the networks voters come and go, and never fewer than nine tenths.
    let fewest = options.nodes.div_ceil(10) * 9;
    shape.active_min = if rng.one_in(2) { fewest.min(options.nodes) } else { options.nodes };
    shape.activity_rounds = 1 + rng.below_u32(3);
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
    let stage = stage(options);
    let bad = plan.iter().filter(|fault| fault.kind.is_byzantine());
    let bad: BTreeSet<usize> = bad.map(|fault| fault.host).collect();
    world.checks.seals.may_break = may_break(&stage.weights, stage.active_min, &bad);
    let rounds = u64::from(options.rounds);
    let healed = rounds - options.healed_rounds();
    let heal = world.start_of(healed);
    world.add(heal, Task::Heal);
    world.add(LEAD_MS, Task::Inspect);
    submit(&mut world, rounds, &mut rng.fork("load"));
    judge(&mut world, healed, rounds);
    report(options, plan, &world)
}

/// Lets the time pass, and looks at what has become of the network.
fn judge(world: &mut World, healed: u64, rounds: u64) {
    let clock = world.cast.network.clock;
    // Two rounds after healing, and at the end: in the middle of the seal slots, when the last block has come.
    let quiet = |world: &World, round: u64| {
        world.start_of(round) + clock.slot_ms * (2 * u64::from(clock.slots) + 1) / 2
    };
    for round in [healed + 1, rounds - 1] {
        world.run_until(quiet(world, round));
        if !world.checks.is_full() && !world.checks.seals.may_break {
            world.check_agreement(Round(round));
            world.check_seals(Round(round.saturating_sub(1)));
        }
    }
    let heal = world.start_of(healed);
    if !world.checks.is_full() && !world.checks.seals.may_break {
        world.check_messages(heal, Round(healed), Round(rounds - 1));
        world.check_duties(healed + 1..rounds);
        world.check_disks();
    }
    // The seal of the last round comes after its last block.
    world.run_until(world.start_of(rounds));
    // Voters that have given up their faults and cannot sign yet may be the first proposers: each takes a view, and views
    // become long.
    let allowed = (LAST_SEAL_SLOTS * clock.slot_ms).max(world.lost_to_proposers_ms());
    let late = world.start_of(rounds) + allowed;
    let may_go_on = |world: &World| world.now < late && !world.checks.is_full();
    while may_go_on(world) && !world.all_have_sealed(Round(rounds - 1)) {
        world.run_until(world.now + clock.slot_ms);
    }
    if !world.checks.is_full() && !world.checks.seals.may_break {
        world.check_seals(Round(rounds - 1));
    }
    world.check_broken();
}

/// Clients submit reports of tests to the HNs that are in them.
fn submit(world: &mut World, rounds: u64, rng: &mut Rng) {
    let clock = world.cast.network.clock;
    for round in 0..rounds {
        for _ in 0..world.cast.nodes.min(SUBMISSIONS_MAX) {
            let draw = rng.next_u64();
            // Early enough that the slots after it can take it.
            let at = world.start_of(round) + rng.below(clock.slot_ms * u64::from(clock.slots));
            world.add(at, Task::Submit { round: Round(round), draw });
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
        two_blocks: world.checks.two_blocks,
        misvotes: world.checks.misvotes(),
        seals: world.seals(),
        views: world.checks.seals.views(),
        conflicts: world.checks.seals.conflicts().count() as u64,
        halted: world.checks.seals.halted.iter().filter(|host| world.hosts[**host].honest).count()
            as u64,
        traffic: Traffic::sum(&world.traffic),
    }
}
