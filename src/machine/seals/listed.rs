//! Checkpoints that the network file lists (`docs/protocol.md` §2): each counts as a seal with certificate and outranks
//! what voters certify.

use super::Seals;
use crate::machine::records::{Draft, Reader};
use crate::types::network::Listed;
use crate::types::seal::{Checkpoint, Quorum, Seal};

impl Seals {
    /// A listed checkpoint and a seal that we hold and that contradicts it, if there are such since the last seal came:
    /// the node must stop, its chain is not the network's.
    pub fn contradiction(&mut self, db: &dyn Reader) -> Option<(Checkpoint, Checkpoint)> {
        if std::mem::replace(&mut self.is_compared, true) {
            return None;
        }
        let last = self.certified;
        self.network.checkpoints.iter().map(|listed| listed.checkpoint).find_map(|listed| {
            let held = if listed.index <= last.index { self.held(listed.index, db)? } else { last };
            let same = held.index == listed.index && held == listed;
            let below = held.index < listed.index && is_before(&held, &listed);
            (!same && !below).then_some((listed, held))
        })
    }

    /// The listed checkpoint that is against this one as the next: another for its index, or one that it leaves no
    /// place for.
    pub(super) fn outranks(&self, next: &Checkpoint) -> Option<&Checkpoint> {
        let listed = self.network.checkpoints.iter().map(|listed| &listed.checkpoint);
        listed.filter(|listed| listed.index >= next.index).find(|listed| {
            let same = listed.index == next.index && *listed == next;
            !same && (listed.index == next.index || !is_before(next, listed))
        })
    }

    /// The listed checkpoint that is next, and whether it can be taken as it is: what it does not bring is unchanged.
    pub(super) fn listed_next(&self) -> Option<&Listed> {
        let listed = self.network.listed(self.certified.index + 1)?;
        let Checkpoint { registry, voters, round, height, .. } = listed.checkpoint;
        let has_voters = listed.voters.is_some() || voters == self.certified.voters;
        let later = !self.certified.closes(round) && height > self.certified.height;
        (later && has_voters && registry == self.certified.registry).then_some(listed)
    }

    /// Takes it, with the certificate that nobody has.
    pub(super) fn take_listed(&mut self, db: &mut Draft) {
        let Some(listed) = self.listed_next() else { return };
        let checkpoint = listed.checkpoint;
        let changed = checkpoint.voters != self.certified.voters;
        let voters = listed.voters.clone().filter(|_| changed);
        let certificate = Quorum::new(checkpoint, 0, &[]);
        self.store(db, Seal { certificate, registry: None, voters });
    }
}

fn is_before(held: &Checkpoint, listed: &Checkpoint) -> bool {
    held.round < listed.round && held.height < listed.height
}
