//! One connection: who it is, what it has said of itself, what it may still spend.

use std::collections::VecDeque;

use crate::machine::event::PeerId;
use crate::machine::status::PeerStatus;
use crate::types::address::Address;
use crate::types::clock::{Monotonic, Now};
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::PublicKey;
use crate::types::message::{ByeReason, Hello, Message, Tip};
use crate::types::network::Endpoint;

use super::{GREETING_MS, PONG_MS};

/// Units, mostly a frame each, that may come at once, and how many more each second: far above what an honest peer sends at the start of a
/// round of 4,096 HNs, far below what keeps a board busy.
const BUDGET_MAX: u64 = 5_000;
const BUDGET_PER_SECOND: u64 = 1_000;
/// Bytes that cost as much as a frame: 8 MiB a second of what nobody asked for.
const BYTES_PER_UNIT: u64 = 8_192;
/// What a request that makes us read the database costs.
const REQUEST_COST: u64 = 4;
/// Newest blocks that a peer is known to hold.
const BLOCKS_MAX: usize = 8;

/// A connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub id: PeerId,
    pub endpoint: Endpoint,
    pub dialled: bool,
    pub channel: Hash,
    /// Nothing until it has proven who it is.
    pub key: Option<PublicKey>,
    pub address: Option<Address>,
    /// Registered, so that it may announce blocks and messages.
    pub masternode: bool,
    pub tip: Option<Tip>,
    pub heard: Monotonic,
    pub clock_offset_ms: Option<i64>,
    /// Wants not answered yet.
    pub unanswered: u32,
    /// Blocks that it showed more than a slot before their time.
    pub early_blocks: u32,
    /// It has shown a quorum in which our signature does not hold: our votes are not looked for in its quorums any more.
    pub misquotes: bool,
    /// Why it said that it closes.
    pub bye: Option<ByeReason>,
    connected: Monotonic,
    round_trip_ms: Option<u64>,
    bytes: u64,
    ping: Option<(u64, Monotonic)>,
    budget: u64,
    budget_at: Monotonic,
    blocks: VecDeque<BlockHash>,
}

impl Peer {
    pub fn new(
        id: PeerId,
        endpoint: Endpoint,
        dialled: bool,
        channel: Hash,
        now: Monotonic,
    ) -> Peer {
        Peer {
            id,
            endpoint,
            dialled,
            channel,
            key: None,
            address: None,
            masternode: false,
            tip: None,
            heard: now,
            clock_offset_ms: None,
            unanswered: 0,
            early_blocks: 0,
            misquotes: false,
            bye: None,
            connected: now,
            round_trip_ms: None,
            bytes: 0,
            ping: None,
            budget: BUDGET_MAX,
            budget_at: now,
            blocks: VecDeque::new(),
        }
    }

    /// Whether it has proven who it is.
    pub fn is_ready(&self) -> bool {
        self.key.is_some()
    }

    /// Since when.
    pub fn ready_since(&self) -> Option<Monotonic> {
        self.key.map(|_| self.connected)
    }

    /// It has.
    pub fn greeted(&mut self, now: Monotonic, hello: &Hello, address: Address, masternode: bool) {
        self.key = Some(hello.key);
        self.address = Some(address);
        self.masternode = masternode;
        self.connected = now;
    }

    /// Whether it holds a block, as far as we know.
    pub fn has_block(&self, hash: &BlockHash) -> bool {
        self.blocks.contains(hash) || self.tip.is_some_and(|tip| tip.point.hash == *hash)
    }

    /// It holds this block.
    pub fn holds_block(&mut self, hash: BlockHash) {
        if !self.blocks.contains(&hash) {
            self.blocks.push_back(hash);
            if self.blocks.len() > BLOCKS_MAX {
                self.blocks.pop_front();
            }
        }
    }

    /// Takes a frame's cost; false when the budget is spent.
    pub fn spend(&mut self, now: Monotonic, message: &Message, bytes: u32) -> bool {
        self.heard = now;
        self.bytes += u64::from(bytes);
        let earned = now.since(self.budget_at) * BUDGET_PER_SECOND / 1000;
        if earned > 0 {
            self.budget = (self.budget + earned).min(BUDGET_MAX);
            self.budget_at = now;
        }
        let cost = match message {
            Message::Find { .. }
            | Message::WantHeaders { .. }
            | Message::WantBodies { .. }
            | Message::WantVotes { .. }
            | Message::WantSeals { .. }
            | Message::WantState { .. } => REQUEST_COST,
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::NewBlock { .. }
            | Message::Bodies { .. }
            | Message::Intersect { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::Proposal(_)
            | Message::Vote(_)
            | Message::Votes(_)
            | Message::Prepared(_)
            | Message::Seals { .. }
            | Message::State { .. }
            | Message::Bye(_) => 1,
        };
        match self.budget.checked_sub(cost + u64::from(bytes) / BYTES_PER_UNIT) {
            Some(left) => self.budget = left,
            None => return false,
        }
        true
    }

    /// Gives back what the length of a frame cost.
    pub fn refund(&mut self, bytes: u32) {
        self.budget = (self.budget + u64::from(bytes) / BYTES_PER_UNIT).min(BUDGET_MAX);
    }

    /// Whether an answer is due: a greeting or a pong.
    pub fn waits(&self) -> bool {
        !self.is_ready() || self.ping.is_some()
    }

    /// When it is too late for that, or, when nothing is due, when to ping.
    pub fn deadline(&self, quiet_ms: u64) -> Monotonic {
        match self.ping {
            _ if !self.is_ready() => self.connected.plus(GREETING_MS),
            Some((_, sent)) => sent.plus(PONG_MS),
            None => self.heard.plus(quiet_ms),
        }
    }

    /// We pinged it.
    pub fn pinged(&mut self, now: Monotonic, nonce: u64) {
        self.ping = Some((nonce, now));
    }

    /// It answered; other nonces are ignored.
    pub fn ponged(&mut self, now: Now, nonce: u64, clock: u64) {
        let Some((_, sent)) = self.ping.filter(|(asked, _)| *asked == nonce) else { return };
        let round_trip = now.mono.since(sent);
        self.ping = None;
        self.round_trip_ms = Some(round_trip);
        let theirs = i128::from(clock) + i128::from(round_trip / 2);
        let offset = theirs - i128::from(now.wall.0);
        self.clock_offset_ms = i64::try_from(offset).ok();
    }

    /// For people.
    pub fn status(&self, now: Monotonic) -> PeerStatus {
        PeerStatus {
            peer: self.id.0,
            endpoint: self.endpoint.to_string(),
            dialled: self.dialled,
            public_key: self.key,
            address: self.address.map(|address| address.to_string()),
            masternode: self.masternode,
            tip: self.tip.map(|tip| tip.point),
            round_trip_ms: self.round_trip_ms,
            clock_offset_ms: self.clock_offset_ms,
            connected_ms: now.since(self.connected),
            bytes_received: self.bytes,
            unanswered: self.unanswered,
            early_blocks: self.early_blocks,
        }
    }
}
