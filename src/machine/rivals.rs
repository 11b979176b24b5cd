//! Certificates of checkpoints that do not count: another one counts for their index (`docs/protocol.md` §2, §10). Each
//! shows that more than a third of the weight signed twice, or that the voters are against the network file. Kept over
//! restarts and shown to people; what this node does about it is not decided here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::note::Ruling;
use super::records::{self, Reader, Table};
use super::status::ConflictStatus;
use super::turn::Turn;
use crate::types::clock::Timestamp;
use crate::types::seal::{Checkpoint, Quorum};

/// Indices of which one is kept, of up to 258 KiB on disk. Who has the old keys of two thirds can certify other pasts
/// without end: the newest say all that can be known.
const KEPT_MAX: usize = 8;

/// What is on disk of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rival {
    pub at: Timestamp,
    /// What counts here.
    pub held: Checkpoint,
    pub ruling: Ruling,
    pub certificate: Quorum,
}

/// What is kept; of each in memory only what is shown.
#[derive(Debug, Default)]
pub struct RivalKeeper {
    kept: BTreeMap<u64, ConflictStatus>,
}

impl Rival {
    fn status(&self) -> ConflictStatus {
        let checkpoint = &self.certificate.checkpoint;
        ConflictStatus {
            index: checkpoint.index,
            at: self.at,
            ruling: self.ruling,
            held: self.held.id(),
            rival: checkpoint.id(),
        }
    }
}

impl RivalKeeper {
    /// What the database holds; what cannot be read is not evidence any more.
    pub fn open(db: &dyn Reader) -> RivalKeeper {
        let mut kept = BTreeMap::new();
        let mut key = records::rival_key(0);
        while let Some((found, value)) = db.next(Table::Evidence, &key) {
            if let Some(rival) = records::parse::<Rival>(&value) {
                kept.insert(rival.certificate.checkpoint.index, rival.status());
            }
            key = found;
            key.push(0);
        }
        RivalKeeper { kept }
    }

    /// Keeps a certificate that holds. Whether it is the first of its index, and of the newest indices.
    pub fn keep(&mut self, turn: &mut Turn, rival: &Rival) -> bool {
        let index = rival.certificate.checkpoint.index;
        let oldest = self.kept.keys().next().copied();
        let is_full = self.kept.len() >= KEPT_MAX;
        if self.kept.contains_key(&index) || is_full && oldest > Some(index) {
            return false;
        }
        if let Some(oldest) = oldest.filter(|_| is_full) {
            self.kept.remove(&oldest);
            turn.db.delete(Table::Evidence, records::rival_key(oldest));
        }
        turn.db.put(Table::Evidence, records::rival_key(index), rival);
        self.kept.insert(index, rival.status());
        true
    }

    /// For people, the newest index first.
    pub fn list(&self) -> Vec<ConflictStatus> {
        self.kept.values().rev().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bed::{self, Disk};
    use crate::machine::evidence::EvidenceKeeper;
    use crate::types::hash::Hash;
    use crate::types::key::Signature;
    use crate::types::seal::HNS_MAX;

    fn rival(index: u64, byte: u8, voters: u16) -> Rival {
        let checkpoint = bed::checkpoint(index, byte);
        let votes: Vec<_> = (0..voters).map(|at| (at, Signature([9; 64]))).collect();
        let certificate = Quorum::new(checkpoint, 0, &votes);
        let held = Checkpoint { state: Hash([0; 32]), ..checkpoint };
        Rival { at: Timestamp(5), held, ruling: Ruling::Older, certificate }
    }

    fn keep(keeper: &mut RivalKeeper, disk: &mut Disk, rival: &Rival) -> bool {
        let before = disk.clone();
        let mut turn = bed::turn(&bed::network(1, &[]), 0, &before);
        let is_new = keeper.keep(&mut turn, rival);
        disk.write(turn.db.into_batch());
        is_new
    }

    #[test]
    fn one_of_an_index_and_the_newest_indices_are_kept_over_restarts() {
        let (mut disk, mut keeper) = (Disk::default(), RivalKeeper::default());
        for index in 10..10 + KEPT_MAX as u64 {
            assert!(keep(&mut keeper, &mut disk, &rival(index, 1, 3)));
        }
        assert!(!keep(&mut keeper, &mut disk, &rival(12, 2, 3)), "the first of an index stays");
        assert!(!keep(&mut keeper, &mut disk, &rival(9, 1, 3)), "older than all that are kept");
        assert!(keep(&mut keeper, &mut disk, &rival(90, 1, 3)));
        for keeper in [&keeper, &RivalKeeper::open(&disk)] {
            let shown = keeper.list();
            let indices: Vec<u64> = shown.iter().map(|it| it.index).collect();
            assert_eq!(indices, [90, 17, 16, 15, 14, 13, 12, 11]);
            assert_eq!(shown[6], rival(12, 1, 3).status());
        }
        assert_eq!(disk.entries.len(), KEPT_MAX);
        // They share a table with what others signed twice.
        let evidence = EvidenceKeeper::open(&disk);
        assert_eq!(evidence.count(), 0);
    }

    #[test]
    fn the_largest_certificate_fits() {
        let (mut disk, mut keeper) = (Disk::default(), RivalKeeper::default());
        let largest = rival(7, 1, u16::try_from(HNS_MAX).expect("few"));
        assert!(keep(&mut keeper, &mut disk, &largest));
        let bytes = disk.get(Table::Evidence, &records::rival_key(7)).map(|value| value.len());
        assert!(bytes.is_some_and(|bytes| bytes < 264_000), "{bytes:?}");
        assert_eq!(RivalKeeper::open(&disk).list(), [largest.status()]);
    }
}
