//! What is built is accepted, and what is taken back leaves no trace.

use std::collections::BTreeSet;

use hypernode::rules::refusal::Refusal;
use hypernode::rules::state::{ChainState, Undo};
use hypernode::types::block::Header;
use hypernode::types::clock::Round;
use hypernode::types::hash::Hash;
use hypernode::types::key::{PublicKey, Signature};
use hypernode::types::tx::{Body, Outcome, TestRole, Tx, TxKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::cases;
use crate::sample::{Sample, any_hash, identified, key};

/// One of few messages, so that keys meet.
fn unsigned(round: u64, sender: u8, report: Option<u32>) -> Tx {
    let body = match report {
        None => Body::Heartbeat { version: 1, commitment: Hash([0; 32]), capacity: 1 },
        Some(index) => Body::TestReport {
            slot: hypernode::types::clock::Slot(0),
            index,
            role: TestRole::Tester,
            outcome: Outcome::Passed,
            measured: 0,
        },
    };
    Tx { round: Round(round), sender: PublicKey([sender; 32]), body, signature: Signature([0; 64]) }
}

/// Rounds that pass before a block, and what its messages are.
type Step = (u64, Vec<(bool, u8, Option<u32>)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let message = (any::<bool>(), 0_u8..4, proptest::option::of(0_u32..2));
    let pause = prop_oneof![4 => Just(0), 3 => Just(1), 1 => 2_u64..5];
    vec((pause, vec(message, 0..6)), 1..12)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_is_taken_back_leaves_no_trace(steps in steps(), kept in any::<Index>()) {
        let sample = Sample::new(&[1]);
        let mut state = sample.state(0);
        let mut round = 10;
        let mut before: Vec<(ChainState, Header, Vec<Tx>, Undo)> = Vec::new();
        let mut chain: BTreeSet<TxKey> = BTreeSet::new();
        for (pause, messages) in steps {
            round += pause;
            let mut taken: Vec<Tx> = Vec::new();
            for (late, sender, report) in messages {
                let tx = unsigned(round - u64::from(late), sender, report);
                let twice = taken.iter().any(|other| other.key() == tx.key());
                // The state must know every key of the chain that a block could repeat.
                prop_assert_eq!(state.holds(&tx.key()), chain.contains(&tx.key()));
                if !twice && !state.holds(&tx.key()) {
                    taken.push(tx);
                }
            }
            chain.extend(taken.iter().map(Tx::key));
            let earlier = state.clone();
            let header = sample.header(round);
            let undo = state.apply(&header, &taken);
            // What no block can repeat is forgotten, or the state would grow for ever.
            let over = chain.iter().filter(|key| key.statement().is_some_and(|it| it.round.0 + 1 < round));
            prop_assert_eq!(over.filter(|key| state.holds(key)).count(), 0);
            before.push((earlier, header, taken, undo));
        }
        let kept = kept.index(before.len());
        let again = before.split_off(kept);
        for (earlier, header, messages, undo) in again.into_iter().rev() {
            state.undo(&header, &messages, undo);
            prop_assert_eq!(&state, &earlier);
        }
    }
}

/// A candidate for a block: mostly valid.
#[derive(Debug, Clone)]
enum Candidate {
    Heartbeat { sender: Index, round: u64 },
    Report { slot: u32, index: u32, role: TestRole, round: u64 },
    Stranger,
    Committed { sender: Index },
    Broken { sender: Index },
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let index = any::<Index>;
    let role = prop_oneof![Just(TestRole::Tester), Just(TestRole::Tested)];
    prop_oneof![
        4 => (index(), 0_u64..5).prop_map(|(sender, round)| Candidate::Heartbeat { sender, round }),
        4 => (0_u32..5, 0_u32..2, role, 1_u64..4)
            .prop_map(|(slot, index, role, round)| Candidate::Report { slot, index, role, round }),
        1 => Just(Candidate::Stranger),
        1 => index().prop_map(|sender| Candidate::Committed { sender }),
        1 => index().prop_map(|sender| Candidate::Broken { sender }),
    ]
}

fn make(sample: &Sample, candidate: &Candidate) -> Option<Tx> {
    let keys = sample.keys();
    let beat = |key, round, commitment| {
        sample.tx(key, round, Body::Heartbeat { version: 1, commitment, capacity: 1 })
    };
    Some(match candidate {
        Candidate::Heartbeat { sender, round } => {
            sample.heartbeat(sender.index(keys.len()), *round)
        }
        Candidate::Report { slot, index, role, round } => {
            let plan = sample.plan(*round);
            plan.test(hypernode::types::clock::Slot(*slot), *index)?;
            sample.report(*round, *slot, *index, *role)
        }
        Candidate::Stranger => beat(&key(999), 3, Hash([0; 32])),
        Candidate::Committed { sender } => beat(&keys[sender.index(keys.len())], 3, any_hash("c")),
        Candidate::Broken { sender } => {
            let mut tx = sample.heartbeat(sender.index(keys.len()), 3);
            tx.signature.0[10] ^= 4;
            tx
        }
    })
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn what_is_built_is_accepted(
        weights in vec(1_u8..4, 1..7),
        (least, senders, most) in (0_u32..3, 0_u32..3, 3_u32..12),
        slot in 0_u32..5,
        candidates in vec(candidate(), 0..24),
        held in vec(candidate(), 0..4),
    ) {
        let limits = [
            format!("messages_min = {least}"),
            format!("senders_min = {senders}"),
            format!("messages_max = {most}"),
        ];
        let sample = Sample::edited(&weights, &[
            ("messages_min = 0", &limits[0]),
            ("senders_min = 0", &limits[1]),
            ("messages_max = 1000", &limits[2]),
        ]);
        let rules = sample.rules();
        let mut state = sample.state(2);
        let held: Vec<Tx> = held.iter().filter_map(|one| make(&sample, one)).collect();
        state.apply(&sample.header(3), &held);
        let offered: Vec<Tx> = candidates.iter().filter_map(|one| make(&sample, one)).collect();
        let (at, juror) = (sample.time(3, slot), sample.juror(3, slot));
        let parent = sample.genesis();
        let built = rules.build_block(&parent, &state, identified(&offered).into_iter(), at, juror);
        let (block, left_out) = match built {
            Ok(built) => built,
            Err(why) => {
                prop_assert_eq!(why, Refusal::TooFew);
                prop_assert!(least + senders > 0);
                return Ok(());
            }
        };
        let header = &block.header.header;
        prop_assert_eq!(rules.check_header(&block.header, &parent), Ok(()));
        prop_assert_eq!(rules.check_root(header, &block.messages), Ok(()));
        prop_assert_eq!(rules.check_body(header, &block.messages, &state), Ok(()));
        // Whoever checks has seen none of the signatures.
        let stranger = Sample::edited(&weights, &[
            ("messages_min = 0", &limits[0]),
            ("senders_min = 0", &limits[1]),
            ("messages_max = 1000", &limits[2]),
        ]);
        prop_assert_eq!(stranger.rules().check_header(&block.header, &parent), Ok(()));
        prop_assert_eq!(stranger.rules().check_body(header, &block.messages, &state), Ok(()));
        // What is left out is not valid beside what is in.
        for (id, why) in left_out {
            let tx = offered.iter().find(|tx| tx.id() == id).expect("one of those offered");
            let alone = rules.check_message(tx, &sample.place(3), &state);
            let twice = state.holds(&tx.key()) || offered.iter().filter(|other| other.key() == tx.key()).count() > 1;
            prop_assert!(alone == Err(why) || why == Refusal::DuplicateKey && twice, "{} {:?}", tx, why);
        }
    }
}
