//! What the API answers, as JSON: one object with its schema, unknown is null, names in snake_case. Only additions are
//! allowed within a version of a schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::engine::{Failure, RecentBlock};
use crate::machine::records::{self, Reader};
use crate::machine::status::{AsidePeer, EndedPeer, PeerStatus, PoolEntry, Status};
use crate::types::block::{Point, SealRef, genesis};
use crate::types::clock::{Height, Round, Slot, Timestamp};
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::key::{PublicKey, Signature};
use crate::types::network::Network;
use crate::types::tx::{Body, Tx};

mod halt;
mod health;
mod listing;
mod round;
mod seal;
mod search;

pub use halt::{Evidence, HaltDocument};
pub use health::{HealthDocument, why_unsigned};
pub use listing::ListingDocument;
pub use round::{RoundDocument, SlotDocument, SlotState, TestDocument};
pub use seal::{CertificateDocument, SealDocument, VoterDocument};
pub use search::{AccountDocument, FoundDocument, Searched, SentDocument};

/// A body with the name and version of its form.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    schema: &'static str,
    #[serde(flatten)]
    body: T,
}

/// Whether the node does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    /// It fetches blocks that others have.
    Syncing,
    /// It has seen what cannot be: it signs nothing, and needs its operator.
    Halted,
    /// Its disk failed; it tries again by itself.
    StorageFailed,
}

/// `hypernode.status/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    pub state: State,
    /// Null while the storage works.
    pub cause: Option<String>,
    pub action: Option<String>,
    /// Connections that came to nothing since the process started, by code.
    pub refused_connections: BTreeMap<String, u64>,
    /// Descriptors that the process may hold; null for no limit.
    pub open_files_max: Option<u64>,
    /// Absent when the storage failed.
    #[serde(flatten)]
    pub status: Option<Status>,
}

/// `hypernode.peers/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeersDocument {
    pub peers: Vec<PeerStatus>,
    /// Connections that are over or were not let in, the newest first: the last ones, 64 of each at most.
    #[serde(default)]
    pub ended: Vec<EndedPeer>,
    /// Peers that are not talked to for a while, the newest first: the last 64.
    #[serde(default)]
    pub aside: Vec<AsidePeer>,
}

/// `hypernode.mempool/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct MempoolDocument {
    pub messages: Vec<PoolEntry>,
}

/// `hypernode.tx/1`: the message is held, on disk.
#[derive(Debug, Serialize)]
pub struct TxIdDocument {
    pub id: TxId,
}

/// `hypernode.headers/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeadersDocument {
    pub headers: Vec<HeaderDocument>,
}

/// `hypernode.recent/1`: valid blocks as they came in, on whatever fork, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecentDocument {
    pub blocks: Vec<RecentBlock>,
}

/// `hypernode.blocks/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct BlocksDocument {
    pub blocks: Vec<BlockDocument>,
}

/// `hypernode.block/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct BlockDocument {
    #[serde(flatten)]
    pub header: HeaderDocument,
    pub messages: Vec<TxDocument>,
}

/// A block of the best chain without its messages. Genesis has a height and a hash.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct HeaderDocument {
    pub height: Height,
    pub hash: Option<BlockHash>,
    /// Distinct forgers summed over rounds, up to and with this block.
    pub weight: u64,
    pub version: Option<u32>,
    pub round: Option<Round>,
    pub slot: Option<Slot>,
    pub timestamp: Option<Timestamp>,
    pub previous: Option<BlockHash>,
    pub messages_root: Option<Hash>,
    pub seal: Option<SealRef>,
    pub reveal: Option<Hash>,
    pub forger: Option<PublicKey>,
    pub forger_address: Option<String>,
    pub signature: Option<Signature>,
}

/// A message of a block.
#[derive(Debug, Serialize, Deserialize)]
pub struct TxDocument {
    pub id: TxId,
    pub kind: String,
    pub round: Round,
    pub sender: PublicKey,
    pub sender_address: String,
    pub body: Body,
    pub signature: Signature,
}

impl<T: Serialize> Document<T> {
    /// A body under its schema.
    pub fn new(schema: &'static str, body: T) -> Document<T> {
        Document { schema, body }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("documents are plain data with text keys");
        json.push(b'\n');
        json
    }
}

impl State {
    /// How a node is, by its status.
    pub fn of(status: Result<&Status, &Failure>) -> State {
        match status {
            Ok(status) if status.halt.is_some() => State::Halted,
            Ok(status) if status.sync.behind => State::Syncing,
            Ok(_) => State::Running,
            Err(_) => State::StorageFailed,
        }
    }
}

impl StatusDocument {
    /// The status of a node, or why there is none.
    pub fn new(
        status: Result<Status, &Failure>,
        refused: &BTreeMap<&'static str, u64>,
        open_files_max: Option<u64>,
    ) -> StatusDocument {
        let state = State::of(status.as_ref().map_err(|failure| *failure));
        let failure = status.as_ref().err().map(|failure| (*failure).clone());
        StatusDocument {
            state,
            cause: failure.as_ref().map(|failure| failure.cause.clone()),
            action: failure.as_ref().map(|failure| failure.action.to_owned()),
            refused_connections: refused
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect(),
            open_files_max,
            status: status.ok(),
        }
    }
}

impl HeaderDocument {
    /// The block at a height of the best chain; nothing above its tip.
    pub fn at(db: &dyn Reader, network: &Network, height: Height) -> Option<HeaderDocument> {
        if height == Height(0) {
            let hash = Some(genesis(network).hash);
            return Some(HeaderDocument { height, hash, ..HeaderDocument::default() });
        }
        let hash = records::main_record(db, height)?.hash;
        let stored = records::header(db, &Point { height, hash })?;
        let header = &stored.header.header;
        Some(HeaderDocument {
            height,
            hash: Some(hash),
            weight: stored.weight,
            version: Some(header.version),
            round: Some(header.round),
            slot: Some(header.slot),
            timestamp: Some(header.timestamp),
            previous: Some(header.previous),
            messages_root: Some(header.messages_root),
            seal: Some(header.seal),
            reveal: header.reveal,
            forger: Some(header.forger),
            forger_address: Some(network.address_of(&header.forger).to_string()),
            signature: Some(stored.header.signature),
        })
    }
}

impl BlockDocument {
    /// The same with its messages.
    pub fn at(db: &dyn Reader, network: &Network, height: Height) -> Option<BlockDocument> {
        let header = HeaderDocument::at(db, network, height)?;
        let messages = match header.hash {
            Some(hash) if height > Height(0) => records::body(db, &Point { height, hash })?,
            Some(_) | None => Vec::new(),
        };
        let messages = messages.into_iter().map(|tx| TxDocument::new(tx, network)).collect();
        Some(BlockDocument { header, messages })
    }
}

impl TxDocument {
    fn new(tx: Tx, network: &Network) -> TxDocument {
        TxDocument {
            id: tx.id(),
            kind: tx.body.kind().to_owned(),
            round: tx.round,
            sender: tx.sender,
            sender_address: tx.sender_address(network).to_string(),
            body: tx.body,
            signature: tx.signature,
        }
    }
}
