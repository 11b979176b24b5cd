//! What the node tells of itself.

use std::rc::Rc;

use super::Node;
use crate::machine::records::Reader;
use crate::machine::status::{
    AsidePeer, ClockStatus, EndedPeer, PeerCounts, PeerStatus, PoolEntry, Status, TipStatus,
};
use crate::rules::plan::Plan;
use crate::rules::sealed::SealedState;
use crate::types::address::Address;
use crate::types::block::SealRef;
use crate::types::clock::{Now, Round};
use crate::types::hash::TxId;
use crate::types::network::Listed;
use crate::types::tx::Tx;

/// Pieces of evidence shown.
const EVIDENCE_SHOWN_MAX: usize = 64;

impl Node {
    /// How the node is.
    pub fn status(&self, now: Now) -> Status {
        let at = self.network.clock.at(now.wall);
        let behind =
            self.chain.is_behind(now.mono, self.network.clock.slot_ms) || self.sync.is_running();
        let distrust = self.timekeeper.distrust();
        Status {
            network: self.network.name.clone(),
            address: self.own.to_string(),
            public_key: self.key.public(),
            masternode: self.is_masternode(),
            time: now.wall,
            uptime_ms: now.mono.since(self.started),
            round: at.map(|(round, _)| round),
            slot: at.map(|(_, slot)| slot),
            seal_slot: at.is_some_and(|(_, slot)| !self.network.clock.is_forging(slot)),
            juror: self.present_juror(now),
            tip: self.tip_status(),
            seal: self.sealing.status(now, &self.chain, &self.seals),
            ledger: self.ledger.status(at.map(|(round, _)| round), self.sealing.registry_doubt()),
            sync: self.sync.status(&self.chain, behind),
            peers: self.peer_counts(),
            mempool: self.mempool.status(),
            duties: self.duty.status(now.wall, &self.network, &self.chain),
            clock: ClockStatus {
                trusted: distrust.is_none(),
                distrust,
                synchronised: now.synchronised,
                peers_offset_ms: self.peers.clock_offset_ms(),
            },
            sign_state: self.custody.status(&self.signed),
            halt: self.halt.status(),
            refused_signature: self.duty.refused_signature(),
            evidence: self.evidence.list(self.chain.state(), &self.network, EVIDENCE_SHOWN_MAX),
            evidence_count: u64::try_from(self.evidence.count()).unwrap_or(u64::MAX),
            seal_conflicts: self.rivals.list(),
            chain_tips: u32::try_from(self.chain.tip_count()).unwrap_or(u32::MAX),
            refused_blocks: self
                .refused_blocks
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect(),
        }
    }

    /// Connections, in the order of their numbers.
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        self.peers.all().map(|peer| peer.status(now.mono)).collect()
    }

    /// How connections ended: the last ones, the newest first.
    pub fn ended(&self, now: Now) -> Vec<EndedPeer> {
        self.peers.ended(now.mono)
    }

    /// Peers that are not talked to for a while: the last ones, the newest first.
    pub fn aside(&self, now: Now) -> Vec<AsidePeer> {
        self.peers.aside(now.mono)
    }

    /// Messages waiting for a block, at most `limit`.
    pub fn mempool(&self, limit: usize) -> Vec<PoolEntry> {
        self.mempool.list(&self.network, limit)
    }

    /// The checkpoint that operators may list when voters are gone for good: of the last block up to a round, with those
    /// as voters who were seen since another round.
    pub fn listing(&self, round: Round, seen_since: Round, db: &dyn Reader) -> Option<Listed> {
        self.chain.listing(round, seen_since, db)
    }

    /// The address of our key.
    pub fn address(&self) -> Address {
        self.own
    }

    /// The plan of a round whose anchor is this seal; nothing when the seal's state is not known here, or not any more.
    pub fn plan(&self, seal: &SealRef, round: Round) -> Option<Rc<Plan>> {
        self.chain.plan_from(seal, round)
    }

    /// The state of the newest seal whose block our chain has.
    pub fn sealed_state(&self) -> &SealedState {
        &self.chain.sealed().state
    }

    /// A message that waits for a block.
    pub fn waiting(&self, id: &TxId) -> Option<&Tx> {
        self.mempool.waiting_tx(id)
    }

    fn tip_status(&self) -> TipStatus {
        let best = self.chain.best();
        TipStatus {
            point: best.point,
            round: best.at.map(|(round, _)| round),
            slot: best.at.map(|(_, slot)| slot),
            weight: best.weight,
            seal: best.seal.index,
        }
    }

    fn peer_counts(&self) -> PeerCounts {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (dial_list, sharing_tip) = self.peers.dial_list_sharing(&self.chain.best().point);
        PeerCounts {
            dialled: count(self.peers.ready().filter(|peer| peer.dialled).count()),
            accepted: count(self.peers.ready().filter(|peer| !peer.dialled).count()),
            dial_list,
            sharing_tip,
            set_aside: count(self.peers.aside_count()),
        }
    }
}
