//! What makes a header, a body and a message valid, and `build_block` beside them (`docs/protocol.md` §7, §8).
//!
//! The forger builds with the functions that everyone checks with. Cheap checks come first, signatures last.

use std::collections::BTreeSet;

use crate::rules::plan::Plans;
use crate::rules::refusal::Refusal;
use crate::rules::state::ChainState;
use crate::types::block::{
    BODY_BYTES_MAX, Block, Header, Point, SealRef, SignedHeader, messages_root,
};
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::codec;
use crate::types::hash::TxId;
use crate::types::key::{SecretKey, Verifier};
use crate::types::network::Network;
use crate::types::tx::{Body, TestRole, Tx};

/// A block or message this far ahead of our clock waits; one further ahead is not for now.
pub const FUTURE_MS: u64 = 2_000;

/// What the checks read: the network, its plans, and signatures already seen.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub network: &'a Network,
    pub plans: &'a Plans,
    pub verifier: &'a Verifier,
}

/// The block that a header builds on, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub point: Point,
    /// Nothing for genesis, which is before all slots.
    pub at: Option<(Round, Slot)>,
    pub seal: SealRef,
}

/// A message with its id, which costs two hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedTx {
    pub id: TxId,
    pub tx: Tx,
}

impl Rules<'_> {
    /// Whether a header is valid on its parent. Says nothing of its body.
    pub fn check_header(&self, signed: &SignedHeader, parent: &Parent) -> Result<(), Refusal> {
        let header = &signed.header;
        let clock = &self.network.clock;
        if header.height != parent.point.height.next() || header.previous != parent.point.hash {
            return Err(Refusal::Parent);
        }
        let later = parent.at.is_none_or(|at| (header.round, header.slot) > at);
        if !later || header.round < self.network.first_round || !clock.is_forging(header.slot) {
            return Err(Refusal::Slot);
        }
        if header.version != self.network.version_at(header.round) {
            return Err(Refusal::Version);
        }
        if clock.at(header.timestamp) != Some((header.round, header.slot)) {
            return Err(Refusal::Timestamp);
        }
        let anchor = self.plans.anchor(header.round);
        if header.seal != anchor.seal || header.seal.index < parent.seal.index {
            return Err(Refusal::Seal);
        }
        // Nobody has committed to a secret before there are seals, so none is due.
        if header.reveal.is_some() {
            return Err(Refusal::Reveal);
        }
        let forger = self.network.address_of(&header.forger);
        if self.plans.at(header.round).juror(header.slot) != Some(&forger) {
            return Err(Refusal::WrongJuror);
        }
        if !signed.is_signed(self.network, self.verifier) {
            return Err(Refusal::Signature);
        }
        Ok(())
    }

    /// Whether the messages are those that the header names: whoever delivers others is to blame.
    pub fn check_root(&self, header: &Header, messages: &[Tx]) -> Result<(), Refusal> {
        let ids: Vec<TxId> = messages.iter().map(Tx::id).collect();
        if messages_root(&ids) != header.messages_root {
            return Err(Refusal::MessagesRoot);
        }
        Ok(())
    }

    /// Whether the messages of a block are valid on the chain that `state` is of.
    pub fn check_body(
        &self,
        header: &Header,
        messages: &[Tx],
        state: &ChainState,
    ) -> Result<(), Refusal> {
        let ids: Vec<TxId> = messages.iter().map(Tx::id).collect();
        if messages_root(&ids) != header.messages_root {
            return Err(Refusal::MessagesRoot);
        }
        if !ids.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Refusal::Order);
        }
        self.check_counts(header.round, messages)?;
        let mut keys = BTreeSet::new();
        for message in messages {
            let key = message.key();
            if !keys.insert(key) || state.holds(&key) {
                return Err(Refusal::DuplicateKey);
            }
            self.check_message(message, header.round)?;
        }
        Ok(())
    }

    /// Whether a message may stand in a block of `round`, apart from what else is in the chain.
    pub fn check_message(&self, message: &Tx, round: Round) -> Result<(), Refusal> {
        if message.round > round {
            return Err(Refusal::TooEarly);
        }
        if message.round.next() < round || message.round < self.network.first_round {
            return Err(Refusal::Expired);
        }
        let sender = message.sender_address(self.network);
        if self.plans.anchor(message.round).state.registered(&sender).is_none() {
            return Err(Refusal::Unregistered);
        }
        match &message.body {
            Body::Heartbeat { commitment, .. } => {
                if commitment.0 != [0; 32] {
                    return Err(Refusal::Commitment);
                }
            }
            Body::TestReport { slot, index, role, .. } => {
                let plan = self.plans.at(message.round);
                let test = plan.test(*slot, *index).ok_or(Refusal::NotInPlan)?;
                let part = match role {
                    TestRole::Tester => test.tester,
                    TestRole::Tested => test.tested,
                };
                if part != sender {
                    return Err(Refusal::NotInPlan);
                }
            }
        }
        if !message.is_signed(self.network, self.verifier) {
            return Err(Refusal::Signature);
        }
        Ok(())
    }

    fn check_counts(&self, round: Round, messages: &[Tx]) -> Result<(), Refusal> {
        let values = self.network.values_at(round);
        if messages.len() > values.messages_max as usize {
            return Err(Refusal::TooMany);
        }
        if codec::encode(&messages).len() > BODY_BYTES_MAX {
            return Err(Refusal::TooMany);
        }
        let senders: BTreeSet<_> = messages.iter().map(|message| message.sender).collect();
        let few = messages.len() < values.messages_min as usize;
        if few || senders.len() < values.senders_min as usize {
            return Err(Refusal::TooFew);
        }
        Ok(())
    }

    /// Forges: the block of (round, slot) on `parent` with as many of the candidates as are valid and fit.
    ///
    /// Candidates that do not pass are left out and returned with the reason, so that the mempool can drop them.
    pub fn build_block(
        &self,
        parent: &Parent,
        state: &ChainState,
        candidates: impl Iterator<Item = IdentifiedTx>,
        now: Timestamp,
        key: &SecretKey,
    ) -> Result<(Block, Vec<(TxId, Refusal)>), Refusal> {
        let (round, slot) = self.network.clock.at(now).ok_or(Refusal::Slot)?;
        let values = self.network.values_at(round);
        // Room for the count that stands before the list.
        let mut bytes_left = BODY_BYTES_MAX - 5;
        let mut left_out = Vec::new();
        let mut keys = BTreeSet::new();
        let mut chosen: Vec<IdentifiedTx> = Vec::new();
        for candidate in candidates {
            if chosen.len() == values.messages_max as usize {
                break;
            }
            let key = candidate.tx.key();
            let verdict = if state.holds(&key) || keys.contains(&key) {
                Err(Refusal::DuplicateKey)
            } else {
                self.check_message(&candidate.tx, round)
            };
            let bytes = codec::encode(&candidate.tx).len();
            match verdict {
                Ok(()) if bytes <= bytes_left => {
                    keys.insert(key);
                    bytes_left -= bytes;
                    chosen.push(candidate);
                }
                Ok(()) => {}
                Err(why) => left_out.push((candidate.id, why)),
            }
        }
        chosen.sort_by_key(|candidate| candidate.id);
        let ids: Vec<TxId> = chosen.iter().map(|candidate| candidate.id).collect();
        let messages: Vec<Tx> = chosen.into_iter().map(|candidate| candidate.tx).collect();
        self.check_counts(round, &messages)?;
        let header = Header {
            version: self.network.version_at(round),
            height: parent.point.height.next(),
            round,
            slot,
            timestamp: now,
            previous: parent.point.hash,
            messages_root: messages_root(&ids),
            seal: self.plans.anchor(round).seal,
            reveal: None,
            forger: key.public(),
        };
        let header = header.sign(key, self.network, self.verifier);
        Ok((Block { header, messages }, left_out))
    }
}
