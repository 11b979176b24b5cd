//! Messages and new blocks between peers (`docs/protocol.md` §11): who holds what is announced, bodies are pulled.
//!
//! A body is asked from one peer, and from a second only when the first is late: so a node receives each about once.
//! A new block travels as header and ids; what the mempool lacks of it is asked from who announced it.

mod inbound;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::event::PeerId;
use super::mempool::Mempool;
use super::peers::Peers;
use super::turn::Turn;
use crate::types::block::{Point, SignedHeader};
use crate::types::clock::Monotonic;
use crate::types::hash::{BlockHash, TxId};
use crate::types::message::{IDS_MAX, Message};
use crate::types::network::REGISTRY_MAX;
use crate::types::tx::Tx;

use inbound::Wanted;

/// Wants that one peer may owe us (§11).
pub const UNANSWERED_MAX: u32 = 10;
/// Peers that one body is asked from.
const ASKED_MAX: usize = 2;
/// Messages asked for at once: what a mempool of the usual size holds.
const WANTED_MAX: usize = 16_384;
/// Of those that one peer was the first to announce, a heartbeat of each HN: one that announces and never delivers does
/// not take the place of all others.
const WANTED_OF_PEER_MAX: usize = REGISTRY_MAX;
/// Messages on their way whose block is announced: a second juror may announce before the first block is whole.
const PENDING_MAX: usize = 16;
/// Refused messages remembered, so that they are not asked from every peer that announces them.
const REFUSED_MAX: usize = 1_024;
/// Peers remembered as holders of one message.
const HOLDERS_MAX: usize = 64;

/// A block announced whose messages are not all here.
#[derive(Debug)]
pub struct Pending {
    pub point: Point,
    pub ids: Vec<TxId>,
    missing: BTreeSet<TxId>,
    /// After this sync fetches the whole body.
    until: Monotonic,
}

/// What is announced, wanted and pending.
pub struct Relay {
    /// How long announcements wait for company.
    batch_ms: u64,
    /// A want is answered within this time, or another peer is asked.
    answer_ms: u64,
    /// Peers known to hold a message of the mempool.
    holders: BTreeMap<TxId, Vec<PeerId>>,
    fresh: Vec<TxId>,
    flush_at: Option<Monotonic>,
    wanted: BTreeMap<TxId, Wanted>,
    /// How many of the wanted each peer was the first to announce.
    first_heard: BTreeMap<PeerId, usize>,
    wanted_due: Option<Monotonic>,
    pending: BTreeMap<BlockHash, Pending>,
    refused: VecDeque<TxId>,
}

impl Relay {
    /// Announcements wait for a hundredth of a slot: in a round's first seconds many come together.
    pub fn new(slot_ms: u64) -> Relay {
        Relay {
            batch_ms: (slot_ms / 100).clamp(20, 1_000),
            answer_ms: (slot_ms / 4).clamp(500, 2_000),
            holders: BTreeMap::new(),
            fresh: Vec::new(),
            flush_at: None,
            wanted: BTreeMap::new(),
            first_heard: BTreeMap::new(),
            wanted_due: None,
            pending: BTreeMap::new(),
            refused: VecDeque::new(),
        }
    }

    /// A message is in the mempool now: to be announced to all who do not hold it.
    pub fn accepted(&mut self, now: Monotonic, id: TxId) {
        self.forget(&id);
        self.fresh.push(id);
        self.flush_at.get_or_insert(now.plus(self.batch_ms));
    }

    /// Announces what waits for a block to a peer that has just come.
    pub fn greet(&mut self, turn: &mut Turn, peer: PeerId, mempool: &Mempool) {
        let ids: Vec<TxId> = mempool.waiting().collect();
        for batch in ids.chunks(IDS_MAX) {
            turn.out.send(peer, Message::Have(batch.to_vec()));
        }
    }

    /// A peer is gone: who else holds what it owed us is asked.
    pub fn disconnected(&mut self, now: Monotonic, peer: PeerId) {
        for wanted in self.wanted.values_mut() {
            wanted.forget(peer);
        }
        if !self.wanted.is_empty() {
            self.wanted_due = Some(now);
        }
    }

    /// A message left the mempool for good.
    pub fn retain(&mut self, mempool: &Mempool) {
        self.holders.retain(|id, _| mempool.contains(id));
    }

    /// Announcements and second askings that are due.
    pub fn tick(&mut self, turn: &mut Turn, mempool: &Mempool, peers: &mut Peers) {
        if self.flush_at.is_some_and(|at| turn.now.mono >= at) {
            self.flush(turn, mempool, peers);
        }
        if self.wanted_due.is_some_and(|at| turn.now.mono >= at) {
            self.ask_again(turn, peers);
        }
        self.pending.retain(|_, pending| pending.until > turn.now.mono);
    }

    /// When `tick` has something to do next.
    pub fn due(&self) -> Option<Monotonic> {
        [self.flush_at, self.wanted_due].into_iter().flatten().min()
    }

    /// Whether a block's messages are on their way, so that sync need not ask.
    pub fn is_pending(&self, hash: &BlockHash) -> bool {
        self.pending.contains_key(hash)
    }

    /// Announces a block that is our new tip to those who do not hold it, who are returned.
    pub fn announce_block(
        &mut self,
        turn: &mut Turn,
        header: &SignedHeader,
        ids: Vec<TxId>,
        peers: &mut Peers,
    ) -> Vec<PeerId> {
        let hash = header.hash();
        let to: Vec<PeerId> =
            peers.ready().filter(|peer| !peer.has_block(&hash)).map(|peer| peer.id).collect();
        for id in &to {
            if let Some(peer) = peers.peer_mut(*id) {
                peer.holds_block(hash);
            }
        }
        turn.out.broadcast(to.clone(), Message::NewBlock { header: header.clone(), ids });
        to
    }

    /// A block announced: its messages, as far as the mempool has them; otherwise what is missing is asked for.
    pub fn block_announced(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        point: Point,
        ids: Vec<TxId>,
        mempool: &Mempool,
        peers: &mut Peers,
    ) -> Option<Vec<Tx>> {
        let missing: BTreeSet<TxId> =
            ids.iter().filter(|id| !mempool.contains(id)).copied().collect();
        if missing.is_empty() {
            return collect(&ids, mempool);
        }
        if self.pending.len() < PENDING_MAX {
            let unknown: Vec<TxId> = missing.iter().copied().collect();
            let until = turn.now.mono.plus(2 * self.answer_ms);
            self.pending.insert(point.hash, Pending { point, ids, missing, until });
            self.want(turn, from, &unknown, peers);
        }
        None
    }

    /// Blocks that the mempool completes turn.now.mono.
    pub fn completed(&mut self, mempool: &Mempool) -> Vec<(Point, Vec<Tx>)> {
        let mut blocks = Vec::new();
        self.pending.retain(|_, pending| {
            pending.missing.retain(|id| !mempool.contains(id));
            if !pending.missing.is_empty() {
                return true;
            }
            blocks.extend(collect(&pending.ids, mempool).map(|list| (pending.point, list)));
            false
        });
        blocks
    }

    /// Whether any block waits for messages.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A peer's want: what of it the mempool holds.
    pub fn answer(&mut self, turn: &mut Turn, to: PeerId, ids: &[TxId], mempool: &Mempool) {
        let list: Vec<Tx> =
            ids.iter().filter_map(|id| mempool.get(id)).map(|tx| (**tx).clone()).collect();
        for id in ids.iter().filter(|id| mempool.contains(id)) {
            self.holds(*id, to);
        }
        turn.out.send(to, Message::Messages(list));
    }

    fn flush(&mut self, turn: &mut Turn, mempool: &Mempool, peers: &Peers) {
        self.flush_at = None;
        let fresh: Vec<TxId> =
            std::mem::take(&mut self.fresh).into_iter().filter(|id| mempool.contains(id)).collect();
        for batch in fresh.chunks(IDS_MAX) {
            let holders: Vec<_> = batch.iter().map(|id| self.holders.get(id)).collect();
            // Peers that lack the same messages share one frame: a bit for each message lacking.
            let mut groups: BTreeMap<u64, Vec<PeerId>> = BTreeMap::new();
            for peer in peers.ready() {
                let lacks = holders.iter().enumerate().fold(0_u64, |lacks, (bit, holders)| {
                    let holds = holders.is_some_and(|holders| holders.contains(&peer.id));
                    lacks | u64::from(!holds) << bit
                });
                groups.entry(lacks).or_default().push(peer.id);
            }
            for (lacks, to) in groups.into_iter().filter(|(lacks, _)| *lacks != 0) {
                let lacking = batch.iter().enumerate().filter(|(bit, _)| lacks >> bit & 1 == 1);
                let ids = lacking.map(|(_, id)| *id).collect();
                turn.out.broadcast(to, Message::Have(ids));
            }
        }
    }

    /// A peer holds a message of the mempool.
    pub fn holds(&mut self, id: TxId, peer: PeerId) {
        let holders = self.holders.entry(id).or_default();
        if holders.len() < HOLDERS_MAX && !holders.contains(&peer) {
            holders.push(peer);
        }
    }
}

fn collect(ids: &[TxId], mempool: &Mempool) -> Option<Vec<Tx>> {
    ids.iter().map(|id| mempool.get(id).map(|tx| (**tx).clone())).collect()
}
