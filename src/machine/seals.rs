//! The chain of certificates: seals verified one after another from genesis, or listed in the network file
//! (`docs/protocol.md` §2, §10). Which blocks they are about is the chain's business; here nobody looks at one.
//!
//! A seal is certified by the voters that the seal before it names, so the chain of seals needs no blocks to be checked.
//! What is here once stays: a second checkpoint certified for an index is a conflict and never replaces the first. Only
//! below a listed checkpoint the chain may deny what is not adopted yet (`deny`).

mod fetch;
mod listed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;

use super::note::Ruling;
use super::records::{self, Draft, Reader, StoredSeal, Table};
use super::turn::Turn;
use crate::rules::quorum::{Electorate, QuorumError};
use crate::rules::sealed::Anchor;
use crate::types::block::genesis;
use crate::types::key::Verifier;
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Seal, Step, Voter, registry_digest, voters_digest};

pub use fetch::Checked;
use fetch::Fetch;

/// What became of a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealVerdict {
    /// The next one: it is certified now.
    Added,
    /// The checkpoint of this index that we hold.
    Known,
    /// Seals before it are missing.
    Gap,
    Refused(SealError),
    /// Well certified, and not the checkpoint that counts for its index.
    Conflict(Box<Conflict>),
}

/// Why a seal is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// Index 0, or a round or height not later than that of the seal before.
    Order,
    /// Registry or voters are not those of its digests, lack where these changed, or are there where they did not.
    Contents,
    /// Not certified by the voters of its instance.
    Quorum(QuorumError),
}

/// Two checkpoints for one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What counts here: held, or listed.
    pub held: Checkpoint,
    /// The proof that more than a third of the weight signed twice, or that the network file is against the voters.
    pub other: Seal,
    /// What becomes of it. This node must stop when it is about our last seal, and no listed checkpoint decides.
    pub ruling: Ruling,
}

/// The newest seal certified, and who certifies the next.
pub struct Seals {
    network: Rc<Network>,
    verifier: Verifier,
    certified: Checkpoint,
    /// Whether we hold its certificate: a listed one may come without. Genesis needs none.
    is_certified: bool,
    registry_at: u64,
    voters_at: u64,
    electorate: Rc<Electorate>,
    fetch: Fetch,
    /// Whether what is held has been held against what is listed.
    is_compared: bool,
}

/// Where a seal belongs, before its signatures are looked at.
enum Place {
    Next,
    Known,
    Gap,
    /// Another checkpoint counts for its index; these voters would have certified it.
    Rival(Checkpoint, Rc<Electorate>),
}

impl Seals {
    /// The seals that the database holds.
    pub fn open(
        network: Rc<Network>,
        verifier: Verifier,
        db: &dyn Reader,
    ) -> Result<Seals, &'static str> {
        let fetch = Fetch::new(network.clock.slot_ms);
        let mut seals = Seals::at_genesis(network, verifier, fetch);
        seals.load(db)?;
        Ok(seals)
    }

    fn load(&mut self, db: &dyn Reader) -> Result<(), &'static str> {
        let Some(stored) = records::last_seal(db)? else { return Ok(()) };
        let voters = voters_after(db, &self.network, stored.checkpoint().index)
            .ok_or("the voters of the last seal")?;
        let electorate = Rc::new(Electorate::new(&voters));
        if electorate.digest() != stored.checkpoint().voters {
            return Err("the voters of the last seal");
        }
        self.move_to(&stored, electorate);
        Ok(())
    }

    /// To the newest seal that the database holds now.
    fn go_back(&mut self, db: &dyn Reader) {
        let fetch = std::mem::replace(&mut self.fetch, Fetch::new(self.network.clock.slot_ms));
        *self = Seals::at_genesis(self.network.clone(), self.verifier.clone(), fetch);
        // A record that cannot be read now is found at the next start: until then nothing new is adopted.
        let _ = self.load(db);
        self.fetch.wake();
    }

    fn at_genesis(network: Rc<Network>, verifier: Verifier, fetch: Fetch) -> Seals {
        let state = Anchor::genesis(&network).state;
        let point = genesis(&network);
        Seals {
            certified: state.checkpoint(0, point.height, point.hash),
            is_certified: true,
            registry_at: 0,
            voters_at: 0,
            electorate: Rc::new(Electorate::new(&state.voters)),
            fetch,
            is_compared: false,
            network,
            verifier,
        }
    }

    /// The newest seal certified or listed; genesis at first.
    pub fn certified(&self) -> &Checkpoint {
        &self.certified
    }

    /// The voters of the next instance, that of index `certified().index + 1`.
    pub fn electorate(&self) -> &Rc<Electorate> {
        &self.electorate
    }

    /// The voters of the instance of an index that we hold or that is next.
    pub fn voters(&self, index: u64, db: &dyn Reader) -> Vec<Voter> {
        let electorate = self.electorate_of(index, db);
        electorate.map(|it| it.voters().to_vec()).unwrap_or_default()
    }

    /// Takes a seal whose signatures are looked at here and now, all of them: one of ours, or one that was decided.
    pub fn add(&mut self, turn: &mut Turn, seal: Seal) -> SealVerdict {
        let place = match self.place(&seal, &turn.db) {
            Ok(place) => place,
            Err(why) => return SealVerdict::Refused(why),
        };
        let electorate = match &place {
            Place::Next => &self.electorate,
            Place::Rival(_, electorate) => electorate,
            Place::Known => return SealVerdict::Known,
            Place::Gap => return SealVerdict::Gap,
        };
        let (network, verifier) = (&self.network, &self.verifier);
        match electorate.check(&seal.certificate, Step::Commit, network, verifier) {
            Ok(()) => self.take(&mut turn.db, place, seal),
            Err(why) => SealVerdict::Refused(SealError::Quorum(why)),
        }
    }

    /// Where a seal belongs: everything but its signatures.
    fn place(&self, seal: &Seal, db: &dyn Reader) -> Result<Place, SealError> {
        let checkpoint = &seal.certificate.checkpoint;
        let next = self.certified.index + 1;
        if checkpoint.index == 0 {
            return Err(SealError::Order);
        }
        if checkpoint.index > next {
            return Ok(Place::Gap);
        }
        let (counts, electorate) = if checkpoint.index < next {
            let Some(held) = self.held(checkpoint.index, db) else { return Ok(Place::Gap) };
            if held == *checkpoint {
                return Ok(Place::Known);
            }
            let Some(electorate) = self.electorate_of(checkpoint.index, db) else {
                return Ok(Place::Gap);
            };
            (Some(held), electorate)
        } else {
            (self.outranks(checkpoint).copied(), self.electorate.clone())
        };
        electorate.check_weight(&seal.certificate).map_err(SealError::Quorum)?;
        if let Some(counts) = counts {
            return Ok(Place::Rival(counts, electorate));
        }
        let before = &self.certified;
        if before.closes(checkpoint.round) || checkpoint.height <= before.height {
            return Err(SealError::Order);
        }
        self.check_contents(seal)?;
        Ok(Place::Next)
    }

    /// Registry and voters are there where their digests changed, only there, and fit them.
    fn check_contents(&self, seal: &Seal) -> Result<(), SealError> {
        let checkpoint = &seal.certificate.checkpoint;
        let registry = match &seal.registry {
            Some(registry) => registry_digest(registry) == checkpoint.registry,
            None => true,
        };
        let voters = match &seal.voters {
            Some(voters) => voters_digest(voters) == checkpoint.voters,
            None => true,
        };
        let same_registry = checkpoint.registry == self.certified.registry;
        let same_voters = checkpoint.voters == self.certified.voters;
        let fits = registry && voters;
        if fits && same_registry == seal.registry.is_none() && same_voters == seal.voters.is_none()
        {
            Ok(())
        } else {
            Err(SealError::Contents)
        }
    }

    /// Takes a seal whose signatures hold.
    fn take(&mut self, db: &mut Draft, place: Place, seal: Seal) -> SealVerdict {
        match place {
            Place::Known => SealVerdict::Known,
            Place::Gap => SealVerdict::Gap,
            Place::Next => {
                self.store(db, seal);
                SealVerdict::Added
            }
            Place::Rival(held, _) => {
                // Old keys must not stop a network: what is about an older seal is only kept.
                let ruling = match self.network.listed(held.index) {
                    Some(_) => Ruling::Listed,
                    None if held.index == self.certified.index => Ruling::Halts,
                    None => Ruling::Older,
                };
                SealVerdict::Conflict(Box::new(Conflict { held, other: seal, ruling }))
            }
        }
    }

    fn store(&mut self, db: &mut Draft, seal: Seal) {
        let index = seal.certificate.checkpoint.index;
        let registry_at = if seal.registry.is_some() { index } else { self.registry_at };
        let voters_at = if seal.voters.is_some() { index } else { self.voters_at };
        let electorate = match &seal.voters {
            Some(voters) => Rc::new(Electorate::new(voters)),
            None => self.electorate.clone(),
        };
        let stored = StoredSeal { seal, registry_at, voters_at };
        db.put(Table::Seals, records::index_key(index), &stored);
        self.move_to(&stored, electorate);
    }

    fn move_to(&mut self, stored: &StoredSeal, electorate: Rc<Electorate>) {
        self.is_compared = false;
        self.certified = *stored.checkpoint();
        self.is_certified = stored.is_certified();
        self.registry_at = stored.registry_at;
        self.voters_at = stored.voters_at;
        self.electorate = electorate;
        self.fetch.wake();
    }

    /// The checkpoint held for an index.
    fn held(&self, index: u64, db: &dyn Reader) -> Option<Checkpoint> {
        if index == self.certified.index {
            return Some(self.certified);
        }
        records::seal(db, index).map(|stored| *stored.checkpoint())
    }

    /// The voters of the instance of an index up to the next one.
    fn electorate_of(&self, index: u64, db: &dyn Reader) -> Option<Rc<Electorate>> {
        match index.checked_sub(1)? {
            before if before == self.certified.index => Some(self.electorate.clone()),
            before => Some(Rc::new(Electorate::new(&voters_after(db, &self.network, before)?))),
        }
    }
}

/// The voters that the seal of an index names, from where they were brought; those of genesis are the founders. Nothing
/// for a seal that is not here.
pub fn voters_after(db: &dyn Reader, network: &Network, index: u64) -> Option<Vec<Voter>> {
    let brought_at = if index == 0 { 0 } else { records::seal(db, index)?.voters_at };
    match brought_at {
        0 => Some(Anchor::genesis(network).state.voters),
        at => records::seal(db, at)?.seal.voters,
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Order => f.write_str("it is not later than the seal before it"),
            SealError::Contents => f.write_str("registry or voters are not those of its digests"),
            SealError::Quorum(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SealError {}
