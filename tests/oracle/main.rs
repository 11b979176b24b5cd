//! Our agreement against malachite's, on random schedules: what each answers to every input, and the state it is in after.
//! `ORACLE_SCHEDULES=100000 cargo test --release --test oracle -- --nocapture` runs many and shows which lines of the
//! algorithm they took; `ORACLE_FIRST` is the number of the first, to see one again.

mod malachite;
mod reference;
mod schedule;

use std::rc::Rc;

use hypernode::machine::seal::algorithm::Line;
use hypernode::machine::seal::instance::{Instance, Output};
use hypernode::rules::quorum::Electorate;
use hypernode::types::hash::Hash;
use hypernode::types::key::PublicKey;
use hypernode::types::seal::{Step, Voter};
use hypernode::types::sign::{Lock, VoteRecord};
use informalsystems_malachitebft_core_state_machine::state::{RoundValue, Step as Stage};

use malachite::Value;
use reference::{Reference, Told};
use schedule::{Happening, Schedule};

/// Inputs of one schedule.
const INPUTS: usize = 150;
/// From here on a run is large enough to want every line often.
const LARGE: u64 = 100_000;
/// How often each line is followed in a large run, at least.
const TIMES_MIN: u64 = 1_000;

/// What a run tried.
#[derive(Debug, Default)]
struct Tried {
    inputs: u64,
    lines: [u64; Line::ALL.len()],
    /// Schedules that decided, that came to a third view, and those with a restart.
    decided: u64,
    third_views: u64,
    restarts: u64,
    /// Locks that gave way to another value.
    unlocks: u64,
    doubles: u64,
}

#[allow(clippy::disallowed_methods, reason = "how large a run is, the caller says")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn malachite_gives_the_same_answers() {
    let (first, schedules) = (number("ORACLE_FIRST", 0), number("ORACLE_SCHEDULES", 5_000));
    let mut tried = Tried::default();
    for number in first..first + schedules {
        compare(number, &mut tried);
    }
    println!("{schedules} schedules: {tried:?}");
    for (line, times) in Line::ALL.iter().zip(tried.lines) {
        println!("{:>16} {times}", format!("{line:?}"));
        assert!(times >= TIMES_MIN * schedules / LARGE, "{line:?}: {times} times");
    }
    assert!(tried.third_views >= schedules / 4, "{tried:?}");
    let rare = [tried.unlocks, tried.doubles, tried.restarts];
    assert!(rare.iter().all(|times| *times >= schedules / 100), "{tried:?}");
}

/// Runs a schedule on both.
fn compare(number: u64, tried: &mut Tried) {
    let mut schedule = Schedule::new(number);
    let voters = (0..)
        .zip(&schedule.weights)
        .map(|(at, weight)| Voter { public_key: PublicKey([at; 32]), weight: *weight });
    let electorate = Rc::new(Electorate::new(&voters.collect::<Vec<_>>()));
    let mut ours = Instance::new(7, Rc::clone(&electorate), schedule.own);
    let mut theirs = Reference::new(&schedule.weights, schedule.own);
    let mut record = None;
    let (mut highest, mut restarts) = (0, 0);
    for at in 0..INPUTS {
        let happening = schedule.next(ours.view().unwrap_or(0));
        let lock = ours.lock();
        let (outputs, told) = match (&happening, record) {
            (Happening::Input(input), _) => (ours.step(input.clone()), theirs.step(input)),
            (Happening::Restart, Some(record)) if ours.decision().is_none() => {
                restarts += 1;
                tried.add(&ours);
                let own = schedule.own.expect("who signed is a voter");
                let prepared = ours.prepared().cloned();
                let told = theirs.restart(&record, prepared.as_ref());
                let restored = Instance::restore(&record, prepared, Rc::clone(&electorate), own);
                ours = restored.0;
                (restored.1, told)
            }
            (Happening::Restart, _) => continue,
        };
        let answers: Vec<Told> =
            outputs.iter().map(|output| told_by(output, &electorate)).collect();
        let context = || format!("schedule {number}, input {at}: {happening:?}\nafter {ours:?}");
        assert_eq!(answers, told, "{}", context());
        assert_eq!(state_of(&ours), state_of_theirs(&theirs), "{}", context());
        for output in outputs {
            if let Output::Cast { record: signed, .. } = output {
                record = Some(signed);
            }
        }
        let is_double = |told: &&Told| matches!(told, Told::Double { .. });
        tried.doubles += answers.iter().filter(is_double).count() as u64;
        let is_other = |new: Lock| lock.is_some_and(|lock| lock.value != new.value);
        tried.unlocks += u64::from(ours.lock().is_some_and(is_other));
        tried.inputs += 1;
        highest = highest.max(ours.view().unwrap_or(0));
        schedule.hear(&answers);
    }
    tried.add(&ours);
    tried.decided += u64::from(ours.decision().is_some());
    tried.third_views += u64::from(highest >= 2);
    tried.restarts += u64::from(restarts > 0);
    if let Some(certificate) = ours.certificate() {
        assert!(is_quorum(&certificate.votes, &electorate), "schedule {number}: no certificate");
    }
}

impl Tried {
    fn add(&mut self, instance: &Instance) {
        for (sum, line) in self.lines.iter_mut().zip(Line::ALL) {
            *sum += u64::from(instance.times(line));
        }
    }
}

fn is_quorum<T>(votes: &[(u16, T)], electorate: &Electorate) -> bool {
    let ascends = votes.windows(2).all(|pair| pair[0].0 < pair[1].0);
    ascends && electorate.is_quorum(votes.iter().map(|(voter, _)| electorate.weight(*voter)).sum())
}

fn told_by(output: &Output, electorate: &Electorate) -> Told {
    match output {
        Output::Entered { view } => Told::Enter(*view),
        Output::Schedule { view, step } => Told::Wait(*view, *step),
        Output::Cast { record, prepared } => {
            let VoteRecord { index, view, step, value, lock } = *record;
            assert_eq!(index, 7);
            if let Some(prepared) = prepared {
                assert!(is_quorum(&prepared.votes, electorate), "{prepared:?}");
                assert_eq!(Some(prepared.value), value);
            }
            let over = prepared.as_ref().map(|prepared| prepared.view);
            Told::Sign { view, step, value, lock, over }
        }
        Output::Double { first, second } => {
            assert_eq!(
                (first.voter, first.view, first.step),
                (second.voter, second.view, second.step)
            );
            assert_ne!(first.value, second.value);
            Told::Double { voter: first.voter, view: first.view, step: first.step }
        }
        Output::Decided { view, value } => Told::Decide(*view, *value),
    }
}

/// View, step, lock, valid value and decision.
type Seen = (Option<u32>, Step, Option<(u32, Hash)>, Option<(u32, Hash)>, Option<(u32, Hash)>);

fn state_of(instance: &Instance) -> Seen {
    let lock = instance.lock().map(|lock| (lock.view, lock.value));
    let valid = instance.prepared().map(|valid| (valid.view, valid.value));
    let step = if instance.decision().is_some() { Step::Commit } else { instance.stage() };
    (instance.view(), step, lock, valid, instance.decision())
}

fn state_of_theirs(reference: &Reference) -> Seen {
    let state = &reference.state;
    let step = match state.step {
        Stage::Unstarted | Stage::Propose => Step::Propose,
        Stage::Prevote => Step::Prepare,
        Stage::Precommit | Stage::Commit => Step::Commit,
    };
    let pair = |of: &RoundValue<Value>| (of.round.as_u32().expect("of a view"), of.value.0);
    let (locked, valid) = (state.locked.as_ref().map(pair), state.valid.as_ref().map(pair));
    (state.round.as_u32(), step, locked, valid, reference.decided)
}
