//! What makes a block valid, once more (`docs/protocol.md` §6 to §8).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::draw::Draw;
use super::{Judged, Oracle};
use crate::types::block::{Header, SealRef, SignedHeader, messages_root};
use crate::types::clock::Round;
use crate::types::codec;
use crate::types::evidence::{Evidence, OffenceKind};
use crate::types::hash::{BlockHash, hash};
use crate::types::key::{PublicKey, Purpose};
use crate::types::tx::{Body, Subject, Tx, TxKey};

/// Rounds or seals for which evidence is good.
const SPAN: u64 = 24;

fn require(holds: bool, fault: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(fault) }
}

impl Oracle {
    /// Why a block is not valid on its chain, or the first below it that is not.
    pub(super) fn fault_of(
        &mut self,
        signed: &SignedHeader,
        messages: &[Tx],
    ) -> Result<(), &'static str> {
        let header = &signed.header;
        self.place(header)?;
        self.seal(header)?;
        self.forger(header)?;
        let bytes = codec::encode(header);
        let (forger, id) = (header.forger, self.network.id());
        let is_signed = forger.verify(Purpose::Block, &id, &[&bytes], &signed.signature);
        require(is_signed, "without its forger's signature")?;
        self.reveal(header)?;
        let ids: Vec<_> = messages.iter().map(Tx::id).collect();
        require(messages_root(&ids) == header.messages_root, "with other messages")?;
        let mut sorted = ids.clone();
        sorted.sort();
        require(sorted == ids, "with messages out of order")?;
        require(messages.len() <= 1000, "with too many messages")?;
        let mut keys = self.keys_before(header);
        for message in messages {
            require(keys.insert(message.key()), "with a message whose key is there already")?;
            self.message(header, message)?;
        }
        Ok(())
    }

    fn place(&self, header: &Header) -> Result<(), &'static str> {
        let clock = self.network.clock;
        if header.previous == self.genesis.hash {
            require(header.height.0 == 1, "not at height 1")?;
        } else {
            let parent = self.blocks.get(&header.previous).ok_or("without a parent")?;
            parent.fault.map_or(Ok(()), Err)?;
            require(header.height.0 == parent.point.height.0 + 1, "not one above its parent")?;
            let later = (header.round, header.slot) > (parent.round, parent.slot);
            require(later, "not later than its parent")?;
        }
        require(header.slot.0 < clock.slots, "in a seal slot")?;
        require(header.version == 1, "of another version")?;
        let round_ms = clock.slot_ms * u64::from(clock.slots + clock.seal_slots);
        let start =
            clock.origin.0 + header.round.0 * round_ms + u64::from(header.slot.0) * clock.slot_ms;
        let time = header.timestamp.0;
        require(time >= start && time < start + clock.slot_ms, "stamped outside its slot")
    }

    /// The seal named is certified, on the chain, and not older than the parent's.
    fn seal(&self, header: &Header) -> Result<(), &'static str> {
        let named = self.named_by(&header.previous);
        if header.seal == named {
            return Ok(());
        }
        let seal = self.seals.get(&header.seal.checkpoint).ok_or("on a seal that is none")?;
        require(seal.checkpoint.index == header.seal.index, "on a seal by another number")?;
        require(header.seal.index > named.index, "on an older seal than its parent")?;
        let on_chain = self.goes_through(&header.previous, &seal.checkpoint.point());
        require(on_chain, "on a seal of another chain")
    }

    /// The seal that a block names; genesis names itself.
    pub fn named_by(&self, hash: &BlockHash) -> SealRef {
        self.blocks.get(hash).map_or(self.seal_0, |block| block.seal)
    }

    /// The seal named by the last block before a round, on the chain up to `tip`.
    pub fn anchor(&self, tip: &BlockHash, round: Round) -> SealRef {
        self.anchor_on(tip, round, self.renamed.contains(tip))
    }

    fn anchor_on(&self, tip: &BlockHash, round: Round, renamed: bool) -> SealRef {
        let block = self.last_before(tip, round);
        block.map_or(self.seal_0, |block| self.counts_as_naming(block, renamed))
    }

    /// What is drawn for a round on the chain up to `tip`; nothing without the state of its anchor.
    pub fn draw(&mut self, tip: &BlockHash, round: Round) -> Option<Rc<Draw>> {
        self.draw_on(tip, round, self.renamed.contains(tip))
    }

    /// Whether the chain up to `tip` has no such test for the sender of a report: then no block on it may hold that (§7).
    /// A draw that is not known refuses nothing.
    pub fn is_unplanned(&mut self, tip: &BlockHash, key: &TxKey) -> bool {
        let Some(said) = key.statement() else { return false };
        let Subject::TestReport { slot, index, role } = said.subject else { return false };
        let sender = self.network.address_of(&said.sender);
        let draw = self.draw(tip, said.round);
        draw.is_some_and(|draw| !draw.is_in(&sender, slot, index, role))
    }

    fn draw_on(&mut self, tip: &BlockHash, round: Round, renamed: bool) -> Option<Rc<Draw>> {
        let anchor = self.anchor_on(tip, round, renamed);
        let key = (anchor.checkpoint, round);
        if !self.draws.contains_key(&key) {
            let state = self.seals.get(&anchor.checkpoint)?.state.clone();
            self.draws.insert(key, Rc::new(Draw::new(&self.network, &state, round)));
        }
        self.draws.get(&key).cloned()
    }

    fn forger(&mut self, header: &Header) -> Result<(), &'static str> {
        let draw = self
            .draw_on(&header.previous, header.round, self.is_renamed(header))
            .ok_or("on an unknown anchor")?;
        let juror = draw.jurors.get(header.slot.0 as usize).copied();
        let forger = self.network.address_of(&header.forger);
        require(juror == Some(forger), "by someone who is not the juror")
    }

    /// The secret that the forger's heartbeat of two rounds before committed to, in its first block of the round.
    fn reveal(&self, header: &Header) -> Result<(), &'static str> {
        let mine = |key: &PublicKey| *key == header.forger;
        let forged = self.round_of(&header.previous, header.round);
        let again = forged.iter().any(|block| mine(&block.forger));
        let committed = self
            .down(&header.previous)
            .take_while(|block| block.round.0 + 2 >= header.round.0)
            .flat_map(|block| &block.commitments)
            .find(|(round, key, _)| round.0 + 2 == header.round.0 && mine(key));
        match (committed.filter(|_| !again), header.reveal) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("with a reveal that is not due"),
            (Some(_), None) => Err("without the reveal that is due"),
            (Some((.., commitment)), Some(secret)) => {
                require(hash("commit", &[&secret.0]) == *commitment, "with a wrong reveal")
            }
        }
    }

    /// Keys that the messages of a block must not have: of the last two rounds, and of all evidence.
    fn keys_before(&self, header: &Header) -> BTreeSet<TxKey> {
        let recent = self.down(&header.previous);
        let recent = recent.take_while(|block| block.round.next() >= header.round);
        let mut keys: BTreeSet<TxKey> =
            recent.flat_map(|block| block.keys.iter().copied()).collect();
        let older = |block: &&Judged| block.round.0 + SPAN * 2 >= header.round.0;
        let proven = self.down(&header.previous).take_while(older).flat_map(|block| &block.keys);
        keys.extend(proven.filter(|key| matches!(key, TxKey::Offence(_))));
        keys
    }

    fn message(&mut self, header: &Header, message: &Tx) -> Result<(), &'static str> {
        let round = message.round.0;
        require(round == header.round.0 || round + 1 == header.round.0, "with an old message")?;
        let sender = message.sender_address(&self.network);
        let renamed = self.is_renamed(header);
        let anchor = self.anchor_on(&header.previous, message.round, renamed);
        let sealed = self.seals.get(&anchor.checkpoint).ok_or("on an unknown anchor")?;
        let registered = |address| sealed.state.registry.iter().any(|hn| hn.address == address);
        require(registered(sender), "with a message of a stranger")?;
        match &message.body {
            Body::Heartbeat { .. } => {}
            Body::TestReport { slot, index, role, .. } => {
                let draw = self.draw_on(&header.previous, message.round, renamed);
                let draw = draw.ok_or("on an unknown anchor")?;
                let is_in = draw.is_in(&sender, *slot, *index, *role);
                require(is_in, "with a report of a test that is not planned")?;
            }
            Body::Equivocation(evidence) => {
                let offender = self.network.address_of(&evidence.offence().offender);
                require(registered(offender), "with evidence against a stranger")?;
                self.evidence(header, evidence)?;
            }
        }
        let good = message.is_signed(&self.network, &self.verifier);
        require(good, "with a message that its sender did not sign")
    }

    fn evidence(&self, header: &Header, evidence: &Evidence) -> Result<(), &'static str> {
        let exclude = match evidence {
            Evidence::Blocks(a, b) => {
                let slot = |it: &SignedHeader| (it.header.forger, it.header.round, it.header.slot);
                slot(a) == slot(b) && a.header != b.header
            }
            Evidence::Votes(a, b) => {
                (a.voter, a.index, a.view, a.step) == (b.voter, b.index, b.view, b.step)
                    && a.value != b.value
            }
        };
        require(exclude, "with evidence of nothing")?;
        let in_time = match evidence.offence().kind {
            OffenceKind::Blocks { round } => {
                round <= header.round && header.round.0 <= round.0 + SPAN
            }
            OffenceKind::Votes { index } => header.seal.index < index + SPAN,
        };
        require(in_time, "with evidence out of its time")?;
        let good = evidence.is_signed(&self.network, &self.verifier);
        require(good, "with evidence that nobody signed")
    }
}
