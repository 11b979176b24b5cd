//! `sim`: a network in one process and in virtual time, with faults drawn from a seed.

use std::collections::BTreeMap;
use std::time::Instant;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::{count, positive};
use super::output::{Output, note};
use crate::sim::{self, Mix, NODES_MAX, Options, ROUNDS_MAX, Report};

/// Time spent on finding the faults that matter, and runs at most.
const SHRINK_MS: u128 = 30_000;
const SHRINK_RUNS_MAX: u128 = 200;

/// Simulate a network in virtual time, with faults; the same seed gives the same run.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "sim")]
pub struct Sim {
    /// any text; 1 otherwise
    #[argh(option, default = "\"1\".to_owned()")]
    pub seed: String,

    /// number of masternodes; 10 otherwise
    #[argh(option, from_str_fn(positive), default = "10")]
    pub nodes: u64,

    /// rounds of 19 + 1 slots of 180 s; 6 otherwise
    #[argh(option, from_str_fn(positive), default = "6")]
    pub rounds: u64,

    /// none, default, or kind=amount,… such as crash=3,partition=1; default otherwise
    #[argh(option, default = "Mix::Default")]
    pub faults: Mix,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Summary<'a> {
    seed: &'a str,
    nodes: u32,
    rounds: u32,
    events: u64,
    blocks: u64,
    /// Seals that every honest node has, and the views that it took to decide them.
    seals: u64,
    views: u64,
    /// Honest nodes that halted, because two checkpoints were certified for one index.
    halted: u64,
    trace_hash: String,
    violations: usize,
    faults: BTreeMap<&'static str, u32>,
    elapsed_ms: u64,
}

impl Sim {
    /// Runs it; fails when something happened that must not.
    #[allow(clippy::disallowed_methods, reason = "how long it takes is part of the answer")]
    pub fn run(self, out: &mut Output) -> Outcome {
        let usage =
            |name: &str, most: u32| Failure::usage(format!("--{name}: 1 to {most} are possible"));
        let within =
            |number: u64, most: u32| u32::try_from(number).ok().filter(|number| *number <= most);
        let nodes = within(self.nodes, NODES_MAX).ok_or_else(|| usage("nodes", NODES_MAX))?;
        let rounds = within(self.rounds, ROUNDS_MAX).ok_or_else(|| usage("rounds", ROUNDS_MAX))?;
        let options = Options { seed: self.seed, nodes, rounds, faults: self.faults };
        let start = Instant::now();
        let report = sim::run(&options);
        let elapsed = start.elapsed().as_millis();
        if self.json {
            summarise(&report, u64::try_from(elapsed).unwrap_or(u64::MAX), out)?;
        } else {
            tell(&report, elapsed, out)?;
        }
        if report.violations.is_empty() {
            return Ok(Exit::Done);
        }
        out.flush()?;
        // A program wants its answer, not an explanation.
        let runs = if self.json { 0 } else { (SHRINK_MS / elapsed.max(1)).min(SHRINK_RUNS_MAX) };
        explain(&report, u32::try_from(runs).unwrap_or(0));
        Ok(Exit::Failed)
    }
}

fn summarise(report: &Report, elapsed_ms: u64, out: &mut Output) -> Result<(), Failure> {
    let summary = Summary {
        seed: &report.options.seed,
        nodes: report.options.nodes,
        rounds: report.options.rounds,
        events: report.events,
        blocks: report.blocks,
        seals: report.seals,
        views: report.views,
        halted: report.halted,
        trace_hash: report.trace_hash.to_string(),
        violations: report.violations.len(),
        faults: report.faults().into_iter().map(|(kind, count)| (kind.name(), count)).collect(),
        elapsed_ms,
    };
    out.json("sim", &summary)
}

fn tell(report: &Report, elapsed_ms: u128, out: &mut Output) -> Result<(), Failure> {
    let style = out.style();
    let options = &report.options;
    let network = format!(
        "{}, {}",
        count(u64::from(options.nodes), "node"),
        count(u64::from(options.rounds), "round")
    );
    out.line(format_args!("{} {:?}: {network}", style.bold("seed"), options.seed))?;
    let list = |counts: Vec<(&str, u64)>| {
        let words: Vec<String> =
            counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let faults = report.faults().into_iter().map(|(kind, count)| (kind.name(), count.into()));
    out.line(format_args!("faults: {}", list(faults.collect())))?;
    let missed = report.missed.iter().map(|(why, count)| (*why, *count));
    out.line(format_args!(
        "slots of honest nodes: {} filled, missed: {}",
        report.forged,
        list(missed.collect())
    ))?;
    out.line(format_args!(
        "{}, decided in {}; two votes for one step seen {} times",
        count(report.seals, "seal"),
        count(report.views, "view"),
        report.misvotes.doubles,
    ))?;
    if report.conflicts > 0 {
        let broken = format!(
            "agreement broken: two checkpoints certified for {}; {} halted",
            count(report.conflicts, "seal"),
            count(report.halted, "honest node"),
        );
        out.line(style.warn(broken))?;
    }
    let refused = report.refused.iter().map(|(code, count)| (*code, *count));
    out.line(format_args!(
        "blocks refused: {}; two for one slot seen {} times",
        list(refused.collect()),
        report.two_blocks
    ))?;
    out.line(format_args!(
        "{} in {}.{:03} s, {} in the chain, {} sent a node",
        count(report.events, "event"),
        elapsed_ms / 1000,
        elapsed_ms % 1000,
        count(report.blocks, "block"),
        count(report.traffic.bytes_sent() / u64::from(options.nodes), "byte"),
    ))?;
    out.line(format_args!("trace hash: {}", report.trace_hash))?;
    if report.violations.is_empty() {
        return out.line(style.good("no violation"));
    }
    let found = count(report.violations.len() as u64, "violation");
    out.line(style.bad(found))?;
    for violation in &report.violations {
        out.line(format_args!("  {violation}"))?;
    }
    Ok(())
}

/// The faults that it takes, and how to see it again.
fn explain(report: &Report, runs_max: u32) {
    if runs_max > 0 && !report.plan.is_empty() {
        let least = sim::shrink(report, runs_max);
        let (kept, all) = (least.plan.len(), report.plan.len());
        note(format_args!("{kept} of {all} faults are enough for a violation:"));
        for fault in &least.plan {
            note(format_args!("  {fault}"));
        }
    }
    note(format_args!("replay: {}", report.options.command()));
}
