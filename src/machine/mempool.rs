//! The messages of the last two rounds: those that wait for a block, and those that have one (`docs/protocol.md` §7).
//!
//! What a block holds stays until its round is over: peers may still ask for it, other forks hold it too, and after a
//! reorganisation it waits again. At most one message per key: the first seen stays. Bounded in number and bytes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::machine::limits::Limits;
use crate::machine::status::{PoolEntry, PoolStatus};
use crate::rules::refusal::Refusal;
use crate::rules::state::ChainState;
use crate::rules::validity::{FUTURE_MS, IdentifiedTx, Place, Rules};
use crate::types::clock::{Round, Timestamp};
use crate::types::codec;
use crate::types::hash::TxId;
use crate::types::network::Network;
use crate::types::tx::{Tx, TxKey};

#[derive(Debug, Clone)]
struct Held {
    tx: Rc<Tx>,
    bytes: usize,
    in_chain: bool,
}

/// Messages by id and by key.
#[derive(Debug, Default)]
pub struct Mempool {
    limits: Limits,
    held: BTreeMap<TxId, Held>,
    keys: BTreeMap<TxKey, TxId>,
    /// By the round they are for.
    rounds: BTreeSet<(Round, TxId)>,
    bytes: usize,
    /// Those that no block of the best chain holds, by the round they are for.
    waiting: BTreeMap<(Round, TxKey), TxId>,
    waiting_bytes: usize,
    rounds_before: Round,
}

impl Mempool {
    /// An empty one.
    pub fn new(limits: Limits) -> Mempool {
        Mempool { limits, ..Mempool::default() }
    }

    /// A message that is held.
    pub fn get(&self, id: &TxId) -> Option<&Rc<Tx>> {
        self.held.get(id).map(|held| &held.tx)
    }

    /// A message that no block of the best chain holds.
    pub fn waiting_tx(&self, id: &TxId) -> Option<&Tx> {
        self.held.get(id).filter(|held| !held.in_chain).map(|held| held.tx.as_ref())
    }

    /// Whether a message is held.
    pub fn contains(&self, id: &TxId) -> bool {
        self.held.contains_key(id)
    }

    /// Takes a message in, if it may stand in a block now or in the next seconds.
    pub fn accept(
        &mut self,
        id: TxId,
        tx: Tx,
        wall: Timestamp,
        state: &ChainState,
        rules: &Rules,
    ) -> Result<(), Refusal> {
        if self.held.contains_key(&id) {
            return Ok(());
        }
        let clock = &rules.network.clock;
        let (now, _) = clock.at(wall).ok_or(Refusal::TooEarly)?;
        let (soon, _) = clock.at(wall.plus(FUTURE_MS)).ok_or(Refusal::TooEarly)?;
        if tx.round > soon {
            return Err(Refusal::TooEarly);
        }
        let key = tx.key();
        if self.keys.contains_key(&key) {
            return Err(Refusal::KeyHeld);
        }
        if state.holds(&key) {
            return Err(Refusal::InChain);
        }
        let bytes = codec::encode(&tx).len();
        if self.held.len() >= self.limits.messages || self.bytes + bytes > self.limits.message_bytes
        {
            return Err(Refusal::PoolFull);
        }
        let place = Place { round: now.max(tx.round), seal: state.named() };
        rules.check_message(&tx, &place, state)?;
        self.insert(id, tx, bytes, false);
        Ok(())
    }

    /// A block with this message joined the best chain.
    pub fn joined(&mut self, tx: &Tx) {
        let id = tx.id();
        if let Some(held) = self.held.get_mut(&id) {
            if !held.in_chain {
                held.in_chain = true;
                self.waiting.remove(&(tx.round, tx.key()));
                self.waiting_bytes -= held.bytes;
            }
            return;
        }
        // The chain decides: another message with this key can wait no longer.
        if let Some(other) = self.keys.get(&tx.key()).copied() {
            self.remove(&other);
        }
        if tx.round >= self.rounds_before {
            self.insert(id, tx.clone(), codec::encode(tx).len(), true);
            self.make_room();
        }
    }

    /// A block with this message left the best chain: it waits again.
    pub fn left(&mut self, tx: &Tx) {
        let id = tx.id();
        match self.held.get_mut(&id) {
            Some(held) if held.in_chain => {
                held.in_chain = false;
                self.waiting.insert((tx.round, tx.key()), id);
                self.waiting_bytes += held.bytes;
            }
            Some(_) => {}
            None => {
                if tx.round >= self.rounds_before && !self.keys.contains_key(&tx.key()) {
                    self.insert(id, tx.clone(), codec::encode(tx).len(), false);
                    self.make_room();
                }
            }
        }
    }

    /// Drops a message that no block will take.
    pub fn remove(&mut self, id: &TxId) {
        if let Some(held) = self.held.remove(id) {
            self.keys.remove(&held.tx.key());
            self.rounds.remove(&(held.tx.round, *id));
            self.bytes -= held.bytes;
            if !held.in_chain {
                self.waiting.remove(&(held.tx.round, held.tx.key()));
                self.waiting_bytes -= held.bytes;
            }
        }
    }

    /// Drops what no block of this round or a later one may hold.
    pub fn expire(&mut self, round: Round) {
        let first = Round(round.0.saturating_sub(1));
        // Earlier than before when a clock that was ahead was set right.
        self.rounds_before = first;
        let over = self.rounds.iter().take_while(|(round, _)| *round < first);
        let over: Vec<TxId> = over.map(|(_, id)| *id).collect();
        for id in over {
            self.remove(&id);
        }
    }

    /// Messages for a block, oldest round first.
    pub fn candidates(&self) -> impl Iterator<Item = IdentifiedTx> + '_ {
        self.waiting().filter_map(|id| {
            let tx = (*self.held.get(&id)?.tx).clone();
            Some(IdentifiedTx { id, tx })
        })
    }

    /// The ids of those messages.
    pub fn waiting(&self) -> impl Iterator<Item = TxId> + '_ {
        self.waiting.values().copied()
    }

    /// How much waits.
    pub fn status(&self) -> PoolStatus {
        PoolStatus {
            messages: u32::try_from(self.waiting.len()).expect("bounded"),
            bytes: self.waiting_bytes as u64,
        }
    }

    /// What waits, at most `limit`.
    pub fn list(&self, network: &Network, limit: usize) -> Vec<PoolEntry> {
        let waiting = self.candidates().take(limit);
        waiting
            .map(|IdentifiedTx { id, tx }| PoolEntry {
                id,
                kind: tx.body.kind().to_owned(),
                round: tx.round,
                sender: tx.sender_address(network).to_string(),
            })
            .collect()
    }

    fn insert(&mut self, id: TxId, tx: Tx, bytes: usize, in_chain: bool) {
        self.keys.insert(tx.key(), id);
        self.rounds.insert((tx.round, id));
        self.bytes += bytes;
        if !in_chain {
            self.waiting.insert((tx.round, tx.key()), id);
            self.waiting_bytes += bytes;
        }
        self.held.insert(id, Held { tx: Rc::new(tx), bytes, in_chain });
    }

    /// What is in the chain can be read back from it, so it leaves first.
    fn make_room(&mut self) {
        while self.held.len() > self.limits.messages || self.bytes > self.limits.message_bytes {
            let mut oldest = self.rounds.iter().map(|(_, id)| *id);
            let in_chain = oldest.find(|id| self.held.get(id).is_some_and(|it| it.in_chain));
            match in_chain.or_else(|| self.rounds.first().map(|(_, id)| *id)) {
                Some(id) => self.remove(&id),
                None => break,
            }
        }
    }
}
