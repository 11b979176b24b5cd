//! The plan of a seed: which faults, when, and to whom.

use std::collections::BTreeSet;

use super::{Fault, FaultKind, Mix, Stage};
use crate::types::rng::Rng;

/// Draws a plan. Strangers have the numbers after the nodes'; they are as many as the plan has faults of their kind.
pub fn draw(mix: &Mix, stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let mut plan = Vec::new();
    let (order, most) = villains(stage, rng);
    // Whether the Byzantine know of each other, and what they do together, is one question for all.
    let together = rng.below(3);
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
                FaultKind::Byzantine => {
                    // Only who asks for more gets more.
                    let host = order.get(number).filter(|_| *mix != Mix::Default || number < most);
                    let Some(host) = host else { break };
                    *host
                }
                kind if kind.is_byzantine() => {
                    let Some(host) = pick(&order[..most], &mut rng) else { break };
                    host
                }
                _ => rng.index(stage.nodes),
            };
            let mut fault = one(kind, host, stage, &mut rng);
            if kind == FaultKind::Byzantine {
                fault.amount = i64::try_from(together).expect("small");
            }
            plan.push(fault);
        }
    }
    plan.sort_by_key(|fault| (fault.at, fault.kind, fault.host));
    plan
}

fn pick(from: &[usize], rng: &mut Rng) -> Option<usize> {
    (!from.is_empty()).then(|| from[rng.index(from.len())])
}

/// Whether so many of these weights can break agreement once the lightest of the others are inactive: a third of what is
/// left.
pub fn may_break(weights: &[u64], active_min: usize, bad: &BTreeSet<usize>) -> bool {
    let weight: u64 = bad.iter().map(|host| weights[*host]).sum();
    let mut good: Vec<u64> =
        (0..weights.len()).filter(|host| !bad.contains(host)).map(|host| weights[host]).collect();
    good.sort_unstable();
    let left = active_min.saturating_sub(bad.len());
    weight > 0 && 2 * weight >= good.iter().take(left).sum::<u64>()
}

/// All HNs in the order in which they would break the protocol, and how many of them may: less than a third by weight.
fn villains(stage: &Stage, rng: &mut Rng) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..stage.nodes).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, rng.index(at + 1));
    }
    let mut chosen = BTreeSet::new();
    // Those that would be too many step back.
    let (mut bad, mut rest) = (Vec::new(), Vec::new());
    for host in order {
        chosen.insert(host);
        if may_break(&stage.weights, stage.active_min, &chosen) {
            chosen.remove(&host);
            rest.push(host);
        } else {
            bad.push(host);
        }
    }
    let most = bad.len();
    bad.extend(rest);
    (bad, most)
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
        // Armed until the step comes; which step it is, and for how long, is drawn from its seed.
        FaultKind::VoteCut => (at, phase, 0),
        FaultKind::TwoBlocks
        | FaultKind::Withhold
        | FaultKind::BadBlock
        | FaultKind::Lie
        | FaultKind::Byzantine
        | FaultKind::Stranger => (stage.start, phase, 0),
    };
    let until = (at + length).min(stage.heal).max(at);
    let amount = sign * i64::try_from(amount).expect("amounts are small");
    Fault { kind, at, until, host, amount, seed: rng.next_u64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_keeps_to_its_phase_and_below_a_third() {
        let stage = Stage {
            nodes: 10,
            weights: vec![1; 10],
            active_min: 10,
            slot_ms: 1000,
            round_ms: 20_000,
            start: 500,
            heal: 80_500,
        };
        let plan = draw(&Mix::Default, &stage, &mut Rng::from_text("plan"));
        assert_eq!(plan, draw(&Mix::Default, &stage, &mut Rng::from_text("plan")));
        let mut villains = BTreeSet::new();
        for fault in &plan {
            assert!(fault.at <= fault.until && fault.until <= stage.heal, "{fault:?}");
            if fault.kind.is_byzantine() {
                villains.insert(fault.host);
            }
        }
        assert_eq!(villains.len(), 3);
        let kinds: BTreeSet<FaultKind> = plan.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), FaultKind::ALL.len());
    }
}
