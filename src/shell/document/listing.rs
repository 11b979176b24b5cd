//! A checkpoint for the network file as JSON: the way out when voters are gone for good.

use serde::{Deserialize, Serialize};

use super::VoterDocument;
use crate::types::clock::{Height, Round};
use crate::types::hash::{BlockHash, Hash};
use crate::types::network::{Listed, Network};
use crate::types::seal::Checkpoint;

/// `hypernode.checkpoint/1`. At most 4,096 voters, 1.5 MiB with the entry.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListingDocument {
    pub index: u64,
    /// H("checkpoint", …): who lists the same has the same one.
    pub id: Hash,
    pub round: Round,
    pub height: Height,
    pub block: BlockHash,
    pub state_digest: Hash,
    pub registry_digest: Hash,
    pub voters_digest: Hash,
    /// The voters that it brings, by address.
    pub electorate: Vec<VoterDocument>,
    /// The entry of the network file.
    pub toml: String,
}

impl ListingDocument {
    /// How it is listed.
    pub fn new(listed: &Listed, network: &Network) -> ListingDocument {
        let Checkpoint { index, round, height, block, state, registry, voters } = listed.checkpoint;
        let brought = listed.voters.iter().flatten();
        ListingDocument {
            index,
            id: listed.checkpoint.id(),
            round,
            height,
            block,
            state_digest: state,
            registry_digest: registry,
            voters_digest: voters,
            electorate: brought.map(|voter| VoterDocument::new(voter, None, network)).collect(),
            toml: listed.to_toml(),
        }
    }
}
