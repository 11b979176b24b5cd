//! The state that a seal of a block would seal, from the first block on each time (`docs/protocol.md` §6, §7, §10).

use std::collections::{BTreeMap, BTreeSet};

use super::{Judged, Sealed};
use crate::rules::sealed::{Active, Commitment, Penalty, SealedState};
use crate::types::address::Address;
use crate::types::clock::Round;
use crate::types::evidence::{Offence, OffenceKind};
use crate::types::hash::{Hash, hash};
use crate::types::key::PublicKey;
use crate::types::network::{Founder, Network};
use crate::types::pow::PowAddress;
use crate::types::seal::{Registered, Voter};
use crate::types::tx::{Statement, TxKey};

/// Rounds or seals for which evidence is good, and rounds that its penalty lasts.
const SPAN: u64 = 24;

/// The founders with their keys: all HNs there are, whatever the registry.
fn founders(network: &Network) -> BTreeMap<Address, (PublicKey, Registered)> {
    let of = |founder: &Founder| {
        let address = network.address_of(&founder.public_key);
        let registered = Registered {
            address,
            ip: founder.ip,
            port: founder.port,
            weight: founder.weight,
            owner: PowAddress([0; 28]),
            reward: PowAddress([0; 28]),
            since: 0,
        };
        (address, (founder.public_key, registered))
    };
    network.founders.iter().map(of).collect()
}

/// Round of genesis.
fn start(network: &Network) -> Round {
    Round(network.first_round.0.saturating_sub(1))
}

/// The state of genesis.
pub fn genesis_state(network: &Network) -> SealedState {
    let hns: Vec<Registered> = founders(network).values().map(|(_, entry)| *entry).collect();
    state_after(network, &hns, &[], &[], None)
}

/// The state after the last block of a chain that begins with its first block, with a registry by address. `seals` are
/// those below, ascending, from genesis on; `listed` is what a listed checkpoint among them brought: its round counts as
/// genesis, its voters as seen.
pub fn state_after(
    network: &Network,
    registry: &[Registered],
    chain: &[&Judged],
    seals: &[&Sealed],
    listed: Option<(Round, &[Voter])>,
) -> SealedState {
    let founders = founders(network);
    let with_key = |entry: &Registered| (entry.address, (founders[&entry.address].0, *entry));
    let hns: BTreeMap<Address, _> = registry.iter().map(with_key).collect();
    let round = chain.last().map_or(start(network), |block| block.round);
    let values = network.values_at(round);
    let window = values.activity_rounds as usize;
    let base = listed.map_or(start(network), |(round, _)| round);
    let full = full_rounds(network, chain, listed.map(|(round, _)| round));
    let full_rounds = full[full.len().saturating_sub(window)..].to_vec();
    let since = if full_rounds.len() < window { base } else { full_rounds[0] };
    let mut seen: BTreeMap<PublicKey, Round> = match listed {
        None => founders.values().map(|(key, _)| (*key, base)).collect(),
        Some((round, voters)) => voters.iter().map(|voter| (voter.public_key, round)).collect(),
    };
    for block in chain.iter().filter(|block| listed.is_none_or(|(round, _)| block.round > round)) {
        seen.insert(block.forger, block.round);
        seen.extend(block.senders.iter().map(|sender| (*sender, block.round)));
    }
    let active: Vec<Active> = hns
        .iter()
        .filter_map(|(address, (key, _))| {
            let last_round = *seen.get(key)?;
            let hn = Active { address: *address, public_key: *key, last_round };
            (last_round >= since).then_some(hn)
        })
        .collect();
    let of_active = || {
        let weight = |hn: &Active| hns[&hn.address].1.weight;
        active.iter().map(|hn| Voter { public_key: hn.public_key, weight: weight(hn) }).collect()
    };
    let settled = full_rounds.len() >= window && active.len() >= values.active_min as usize;
    let voters = match seals.last() {
        Some(before) if !settled => before.state.voters.clone(),
        _ => of_active(),
    };
    SealedState {
        round,
        registry: hns.values().map(|(_, entry)| *entry).collect(),
        voids: Vec::new(),
        voters,
        active,
        full_rounds,
        beacon: beacon(network, chain, seals),
        commitments: commitments(chain, round),
        statements: statements(chain, round),
        offences: offences(chain, round),
        penalties: penalties(network, chain, seals, round),
    }
}

/// Rounds with a block in at least half of their slots, after a round.
fn full_rounds(network: &Network, chain: &[&Judged], after: Option<Round>) -> Vec<Round> {
    let mut blocks: BTreeMap<Round, u32> = BTreeMap::new();
    for block in chain.iter().filter(|block| after.is_none_or(|round| block.round > round)) {
        *blocks.entry(block.round).or_default() += 1;
    }
    blocks.retain(|_, count| *count * 2 >= network.clock.slots);
    blocks.into_keys().collect()
}

/// Of the seal before and the reveals since.
fn beacon(network: &Network, chain: &[&Judged], seals: &[&Sealed]) -> Hash {
    let Some(before) = seals.last() else { return hash("beacon", &[&network.id().0]) };
    let since = chain.iter().filter(|block| block.point.height > before.checkpoint.height);
    let mut bytes = before.state.beacon.0.to_vec();
    since.filter_map(|block| block.reveal).for_each(|secret| bytes.extend(secret.0));
    hash("beacon", &[&bytes])
}

/// Those for the two rounds after this one.
fn commitments(chain: &[&Judged], round: Round) -> Vec<Commitment> {
    let all = chain.iter().flat_map(|block| &block.commitments);
    let due = all.filter(|(of, ..)| of.0 + 2 > round.0);
    let mut list: Vec<Commitment> = due
        .map(|(of, key, commitment)| Commitment {
            round: Round(of.0 + 2),
            public_key: *key,
            commitment: *commitment,
        })
        .collect();
    list.sort();
    list
}

/// What was said for this round.
fn statements(chain: &[&Judged], round: Round) -> Vec<Statement> {
    let all = chain.iter().flat_map(|block| &block.keys);
    let of_round: BTreeSet<Statement> = all
        .filter_map(|key| match key {
            TxKey::Statement(statement) => (statement.round == round).then_some(*statement),
            TxKey::Offence(_) => None,
        })
        .collect();
    of_round.into_iter().collect()
}

/// What blocks have proven.
fn proven(block: &Judged) -> impl Iterator<Item = &Offence> {
    block.keys.iter().filter_map(|key| match key {
        TxKey::Offence(offence) => Some(offence),
        TxKey::Statement(_) => None,
    })
}

/// What the next block might prove again.
fn offences(chain: &[&Judged], round: Round) -> Vec<Offence> {
    let named = chain.last().map_or(0, |block| block.seal.index);
    let all: BTreeSet<Offence> = chain.iter().flat_map(|block| proven(block)).copied().collect();
    let again = |offence: &Offence| match offence.kind {
        OffenceKind::Blocks { round: of } => round.0 < of.0 + SPAN,
        OffenceKind::Votes { index } => named < index + SPAN,
    };
    all.into_iter().filter(again).collect()
}

/// Counted from the round of the seal that took the evidence in; the last one wins.
fn penalties(
    network: &Network,
    chain: &[&Judged],
    seals: &[&Sealed],
    round: Round,
) -> Vec<Penalty> {
    let mut last: BTreeMap<Address, Round> = BTreeMap::new();
    for block in chain {
        let taken_in = seals.iter().find(|seal| seal.checkpoint.height >= block.point.height);
        let of = taken_in.map_or(round, |seal| seal.checkpoint.round);
        for offence in proven(block) {
            last.insert(network.address_of(&offence.offender), Round(of.0 + SPAN));
        }
    }
    last.retain(|_, last_round| *last_round > round);
    last.into_iter().map(|(address, last_round)| Penalty { address, last_round }).collect()
}
