//! Restarts in the middle of a view: what was signed holds, and the view goes on.

use std::rc::Rc;

use super::{BEGIN, agreement, electorate, follow, table, text, value};
use crate::machine::seal::instance::Instance;
use crate::machine::seal::votes::Agreement;
use crate::types::seal::Step;
use crate::types::sign::{Lock, VoteRecord};

fn record(view: u32, step: Step, of: &str, lock: Option<(&str, u32)>) -> VoteRecord {
    let lock = lock.map(|(of, view)| Lock { view, value: value(of).unwrap() });
    VoteRecord { index: 7, view, step, value: value(of), lock }
}

/// Restores from a record, checks what that says, and goes on.
fn restored(record: VoteRecord, prepared: Option<Rc<Agreement>>, rows: &[(&str, &str)]) {
    let (mut instance, outputs) = Instance::restore(&record, prepared, electorate(&[1; 4]), 0);
    let found: Vec<String> = outputs.iter().map(text).collect();
    assert_eq!(found.join("; "), rows[0].1);
    follow(&mut instance, &rows[1..]);
}

#[test]
fn a_restart_signs_nothing_at_or_below_what_was_signed() {
    restored(
        record(2, Step::Propose, "A", None),
        Some(agreement(1, "A", &[1, 2, 3])),
        &[
            ("", "enter 2; wait 2 propose; propose 2 A over 1"),
            ("lead 2 B", ""),
            ("propose 2 A over 1 sound", "prepare 2 A"),
        ],
    );
    restored(
        record(2, Step::Prepare, "nil", Some(("A", 0))),
        Some(agreement(0, "A", &[1, 2, 3])),
        &[
            ("", "enter 2; prepare 2 nil locked A@0"),
            ("start", ""),
            ("propose 2 A over 0 sound", ""),
            ("timeout 2 propose", ""),
            ("prepare 2 A 1 2 3", "commit 2 A over 2 locked A@2"),
        ],
    );
    restored(
        record(2, Step::Commit, "A", Some(("A", 2))),
        Some(agreement(2, "A", &[1, 2, 3])),
        &[
            ("", "enter 2; commit 2 A over 2 locked A@2"),
            ("prepare 2 A 1 2 3", ""),
            ("timeout 2 prepare", ""),
            ("timeout 2 commit", "enter 3; wait 3 propose"),
            ("propose 3 B acceptable", "prepare 3 nil locked A@2"),
            ("commit 3 nil 1 2 3", "wait 3 prepare; wait 3 commit"),
            ("timeout 3 commit", "enter 4; wait 4 propose"),
            ("lead 4 C", "propose 4 A over 2 locked A@2"),
        ],
    );
    // A prepare for nil, the prepare quorum lost with the database: the lock still holds.
    restored(
        record(1, Step::Prepare, "nil", Some(("A", 0))),
        None,
        &[
            ("", "enter 1; prepare 1 nil locked A@0"),
            ("commit 1 nil 1 2 3", "wait 1 prepare; wait 1 commit"),
            ("timeout 1 commit", "enter 2; wait 2 propose"),
            ("propose 2 B acceptable", "prepare 2 nil locked A@0"),
        ],
    );
}

#[test]
fn after_a_power_cut_everywhere_a_view_goes_on() {
    // Two had prepared, two had committed; nobody has the prepares of the latter.
    restored(
        record(3, Step::Prepare, "A", None),
        None,
        &[
            ("", "enter 3; prepare 3 A"),
            ("prepare 3 A 0 1", ""),
            ("commit 3 nil 2 3", "wait 3 prepare"),
            ("timeout 3 prepare", "commit 3 nil"),
            ("commit 3 nil 0", "wait 3 commit"),
            ("timeout 3 commit", "enter 4; wait 4 propose"),
        ],
    );
}

#[test]
fn voters_of_two_views_do_not_wait_for_each_other() {
    // Voter 3 is off. Voter 1 had all three commits of view 0 and went on; ours of its commit got lost.
    table(&[
        BEGIN,
        ("timeout 0 propose", "prepare 0 nil"),
        ("prepare 0 nil 0 1 2", "commit 0 nil"),
        ("commit 0 nil 0 2", ""),
        ("prepare 1 nil 1", "wait 0 commit"),
        ("timeout 0 commit", "enter 1; wait 1 propose"),
    ]);
    // It was gone before we prepared.
    table(&[
        BEGIN,
        ("commit 1 nil 1", ""),
        ("prepare 0 nil 2", ""),
        ("timeout 0 propose", "prepare 0 nil"),
        ("prepare 0 nil 0", "wait 0 prepare"),
    ]);
}
