//! Faults as data: what goes wrong, when and to whom, drawn from a seed. A plan can be cut down fault by fault.

mod draw;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use draw::{draw, may_break};

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
    /// An HN votes twice, proposes two values, votes for what is not its own, withholds votes, or says nothing.
    Byzantine,
    /// The network falls in two just when a step of an instance begins.
    VoteCut,
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
#[derive(Debug, Clone)]
pub struct Stage {
    pub nodes: usize,
    /// Of each node.
    pub weights: Vec<u64>,
    /// The fewest that the voters can become.
    pub active_min: usize,
    pub slot_ms: u64,
    pub round_ms: u64,
    /// Start of the first round.
    pub start: u64,
    /// End of the faulty phase.
    pub heal: u64,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 19] = [
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
        FaultKind::Byzantine,
        FaultKind::VoteCut,
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
            FaultKind::Byzantine => "byzantine",
            FaultKind::VoteCut => "vote_cut",
            FaultKind::Stranger => "stranger",
        }
    }

    /// Whether it makes an HN break the protocol on purpose.
    pub fn is_byzantine(self) -> bool {
        match self {
            FaultKind::TwoBlocks
            | FaultKind::Withhold
            | FaultKind::BadBlock
            | FaultKind::Lie
            | FaultKind::Byzantine => true,
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
            | FaultKind::VoteCut
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
            FaultKind::VoteCut => rounds.div_ceil(2),
            // All that may be: fewer than a third.
            FaultKind::Byzantine => stage.nodes as u64,
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
}
