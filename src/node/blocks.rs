//! Blocks on their way through the node: announced, early, our own, joining and leaving the best chain.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Node;
use crate::machine::chain::{Change, HeaderVerdict};
use crate::machine::duty::Forged;
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::peers::Peer;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::rules::validity::FUTURE_MS;
use crate::types::block::{Point, SignedHeader, messages_root};
use crate::types::clock::{Monotonic, Now, Round};
use crate::types::evidence::Evidence;
use crate::types::hash::TxId;
use crate::types::key::PublicKey;
use crate::types::message::{ByeReason, Message, Tip};
use crate::types::sign::BlockRecord;
use crate::types::tx::Tx;

/// Blocks whose slot has not begun by our clock, or whose seal we do not know: a slot of each neighbour is plenty.
const EARLY_MAX: usize = 16;
/// Of one peer, so that none can fill the place of the others.
const EARLY_OF_PEER_MAX: usize = 2;
/// Blocks of one juror for one slot, while voters speak of a block that is not here and may stand on any of them.
const TWINS_MAX: usize = 4;
/// While old blocks are fetched, others hear of our tip this often.
const TIP_EVERY_MS: u64 = 10_000;

/// A block announced before its slot, or before the seal that it names.
pub struct Early {
    from: PeerId,
    header: SignedHeader,
    point: Point,
    ids: Vec<TxId>,
    /// The newest seal adopted when it came.
    known: u64,
}

impl Node {
    /// A peer announces a block.
    pub(super) fn new_block(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        header: &SignedHeader,
        ids: &[TxId],
    ) {
        let Some(peer) = self.peers.peer_mut(from).filter(|peer| peer.masternode) else { return };
        if messages_root(ids) != header.header.messages_root {
            self.peers.blame(turn, from, ByeReason::Invalid);
            return;
        }
        let point = header.point();
        peer.holds_block(point.hash);
        self.seals.named(from, &header.header.seal, &turn.db);
        // Blocks are announced when they are new. An older one may be a tip, for sync to look at; checking it here would
        // let a peer have us draw the jurors of any round.
        let is_old = self.round.is_some_and(|now| header.header.round.next() < now);
        // But for what voters agree on: of these rounds all plans are at hand.
        let awaited = self.is_awaited(header);
        if !is_old || awaited {
            self.take_block(turn, from, header, point, ids);
        }
        self.note_tip(from, header, point);
        self.sync.tip_moved(from);
    }

    /// Whether a block may be on the way to the one that voters speak of and that is not here.
    fn is_awaited(&self, header: &SignedHeader) -> bool {
        self.sealing.missing().is_some_and(|it| header.header.round <= it.round)
    }

    /// A block announced now, or earlier and due now.
    fn take_block(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        header: &SignedHeader,
        point: Point,
        ids: &[TxId],
    ) {
        let shared = Rc::new(header.clone());
        // A third block of a slot, too, when voters may have agreed on it or on one above it (§8).
        let asked = self.sealing.missing().is_some_and(|it| it.point() == point);
        let named = asked || self.is_awaited(header) && self.chain.twins(header) < TWINS_MAX;
        let verdict = self.chain.add_header(turn.now, shared, named, &turn.db);
        self.show_double(turn, from, header, ids);
        match verdict {
            HeaderVerdict::Added => {
                self.complete(turn, from, point, ids.to_vec());
                self.sync.wake();
            }
            HeaderVerdict::Known => {
                let lacks = self.chain.entry(&point.hash).is_some_and(|entry| !entry.stored);
                if lacks && !self.relay.is_pending(&point.hash) {
                    self.complete(turn, from, point, ids.to_vec());
                }
            }
            HeaderVerdict::Future => self.keep_early(turn, from, header, point, ids),
            HeaderVerdict::Refused(Refusal::UnknownSeal) => {
                // What rests on another seal than ours of the same number will never be ours.
                if header.header.seal.index > self.chain.sealed().checkpoint.index {
                    self.keep_early(turn, from, header, point, ids);
                }
            }
            HeaderVerdict::Refused(why) => self.refuse(turn, Some(from), point, why),
            HeaderVerdict::Orphan | HeaderVerdict::Surplus | HeaderVerdict::Invalid => {}
        }
    }

    /// Keeps a block of the next slot until it begins by our clock, and one that names a seal that we do not know until we
    /// do; whether it is worth anything shows then.
    fn keep_early(
        &mut self,
        turn: &Turn,
        from: PeerId,
        header: &SignedHeader,
        point: Point,
        ids: &[TxId],
    ) {
        let clock = &self.network.clock;
        let start = clock.start_of(header.header.round, header.header.slot);
        let of_peer = self.early.iter().filter(|early| early.from == from).count();
        let near = start <= turn.now.wall.plus(FUTURE_MS + clock.slot_ms);
        let known = self.chain.sealed().checkpoint.index;
        if let Some(peer) = self.peers.peer_mut(from).filter(|_| !near) {
            peer.early_blocks = peer.early_blocks.saturating_add(1);
        }
        let kept = self.early.iter().any(|early| early.point == point);
        if near && !kept && of_peer < EARLY_OF_PEER_MAX && self.early.len() < EARLY_MAX {
            let (header, ids) = (header.clone(), ids.to_vec());
            self.early.push_back(Early { from, header, point, ids, known });
        }
    }

    /// Our own block goes the way of all blocks; our rules have the last word on it.
    pub(super) fn own_block(&mut self, turn: &mut Turn, forged: Forged) {
        for (id, why) in &forged.left_out {
            // A message of the next round may come a little before it.
            if *why != Refusal::TooEarly {
                self.mempool.remove(id);
            }
        }
        let block = forged.block;
        let header = &block.header.header;
        let point = block.header.point();
        self.signed.block =
            Some(BlockRecord { round: header.round, slot: header.slot, hash: point.hash });
        let shared = Rc::new(block.header.clone());
        let added = self.chain.add_header(turn.now, shared, false, &turn.db);
        let mut accepted = false;
        if added == HeaderVerdict::Added {
            let stored = self.chain.add_body(&point.hash, &block.messages, &mut turn.db);
            self.settle_chain(turn);
            accepted = stored.is_ok() && self.chain.knows(&point, &turn.db);
        }
        if !accepted {
            // Whatever our rules dislike about it is among its messages.
            for message in &block.messages {
                self.mempool.remove(&message.id());
            }
        }
        self.duty.settled(turn, &block, accepted);
    }

    /// Keeps evidence that somebody signed twice; whether it is new.
    pub(super) fn keep_evidence(&mut self, turn: &mut Turn, evidence: Evidence) -> bool {
        let offence = evidence.offence();
        let is_new = self.evidence.keep(turn, evidence);
        if is_new {
            turn.out.note(Note::Equivocation(offence));
        }
        is_new
    }

    /// An announced block may be the second one of its slot: told once to those who may have seen only the first. It is
    /// not our tip, which they hear again so that they do not take it for that.
    fn show_double(&mut self, turn: &mut Turn, from: PeerId, header: &SignedHeader, ids: &[TxId]) {
        let mut is_new = false;
        for evidence in self.chain.take_doubles() {
            is_new |= self.keep_evidence(turn, evidence);
        }
        if !is_new || !self.is_masternode() {
            return;
        }
        let hash = header.hash();
        let lacks = |peer: &&Peer| peer.masternode && peer.id != from && !peer.has_block(&hash);
        let peers: Vec<PeerId> = self.peers.ready().filter(lacks).map(|peer| peer.id).collect();
        let (header, ids) = (header.clone(), ids.to_vec());
        turn.out.broadcast(peers.clone(), Message::NewBlock { header, ids });
        let tip = self.own_tip(turn.now);
        turn.out.broadcast(peers, Message::Tip(tip));
    }

    /// Completes announced blocks, goes towards the best chain, and tells the mempool.
    pub(super) fn settle_chain(&mut self, turn: &mut Turn) {
        self.retry_early(turn);
        for evidence in self.chain.take_doubles() {
            self.keep_evidence(turn, evidence);
        }
        if self.relay.has_pending() {
            for (point, messages) in self.relay.completed(&self.mempool) {
                self.store(turn, None, point, &messages);
            }
        }
        if !self.chain.has_work() {
            return;
        }
        let change = self.chain.advance(&mut turn.db);
        self.drop_denied(turn);
        self.moved(turn, &change);
        self.sync.wake();
    }

    /// Tells peers of a new tip: the block itself when it is one step ahead, otherwise only where our chain ends.
    pub(super) fn announce_tip(&mut self, turn: &mut Turn) {
        let best = *self.chain.best();
        let sealed = self.chain.certified_index() != self.announced_seal;
        if best.point == self.announced && !sealed || self.chain.has_work() {
            return;
        }
        let round = best.at.map_or(Round(0), |(round, _)| round);
        let recent = self.round.is_some_and(|now| round.next() >= now);
        if !recent && turn.now.mono.since(self.announced_at) < TIP_EVERY_MS {
            return;
        }
        let mut to: Vec<PeerId> = self.peers.ready().map(|peer| peer.id).collect();
        let step = self.step_ahead().and_then(|it| Some((it, self.ids_of(turn, &best.point)?)));
        if let Some((header, ids)) = step {
            let told = self.relay.announce_block(turn, &header, ids, &mut self.peers);
            // Those who hold the block already need to know that we share their tip: it lets them forge. And all need to
            // know of a new seal: that is how certificates spread.
            to.retain(|peer| sealed || !told.contains(peer));
        }
        self.announced = best.point;
        self.announced_seal = self.chain.certified_index();
        self.announced_at = turn.now.mono;
        let tip = self.own_tip(turn.now);
        turn.out.broadcast(to, Message::Tip(tip));
    }

    /// Where our chain ends.
    pub(super) fn own_tip(&self, now: Now) -> Tip {
        let best = self.chain.best();
        let (round, slot) = best.at.unwrap_or_default();
        let forger = self.present_juror(now);
        // On the way back from a chain beside a seal we do not say that our chain goes through it.
        let seal = match self.chain.is_retreating() {
            true => self.chain.sealed().checkpoint.index,
            false => self.chain.certified_index(),
        };
        let (point, weight) = (best.point, best.weight);
        Tip { point, round, slot, weight, seal, forger }
    }

    /// Whose slot it is, as far as our chain says.
    pub(super) fn present_juror(&self, now: Now) -> Option<PublicKey> {
        let (round, slot) = self.network.clock.at(now.wall)?;
        let plan = self.chain.plan(round);
        let anchor = self.chain.anchor_of(round);
        anchor.state.active(plan.juror(slot)?).map(|active| active.public_key)
    }

    /// When the next early block's time comes.
    pub(super) fn early_due(&self, now: Now) -> Monotonic {
        let wait = |early: &Early| {
            let header = &early.header.header;
            let start = self.network.clock.start_of(header.round, header.slot);
            start.since(now.wall.plus(FUTURE_MS))
        };
        let in_time =
            self.early.iter().filter(|early| early.header.header.seal.index <= early.known);
        let next = in_time.map(wait).min();
        next.map_or(Monotonic(u64::MAX), |ms| now.mono.plus(ms.max(1)))
    }

    fn retry_early(&mut self, turn: &mut Turn) {
        let soon = turn.now.wall.plus(FUTURE_MS);
        let clock = self.network.clock;
        let now = self.round.unwrap_or_default();
        let sealed = self.chain.sealed().checkpoint.index;
        // A round later nobody announces it any more: sync has it then.
        self.early.retain(|early| early.header.header.round.next() >= now);
        let is_due = |early: &Early| {
            let header = &early.header.header;
            let begun = clock.start_of(header.round, header.slot) <= soon;
            begun && (header.seal.index <= early.known || sealed > early.known)
        };
        let (due, early): (VecDeque<Early>, _) =
            std::mem::take(&mut self.early).into_iter().partition(is_due);
        self.early = early;
        for Early { from, header, point, ids, .. } in due {
            // Where the peer's chain ends it may have said anew since.
            self.take_block(turn, from, &header, point, &ids);
            self.sync.wake();
        }
    }

    fn complete(&mut self, turn: &mut Turn, from: PeerId, point: Point, ids: Vec<TxId>) {
        let found =
            self.relay.block_announced(turn, from, point, ids, &self.mempool, &mut self.peers);
        if let Some(messages) = found {
            self.store(turn, Some(from), point, &messages);
        }
    }

    fn store(&mut self, turn: &mut Turn, from: Option<PeerId>, point: Point, messages: &[Tx]) {
        match self.chain.add_body(&point.hash, messages, &mut turn.db) {
            Ok(()) => {
                if let Some(entry) = self.chain.entry(&point.hash) {
                    turn.out.note(Note::stored(&entry.header, messages));
                }
            }
            Err(why) => self.refuse(turn, from, point, why),
        }
    }

    fn moved(&mut self, turn: &mut Turn, change: &Change) {
        for block in &change.undone {
            for message in &block.messages {
                self.mempool.left(message);
            }
        }
        for block in &change.applied {
            for message in &block.messages {
                self.mempool.joined(message);
            }
        }
        // What waits again may be news to those who were never on that fork.
        for message in change.undone.iter().flat_map(|block| &block.messages) {
            let id = message.id();
            if self.mempool.waiting_tx(&id).is_some() {
                self.relay.accepted(turn.now.mono, id);
            }
        }
        for (point, why) in &change.refused {
            self.refuse(turn, None, *point, *why);
        }
        let best = self.chain.best();
        let moved = !change.applied.is_empty() || !change.undone.is_empty();
        if let Some((round, slot)) = best.at.filter(|_| moved) {
            let undone = u32::try_from(change.undone.len()).unwrap_or(u32::MAX);
            turn.out.note(Note::TipChanged { tip: best.point, round, slot, undone });
        }
        if !change.sealed.is_empty() {
            let state = &self.chain.sealed().clone().state;
            for peer in self.peers.recognise(state) {
                self.greet(turn, peer);
            }
        }
    }

    fn refuse(&mut self, turn: &mut Turn, from: Option<PeerId>, point: Point, why: Refusal) {
        *self.refused_blocks.entry(why.code()).or_default() += 1;
        turn.out.note(Note::BlockRefused { point, why });
        if let Some(peer) = from.filter(|_| why.is_provable()) {
            self.peers.blame(turn, peer, ByeReason::Invalid);
        }
    }

    /// What a block tells of the peer's own tip.
    fn note_tip(&mut self, from: PeerId, header: &SignedHeader, point: Point) {
        let fields = &header.header;
        let known = self.chain.entry(&point.hash).map(|entry| entry.weight);
        let better = self.chain.best().weight + 1;
        let Some(peer) = self.peers.peer_mut(from) else { return };
        // Of an unknown chain we only know that the peer prefers it to what it showed before.
        let claimed = peer.tip.map_or(0, |tip| tip.weight).max(better);
        peer.tip = Some(Tip {
            point,
            round: fields.round,
            slot: fields.slot,
            weight: known.unwrap_or(claimed),
            seal: peer.tip.map_or(0, |tip| tip.seal).max(fields.seal.index),
            forger: peer.tip.and_then(|tip| tip.forger),
        });
    }

    /// The header of our tip when it is one step from the tip announced before, and ours to announce.
    fn step_ahead(&self) -> Option<Rc<SignedHeader>> {
        let entry = self.chain.entry(&self.chain.best().point.hash)?;
        let step = entry.header.header.previous == self.announced.hash;
        (step && self.is_masternode()).then(|| entry.header.clone())
    }

    /// The messages of a block by their ids; nothing without its body.
    pub(super) fn ids_of(&self, turn: &Turn, point: &Point) -> Option<Vec<TxId>> {
        let body = crate::machine::records::body(&turn.db, point)?;
        Some(body.iter().map(Tx::id).collect())
    }
}
