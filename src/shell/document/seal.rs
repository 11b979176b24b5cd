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
    pub(super) fn new(voter: &Voter, signed: Option<bool>, network: &Network) -> VoterDocument {
        VoterDocument {
            address: network.address_of(&voter.public_key).to_string(),
            public_key: voter.public_key,
            weight: voter.weight,
            signed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bed::{self, Disk, Ground};
    use crate::machine::records::{Draft, StoredSeal, Table};
    use crate::types::hash::hash;
    use crate::types::network::Listed;
    use crate::types::seal::{Quorum, voters_digest};

    fn checkpoint(before: &Checkpoint, voters: &[Voter]) -> Checkpoint {
        let index = before.index + 1;
        let block = BlockHash(hash("test", &[&index.to_be_bytes()]));
        let (round, height, voters) = (Round(index), Height(index), voters_digest(voters));
        Checkpoint { index, round, height, block, voters, ..*before }
    }

    fn store(disk: &mut Disk, seal: Seal, voters_at: u64) {
        let index = seal.certificate.checkpoint.index;
        let mut draft = Draft::new(disk);
        let stored = StoredSeal { seal, registry_at: 0, voters_at };
        draft.put(Table::Seals, records::index_key(index), &stored);
        let batch = draft.into_batch();
        disk.write(batch);
    }

    /// Four founders certify seal 1, which leaves the first of them out; seal 2 is listed, without a certificate.
    fn sealed() -> (Network, Disk, Electorate) {
        let ground = Ground::new(bed::network(4, &[]));
        let genesis = Anchor::genesis(&ground.network);
        let founders = Electorate::new(&genesis.state.voters);
        let fewer = founders.voters()[1..].to_vec();
        let first = checkpoint(&genesis.checkpoint, &fewer);
        let second = checkpoint(&first, &fewer);
        let mut disk = Disk::default();
        let certificate = ground.certificate(first, &founders, 3);
        store(&mut disk, Seal { certificate, registry: None, voters: Some(fewer) }, 1);
        let certificate = Quorum::new(second, 0, &[]);
        store(&mut disk, Seal { certificate, registry: None, voters: None }, 1);
        let mut network = Network::clone(&ground.network);
        network.checkpoints = vec![Listed { checkpoint: second, voters: None }];
        (network, disk, founders)
    }

    #[test]
    fn a_seal_shows_who_signed_and_who_votes_next() {
        let (network, disk, founders) = sealed();
        let names: Vec<String> = founders
            .voters()
            .iter()
            .map(|voter| network.address_of(&voter.public_key).to_string())
            .collect();
        let addresses =
            |of: &[VoterDocument]| of.iter().map(|voter| voter.address.clone()).collect::<Vec<_>>();
        assert_eq!(SealDocument::newest(&disk), 2);

        let first = SealDocument::at(&disk, &network, 1).expect("it is there");
        let certificate = first.certificate.expect("it has one");
        assert_eq!((certificate.signed_weight, certificate.total_weight), (3, 4));
        assert_eq!((certificate.percent, first.listed), (75, false));
        assert_eq!((first.registry_changed, first.voters_changed), (false, true));
        assert_eq!(addresses(&first.voters), names);
        let signed: Vec<_> = first.voters.iter().map(|voter| voter.signed).collect();
        assert_eq!(signed, [Some(true), Some(true), Some(true), Some(false)]);
        assert_eq!(addresses(&first.next_voters), names[1..]);

        let second = SealDocument::at(&disk, &network, 2).expect("it is there");
        assert!(second.listed && second.certificate.is_none() && !second.voters_changed);
        assert_eq!(addresses(&second.voters), names[1..]);
        assert_eq!(addresses(&second.next_voters), names[1..]);
        assert!(second.voters.iter().all(|voter| voter.signed.is_none()));
        assert!(SealDocument::at(&disk, &network, 3).is_none());
    }
}
