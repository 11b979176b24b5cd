//! Chains made without running a network: for hosts that start with a past.

use std::collections::BTreeSet;

use super::cast::Cast;
use super::disk::Disk;
use crate::machine::records::{self, Batch, MainRecord, StoredHeader, Table};
use crate::rules::state::ChainState;
use crate::rules::validity::{IdentifiedTx, Parent};
use crate::types::block::{Block, Point, SealRef, genesis};
use crate::types::clock::{Round, Slot};
use crate::types::codec;
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::tx::{Body, Tx};

/// A valid chain from genesis up.
#[derive(Clone)]
pub struct Chain {
    pub blocks: Vec<Block>,
}

impl Chain {
    /// Blocks of all slots of these rounds that `forges` says, on top of the first `kept` blocks of this chain. The
    /// first block of a round has the heartbeats of all HNs.
    pub fn extend(
        &self,
        cast: &Cast,
        kept: usize,
        rounds: std::ops::Range<u64>,
        forges: impl Fn(Round, Slot) -> bool,
    ) -> Chain {
        let mut blocks: Vec<Block> = self.blocks.iter().take(kept).cloned().collect();
        let (mut state, mut parent) = replay(cast, &blocks);
        let clock = &cast.network.clock;
        for round in rounds.map(Round) {
            let plan = cast.plan(round);
            let mut heartbeats = heartbeats(cast, round);
            for slot in (0..clock.slots).map(Slot).filter(|slot| forges(round, *slot)) {
                let juror = plan.juror(slot).expect("every forging slot has a juror");
                let own = |key: &&crate::types::key::SecretKey| {
                    cast.network.address_of(&key.public()) == *juror
                };
                let key = cast.keys.iter().find(own).expect("jurors are of the cast");
                let now = clock.start_of(round, slot).plus(clock.slot_ms / 5);
                let waiting = std::mem::take(&mut heartbeats).into_iter();
                let built = cast.rules().build_block(&parent, &state, waiting, now, key);
                let (block, _) = built.expect("empty blocks are allowed");
                state.apply(&block.header.header, &block.messages);
                parent = parent_of(&block, cast.anchor.seal);
                blocks.push(block);
            }
        }
        Chain { blocks }
    }

    /// Nothing but genesis.
    pub fn empty() -> Chain {
        Chain { blocks: Vec::new() }
    }

    /// The end of the chain.
    pub fn tip(&self, cast: &Cast) -> Point {
        self.blocks.last().map_or_else(|| genesis(&cast.network), |block| block.header.point())
    }

    /// Bytes of all headers and bodies, encoded.
    pub fn bytes(&self) -> u64 {
        let size = |block: &Block| {
            codec::encode(&block.header).len() + codec::encode(&block.messages).len()
        };
        self.blocks.iter().map(|block| size(block) as u64).sum()
    }

    /// A disk with this chain, as a node that followed it would have left it.
    pub fn disk(&self, cast: &Cast) -> Disk {
        let mut batch = Batch::default();
        let mut put = |table: Table, key: Vec<u8>, value: Vec<u8>| {
            batch.0.insert((table, key), Some(value));
        };
        let (mut state, _) = replay(cast, &[]);
        let mut weight = 0;
        let mut forgers: BTreeSet<(Round, PublicKey)> = BTreeSet::new();
        for block in &self.blocks {
            let header = &block.header.header;
            weight += u64::from(forgers.insert((header.round, header.forger)));
            let point = block.header.point();
            let stored =
                StoredHeader { header: block.header.clone(), weight, anchor: cast.anchor.seal };
            let undo = state.apply(header, &block.messages);
            let main = MainRecord { hash: point.hash, undo };
            put(Table::Headers, records::point_key(&point), codec::encode(&stored));
            put(Table::Bodies, records::point_key(&point), codec::encode(&block.messages));
            put(Table::Main, records::height_key(point.height), codec::encode(&main));
        }
        let mut disk = Disk::default();
        disk.persist(&batch).expect("a new disk has room");
        disk
    }
}

fn heartbeats(cast: &Cast, round: Round) -> Vec<IdentifiedTx> {
    let hns = cast.keys.iter().take(cast.nodes);
    let of = |key| {
        let body = Body::Heartbeat { version: 1, commitment: Hash::default(), capacity: 1 };
        let tx = Tx::sign(round, body, key, &cast.network, &cast.verifier);
        IdentifiedTx { id: tx.id(), tx }
    };
    hns.map(of).collect()
}

/// Of a chain without seals: its anchor is genesis everywhere.
fn parent_of(block: &Block, anchor: SealRef) -> Parent {
    let header = &block.header.header;
    let at = Some((header.round, header.slot));
    Parent { point: block.header.point(), at, seal: header.seal, anchor }
}

fn replay(cast: &Cast, blocks: &[Block]) -> (ChainState, Parent) {
    let seal = cast.anchor.seal;
    let mut state = ChainState::genesis(&cast.anchor);
    for block in blocks {
        state.apply(&block.header.header, &block.messages);
    }
    let start = Parent { point: genesis(&cast.network), at: None, seal, anchor: seal };
    (state, blocks.last().map_or(start, |block| parent_of(block, seal)))
}
