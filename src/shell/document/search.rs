//! What the best chain says of an address, and where it holds a message, as JSON. There is no index for either: blocks are
//! read one after another, a bounded number for each question, which says where the next one goes on.

use serde::{Deserialize, Serialize};

use super::TxDocument;
use super::round::tip;
use crate::machine::records::{self, Reader};
use crate::rules::sealed::SealedState;
use crate::types::address::Address;
use crate::types::block::Point;
use crate::types::clock::{Height, Round, Slot};
use crate::types::hash::{BlockHash, TxId};
use crate::types::network::Network;
use crate::types::tx::Tx;

/// Blocks read for one question, and messages after which no further block is read.
const BLOCKS_MAX: u64 = 256;
const MESSAGES_MAX: usize = 20_000;
/// Blocks looked back where no height is given.
const BLOCKS_BACK: u64 = 1_000;

/// Which blocks were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    pub from: Height,
    /// The last one read.
    pub to: Height,
    /// Where to go on; null when all up to the tip were read.
    pub next: Option<Height>,
}

/// `hypernode.account/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountDocument {
    pub address: String,
    /// In the registry of the newest seal; null when it is not.
    pub registered: Option<RegisteredDocument>,
    /// Whether it draws tickets and votes, by the same seal.
    pub active: bool,
    /// Whether it draws none in the present round, for it signed twice.
    pub penalised: bool,
    pub blocks: Vec<ForgedDocument>,
    pub messages: Vec<SentDocument>,
    #[serde(flatten)]
    pub searched: Searched,
}

/// What a registry says of a masternode.
#[derive(Debug, Serialize, Deserialize)]
pub struct RegisteredDocument {
    pub endpoint: String,
    pub weight: u8,
    /// Addresses on the PoW ledger; for founders all zeros.
    pub owner: String,
    pub reward: String,
    pub since: u64,
}

/// A block by its forger.
#[derive(Debug, Serialize, Deserialize)]
pub struct ForgedDocument {
    pub height: Height,
    pub hash: BlockHash,
    pub round: Round,
    pub slot: Slot,
}

/// A message, and the block that holds it.
#[derive(Debug, Serialize, Deserialize)]
pub struct SentDocument {
    /// Null while it waits for a block.
    pub height: Option<Height>,
    #[serde(flatten)]
    pub message: TxDocument,
}

/// `hypernode.message/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FoundDocument {
    pub id: TxId,
    /// Null when none of these blocks holds it, nor the mempool.
    pub found: Option<SentDocument>,
    #[serde(flatten)]
    pub searched: Searched,
}

impl AccountDocument {
    /// What the blocks from a height on say of an address, and the newest sealed state.
    pub fn search(
        db: &dyn Reader,
        network: &Network,
        (state, round): (&SealedState, Round),
        address: &Address,
        from: Option<Height>,
    ) -> AccountDocument {
        let (mut blocks, mut messages) = (Vec::new(), Vec::new());
        let searched = read(db, from, |point, list| {
            if let Some(stored) = records::header(db, &point) {
                let header = stored.header.header;
                if network.address_of(&header.forger) == *address {
                    let Point { height, hash } = point;
                    let (round, slot) = (header.round, header.slot);
                    blocks.push(ForgedDocument { height, hash, round, slot });
                }
            }
            let own = list.into_iter().filter(|tx| tx.sender_address(network) == *address);
            messages.extend(own.map(|tx| SentDocument::new(Some(point.height), tx, network)));
            true
        });
        let registered = state.registered(address).map(|hn| RegisteredDocument {
            endpoint: hn.endpoint().to_string(),
            weight: hn.weight,
            owner: hn.owner.to_string(),
            reward: hn.reward.to_string(),
            since: hn.since,
        });
        AccountDocument {
            address: address.to_string(),
            registered,
            active: state.active(address).is_some(),
            penalised: state.is_penalised(address, round),
            blocks,
            messages,
            searched,
        }
    }
}

impl FoundDocument {
    /// A message in the blocks from a height on, unless the mempool has it.
    pub fn search(
        db: &dyn Reader,
        network: &Network,
        waiting: Option<Tx>,
        id: TxId,
        from: Option<Height>,
    ) -> FoundDocument {
        let mut found = waiting.map(|tx| SentDocument::new(None, tx, network));
        let searched = read(db, from, |point, list| {
            if let (None, Some(tx)) = (&found, list.into_iter().find(|tx| tx.id() == id)) {
                found = Some(SentDocument::new(Some(point.height), tx, network));
            }
            found.is_none()
        });
        FoundDocument { id, found, searched }
    }
}

impl SentDocument {
    fn new(height: Option<Height>, tx: Tx, network: &Network) -> SentDocument {
        SentDocument { height, message: TxDocument::new(tx, network) }
    }
}

/// Reads blocks of the best chain upwards, until `wants` has enough.
fn read(
    db: &dyn Reader,
    from: Option<Height>,
    mut wants: impl FnMut(Point, Vec<Tx>) -> bool,
) -> Searched {
    let tip = tip(db);
    let from = from.unwrap_or(Height(tip.0.saturating_sub(BLOCKS_BACK - 1))).max(Height(1));
    let (mut to, mut messages) = (Height(from.0 - 1), 0);
    while to < tip && to.0 - from.0.min(to.0) < BLOCKS_MAX && messages < MESSAGES_MAX {
        to = to.next();
        // A body that was forgotten has no messages to show.
        let hash = records::main_record(db, to).map(|main| main.hash);
        let Some(point) = hash.map(|hash| Point { height: to, hash }) else { continue };
        let list = records::body(db, &point).unwrap_or_default();
        messages += list.len();
        if !wants(point, list) {
            return Searched { from, to, next: None };
        }
    }
    let next = Some(to.next()).filter(|_| to < tip);
    Searched { from, to, next }
}
