//! Messages of HNs on their way through the node: announced, delivered, submitted, our own.

use super::Node;
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::records::{self, Reader, Table};
use crate::machine::turn::Turn;
use crate::rules::beacon::{COMMITMENT_ROUNDS, commitment_to};
use crate::rules::refusal::Refusal;
use crate::types::clock::{Now, Round};
use crate::types::hash::TxId;
use crate::types::message::{ByeReason, Message};
use crate::types::tx::{Body, Tx};
use crate::types::version;

/// Messages submitted by clients and kept on disk: what one HN can possibly send in two rounds, many times over.
const SUBMITTED_MAX: usize = 4_096;
/// HNs that this one can serve at once, as its heartbeat says.
const CAPACITY: u16 = 96;

impl Node {
    /// A peer has proven who it is: where our chain ends, and what waits for a block.
    pub(super) fn greet(&mut self, turn: &mut Turn, peer: PeerId) {
        let tip = self.own_tip(turn.now);
        turn.out.send(peer, Message::Tip(tip));
        if self.is_masternode() {
            self.relay.greet(turn, peer, &self.mempool);
        }
        if self.peers.get(peer).is_some_and(|peer| peer.masternode) {
            self.sealing.greet(turn, peer);
        }
        self.sync.wake();
    }

    /// A peer holds messages.
    pub(super) fn announced(&mut self, turn: &mut Turn, from: PeerId, ids: &[TxId]) {
        if self.peers.get(from).is_some_and(|peer| peer.masternode) {
            self.relay.announced(turn, from, ids, &self.mempool, &mut self.peers);
        }
    }

    /// A peer delivers messages.
    pub(super) fn delivered(&mut self, turn: &mut Turn, from: PeerId, list: &[Tx], bytes: u32) {
        if !self.relay.delivered(from, &mut self.peers) {
            self.peers.blame(turn, from, ByeReason::Protocol);
            return;
        }
        self.peers.answered(from, true, bytes);
        for tx in list {
            let id = tx.id();
            match self.accept(turn, id, tx) {
                Ok(()) => self.relay.holds(id, from),
                Err(why) => {
                    self.relay.refused(&id, why);
                    if why.is_provable() {
                        self.peers.blame(turn, from, ByeReason::Invalid);
                        return;
                    }
                }
            }
        }
    }

    /// A client submits a message: held, on disk, and passed on; or refused.
    pub(super) fn submit(&mut self, turn: &mut Turn, tx: Tx) -> Result<TxId, Refusal> {
        let id = tx.id();
        if self.submitted.len() >= SUBMITTED_MAX {
            return Err(Refusal::PoolFull);
        }
        self.accept(turn, id, &tx)?;
        turn.db.put(Table::Pool, records::pool_key(tx.round, &id), &tx);
        self.submitted.insert(id, tx.round);
        Ok(id)
    }

    /// Says that we run.
    pub(super) fn send_heartbeat(&mut self, turn: &mut Turn, round: Round) {
        let due = Round(round.0.saturating_add(COMMITMENT_ROUNDS));
        let commitment = commitment_to(&self.key.secret_of(&self.network.id(), due));
        let body = Body::Heartbeat { version: version::OWN, commitment, capacity: CAPACITY };
        let tx = Tx::sign(round, body, &self.key, &self.network, &self.verifier);
        // After a restart the same one may be held or in the chain already; that is no loss.
        let _ = self.accept(turn, tx.id(), &tx);
    }

    /// Messages submitted before a restart. What is refused now is in the chain, or over.
    pub(super) fn load_submitted(&mut self, now: Now, db: &dyn Reader) {
        let mut key = Vec::new();
        while let Some((found, value)) = db.next(Table::Pool, &key) {
            if let Some(tx) = records::parse::<Tx>(&value) {
                let id = tx.id();
                self.submitted.insert(id, tx.round);
                let rules = self.chain.rules();
                let _ = self.mempool.accept(id, tx, now.wall, self.chain.state(), &rules);
            }
            key = found;
            key.push(0);
        }
    }

    /// Forgets submitted messages whose rounds are over.
    pub(super) fn expire_submitted(&mut self, turn: &mut Turn, round: Round) {
        self.submitted.retain(|id, of| {
            let keep = of.next() >= round;
            if !keep {
                turn.db.delete(Table::Pool, records::pool_key(*of, id));
            }
            keep
        });
    }

    fn accept(&mut self, turn: &mut Turn, id: TxId, tx: &Tx) -> Result<(), Refusal> {
        if self.mempool.contains(&id) {
            return Ok(());
        }
        let rules = self.chain.rules();
        self.mempool.accept(id, tx.clone(), turn.now.wall, self.chain.state(), &rules)?;
        turn.out.note(Note::MessageAccepted { id });
        if self.is_masternode() {
            self.relay.accepted(turn.now.mono, id);
        }
        Ok(())
    }
}
