//! What the blocks of a chain change between seals: which messages it holds in the last two rounds.
//!
//! `apply` and `undo` are exact inverses: after a reorganisation the state is what it would be had the other chain come
//! first (`docs/protocol.md` §7: at most one message per key in a chain).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::types::clock::Round;
use crate::types::tx::{Tx, TxKey};

/// The state after a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainState {
    round: Round,
    keys: BTreeSet<TxKey>,
}

/// What `undo` needs beside the block itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Undo {
    round: Round,
    forgotten: Vec<TxKey>,
}

impl ChainState {
    /// The state of a chain that ends in this round without messages.
    pub fn new(round: Round) -> ChainState {
        ChainState { round, keys: BTreeSet::new() }
    }

    /// Whether a block of the chain holds a message of this key.
    pub fn holds(&self, key: &TxKey) -> bool {
        self.keys.contains(key)
    }

    /// Takes in the messages of a block of `round`. Keys that no later block can repeat are forgotten.
    pub fn apply(&mut self, round: Round, messages: &[Tx]) -> Undo {
        let mut undo = Undo { round: self.round, forgotten: Vec::new() };
        if round > self.round {
            // Messages are valid in blocks of their round and the next: those of rounds before `round` − 1 are over.
            let kept = self.keys.iter().find(|key| key.round.next() >= round).copied();
            let keep = match kept {
                Some(first) => self.keys.split_off(&first),
                None => BTreeSet::new(),
            };
            undo.forgotten = std::mem::replace(&mut self.keys, keep).into_iter().collect();
            self.round = round;
        }
        self.keys.extend(messages.iter().map(Tx::key));
        undo
    }

    /// Takes the last block back.
    pub fn undo(&mut self, messages: &[Tx], undo: Undo) {
        for message in messages {
            self.keys.remove(&message.key());
        }
        self.keys.extend(undo.forgotten);
        self.round = undo.round;
    }
}
