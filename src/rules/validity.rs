//! What makes a header, a body and a message valid, and `build_block` beside them (`docs/protocol.md` §7, §8).
//!
//! The forger builds with the functions that everyone checks with. Cheap checks come first, signatures last.

use std::collections::BTreeSet;

use crate::rules::beacon::commitment_to;
use crate::rules::plan::Plans;
use crate::rules::refusal::Refusal;
use crate::rules::sealed::Anchor;
use crate::rules::state::{ChainState, may_be_proven};
use crate::types::block::{
    BODY_BYTES_MAX, Block, Header, Point, SealRef, SignedHeader, messages_root,
};
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::codec;
use crate::types::evidence::{Evidence, Offence, OffenceKind};
use crate::types::hash::{Hash, TxId};
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
    /// The seal that it names.
    pub seal: SealRef,
    /// The anchor of its own round.
    pub anchor: SealRef,
}

/// Where a message stands, or is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of the block.
    pub round: Round,
    /// Named by the block.
    pub seal: SealRef,
}

/// A message with its id, which costs two hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedTx {
    pub id: TxId,
    pub tx: Tx,
}

impl Parent {
    /// The anchor of a round on the chain that ends here: the seal named by the last block before it (§6).
    pub fn anchor_of(&self, round: Round) -> SealRef {
        let earlier = self.at.is_none_or(|(of, _)| of < round);
        if earlier { self.seal } else { self.anchor }
    }
}

impl Rules<'_> {
    /// Whether a header is valid on its parent. Says nothing of its body, nor of its reveal, which depends on the bodies
    /// below it.
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
        if self.plans.closes(&header.previous, header.round) {
            return Err(Refusal::RoundSealed);
        }
        self.check_seal(header, parent)?;
        let anchor = parent.anchor_of(header.round);
        let plan = self.plans.at(&anchor, header.round).ok_or(Refusal::UnknownSeal)?;
        let forger = self.network.address_of(&header.forger);
        if plan.juror(header.slot) != Some(&forger) {
            return Err(Refusal::WrongJuror);
        }
        if !signed.is_signed(self.network, self.verifier) {
            return Err(Refusal::Signature);
        }
        Ok(())
    }

    /// Whether the seal named is on the chain of the parent, and not older than the one that the parent names.
    fn check_seal(&self, header: &Header, parent: &Parent) -> Result<(), Refusal> {
        if header.seal == parent.seal {
            return Ok(());
        }
        if header.seal.index <= parent.seal.index {
            return Err(Refusal::Seal);
        }
        let known = self.plans.anchor_at(header.seal.index).ok_or(Refusal::UnknownSeal)?;
        let is_below = known.checkpoint.height <= parent.point.height;
        if known.seal == header.seal && is_below { Ok(()) } else { Err(Refusal::Seal) }
    }

    /// Whether a block reveals what it must on the chain that `state` is of: the secret that its forger committed to,
    /// in the forger's first block of the round.
    pub fn check_reveal(&self, header: &Header, state: &ChainState) -> Result<(), Refusal> {
        let revealed = header.reveal.as_ref().map(commitment_to);
        if revealed.as_ref() == state.due_reveal(header.round, &header.forger) {
            Ok(())
        } else {
            Err(Refusal::Reveal)
        }
    }

    /// Whether the messages are those that the header names: whoever delivers others is to blame.
    pub fn check_root(&self, header: &Header, messages: &[Tx]) -> Result<(), Refusal> {
        let ids: Vec<TxId> = messages.iter().map(Tx::id).collect();
        if messages_root(&ids) != header.messages_root {
            return Err(Refusal::MessagesRoot);
        }
        Ok(())
    }

    /// Whether the reveal and the messages of a block are valid on the chain that `state` is of.
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
        self.check_reveal(header, state)?;
        self.check_counts(header.round, messages)?;
        let place = Place { round: header.round, seal: header.seal };
        let mut keys = BTreeSet::new();
        for message in messages {
            let key = message.key();
            if !keys.insert(key) || state.holds(&key) {
                return Err(Refusal::DuplicateKey);
            }
            self.check_message(message, &place, state)?;
        }
        Ok(())
    }

    /// Whether a message may stand at a place of the chain that `state` is of, apart from what else is in the chain.
    pub fn check_message(
        &self,
        message: &Tx,
        place: &Place,
        state: &ChainState,
    ) -> Result<(), Refusal> {
        if message.round > place.round {
            return Err(Refusal::TooEarly);
        }
        if message.round.next() < place.round || message.round < self.network.first_round {
            return Err(Refusal::Expired);
        }
        let anchor = state.anchor_of(message.round);
        let anchor = self.plans.anchor(&anchor).ok_or(Refusal::UnknownSeal)?;
        let sender = message.sender_address(self.network);
        if anchor.state.registered(&sender).is_none() {
            return Err(Refusal::Unregistered);
        }
        match &message.body {
            // Any commitment is good: whoever cannot reveal what is behind it cannot forge.
            Body::Heartbeat { .. } => {}
            Body::TestReport { slot, index, role, .. } => {
                let plan = self.plans.of(&anchor, message.round);
                let test = plan.test(*slot, *index).ok_or(Refusal::NotInPlan)?;
                let part = match role {
                    TestRole::Tester => test.tester,
                    TestRole::Tested => test.tested,
                };
                if part != sender {
                    return Err(Refusal::NotInPlan);
                }
            }
            Body::Equivocation(evidence) => self.check_evidence(evidence, place, &anchor)?,
        }
        if !message.is_signed(self.network, self.verifier) {
            return Err(Refusal::Signature);
        }
        Ok(())
    }

    /// Whether evidence proves that a registered HN signed twice, not long before its place in the chain.
    fn check_evidence(
        &self,
        evidence: &Evidence,
        place: &Place,
        anchor: &Anchor,
    ) -> Result<(), Refusal> {
        let Offence { kind, offender } = evidence.offence();
        // Of what has not come there could be as much as anybody likes to sign.
        let to_come = match kind {
            OffenceKind::Blocks { round } => round > place.round,
            OffenceKind::Votes { index } => index > place.seal.index.saturating_add(1),
        };
        if to_come {
            return Err(Refusal::TooEarly);
        }
        if !may_be_proven(&kind, place.round, &place.seal) {
            return Err(Refusal::Expired);
        }
        if anchor.state.registered(&self.network.address_of(&offender)).is_none() {
            return Err(Refusal::Unregistered);
        }
        if !evidence.is_proof() || !evidence.is_signed(self.network, self.verifier) {
            return Err(Refusal::Evidence);
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
        let newest = self.plans.newest_below(parent.point.height).map(|anchor| anchor.seal);
        let seal = newest.filter(|seal| seal.index > parent.seal.index).unwrap_or(parent.seal);
        let place = Place { round, seal };
        let reveal = self.reveal(round, state, key)?;
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
                self.check_message(&candidate.tx, &place, state)
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
            seal,
            reveal,
            forger: key.public(),
        };
        let header = header.sign(key, self.network, self.verifier);
        Ok((Block { header, messages }, left_out))
    }

    /// What a block of this key must reveal. Refused when what was committed to is not the secret of this key.
    fn reveal(
        &self,
        round: Round,
        state: &ChainState,
        key: &SecretKey,
    ) -> Result<Option<Hash>, Refusal> {
        let Some(commitment) = state.due_reveal(round, &key.public()) else { return Ok(None) };
        let secret = key.secret_of(&self.network.id(), round);
        if commitment_to(&secret) == *commitment { Ok(Some(secret)) } else { Err(Refusal::Reveal) }
    }
}
