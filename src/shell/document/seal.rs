//! A seal as JSON: what is sealed, who signed it, and who votes next.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::machine::records::{self, Reader};
use crate::machine::seals;
use crate::rules::quorum::Electorate;
use crate::rules::sealed::Anchor;
use crate::types::block::genesis;
use crate::types::clock::{Height, Round};
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Seal, Voter};

/// `hypernode.seal/1`. At most 4,096 voters of two instances, 1.5 MiB.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealDocument {
    /// Seal 0 is genesis.
    pub index: u64,
    /// H("checkpoint", …), by which blocks name it.
    pub id: Hash,
    pub round: Round,
    pub height: Height,
    pub block: BlockHash,
    pub state_digest: Hash,
    pub registry_digest: Hash,
    pub voters_digest: Hash,
    /// Whether the network file lists it: then it counts without a certificate.
    pub listed: bool,
    /// Null for genesis, and for a listed one whose certificate nobody had.
    pub certificate: Option<CertificateDocument>,
    /// Whether it brings another registry, or other voters, than the seal before.
    pub registry_changed: bool,
    pub voters_changed: bool,
    /// Who voted on it, by address; nobody on genesis.
    pub voters: Vec<VoterDocument>,
    /// Who votes on the next one.
    pub next_voters: Vec<VoterDocument>,
}

/// How many agreed.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertificateDocument {
    pub view: u32,
    /// Weight of those who signed, and of all.
    pub signed_weight: u64,
    pub total_weight: u64,
    /// The one in percent of the other, rounded down.
    pub percent: u64,
}

/// A voter.
#[derive(Debug, Serialize, Deserialize)]
pub struct VoterDocument {
    pub address: String,
    pub public_key: PublicKey,
    pub weight: u8,
    /// Whether the certificate holds its signature; null when there is no certificate, or not yet.
    pub signed: Option<bool>,
}

impl SealDocument {
    /// The seal of an index; nothing above the newest.
    pub fn at(db: &dyn Reader, network: &Network, index: u64) -> Option<SealDocument> {
        if index == 0 {
            return Some(SealDocument::of_genesis(network));
        }
        let Seal { certificate: quorum, registry, voters } = records::seal(db, index)?.seal;
        let checkpoint = quorum.checkpoint;
        let electorate = Electorate::new(&seals::voters_after(db, network, index - 1)?);
        let signed: BTreeSet<u16> = quorum.positions().collect();
        let is_certified = !quorum.signatures.is_empty();
        let certificate = is_certified.then(|| {
            let signed_weight = signed.iter().map(|at| electorate.weight(*at)).sum::<u64>();
            let total_weight = electorate.total();
            let percent = (100 * signed_weight).checked_div(total_weight).unwrap_or(0);
            CertificateDocument { view: quorum.view, signed_weight, total_weight, percent }
        });
        let voted = (0..).zip(electorate.voters()).map(|(at, voter)| {
            let signed = is_certified.then(|| signed.contains(&at));
            VoterDocument::new(voter, signed, network)
        });
        Some(SealDocument {
            certificate,
            listed: network.listed(index).is_some(),
            registry_changed: registry.is_some(),
            voters_changed: voters.is_some(),
            voters: voted.collect(),
            ..SealDocument::bare(&checkpoint, &seals::voters_after(db, network, index)?, network)
        })
    }

    /// The index of the newest seal; 0 before the first.
    pub fn newest(db: &dyn Reader) -> u64 {
        let last = records::last_seal(db).ok().flatten();
        last.map_or(0, |stored| stored.checkpoint().index)
    }

    fn of_genesis(network: &Network) -> SealDocument {
        let state = Anchor::genesis(network).state;
        let point = genesis(network);
        SealDocument::bare(&state.checkpoint(0, point.height, point.hash), &state.voters, network)
    }

    /// What a checkpoint says of itself, and whom it names.
    fn bare(checkpoint: &Checkpoint, next: &[Voter], network: &Network) -> SealDocument {
        let Checkpoint { index, round, height, block, state, registry, voters } = *checkpoint;
        SealDocument {
            index,
            id: checkpoint.id(),
            round,
            height,
            block,
            state_digest: state,
            registry_digest: registry,
            voters_digest: voters,
            listed: false,
            certificate: None,
            registry_changed: false,
            voters_changed: false,
            voters: Vec::new(),
            next_voters: next
                .iter()
                .map(|voter| VoterDocument::new(voter, None, network))
                .collect(),
        }
    }
}

impl VoterDocument {
    fn new(voter: &Voter, signed: Option<bool>, network: &Network) -> VoterDocument {
        VoterDocument {
            address: network.address_of(&voter.public_key).to_string(),
            public_key: voter.public_key,
            weight: voter.weight,
            signed,
        }
    }
}
