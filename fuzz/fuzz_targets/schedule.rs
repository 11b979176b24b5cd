//! A small network in virtual time, in which the input says what goes wrong: nothing that must never be happens, and
//! once the faults are over the network goes on and seals (`hypernode::sim` says what is looked at).
//!
//! An input is a byte for the number of hosts, one for the seed, and eight for each fault.

#![no_main]

use hypernode::sim::{Fault, FaultKind, Mix, Options, Report, Stage, run_plan, stage};
use libfuzzer_sys::fuzz_target;

/// Two rounds with faults, two without.
const ROUNDS: u32 = 4;
const FAULT_BYTES: usize = 8;
const FAULTS_MAX: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    let [nodes, seed, bytes @ ..] = bytes else { return };
    // Of four hosts one may break the protocol.
    let (nodes, seed) = (4 + u32::from(nodes % 2), seed.to_string());
    let options = Options { seed, nodes, rounds: ROUNDS, faults: Mix::None };
    let stage = stage(&options);
    let faults = bytes.chunks_exact(FAULT_BYTES).take(FAULTS_MAX);
    let mut plan: Vec<Fault> = faults.map(|bytes| fault(bytes, &stage)).collect();
    plan.sort_by_key(|fault| (fault.at, fault.kind, fault.host));
    let report = run_plan(&options, plan);
    assert!(report.violations.is_empty(), "{}", said(&report));
    assert!(report.seals >= u64::from(ROUNDS) - 2, "{} seals; {}", report.seals, said(&report));
    assert_eq!((report.conflicts, report.halted), (0, 0), "{}", said(&report));
});

/// Kind, host, when (2), for how long, how much, and what else the fault chooses (2). Amounts are those of drawn plans.
fn fault(bytes: &[u8], stage: &Stage) -> Fault {
    let [host, length, amount] = [1, 4, 5].map(|at| u64::from(bytes[at]));
    let [moment, seed] = [2, 6].map(|at| u64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]])));
    let kind = FaultKind::ALL[usize::from(bytes[0]) % FaultKind::ALL.len()];
    let (slot, round) = (stage.slot_ms, stage.round_ms);
    let phase = stage.heal - stage.start;
    let at = stage.start + phase * moment / 0x1_0000;
    // Short times are as likely as long ones.
    let time = |byte: u64| round * byte * byte / (255 * 255);
    let until = at + time(length);
    let sign = if seed % 2 == 0 { 1 } else { -1 };
    let steps = [300, 600, 5_000, 60_000, slot, 5 * slot, round];
    let (at, until, amount) = match kind {
        FaultKind::Loss => (at, until, 20 + amount),
        FaultKind::Delay => (at, until, 500 + 40 * amount),
        FaultKind::Duplicate => (at, until, 100 + 2 * amount),
        FaultKind::Slow => (at, until, [1, 200, 2_000, 20_000][bytes[5] as usize % 4]),
        FaultKind::Partition | FaultKind::FullDisk => (at, until, 0),
        FaultKind::OneWay => (at, until, amount % 3),
        FaultKind::Crash => (at, at + round, time(amount)),
        FaultKind::Restore => (at, at + round, 500 + slot * amount / 1024),
        FaultKind::Skew => (0, stage.heal, 1_000 + 80 * amount),
        FaultKind::Step => (at, at + 1, steps[bytes[5] as usize % steps.len()]),
        FaultKind::Late => (0, at, 0),
        FaultKind::VoteCut => (at, stage.heal, 0),
        FaultKind::TwoBlocks
        | FaultKind::Withhold
        | FaultKind::BadBlock
        | FaultKind::Lie
        | FaultKind::Stranger => (stage.start, stage.heal, 0),
        FaultKind::Byzantine => (stage.start, stage.heal, amount % 3),
    };
    let host = match kind {
        FaultKind::Stranger => stage.nodes,
        // One host is bad, the lightest: less than a third.
        kind if kind.is_byzantine() => {
            (0..stage.nodes).min_by_key(|host| stage.weights[*host]).expect("there are hosts")
        }
        _ => usize::try_from(host).expect("a byte") % stage.nodes,
    };
    let amount = sign * i64::try_from(amount).expect("amounts are small");
    Fault { kind, at, until: until.min(stage.heal), host, amount, seed }
}

fn said(report: &Report) -> String {
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let plan: Vec<String> = report.plan.iter().map(ToString::to_string).collect();
    let Options { seed, nodes, .. } = &report.options;
    let (violations, plan) = (violations.join("\n"), plan.join("\n"));
    format!("seed {seed}, {nodes} nodes\n{violations}\nfaults:\n{plan}")
}
