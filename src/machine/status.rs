//! What a node tells of itself: one plain value for the CLI, the API, devnet, metrics and the checks of the simulator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::note::{ClockDistrust, MissReason, Ruling, miss_name};
use super::seal::RegistryDoubt;
use crate::types::block::Point;
use crate::types::clock::{Height, Round, Slot, Timestamp};
use crate::types::evidence::OffenceKind;
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::key::PublicKey;
use crate::types::seal::Step;
use crate::types::sign::{BlockRecord, Doubt, VoteRecord};

/// The state of a node at a moment. Unknown is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub network: String,
    pub address: String,
    pub public_key: PublicKey,
    /// Registered: forges and announces. An observer only follows.
    pub masternode: bool,
    pub time: Timestamp,
    pub uptime_ms: u64,
    /// Null before the network's origin.
    pub round: Option<Round>,
    pub slot: Option<Slot>,
    /// Whether the present slot is a seal slot.
    pub seal_slot: bool,
    /// Whose slot it is, as far as this node's chain says; null in seal slots.
    pub juror: Option<PublicKey>,
    pub tip: TipStatus,
    pub seal: SealStatus,
    /// Null where the registry is a list.
    pub ledger: Option<LedgerStatus>,
    pub sync: SyncStatus,
    pub peers: PeerCounts,
    pub mempool: PoolStatus,
    pub duties: Duties,
    pub clock: ClockStatus,
    pub sign_state: SignStatus,
    /// Null while nothing has happened that this node does not go on from.
    pub halt: Option<HaltStatus>,
    /// Signatures asked for and not made because they conflict with one made.
    pub refused_signature: u64,
    /// What others signed twice: the newest votes and the newest blocks in turn, at most 64.
    pub evidence: Vec<EvidenceStatus>,
    /// How much of it is kept.
    pub evidence_count: u64,
    /// Certificates of other checkpoints than ours that are kept, the newest index first.
    pub seal_conflicts: Vec<ConflictStatus>,
    /// Ends of valid chains held, the best one included.
    pub chain_tips: u32,
    /// Blocks refused since start, by code.
    pub refused_blocks: BTreeMap<String, u64>,
}

/// Somebody signed twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    pub kind: OffenceKind,
    pub offender: String,
    /// Whether a block of our chain proves it, as long as another one could.
    pub in_chain: bool,
}

/// Two checkpoints are certified for one index, or one against the network file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictStatus {
    pub index: u64,
    /// When this node saw it.
    pub at: Timestamp,
    pub ruling: Ruling,
    /// The identity of the checkpoint that counts here, and of the other one.
    pub held: Hash,
    pub rival: Hash,
}

/// The end of the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipStatus {
    #[serde(flatten)]
    pub point: Point,
    /// Null for genesis.
    pub round: Option<Round>,
    pub slot: Option<Slot>,
    pub weight: u64,
    pub seal: u64,
}

/// Where sealing stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealStatus {
    /// The newest seal whose certificate is here; 0 is genesis.
    pub index: u64,
    pub round: Round,
    pub height: Height,
    /// The newest one whose block our chain has and whose state we hold.
    pub adopted: u64,
    /// Rounds from the sealed one to the present one: 1 while all goes well, and 0 once the present one is sealed. Null
    /// before the network's origin.
    pub age_rounds: Option<u64>,
    /// From the end of its last forging slot to its certificate, when it was decided while we looked on.
    pub delay_ms: Option<u64>,
    /// Null while nothing is to be sealed.
    pub open: Option<OpenSeal>,
}

/// How the PoW ledger is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub state: LedgerState,
    /// Of its newest block; null while nothing is read.
    pub height: Option<u64>,
    /// HNs registered after that block; the registry in force lags behind it by depth, step and seal.
    pub registered: u32,
    /// The round whose registry can be proposed next, and the height that it counts up to; null while that is not known.
    pub known_round: Option<Round>,
    pub known_height: Option<u64>,
    /// What is wrong, and what to do about it; null when nothing is.
    pub code: Option<String>,
    pub message: Option<String>,
    pub action: Option<String>,
    /// Why the registry proposed last is not taken here; null when it is.
    pub proposed: Option<RegistryDoubt>,
}

/// Where reading the ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    /// None is read here: others propose changes.
    None,
    /// It is read for the first time.
    Reading,
    Following,
    /// It cannot be read.
    Fault,
    /// From some block on it says what cannot be.
    Damaged,
}

/// An instance that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSeal {
    pub index: u64,
    pub view: u32,
    /// The step that we are in.
    pub step: Step,
    /// Since a finished round has waited for this seal, as far as we looked on.
    pub open_ms: u64,
    /// Whether it takes longer than it should: its first view came to nothing, or it is open for a whole slot.
    pub late: bool,
    /// Weight of those heard of lately, and how much of it is needed, in percent.
    pub voted_percent: u8,
    pub needed_percent: u8,
    /// Voters not heard of; of many, the first.
    pub missing: Vec<String>,
    pub missing_count: u32,
}

/// Where fetching stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Whether blocks of a better chain are missing.
    pub behind: bool,
    /// Height to reach, as headers show it.
    pub target: Option<u64>,
    /// Blocks a second, over the last seconds.
    pub blocks_per_second: Option<u64>,
    pub seconds_left: Option<u64>,
}

/// Connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounts {
    pub dialled: u32,
    pub accepted: u32,
    /// HNs of our dial list that are connected, and how many of them share our tip.
    pub dial_list: u32,
    pub sharing_tip: u32,
    pub set_aside: u32,
}

/// Messages waiting for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    pub messages: u32,
    pub bytes: u64,
}

/// Our slots: to come in the rounds known, and done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Duties {
    pub next: Option<NextDuty>,
    pub forged: u64,
    pub missed: u64,
    /// The newest, oldest first.
    pub recent: Vec<Duty>,
}

/// A slot of ours to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextDuty {
    pub round: Round,
    pub slot: Slot,
    pub starts_at: Timestamp,
}

/// A slot of ours that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    pub round: Round,
    pub slot: Slot,
    pub forged: Option<BlockHash>,
    /// Null when forged.
    #[serde(with = "miss_name")]
    pub missed: Option<MissReason>,
}

/// Whether the clock is good enough to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    pub trusted: bool,
    pub distrust: Option<ClockDistrust>,
    pub synchronised: bool,
    /// Median of the peers' clocks against ours, in milliseconds; only a warning.
    pub peers_offset_ms: Option<i64>,
}

/// Whether all our signatures are known, and the newest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignStatus {
    /// While it is not, nothing is signed.
    pub proven: bool,
    pub standing: SignStanding,
    /// Why it waits for its operator; null when it does not.
    pub doubt: Option<Doubt>,
    /// The round from which on it will be proven, while that is a matter of listening to others.
    pub ready_in: Option<Round>,
    pub block: Option<BlockRecord>,
    pub vote: Option<VoteRecord>,
}

/// What is known of our signatures, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignStanding {
    /// All of them.
    Proven,
    /// This key has not signed here before, as far as we know: it listens first.
    New,
    /// Something may be lacking, and the operator has told it to listen and go on.
    Waiting,
    /// It waits for its operator: see `doubt`.
    Unproven,
}

/// What stopped the node for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltStatus {
    pub code: String,
    pub message: String,
    pub at: Timestamp,
    /// The seal that it is about.
    pub index: u64,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub peer: u64,
    pub endpoint: String,
    pub dialled: bool,
    /// Null until it has proven who it is.
    pub public_key: Option<PublicKey>,
    pub address: Option<String>,
    /// Registered masternode, or observer.
    pub masternode: bool,
    pub tip: Option<Point>,
    pub round_trip_ms: Option<u64>,
    pub clock_offset_ms: Option<i64>,
    pub connected_ms: u64,
    pub bytes_received: u64,
    /// How many times it was asked for messages that it announced and has not delivered.
    #[serde(default)]
    pub unanswered: u32,
    /// Blocks that it showed more than a slot before their time: one of the two clocks is wrong, or it is up to something.
    #[serde(default)]
    pub early_blocks: u32,
}

/// Connections that are over: of one address all that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedPeer {
    /// Of the last of them.
    pub endpoint: String,
    pub dialled: bool,
    /// Null when it had not proven who it is.
    pub public_key: Option<PublicKey>,
    pub address: Option<String>,
    /// Whether we ended it, or did not let it in.
    pub by_us: bool,
    pub code: String,
    pub message: String,
    pub count: u64,
    /// How long ago the last of them ended.
    pub ended_ms: u64,
}

/// A peer that is not talked to for a while, because of what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsidePeer {
    pub public_key: PublicKey,
    pub address: String,
    pub endpoint: String,
    pub code: String,
    pub message: String,
    pub left_ms: u64,
}

/// One message of the mempool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolEntry {
    pub id: TxId,
    pub kind: String,
    pub round: Round,
    pub sender: String,
}
