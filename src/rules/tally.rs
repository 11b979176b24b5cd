//! From one sealed state over the blocks of a chain to the next (`docs/protocol.md` §6, §10).
//!
//! Goes forward only, a block at a time: what a seal of the last block would change is the sum of all blocks since the
//! seal before, whatever they were taken for when they came.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::rules::beacon::Beacon;
use crate::rules::sealed::{Active, Anchor, Commitment, Penalty, SealedState};
use crate::rules::state::{OFFENCE_SPAN, commitment_of, may_be_proven};
use crate::types::address::Address;
use crate::types::block::{Header, SealRef};
use crate::types::clock::Round;
use crate::types::evidence::Offence;
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::seal::{Registered, Voter};
use crate::types::tx::{Statement, Tx, TxKey};

/// The sum of the blocks since a seal.
#[derive(Clone)]
pub struct Tally {
    before: Rc<Anchor>,
    /// Of the last block.
    round: Round,
    /// Named by the last block.
    named: SealRef,
    /// Blocks of each round since the seal.
    blocks: BTreeMap<Round, u32>,
    /// Who forged or sent a message of a block, and in the block of which round last.
    seen: BTreeMap<PublicKey, Round>,
    beacon: Beacon,
    commitments: BTreeMap<(Round, PublicKey), Hash>,
    statements: BTreeSet<Statement>,
    /// All since the seal, and those known before that may still be proven.
    offences: BTreeSet<Offence>,
    offenders: BTreeSet<PublicKey>,
}

impl Tally {
    /// No block since this seal.
    pub fn new(before: Rc<Anchor>) -> Tally {
        let state = &before.state;
        let commitments = state.commitments.iter();
        Tally {
            round: state.round,
            named: before.seal,
            blocks: BTreeMap::new(),
            seen: BTreeMap::new(),
            beacon: Beacon::new(&state.beacon),
            commitments: commitments.map(|it| ((it.round, it.public_key), it.commitment)).collect(),
            statements: state.statements.iter().copied().collect(),
            offences: state.offences.iter().copied().collect(),
            offenders: BTreeSet::new(),
            before,
        }
    }

    /// The seal that it goes on from.
    pub fn before(&self) -> &Rc<Anchor> {
        &self.before
    }

    /// Takes in the next block of the chain, which is valid on it.
    pub fn apply(&mut self, header: &Header, messages: &[Tx]) {
        if header.round > self.round {
            self.begin_round(header.round);
        }
        self.named = header.seal;
        *self.blocks.entry(header.round).or_default() += 1;
        self.seen.insert(header.forger, header.round);
        if let Some(secret) = &header.reveal {
            self.beacon.reveal(secret);
        }
        for message in messages {
            self.seen.insert(message.sender, header.round);
            match message.key() {
                TxKey::Statement(statement) => {
                    self.statements.insert(statement);
                }
                TxKey::Offence(offence) => {
                    self.offences.insert(offence);
                    self.offenders.insert(offence.offender);
                }
            }
            if let Some((key, commitment)) = commitment_of(message) {
                self.commitments.insert(key, commitment);
            }
        }
    }

    /// The state of a seal of the last block that takes in this registry, sorted by address.
    pub fn seal(&self, network: &Network, registry: &[Registered]) -> SealedState {
        let values = network.values_at(self.round);
        let window = values.activity_rounds as usize;
        let full_rounds = self.full_rounds(network.clock.slots, window);
        let since = match full_rounds.len() < window {
            true => Round(0),
            false => full_rounds[0],
        };
        let active = self.active(network, registry, since);
        let settled = full_rounds.len() >= window && active.len() >= values.active_min as usize;
        let voters =
            if settled { voters(&active, registry) } else { self.before.state.voters.clone() };
        let next = self.round.next();
        let commitments = self.commitments.iter().filter(|((due, _), _)| *due >= next);
        let statements = self.statements.iter().filter(|it| it.round >= self.round);
        let provable = |it: &&Offence| may_be_proven(&it.kind, next, &self.named);
        SealedState {
            round: self.round,
            registry: registry.to_vec(),
            voids: self.before.state.voids.clone(),
            active,
            full_rounds,
            beacon: self.beacon.finish(),
            commitments: commitments.map(|(key, value)| Commitment::from((*key, *value))).collect(),
            statements: statements.copied().collect(),
            offences: self.offences.iter().filter(provable).copied().collect(),
            penalties: self.penalties(network),
            voters,
        }
    }

    /// Forgets what no later block can repeat or meet: a long stall does not fill the memory.
    fn begin_round(&mut self, round: Round) {
        self.round = round;
        self.statements.retain(|it| it.round.next() >= round);
        self.commitments.retain(|(due, _), _| *due >= round);
        self.offences.retain(|it| may_be_proven(&it.kind, round, &self.named));
    }

    /// The last full rounds, at most as many as activity looks back.
    fn full_rounds(&self, slots: u32, window: usize) -> Vec<Round> {
        let is_full = |blocks: u32| 2 * u64::from(blocks) >= u64::from(slots);
        let new = self.blocks.iter().filter(|(_, blocks)| is_full(**blocks));
        let mut rounds = self.before.state.full_rounds.clone();
        rounds.extend(new.map(|(round, _)| *round));
        rounds.split_off(rounds.len().saturating_sub(window))
    }

    /// Registered HNs seen since a round.
    fn active(&self, network: &Network, registry: &[Registered], since: Round) -> Vec<Active> {
        let mut seen: BTreeMap<Address, Active> =
            self.before.state.active.iter().map(|hn| (hn.address, *hn)).collect();
        for (public_key, last_round) in &self.seen {
            let (address, public_key) = (network.address_of(public_key), *public_key);
            seen.insert(address, Active { address, public_key, last_round: *last_round });
        }
        let registered = registry.iter().filter_map(|hn| seen.get(&hn.address));
        registered.filter(|hn| hn.last_round >= since).copied().collect()
    }

    /// Penalties that still matter after this round.
    fn penalties(&self, network: &Network) -> Vec<Penalty> {
        let old = self.before.state.penalties.iter().filter(|it| it.last_round > self.round);
        let mut last: BTreeMap<Address, Round> =
            old.map(|it| (it.address, it.last_round)).collect();
        let until = Round(self.round.0.saturating_add(OFFENCE_SPAN));
        last.extend(self.offenders.iter().map(|key| (network.address_of(key), until)));
        last.into_iter().map(|(address, last_round)| Penalty { address, last_round }).collect()
    }
}

/// The active with their weights, by address.
fn voters(active: &[Active], registry: &[Registered]) -> Vec<Voter> {
    let weight_of = |address: &Address| {
        let at = registry.binary_search_by(|hn| hn.address.cmp(address));
        at.map_or(0, |at| registry[at].weight)
    };
    let voter = |hn: &Active| Voter { public_key: hn.public_key, weight: weight_of(&hn.address) };
    active.iter().map(voter).collect()
}
