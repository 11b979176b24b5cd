//! What a seal changes, against slow sums over the whole chain that are written down as `docs/protocol.md` §6 and §10
//! have them; and that what is taken back leaves no trace.

use std::collections::{BTreeMap, BTreeSet};

use hypernode::rules::sealed::SealedState;
use hypernode::rules::state::ChainState;
use hypernode::rules::validity::Place;
use hypernode::types::address::Address;
use hypernode::types::block::Block;
use hypernode::types::clock::Round;
use hypernode::types::evidence::Evidence;
use hypernode::types::evidence::OffenceKind;
use hypernode::types::hash::{Hash, hash};
use hypernode::types::seal::{Step, Vote};
use hypernode::types::tx::{Body, Tx, TxKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::cases;
use crate::history::{History, committed, double, proof};
use crate::sample::Sample;

const SLOTS: u32 = 5;

/// What happens in a round.
#[derive(Debug, Clone)]
struct Events {
    /// Rounds without a block before it.
    pause: u64,
    /// Bit i: the juror of slot i forges.
    forged: u8,
    /// Messages: who, for the round before, in which slot, what.
    said: Vec<(Index, bool, u32, Saying)>,
    sealed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Saying {
    Heartbeat,
    Committed,
    /// Somebody's two blocks, so many rounds ago.
    Blocks(u8, u64),
    /// Somebody's two votes, so many seals ago.
    Votes(u8, u64),
}

fn events() -> impl Strategy<Value = Vec<Events>> {
    let saying = prop_oneof![
        2 => Just(Saying::Heartbeat),
        6 => Just(Saying::Committed),
        1 => (0_u8..8, 0_u64..30).prop_map(|(who, ago)| Saying::Blocks(who, ago)),
        1 => (0_u8..8, 0_u64..4).prop_map(|(who, ago)| Saying::Votes(who, ago)),
    ];
    let said = vec((any::<Index>(), any::<bool>(), 0..SLOTS, saying), 0..14);
    let pause = prop_oneof![8 => Just(0_u64), 2 => 1_u64..3, 1 => 20_u64..30];
    // Full rounds, half full ones and nearly empty ones.
    let forged = prop_oneof![3 => Just(31_u8), 1 => 0_u8..32];
    let one = (pause, forged, said, any::<bool>());
    vec(one.prop_map(|(pause, forged, said, sealed)| Events { pause, forged, said, sealed }), 1..16)
}

fn sample() -> Sample {
    Sample::edited(
        &[1, 2, 3, 1, 1, 2],
        &[("activity_rounds = 1", "activity_rounds = 2"), ("active_min = 1", "active_min = 3")],
    )
}

fn two_votes(sample: &Sample, who: usize, index: u64) -> Evidence {
    let key = &sample.keys()[who];
    let vote = |value| {
        let at = (index, 3, Step::Commit);
        Vote::sign(at, value, key, &sample.network, &sample.verifier)
    };
    Evidence::of_votes(&vote(Some(hash("sample", &[]))), &vote(None)).expect("they differ")
}

/// Plays what happens; everything said goes into the first block that can hold it, at least in its slot.
fn play<'a>(sample: &'a Sample, all: &[Events]) -> History<'a> {
    let mut history = History::new(sample);
    let mut round = 1;
    for events in all {
        round += events.pause;
        for slot in (0..SLOTS).filter(|slot| events.forged >> slot & 1 == 1) {
            let mut messages: Vec<Tx> = Vec::new();
            for (who, late, of, saying) in &events.said {
                let sender = &sample.keys()[who.index(6)];
                let for_round = round - u64::from(*late);
                let newest = history.seals.last().expect("genesis").0.seal;
                let tx = match saying {
                    Saying::Heartbeat => sample.heartbeat(who.index(6), for_round),
                    Saying::Committed => committed(sample, sender, for_round),
                    Saying::Blocks(who, ago) => {
                        let key = &sample.keys()[usize::from(*who) % 6];
                        let then = round.saturating_sub(*ago);
                        proof(sample, sender, for_round, double(sample, key, then))
                    }
                    Saying::Votes(who, ago) => {
                        let index = (newest.index + 1).saturating_sub(*ago);
                        let votes = two_votes(sample, usize::from(*who) % 6, index);
                        proof(sample, sender, for_round, votes)
                    }
                };
                let place = Place { round: Round(round), seal: newest };
                let rules = sample.rules();
                let good = rules.check_message(&tx, &place, &history.state).is_ok();
                let twice = messages.iter().any(|other| other.key() == tx.key());
                if *of <= slot && good && !twice && !history.state.holds(&tx.key()) {
                    messages.push(tx);
                }
            }
            history.forge(round, slot, &messages);
        }
        if events.sealed && history.seals.last().is_some_and(|(_, at)| *at < history.steps.len()) {
            history.seal();
        }
        // A seal closes its round.
        round += 1;
    }
    history
}

/// The sealed states of a chain, each as a sum over all blocks below it.
struct Slow<'a> {
    sample: &'a Sample,
    blocks: Vec<&'a Block>,
    /// The number of blocks below each seal, genesis first.
    seals: Vec<usize>,
}

impl Slow<'_> {
    fn full_rounds(&self, blocks: &[&Block]) -> Vec<u64> {
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        for block in blocks {
            *counts.entry(block.header.header.round.0).or_default() += 1;
        }
        counts.into_iter().filter(|(_, count)| 2 * count >= SLOTS).map(|(round, _)| round).collect()
    }

    fn address(&self, key: &hypernode::types::key::PublicKey) -> Address {
        self.sample.network.address_of(key)
    }

    /// By address: the round of the last block in which somebody was seen.
    fn seen(&self, blocks: &[&Block]) -> BTreeMap<Address, u64> {
        let founders = self.sample.anchor.state.active.iter();
        let mut seen: BTreeMap<Address, u64> =
            founders.map(|hn| (hn.address, hn.last_round.0)).collect();
        for block in blocks {
            let round = block.header.header.round.0;
            seen.insert(self.address(&block.header.header.forger), round);
            for message in &block.messages {
                seen.insert(self.address(&message.sender), round);
            }
        }
        seen
    }

    fn beacon(&self, seal: usize) -> Hash {
        let mut beacon = hash("beacon", &[&self.sample.network.id().0]);
        for pair in self.seals[..=seal].windows(2) {
            let mut bytes = beacon.0.to_vec();
            for block in &self.blocks[pair[0]..pair[1]] {
                bytes.extend(block.header.header.reveal.iter().flat_map(|secret| secret.0));
            }
            beacon = hash("beacon", &[&bytes]);
        }
        beacon
    }

    /// Addresses and keys of voters with their weights, of the last seal up to this one that had enough active.
    fn voters(&self, seal: usize) -> Vec<(hypernode::types::key::PublicKey, u8)> {
        let state = &self.sample.anchor.state;
        if seal == 0 {
            return state.voters.iter().map(|it| (it.public_key, it.weight)).collect();
        }
        let blocks = &self.blocks[..self.seals[seal]];
        let active = self.active(seal);
        if self.full_rounds(blocks).len() < 2 || active.len() < 3 {
            return self.voters(seal - 1);
        }
        let keys = self.sample.keys().iter().map(|key| key.public());
        let mut voters: Vec<_> = keys
            .filter(|key| active.contains_key(&self.address(key)))
            .map(|key| {
                let address = self.address(&key);
                let hn = state.registry.iter().find(|hn| hn.address == address);
                (address, key, hn.expect("all are registered").weight)
            })
            .collect();
        voters.sort();
        voters.into_iter().map(|(_, key, weight)| (key, weight)).collect()
    }

    fn active(&self, seal: usize) -> BTreeMap<Address, u64> {
        let blocks = &self.blocks[..self.seals[seal]];
        let full = self.full_rounds(blocks);
        let since = if full.len() < 2 { 0 } else { full[full.len() - 2] };
        self.seen(blocks).into_iter().filter(|(_, round)| *round >= since).collect()
    }

    fn penalties(&self, seal: usize) -> BTreeMap<Address, u64> {
        let mut penalties = BTreeMap::new();
        for pair in self.seals[..=seal].windows(2) {
            let taken = &self.blocks[pair[0]..pair[1]];
            let round = taken.last().expect("a seal has blocks").header.header.round.0;
            for message in taken.iter().flat_map(|block| &block.messages) {
                if let TxKey::Offence(offence) = message.key() {
                    penalties.insert(self.address(&offence.offender), round + 24);
                }
            }
            penalties.retain(|_, last| *last > round);
        }
        penalties
    }

    fn check(&self, seal: usize, state: &SealedState) {
        let blocks = &self.blocks[..self.seals[seal]];
        let last = &blocks.last().expect("a seal has blocks").header.header;
        let round = last.round.0;
        assert_eq!(state.round, last.round);
        let active: BTreeMap<_, _> =
            state.active.iter().map(|hn| (hn.address, hn.last_round.0)).collect();
        assert_eq!(active, self.active(seal));
        assert!(state.active.iter().all(|hn| self.address(&hn.public_key) == hn.address));
        let full = self.full_rounds(blocks);
        let kept: Vec<u64> = state.full_rounds.iter().map(|round| round.0).collect();
        assert_eq!(kept, full[full.len().saturating_sub(2)..]);
        assert_eq!(state.beacon, self.beacon(seal));
        let voters: Vec<_> = state.voters.iter().map(|it| (it.public_key, it.weight)).collect();
        assert_eq!(voters, self.voters(seal));
        let penalties: BTreeMap<_, _> =
            state.penalties.iter().map(|it| (it.address, it.last_round.0)).collect();
        assert_eq!(penalties, self.penalties(seal));
        let messages = || blocks.iter().flat_map(|block| &block.messages);
        let committed: BTreeSet<_> = messages()
            .filter_map(|tx| match tx.body {
                Body::Heartbeat { commitment, .. } if commitment.0 != [0; 32] => {
                    Some((tx.round.0 + 2, tx.sender, commitment)).filter(|(due, ..)| *due > round)
                }
                _ => None,
            })
            .collect();
        let kept: BTreeSet<_> =
            state.commitments.iter().map(|it| (it.round.0, it.public_key, it.commitment)).collect();
        assert_eq!(kept, committed);
        assert!(kept.iter().all(|(due, ..)| (round + 1..=round + 2).contains(due)));
        let said: BTreeSet<_> = messages()
            .filter_map(|tx| tx.key().statement())
            .filter(|it| it.round.0 == round)
            .collect();
        assert_eq!(state.statements.iter().copied().collect::<BTreeSet<_>>(), said);
        let proven: BTreeSet<_> = messages()
            .filter_map(|tx| match tx.key() {
                TxKey::Offence(offence) => Some(offence),
                TxKey::Statement(_) => None,
            })
            .filter(|offence| match offence.kind {
                OffenceKind::Blocks { round: of } => of.0 + 24 > round,
                OffenceKind::Votes { index } => last.seal.index < index + 24,
            })
            .collect();
        assert_eq!(state.offences.iter().copied().collect::<BTreeSet<_>>(), proven);
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_sealed_state_is_the_sum_of_the_chain(all in events()) {
        let sample = sample();
        let history = play(&sample, &all);
        let slow = Slow {
            sample: &sample,
            blocks: history.steps.iter().map(|step| &step.block).collect(),
            seals: history.seals.iter().map(|(_, blocks)| *blocks).collect(),
        };
        for (at, (anchor, _)) in history.seals.iter().enumerate().skip(1) {
            slow.check(at, &anchor.state);
            let bytes = anchor.state.to_bytes();
            prop_assert_eq!(SealedState::from_bytes(&bytes), Ok(anchor.state.clone()));
        }
    }

    #[test]
    fn a_chain_that_is_taken_back_leaves_no_trace(all in events()) {
        let sample = sample();
        let mut history = play(&sample, &all);
        let mut state = history.state.clone();
        for step in history.steps.drain(..).rev() {
            state.undo(&step.block.header.header, &step.block.messages, step.undo);
            prop_assert_eq!(&state, &step.before);
        }
        prop_assert_eq!(state, ChainState::genesis(&sample.anchor));
    }

    #[test]
    fn who_starts_at_a_seal_goes_on_like_who_was_there(all in events()) {
        let sample = sample();
        let history = play(&sample, &all);
        for (anchor, blocks) in history.seals.iter().skip(1) {
            let Some(next) = history.steps.get(*blocks) else { continue };
            let there = &next.before;
            let (named, present) = (there.named(), there.anchor_of(there.round()));
            let mut joined = ChainState::from_sealed(&anchor.state, named, present);
            for step in &history.steps[*blocks..] {
                let (header, messages) = (&step.block.header.header, &step.block.messages);
                prop_assert_eq!(sample.rules().check_body(header, messages, &joined), Ok(()));
                joined.apply(header, messages);
            }
            prop_assert_eq!(&joined, &history.state);
        }
    }

    #[test]
    fn a_round_has_one_anchor_on_a_chain(all in events(), ahead in 0_u64..3) {
        let sample = sample();
        let history = play(&sample, &all);
        let last = history.state.round().0;
        for round in last.saturating_sub(1)..=last + ahead {
            // The seal named by the last block before the round.
            let before = history.headers().filter(|header| header.round.0 < round).last();
            let expected = before.map_or(sample.anchor.seal, |header| header.seal);
            prop_assert_eq!(history.state.anchor_of(Round(round)), expected);
            if round >= last {
                prop_assert_eq!(history.parent.anchor_of(Round(round)), expected);
            }
        }
    }
}
