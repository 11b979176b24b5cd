//! Blocks: a signed header and the messages that it orders (`docs/protocol.md` §8).

use serde::{Deserialize, Serialize};

use super::clock::{Height, Round, Slot, Timestamp};
use super::codec;
use super::hash::{BlockHash, Hash, TxId, hash};
use super::key::{PublicKey, Purpose, SecretKey, Signature, Verifier};
use super::network::Network;
use super::tx::Tx;

/// Bytes of the messages of one block, encoded: 1,000 messages of the kinds known take 180 KiB; a frame of blocks
/// holds two of the largest.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// What a forger signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Number of the parameters in force (§2), from 1.
    pub version: u32,
    pub height: Height,
    pub round: Round,
    pub slot: Slot,
    pub timestamp: Timestamp,
    pub previous: BlockHash,
    /// H("messages", ids), ids ascending.
    pub messages_root: Hash,
    /// The newest seal that the forger knows on its chain.
    pub seal: SealRef,
    /// Secret that an earlier heartbeat of the forger committed to.
    pub reveal: Option<Hash>,
    pub forger: PublicKey,
}

/// A header with its forger's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    pub header: Header,
    pub signature: Signature,
}

/// A seal by number and identity: H("checkpoint", checkpoint). Seal 0 is genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SealRef {
    pub index: u64,
    pub checkpoint: Hash,
}

/// A block: its messages stand in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub header: SignedHeader,
    pub messages: Vec<Tx>,
}

/// A place in the tree of blocks. The height comes with the hash so that storage is in order of height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    pub height: Height,
    pub hash: BlockHash,
}

impl Header {
    /// Signs it.
    pub fn sign(self, key: &SecretKey, network: &Network, verifier: &Verifier) -> SignedHeader {
        let bytes = codec::encode(&self);
        let signature = verifier.sign(key, Purpose::Block, &network.id(), &[&bytes]);
        SignedHeader { header: self, signature }
    }
}

impl SignedHeader {
    /// H("block", header ‖ signature): a bad signature has a hash of its own.
    pub fn hash(&self) -> BlockHash {
        BlockHash(hash("block", &[&codec::encode(&self.header), &self.signature.0]))
    }

    /// Height and hash.
    pub fn point(&self) -> Point {
        Point { height: self.header.height, hash: self.hash() }
    }

    /// Whether the forger it names signed it, for this network.
    pub fn is_signed(&self, network: &Network, verifier: &Verifier) -> bool {
        let bytes = codec::encode(&self.header);
        let header = &self.header;
        verifier.verify(&header.forger, Purpose::Block, &network.id(), &[&bytes], &self.signature)
    }
}

/// H("messages", ids), in the order given.
pub fn messages_root(ids: &[TxId]) -> Hash {
    let bytes: Vec<&[u8]> = ids.iter().map(|id| id.0.0.as_slice()).collect();
    hash("messages", &bytes)
}

/// Hash of genesis: H("genesis", network_id). Genesis is a point without a header, at height 0 in the round before
/// the first.
pub fn genesis(network: &Network) -> Point {
    genesis_of(&network.id())
}

/// The same of a network of which only the id is known.
pub fn genesis_of(network_id: &Hash) -> Point {
    Point { height: Height(0), hash: BlockHash(hash("genesis", &[&network_id.0])) }
}
