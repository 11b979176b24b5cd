//! Tables of steps: what an instance is told, line by line, and all that it answers.
//!
//! Inputs: `start`, `lead VIEW [VALUE]`, `propose VIEW VALUE [over VIEW] VERDICT`, `judged VALUE VERDICT`,
//! `prepare VIEW VALUE VOTERS…`, `commit VIEW VALUE VOTERS…`, `quorum VIEW VALUE VOTERS…`, `timeout VIEW STEP`. Values are
//! capital letters and `nil`. We are voter 0; voter `VIEW mod 4` proposes. Four voters of weight 1 if nothing else is said.

mod flood;
mod kept;
mod restart;

use std::rc::Rc;

use super::algorithm::Line;
use super::instance::{Input, Instance, Output, timeout_ms};
use super::proposals::Verdict;
use super::votes::{Agreement, Cast};
use crate::rules::quorum::Electorate;
use crate::types::hash::Hash;
use crate::types::key::{PublicKey, Signature};
use crate::types::seal::{Step, Voter};
use crate::types::sign::{Lock, VoteRecord};

fn electorate(weights: &[u8]) -> Rc<Electorate> {
    let voters: Vec<Voter> = (0..)
        .zip(weights)
        .map(|(at, weight)| Voter { public_key: PublicKey([at; 32]), weight: *weight })
        .collect();
    Rc::new(Electorate::new(&voters))
}

fn value(name: &str) -> Option<Hash> {
    (name != "nil").then(|| Hash([name.as_bytes()[0]; 32]))
}

fn name(value: Option<Hash>) -> String {
    value.map_or("nil".to_owned(), |value| char::from(value.0[0]).to_string())
}

fn step(name: &str) -> Step {
    match name {
        "propose" => Step::Propose,
        "prepare" => Step::Prepare,
        "commit" => Step::Commit,
        _ => panic!("{name} is no step"),
    }
}

fn verdict(name: &str) -> Verdict {
    match name {
        "unknown" => Verdict::Unknown,
        "wrong" => Verdict::Wrong,
        "sound" => Verdict::Sound,
        "acceptable" => Verdict::Acceptable,
        _ => panic!("{name} is no verdict"),
    }
}

fn cast(view: u32, step: Step, of: &str, voter: u16) -> Cast {
    // No two signatures alike.
    let mut signature = [0; 64];
    signature[0] = voter.to_be_bytes()[1];
    signature[1] = step as u8;
    signature[2..6].copy_from_slice(&view.to_be_bytes());
    signature[6] = of.as_bytes()[0];
    Cast { view, step, value: value(of), voter, signature: Signature(signature) }
}

fn agreement(view: u32, of: &str, voters: &[u16]) -> Rc<Agreement> {
    let signed = |voter: &u16| (*voter, cast(view, Step::Prepare, of, *voter).signature);
    let votes = voters.iter().map(signed).collect();
    Rc::new(Agreement { view, value: value(of).unwrap(), votes })
}

fn inputs(line: &str) -> Vec<Input> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let view = |at: usize| words[at].parse::<u32>().unwrap();
    let voters =
        || words[3..].iter().map(|voter| voter.parse::<u16>().unwrap()).collect::<Vec<_>>();
    match words[0] {
        "start" => vec![Input::Start],
        "lead" => {
            vec![Input::Lead { view: view(1), value: words.get(2).and_then(|name| value(name)) }]
        }
        "propose" => {
            let proposer = u16::try_from(view(1) % 4).unwrap();
            let cast = cast(view(1), Step::Propose, words[2], proposer);
            let over = words[3] == "over";
            let prepared = over.then(|| agreement(view(4), words[2], &[1, 2, 3]));
            let verdict = verdict(words.last().unwrap());
            vec![Input::Proposal { cast, prepared, verdict }]
        }
        "judged" => {
            vec![Input::Judged { value: value(words[1]).unwrap(), verdict: verdict(words[2]) }]
        }
        "quorum" => vec![Input::Prepared(agreement(view(1), words[2], &voters()))],
        "timeout" => vec![Input::TimeOut { view: view(1), step: step(words[2]) }],
        kind => {
            let of = |voter| Input::Vote(cast(view(1), step(kind), words[2], voter));
            voters().into_iter().map(of).collect()
        }
    }
}

fn text(output: &Output) -> String {
    match output {
        Output::Entered { view } => format!("enter {view}"),
        Output::Schedule { view, step } => format!("wait {view} {step:?}").to_lowercase(),
        Output::Cast { record: VoteRecord { view, step, value, lock, .. }, prepared } => {
            let step = format!("{step:?}").to_lowercase();
            let lock = lock.map(|lock| format!(" locked {}@{}", name(Some(lock.value)), lock.view));
            let over = prepared.as_ref().map(|over| format!(" over {}", over.view));
            let (lock, over) = (lock.unwrap_or_default(), over.unwrap_or_default());
            format!("{step} {view} {}{over}{lock}", name(*value))
        }
        Output::Double { first, second } => {
            format!("double {} {} {}", first.voter, name(first.value), name(second.value))
        }
        Output::Decided { view, value } => format!("decide {view} {}", name(Some(*value))),
    }
}

fn follow(instance: &mut Instance, rows: &[(&str, &str)]) {
    for (line, expected) in rows {
        let outputs = inputs(line).into_iter().flat_map(|input| instance.step(input));
        let found: Vec<String> = outputs.map(|output| text(&output)).collect();
        assert_eq!(found.join("; "), *expected, "upon {line:?} in {rows:#?}");
    }
}

/// Runs a table with these weights and returns what became of it.
fn table_of(weights: &[u8], rows: &[(&str, &str)]) -> Instance {
    let mut instance = Instance::new(7, electorate(weights), Some(0));
    follow(&mut instance, rows);
    instance
}

fn table(rows: &[(&str, &str)]) -> Instance {
    table_of(&[1; 4], rows)
}

const BEGIN: (&str, &str) = ("start", "enter 0; wait 0 propose");

#[test]
fn a_view_without_faults_decides() {
    let instance = table(&[
        BEGIN,
        ("start", ""),
        ("lead 0", ""),
        ("lead 0 A", "propose 0 A"),
        ("lead 0 B", ""),
        ("propose 0 A acceptable", "prepare 0 A"),
        ("prepare 0 A 0 1", ""),
        ("prepare 0 A 2", "commit 0 A over 0 locked A@0"),
        ("commit 0 A 0 1", ""),
        ("commit 0 A 2", "decide 0 A"),
        ("commit 0 A 3", ""),
        ("timeout 0 commit", ""),
    ]);
    assert_eq!(instance.decision(), Some((0, value("A").unwrap())));
    let certificate = instance.certificate().unwrap();
    let signed = |voter| (voter, cast(0, Step::Commit, "A", voter).signature);
    assert_eq!(certificate.votes, [signed(0), signed(1), signed(2)]);
}

#[test]
fn lines_14_to_19_propose_the_valid_value_before_our_own() {
    table(&[
        BEGIN,
        ("timeout 0 propose", "prepare 0 nil"),
        ("lead 0 A", ""),
        ("prepare 0 A 1 2 3", "wait 0 prepare"),
        ("timeout 0 prepare", "commit 0 nil"),
        ("commit 0 nil 1 2 3", "wait 0 commit"),
        // The proposal comes late: what was prepared is valid, though we did not commit to it.
        ("propose 0 A sound", ""),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
        ("lead 1 B", "propose 1 A over 0"),
    ]);
    // The quorum comes as a whole, when we propose and have no value.
    table(&[
        BEGIN,
        ("commit 0 nil 1 2 3", "wait 0 commit"),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
        ("lead 1", ""),
        ("quorum 0 A 1 2 3", "propose 1 A over 0"),
    ]);
    table(&[BEGIN, ("lead 1 A", "")]);
}

#[test]
fn lines_22_to_26_go_by_the_verdict() {
    for (verdict, vote) in [
        ("acceptable", "prepare 0 A"),
        ("sound", "prepare 0 nil"),
        ("wrong", "prepare 0 nil"),
        ("unknown", ""),
    ] {
        table(&[BEGIN, (&format!("propose 0 A {verdict}"), vote)]);
    }
    table(&[
        BEGIN,
        ("propose 0 A unknown", ""),
        ("judged B acceptable", ""),
        ("judged A acceptable", "prepare 0 A"),
        ("judged A wrong", ""),
    ]);
    table(&[
        BEGIN,
        ("propose 0 A unknown", ""),
        ("timeout 0 propose", "prepare 0 nil"),
        ("propose 0 A acceptable", ""),
    ]);
    // The second of two values counts where the first cannot be judged, and is told.
    table(&[
        BEGIN,
        ("propose 0 A unknown", ""),
        ("propose 0 B acceptable", "double 0 A B; prepare 0 B"),
    ]);
}

/// Locked on A in view 0, now in view 1.
const LOCKED: [(&str, &str); 5] = [
    BEGIN,
    ("propose 0 A acceptable", "prepare 0 A"),
    ("prepare 0 A 0 1 2", "commit 0 A over 0 locked A@0"),
    ("commit 0 nil 1 2 3", "wait 0 commit"),
    ("timeout 0 commit", "enter 1; wait 1 propose"),
];

#[test]
fn a_lock_holds_against_another_value_and_opens_for_a_later_quorum() {
    let go_on = |rows: &[(&str, &str)]| table(&[LOCKED.as_slice(), rows].concat());
    // Lines 22 to 26.
    go_on(&[("propose 1 B acceptable", "prepare 1 nil locked A@0")]);
    go_on(&[("propose 1 A acceptable", "prepare 1 A locked A@0")]);
    // Lines 28 to 32: the lock is of view 0.
    go_on(&[("propose 1 A over 0 sound", "prepare 1 A locked A@0")]);
    go_on(&[("propose 1 B over 0 sound", "prepare 1 B locked A@0")]);
    go_on(&[("propose 1 B over 0 wrong", "prepare 1 nil locked A@0")]);
    go_on(&[("propose 1 B over 0 unknown", ""), ("judged B sound", "prepare 1 B locked A@0")]);
    // A proposal over a quorum of its own view, or of none before it, is none.
    go_on(&[("propose 1 B over 1 sound", "")]);
    // Lines 36 to 41 lock on another value.
    let instance = go_on(&[
        ("propose 1 B over 0 sound", "prepare 1 B locked A@0"),
        ("prepare 1 B 0 2 3", "commit 1 B over 1 locked B@1"),
        ("commit 1 B 0 2 3", "decide 1 B"),
    ]);
    assert_eq!(instance.lock(), Some(Lock { view: 1, value: value("B").unwrap() }));
    // Locked on B in view 1: a quorum of view 0 is too old, except for B itself.
    let locked_on_b = [
        ("timeout 1 propose", "prepare 1 nil locked A@0"),
        ("propose 1 B over 0 sound", ""),
        ("prepare 1 B 1 2 3", "commit 1 B over 1 locked B@1"),
        ("commit 1 nil 1 2 3", "wait 1 commit"),
        ("timeout 1 commit", "enter 2; wait 2 propose"),
    ];
    let again = |rows: &[(&str, &str)]| go_on(&[locked_on_b.as_slice(), rows].concat());
    again(&[("propose 2 A over 0 sound", "prepare 2 nil locked B@1")]);
    again(&[("propose 2 B over 0 sound", "prepare 2 B locked B@1")]);
    again(&[("propose 2 A over 1 sound", "prepare 2 A locked B@1")]);
}

#[test]
fn lines_34_and_61_wait_for_prepares_once() {
    table(&[
        BEGIN,
        ("prepare 0 A 1 2", ""),
        ("prepare 0 nil 3", ""),
        ("propose 0 B acceptable", "prepare 0 B; wait 0 prepare"),
        ("prepare 0 B 0", ""),
        ("timeout 0 propose", ""),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
        ("timeout 0 prepare", ""),
    ]);
    // Whoever committed has prepared, which a restart may have made everybody forget.
    table(&[
        BEGIN,
        ("timeout 0 propose", "prepare 0 nil"),
        ("prepare 0 nil 0 1", ""),
        ("commit 0 nil 2", "wait 0 prepare"),
        ("timeout 0 prepare", "commit 0 nil"),
    ]);
}

#[test]
fn lines_36_to_45_need_a_quorum_and_a_sound_proposal() {
    table(&[
        BEGIN,
        ("timeout 0 propose", "prepare 0 nil"),
        ("prepare 0 nil 0 1 3", "commit 0 nil"),
    ]);
    table(&[
        BEGIN,
        ("propose 0 A unknown", ""),
        ("prepare 0 A 1 2 3", ""),
        ("timeout 0 propose", "prepare 0 nil; wait 0 prepare"),
        ("judged A sound", "commit 0 A over 0 locked A@0"),
    ]);
    // A quorum that came as a whole counts though its voters signed something else as well.
    table(&[
        BEGIN,
        ("propose 0 A acceptable", "prepare 0 A"),
        ("prepare 0 B 1 2", ""),
        ("quorum 0 A 1 2 3", "double 1 B A; double 2 B A; commit 0 A over 0 locked A@0"),
    ]);
}

#[test]
fn line_49_decides_in_any_step_on_commits_of_any_view() {
    table(&[BEGIN, ("commit 0 A 1 2 3", "wait 0 commit"), ("propose 0 A unknown", "decide 0 A")]);
    table(&[
        BEGIN,
        ("propose 0 A wrong", "prepare 0 nil"),
        ("commit 0 A 1 2", ""),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
        ("commit 1 nil 1 2 3", "wait 1 commit"),
        ("timeout 1 commit", "enter 2; wait 2 propose"),
        ("commit 0 A 3", "decide 0 A"),
    ]);
    // Commits of different views do not add up.
    table(&[
        BEGIN,
        ("propose 0 A acceptable", "prepare 0 A"),
        ("commit 0 A 1 2", ""),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
        ("commit 1 A 3", ""),
        ("commit 1 A 1", ""),
        ("commit 1 A 2", "decide 1 A"),
    ]);
    // A quorum names the checkpoint as well as a proposal does.
    table(&[BEGIN, ("commit 0 A 1 2 3", "wait 0 commit"), ("quorum 0 A 1 2 3", "decide 0 A")]);
}

#[test]
fn line_55_moves_to_what_more_than_one_third_reached_or_passed() {
    table(&[
        BEGIN,
        ("prepare 5 nil 1", ""),
        ("commit 3 nil 2", "enter 3; wait 3 propose"),
        ("prepare 4 A 3", "enter 4; wait 4 propose"),
        ("propose 6 B acceptable", "enter 5; wait 5 propose"),
    ]);
    // What is known of the view counts at once.
    table(&[
        BEGIN,
        ("propose 2 A acceptable", ""),
        ("prepare 2 A 3", "enter 2; wait 2 propose; prepare 2 A"),
        ("prepare 2 A 0 1", "commit 2 A over 2 locked A@2"),
    ]);
    // Before the start all views are later ones.
    table(&[
        ("prepare 0 A 1", ""),
        ("timeout 0 propose", ""),
        ("lead 0 A", ""),
        ("propose 0 A acceptable", "enter 0; wait 0 propose; prepare 0 A"),
    ]);
}

#[test]
fn line_65_ends_at_the_last_view() {
    let last = u32::MAX;
    table(&[
        BEGIN,
        (
            &format!("commit {last} nil 1 2 3"),
            &format!("enter {last}; wait {last} propose; wait {last} commit"),
        ),
        (&format!("timeout {last} commit"), ""),
    ]);
}

#[test]
fn quorums_are_of_weight_and_a_vote_counts_once() {
    // 3 of 9 is not more than a third, 6 of 9 not more than two.
    table_of(
        &[2, 3, 3, 1],
        &[
            BEGIN,
            ("prepare 1 nil 1", ""),
            ("propose 0 A acceptable", "prepare 0 A"),
            ("prepare 0 A 1 2", ""),
            ("prepare 0 A 1 2 1 2", ""),
            ("prepare 0 A 9", ""),
            ("prepare 0 A 3", "commit 0 A over 0 locked A@0"),
        ],
    );
}

#[test]
fn a_second_vote_does_not_count_and_is_told() {
    table(&[
        BEGIN,
        ("propose 0 A acceptable", "prepare 0 A"),
        ("prepare 0 A 0 1", ""),
        ("prepare 0 B 3", "wait 0 prepare"),
        ("prepare 0 A 3", "double 3 B A"),
        ("commit 0 nil 3", ""),
        ("commit 0 A 3", "double 3 nil A"),
        // Of a later view, and of the last commit for a block.
        ("prepare 2 A 3", ""),
        ("prepare 2 nil 3", "double 3 A nil"),
        ("commit 1 C 3", ""),
        ("commit 1 nil 3", "double 3 C nil"),
    ]);
}

#[test]
fn an_observer_follows_in_silence() {
    let mut instance = Instance::new(7, electorate(&[1; 4]), None);
    follow(
        &mut instance,
        &[
            BEGIN,
            ("propose 0 A acceptable", ""),
            ("prepare 0 A 0 1 2", ""),
            ("commit 0 nil 1 2 3", "wait 0 commit"),
            ("timeout 0 commit", "enter 1; wait 1 propose"),
            ("commit 1 A 1 2 3", "decide 1 A"),
        ],
    );
}

#[test]
fn time_outs_double_up_to_a_slot() {
    let times: Vec<u64> =
        [0, 1, 3, 4, 63, 64, u32::MAX].map(|view| timeout_ms(180_000, view)).into();
    assert_eq!(times, [15_000, 30_000, 120_000, 180_000, 180_000, 180_000, 180_000]);
    assert_eq!(Line::ALL[Line::Next67 as usize], Line::Next67);
}
