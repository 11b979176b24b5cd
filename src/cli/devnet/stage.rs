//! A devnet from its first process to its last: readiness, the rounds, the final tips, the summary.

use std::io;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;
use smol::stream::StreamExt;

use super::crew::{Crew, Life};
use super::directory::Directory;
use super::mine::{LEDGER_FILE, Miner};
use super::recipe::{Recipe, Wish};
use super::record::{Record, Summary, common_tip};
use super::view::{Scene, View};
use super::watch::{self, Answer};
use crate::cli::duration::precise;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::count;
use crate::cli::output::Output;
use crate::shell::clock::SystemClock;
use crate::shell::document::HeaderDocument;
use crate::types::block::Point;
use crate::types::clock::{Clock, Round, Slot, Timestamp};
use crate::types::network::Source;

/// Time that nodes get to start before round 0: some, and some for each.
const START_MS: u64 = 1_500;
const START_MS_PER_NODE: u64 = 100;
/// They must be ready so long before the origin, to find each other.
const READY_MS: u64 = 500;
/// Attempts with a later and later origin; the last waits four times as long as the first.
const ATTEMPTS: u32 = 3;
/// Time that the nodes of a kept devnet get to answer.
const ANSWER_MS: u64 = 30_000;
/// Time that nodes get to agree on a tip when the devnet is asked to end.
const AGREE_MS: u64 = 1_000;
/// Pause between two questions to a node: an eighth of a slot, and no longer than this.
const ASK_MS_MAX: u64 = 1_000;
/// Pause between two pictures.
const DRAW_MS: u64 = 125;

/// A devnet that runs.
pub struct Stage {
    recipe: Recipe,
    crew: Crew,
    record: Record,
    view: View,
    answers: Receiver<Answer>,
    signals: Signals,
    clock: SystemClock,
    lives: Vec<Life>,
    miner: Option<Miner>,
    json: bool,
}

/// How a devnet is played.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    pub json: bool,
    /// Whether we mine on its PoW ledger, where it has one.
    pub mining: bool,
}

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A moment has passed.
    On,
    /// Somebody wants us to end.
    Stop,
}

impl Stage {
    /// Makes a devnet whose round 0 starts when all nodes are ready. The network file holds the origin, so it is chosen
    /// before they start; when they are late, everything is made again with more time.
    pub fn raise_fresh(directory: &Directory, wish: Wish, show: Show) -> Result<Stage, Failure> {
        let start_ms = START_MS + START_MS_PER_NODE * u64::from(wish.nodes);
        let clock = SystemClock::start();
        for attempt in 0..ATTEMPTS {
            let wait_ms = (start_ms << attempt) + READY_MS;
            let origin = Timestamp((clock.now().wall.0 + wait_ms).next_multiple_of(1000));
            let recipe = Recipe::make(directory, wish, origin)?;
            let mut stage = Stage::new(directory, recipe, show)?;
            if stage.wait_until_ready(Timestamp(origin.0 - READY_MS))? {
                return Ok(stage);
            }
        }
        let message = "the nodes are not ready in time: this machine is too busy for so many";
        Err(Failure::new(Exit::Later, "not_ready", message)
            .action("try fewer nodes; their logs are node-K/node.log"))
    }

    /// Starts the nodes of a devnet that stands.
    pub fn raise(directory: &Directory, recipe: Recipe, show: Show) -> Result<Stage, Failure> {
        let mut stage = Stage::new(directory, recipe, show)?;
        let deadline = stage.now().plus(ANSWER_MS);
        match stage.wait_until_ready(deadline)? {
            true => Ok(stage),
            false => Err(Failure::new(Exit::Failed, "not_ready", "not all nodes answer")
                .action("see their logs, node-K/node.log")),
        }
    }

    /// Follows the network for some rounds, or until it is asked to end; then sums up.
    pub fn play(mut self, rounds: Option<u64>, out: &mut Output) -> Outcome {
        self.view.open();
        let clock = self.recipe.network.clock;
        let base = clock.at(self.now()).map_or(Round(0), |(round, _)| round);
        let last = rounds.map(|rounds| Round(base.0 + rounds - 1));
        let stopped = loop {
            if last.is_some_and(|last| clock.is_finished(last, self.now())) {
                break false;
            }
            if self.turn() == Turn::Stop {
                break true;
            }
        };
        let (rounds, since, until) = match (stopped, last) {
            (false, Some(last)) => {
                let (seal, end) = seal_slots(clock, last);
                (last.0 - base.0 + 1, seal, seal.plus(end.since(seal) / 5 * 4))
            }
            // Asked to end: rounds that are over count.
            _ => {
                let rounds = clock.at(self.now()).map_or(0, |(round, _)| round.0 - base.0);
                (rounds, self.now(), self.now().plus(AGREE_MS))
            }
        };
        let tips = self.tips(since, until);
        if let Some(last) = last.filter(|_| !stopped) {
            self.wait_until_sealed(last);
        }
        self.finish(base, rounds, tips, out)
    }

    fn new(directory: &Directory, recipe: Recipe, show: Show) -> Result<Stage, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, "system", "the system gives no signals or threads")
                .because(&error)
                .action("end other programs")
        };
        // Before the first process: whoever ends us from now on ends them too.
        let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup, Signal::Quit]);
        let signals = signals.map_err(failed)?;
        let miner = match recipe.network.source {
            Source::Ledger if show.mining => {
                Some(Miner::open(&directory.path().join(LEDGER_FILE), &recipe.network)?)
            }
            Source::Ledger | Source::List => None,
        };
        let crew = Crew::start(&recipe.nodes)?;
        let pause = Duration::from_millis(ASK_MS_MAX.min(recipe.network.clock.slot_ms / 8));
        let sockets = recipe.nodes.iter().map(|node| node.socket()).collect();
        let answers = watch::start(sockets, pause).map_err(failed)?;
        Ok(Stage {
            record: Record::new(&recipe),
            view: View::new(&recipe, show.json),
            lives: vec![Life::Running; recipe.nodes.len()],
            crew,
            recipe,
            answers,
            signals,
            clock: SystemClock::start(),
            miner,
            json: show.json,
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// Whether all nodes answer before `deadline`.
    fn wait_until_ready(&mut self, deadline: Timestamp) -> Result<bool, Failure> {
        while !self.record.is_complete() {
            if self.now() >= deadline {
                return Ok(false);
            }
            if self.turn() == Turn::Stop {
                let message = "asked to end before the nodes were ready";
                return Err(Failure::new(Exit::Failed, "interrupted", message)
                    .action("nothing is left running: start it again"));
            }
            let ended = self.lives.iter().position(|life| matches!(life, Life::Ended(_)));
            if let Some(node) = ended {
                return Err(self.died(node));
            }
        }
        Ok(true)
    }

    fn died(&self, node: usize) -> Failure {
        let member = &self.recipe.nodes[node];
        let log = std::fs::read_to_string(member.log()).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        let message = format!("{}: {}: {last}", member.name, self.lives[node]);
        Failure::new(Exit::Failed, "node_ended", message)
            .action(format!("see {}", member.log().display()))
    }

    /// Takes in what comes, until a moment has passed or a signal comes; then shows it.
    fn turn(&mut self) -> Turn {
        let signals = &mut self.signals;
        let stop = async {
            match signals.next().await {
                Some(_) => Turn::Stop,
                None => smol::future::pending().await,
            }
        };
        let pause = async {
            Timer::after(Duration::from_millis(DRAW_MS)).await;
            Turn::On
        };
        let turn = smol::block_on(stop.or(pause));
        while let Ok(answer) = self.answers.try_recv() {
            let news = self.record.take(answer);
            self.view.tell(&news, &self.record);
        }
        self.view.waiting(&self.record);
        let now = self.now();
        if let Some(miner) = &mut self.miner {
            miner.turn(now);
        }
        self.look_at_crew();
        let clock = self.recipe.network.clock;
        let scene = Scene { now: self.clock.now().wall, clock, lives: &self.lives };
        self.view.draw(&scene, &mut self.record);
        // Nobody looks on (`| head`), and nobody waits for a summary.
        if self.view.is_abandoned() && !self.json { Turn::Stop } else { turn }
    }

    fn look_at_crew(&mut self) {
        for node in 0..self.lives.len() {
            let life = self.crew.life(node);
            if life != self.lives[node] {
                self.view.life(&self.recipe.nodes[node], life);
                self.lives[node] = life;
            }
        }
    }

    /// The tips of the nodes at `since` or later: as soon as all living ones share one, at the latest at `until`.
    fn tips(&mut self, since: Timestamp, until: Timestamp) -> Vec<Option<Point>> {
        loop {
            let tips: Vec<Option<Point>> = (0..self.lives.len())
                .map(|node| match self.lives[node] {
                    Life::Stopped => None,
                    // One that a person has started again answers too.
                    Life::Running | Life::Ended(_) => self.record.tip(node, since),
                })
                .collect();
            if self.is_agreed(&tips) || self.now() >= until {
                return tips;
            }
            self.turn();
        }
    }

    /// The seal of the last round has as long as it should take, one slot; and we one question more.
    fn wait_until_sealed(&mut self, round: Round) {
        let clock = self.recipe.network.clock;
        let until = clock.end_of_forging(round).plus(clock.slot_ms + ASK_MS_MAX);
        while !self.record.seals().closes(round) && self.now() < until {
            if self.turn() == Turn::Stop {
                return;
            }
        }
    }

    /// Whether there are living nodes, and all of them share one tip.
    fn is_agreed(&self, tips: &[Option<Point>]) -> bool {
        let common = common_tip(tips);
        let agrees = |node: usize| match (tips[node], self.lives[node]) {
            (tip @ Some(_), _) => tip == common,
            (None, Life::Running) => false,
            (None, Life::Stopped) => true,
            // One that a person has started again answers: its next answer is waited for.
            (None, Life::Ended(_)) => self.record.status(node).is_none(),
        };
        common.is_some() && (0..tips.len()).all(agrees)
    }

    fn finish(
        mut self,
        base: Round,
        rounds: u64,
        tips: Vec<Option<Point>>,
        out: &mut Output,
    ) -> Outcome {
        let agreed = self.is_agreed(&tips);
        let chain = self.chain(&tips, base.next())?;
        let summary = self.record.sum(base, rounds, &chain, &tips);
        self.crew.stop();
        if self.json {
            out.json("devnet", &summary)?;
        } else {
            print(&summary, agreed, out)?;
        }
        Ok(if agreed { Exit::Done } else { Exit::Failed })
    }

    /// What lies under the final tip, from a round on.
    fn chain(&self, tips: &[Option<Point>], from: Round) -> Result<Vec<HeaderDocument>, Failure> {
        let Some(tip) = common_tip(tips) else { return Ok(Vec::new()) };
        let holder = tips.iter().position(|held| *held == Some(tip)).unwrap_or(0);
        let member = &self.recipe.nodes[holder];
        watch::chain(&member.socket(), tip, from).map_err(|error| {
            let message = format!("{} does not tell its chain", member.name);
            Failure::new(Exit::Failed, "chain", message)
                .because(&error)
                .action(format!("look at {}", member.log().display()))
        })
    }
}

/// Start and end of the seal slots of a round.
fn seal_slots(clock: Clock, round: Round) -> (Timestamp, Timestamp) {
    (clock.start_of(round, Slot(clock.slots)), clock.start_of(round.next(), Slot(0)))
}

fn sealed(summary: &Summary, counted: u64) -> String {
    let text = format!("{} of {} sealed", summary.sealed_rounds, count(counted, "round"));
    match (summary.seal_delay_ms, summary.seal_delay_max_ms) {
        (Some(median), Some(most)) => {
            let (median, most) = (precise(median), precise(most));
            format!("{text}, {median} after the last slot (median), {most} at most")
        }
        _ => text,
    }
}

fn print(summary: &Summary, agreed: bool, out: &mut Output) -> Result<(), Failure> {
    let Summary { nodes, rounds, forging_slots, blocks, missed, forks, final_tip, .. } = summary;
    out.line("")?;
    let counted = rounds.saturating_sub(1);
    let (nodes, rounds) = (count(*nodes as u64, "node"), count(*rounds, "round"));
    match (blocks * 100).checked_div(*forging_slots) {
        None => out.line(format_args!("{nodes}; no round but the first, which is not counted"))?,
        Some(percent) => {
            out.line(format_args!("{nodes}, {rounds}; without the first of them:"))?;
            out.line(format_args!(
                "{blocks} of {forging_slots} slots have their block ({percent} %)"
            ))?;
            for (reason, count) in missed {
                out.line(format_args!("{count} missed: {reason}"))?;
            }
            out.line(format_args!("{} beside the chain", count(*forks, "valid block")))?;
            out.line(sealed(summary, counted))?;
        }
    }
    match final_tip.values().flatten().next() {
        Some(tip) if agreed => {
            let hash = tip.hash;
            out.line(format_args!("all living nodes share the tip {} {hash}", tip.height))
        }
        _ => {
            for (name, tip) in final_tip {
                let tip = tip
                    .map_or("no answer".to_owned(), |tip| format!("{} {}", tip.height, tip.hash));
                out.line(format_args!("{name}: {tip}"))?;
            }
            out.line("the living nodes do not share one tip")
        }
    }
}
