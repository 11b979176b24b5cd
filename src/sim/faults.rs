//! Faults as data: what goes wrong, when and to whom, drawn from a seed. A plan can be cut down fault by fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::types::rng::Rng;

/// Faults of one kind in a plan: more would leave nothing to observe.
const AMOUNT_MAX: u32 = 1_000;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Frames of a host meet lost packets.
    Loss,
    /// A host's connections are slow to answer.
    Delay,
    /// A host's gossip arrives twice.
    Duplicate,
    /// A host sends few bytes a second.
    Slow,
    /// The network falls in two.
    Partition,
    /// What one host sends, to another or to all, does not arrive.
    OneWay,
    /// A host stops between two effects, and starts again.
    Crash,
    /// A host's clock is off from the start.
    Skew,
    /// A host's clock is set, wrongly.
    Step,
    /// A host's disk takes no writes.
    FullDisk,
    /// A host crashes after it forged and comes back with an old database.
    Restore,
    /// A host starts later than the others, with nothing.
    Late,
    /// An HN signs two blocks for each of its slots.
    TwoBlocks,
    /// An HN keeps its blocks, or their messages, to itself.
    Withhold,
    /// An HN sends blocks and messages that are not valid.
    BadBlock,
    /// An HN claims a better chain than it has.
    Lie,
    /// Someone who is not registered sends blocks and messages.
    Stranger,
}

/// How many faults of each kind a plan has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mix {
    None,
    /// Of all kinds, as many as suit the number of hosts and rounds.
    Default,
    Of(BTreeMap<FaultKind, u32>),
}

/// One fault. Times are virtual milliseconds; what `amount` and `seed` mean depends on the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub at: u64,
    pub until: u64,
    pub host: usize,
    pub amount: i64,
    pub seed: u64,
}

/// Where and when faults can be: what a plan is drawn for.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    pub nodes: usize,
    pub slot_ms: u64,
    pub round_ms: u64,
    /// Start of the first round.
    pub start: u64,
    /// End of the faulty phase.
    pub heal: u64,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 17] = [
        FaultKind::Loss,
        FaultKind::Delay,
        FaultKind::Duplicate,
        FaultKind::Slow,
        FaultKind::Partition,
        FaultKind::OneWay,
        FaultKind::Crash,
        FaultKind::Skew,
        FaultKind::Step,
        FaultKind::FullDisk,
        FaultKind::Restore,
        FaultKind::Late,
        FaultKind::TwoBlocks,
        FaultKind::Withhold,
        FaultKind::BadBlock,
        FaultKind::Lie,
        FaultKind::Stranger,
    ];

    /// The name used in options and output.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Loss => "loss",
            FaultKind::Delay => "delay",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Slow => "slow",
            FaultKind::Partition => "partition",
            FaultKind::OneWay => "one_way",
            FaultKind::Crash => "crash",
            FaultKind::Skew => "skew",
            FaultKind::Step => "step",
            FaultKind::FullDisk => "full_disk",
            FaultKind::Restore => "restore",
            FaultKind::Late => "late",
            FaultKind::TwoBlocks => "two_blocks",
            FaultKind::Withhold => "withhold",
            FaultKind::BadBlock => "bad_block",
            FaultKind::Lie => "lie",
            FaultKind::Stranger => "stranger",
        }
    }

    /// Whether it makes an HN break the protocol on purpose.
    pub fn is_byzantine(self) -> bool {
        match self {
            FaultKind::TwoBlocks | FaultKind::Withhold | FaultKind::BadBlock | FaultKind::Lie => {
                true
            }
            FaultKind::Loss
            | FaultKind::Delay
            | FaultKind::Duplicate
            | FaultKind::Slow
            | FaultKind::Partition
            | FaultKind::OneWay
            | FaultKind::Crash
            | FaultKind::Skew
            | FaultKind::Step
            | FaultKind::FullDisk
            | FaultKind::Restore
            | FaultKind::Late
            | FaultKind::Stranger => false,
        }
    }

    /// Faults of this kind in a default plan: per ten hosts and four rounds where it concerns one host, per four rounds
    /// where it concerns all.
    fn usual(self, stage: &Stage) -> u32 {
        let rounds = stage.heal.saturating_sub(stage.start) / stage.round_ms;
        if rounds == 0 {
            return 0;
        }
        let host_rounds = stage.nodes as u64 * rounds;
        let amount = match self {
            FaultKind::Crash => 1 + host_rounds / 10,
            FaultKind::Restore | FaultKind::Step => 1 + host_rounds / 40,
            FaultKind::Loss
            | FaultKind::Delay
            | FaultKind::Duplicate
            | FaultKind::OneWay
            | FaultKind::FullDisk => 1 + host_rounds / 60,
            FaultKind::Slow | FaultKind::Skew | FaultKind::Late => 1 + stage.nodes as u64 / 20,
            FaultKind::Partition => rounds.div_ceil(3),
            FaultKind::TwoBlocks
            | FaultKind::Withhold
            | FaultKind::BadBlock
            | FaultKind::Lie
            | FaultKind::Stranger => 1 + stage.nodes as u64 / 40,
        };
        u32::try_from(amount).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        match text {
            "none" => return Ok(Mix::None),
            "default" => return Ok(Mix::Default),
            _ => {}
        }
        let mut amounts = BTreeMap::new();
        for part in text.split(',') {
            let (name, amount) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not kind=amount"))?;
            let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(|| {
                let names = FaultKind::ALL.map(FaultKind::name).join(", ");
                format!("{name:?} is no fault; there are {names}")
            })?;
            let digits = amount.bytes().all(|byte| byte.is_ascii_digit());
            let count = amount.parse().ok().filter(|count| digits && *count <= AMOUNT_MAX);
            let count =
                count.ok_or_else(|| format!("{amount:?} is not a number up to {AMOUNT_MAX}"))?;
            if amounts.insert(kind, count).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        Ok(Mix::Of(amounts))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mix::None => f.write_str("none"),
            Mix::Default => f.write_str("default"),
            Mix::Of(amounts) => {
                let parts: Vec<String> =
                    amounts.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

/// Draws a plan. Strangers have the numbers after the nodes'; they are as many as the plan has faults of their kind.
pub fn draw(mix: &Mix, stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let mut plan = Vec::new();
    let villains = villains(stage.nodes, rng);
    for kind in FaultKind::ALL {
        let amount = match mix {
            Mix::None => 0,
            Mix::Default => kind.usual(stage),
            Mix::Of(amounts) => amounts.get(&kind).copied().unwrap_or(0),
        };
        // A stream for each kind: more faults of one do not move those of another.
        let mut rng = rng.fork(kind.name());
        for number in 0..amount as usize {
            let host = match kind {
                FaultKind::Stranger => stage.nodes + number,
                kind if kind.is_byzantine() => {
                    let Some(host) = pick(&villains, &mut rng) else { break };
                    host
                }
                _ => rng.index(stage.nodes),
            };
            plan.push(one(kind, host, stage, &mut rng));
        }
    }
    plan.sort_by_key(|fault| (fault.at, fault.kind, fault.host));
    plan
}

fn pick(from: &[usize], rng: &mut Rng) -> Option<usize> {
    (!from.is_empty()).then(|| from[rng.index(from.len())])
}

/// The HNs that may break the protocol: fewer than a third.
fn villains(nodes: usize, rng: &mut Rng) -> Vec<usize> {
    let most = nodes.saturating_sub(1) / 3;
    let mut chosen = BTreeSet::new();
    while chosen.len() < most.min(8) {
        chosen.insert(rng.index(nodes));
    }
    chosen.into_iter().collect()
}

fn one(kind: FaultKind, host: usize, stage: &Stage, rng: &mut Rng) -> Fault {
    let (slot, round) = (stage.slot_ms, stage.round_ms);
    let phase = stage.heal.saturating_sub(stage.start).max(1);
    let at = stage.start + rng.below(phase);
    let sign = if rng.one_in(2) { 1 } else { -1 };
    let steps = [300, 600, 5_000, 60_000, slot, 5 * slot, round];
    let (at, length, amount) = match kind {
        FaultKind::Loss => (at, slot + rng.below(round), 20 + rng.below(300)),
        FaultKind::Delay => (at, slot + rng.below(round), 500 + rng.below(10_000)),
        FaultKind::Duplicate => (at, slot + rng.below(2 * round), 100 + rng.below(500)),
        FaultKind::Slow => (at, slot + rng.below(round), [1, 200, 2_000, 20_000][rng.index(4)]),
        FaultKind::Partition => (at, slot + rng.below(3 * round / 2), 0),
        FaultKind::OneWay => (at, 10_000 + rng.below(4 * slot), rng.below(3)),
        // Half of the restarts are soon enough to be in the same slot.
        FaultKind::Crash => {
            let down = if rng.one_in(2) { 500 + rng.below(slot / 2) } else { rng.below(round) };
            (at, round, down)
        }
        FaultKind::Skew => (0, stage.heal, 1_000 + rng.below(20_000)),
        FaultKind::Step => (at, 1, steps[rng.index(steps.len())]),
        FaultKind::FullDisk => (at, slot / 4 + rng.below(round), 0),
        FaultKind::Restore => (at, round, 500 + rng.below(slot / 4)),
        FaultKind::Late => (0, stage.start + rng.below(phase), 0),
        FaultKind::TwoBlocks | FaultKind::Withhold | FaultKind::BadBlock | FaultKind::Lie => {
            (stage.start, phase, 0)
        }
        FaultKind::Stranger => (stage.start, phase, 0),
    };
    let until = (at + length).min(stage.heal).max(at);
    let amount = sign * i64::try_from(amount).expect("amounts are small");
    Fault { kind, at, until, host, amount, seed: rng.next_u64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_as_it_is_written() {
        for text in ["none", "default", "loss=3,crash=0", "stranger=1"] {
            assert_eq!(text.parse::<Mix>().map(|mix| mix.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "loss", "loss=+1", "loss=1,loss=2", "los=1", "loss=1001", "loss= 1"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_plan_keeps_to_its_phase_and_below_a_third() {
        let stage = Stage { nodes: 10, slot_ms: 1000, round_ms: 20_000, start: 500, heal: 80_500 };
        let plan = draw(&Mix::Default, &stage, &mut Rng::from_text("plan"));
        assert_eq!(plan, draw(&Mix::Default, &stage, &mut Rng::from_text("plan")));
        let mut villains = BTreeSet::new();
        for fault in &plan {
            assert!(fault.at <= fault.until && fault.until <= stage.heal, "{fault:?}");
            if fault.kind.is_byzantine() {
                villains.insert(fault.host);
            }
        }
        assert!(villains.len() <= 3);
        let kinds: BTreeSet<FaultKind> = plan.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), FaultKind::ALL.len());
    }
}
