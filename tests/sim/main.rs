//! Campaigns of simulated networks, and runs that are about one thing. `SIM_SEEDS=1000 cargo test --release --test sim`
//! runs a larger campaign, `tests/campaign` one with a process for each seed.

mod attacks_network;
mod attacks_scripted;
mod byzantine;

use std::collections::BTreeSet;

use hypernode::sim::{FaultKind, Mix, Options, run, scenario};

/// Seeds of the campaign, in two tests that run side by side.
#[allow(clippy::disallowed_methods, reason = "how large a campaign is, the caller says")]
fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(80)
}

fn options(seed: u64) -> Options {
    Options { seed: seed.to_string(), nodes: 10, rounds: 6, faults: Mix::Default }
}

fn campaign(seeds: impl Iterator<Item = u64>) {
    for options in seeds.map(options) {
        let report = run(&options);
        let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "\n{}\nreplay: {}", found.join("\n"), options.command());
    }
}

#[test]
fn networks_of_odd_seeds_keep_every_rule() {
    campaign((1..=seeds()).step_by(2));
}

#[test]
fn networks_of_even_seeds_keep_every_rule() {
    campaign((2..=seeds()).step_by(2));
}

#[test]
fn a_seed_decides_all_that_happens() {
    let hashes: Vec<_> = (1..=10)
        .map(|seed| {
            let (once, again) = (run(&options(seed)), run(&options(seed)));
            assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
            assert_eq!(once.events, again.events, "seed {seed}");
            once.trace_hash
        })
        .collect();
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn without_faults_every_slot_has_its_block() {
    for nodes in [1, 2, 3, 7, 30] {
        let options = Options { seed: "quiet".to_owned(), nodes, rounds: 3, faults: Mix::None };
        let report = run(&options);
        assert!(report.violations.is_empty(), "{nodes} nodes: {:?}", report.violations);
        assert_eq!((report.blocks, report.forged), (57, 57), "{nodes} nodes");
    }
}

#[test]
fn a_default_plan_has_faults_of_every_kind() {
    let faults = run(&options(1)).faults();
    assert_eq!(faults.len(), FaultKind::ALL.len(), "{faults:?}");
}

/// A fault that does nothing would keep every check quiet.
#[test]
fn what_bad_masternodes_send_is_refused_for_every_reason() {
    let mut codes = BTreeSet::new();
    let mut two_blocks = 0;
    let faults: Mix = "bad_block=3,two_blocks=1,withhold=1".parse().unwrap();
    for seed in 1..=30 {
        let report = run(&Options { faults: faults.clone(), ..options(seed) });
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        codes.extend(report.refused.into_keys());
        two_blocks += report.two_blocks;
    }
    for code in [
        "version",
        "timestamp",
        "seal",
        "wrong_juror",
        "reveal",
        "order",
        "signature",
        "duplicate_key",
        "expired",
        "too_early",
        "unregistered",
    ] {
        assert!(codes.contains(code), "{code} is not among {codes:?}");
    }
    assert!(two_blocks > 0);
}

#[test]
fn a_newcomer_catches_up_with_peers_that_stall_lie_fork_and_drop() {
    let sync = scenario::sync("newcomer");
    println!("{sync:?}");
    assert!(sync.reached, "{sync:?}");
    assert!(sync.blocks >= 10_000);
    assert!(sync.bytes_received * 10 <= sync.chain_bytes * 11, "{sync:?}");
    // The window of headers whose bodies are still to come, and one more answer.
    assert!(sync.ahead_max <= 4_096 + 512, "{sync:?}");
    assert!(sync.violations.is_empty(), "{sync:?}");
}

#[test]
fn a_body_comes_about_once_to_each_node() {
    let relay = scenario::relay("gossip", 100, 2);
    let copies = relay.nodes * relay.messages;
    println!("{relay:?}");
    println!("{} bytes per message and node", relay.message_bytes / copies);
    assert!(relay.messages >= 200, "{relay:?}");
    assert!(relay.bodies_received * 10 <= copies * 12, "{relay:?}");
    assert!(relay.violations.is_empty(), "{relay:?}");
}

#[test]
fn a_hundred_voters_seal_each_round_within_two_seconds() {
    let trial = scenario::Trial { nodes: 100, rounds: 1, slots: 19, link_ms: 100 };
    let sealing = scenario::sealing("delay", trial, &mut |_| ());
    println!("{sealing:?}");
    assert!(sealing.violations.is_empty(), "{sealing:?}");
    // Virtual time: the same on every machine.
    let half = scenario::Sealing::median(&sealing.half_ms);
    assert!(half.is_some_and(|ms| ms <= 2_000), "{sealing:?}");
    // Genesis closes no round, so that its own is sealed with the first of these.
    assert_eq!(sealing.views, sealing.seals, "each in its first view: {sealing:?}");
}

/// More than half of the voters lie, and two checkpoints are certified for one index. That is not to be prevented; it is to be
/// noticed. Of the seeds from 1 on this is the first one with which it comes to that: a change may move it.
#[test]
fn sixteen_liars_of_thirty_one_break_agreement_and_honest_nodes_halt_with_the_proof() {
    let options = Options {
        seed: "13".to_owned(),
        nodes: 31,
        rounds: 6,
        faults: "byzantine=16".parse().unwrap(),
    };
    let report = run(&options);
    println!("{} conflicts, {} of 15 honest halted", report.conflicts, report.halted);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    assert!(report.conflicts > 0, "agreement holds: look for another seed");
    assert!(report.halted >= 3, "{} halted", report.halted);
}
