//! Checkpoints that a network file lists (`docs/protocol.md` §2): the root of trust for newcomers, and the way out when
//! voters are gone for good.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Round;
use crate::types::address::Address;
use crate::types::clock::Height;
use crate::types::hash::{BlockHash, Hash};
use crate::types::seal::{Checkpoint, HNS_MAX, Voter, voters_digest};

/// Checkpoints in one file: one a quarter for a century.
pub const LISTED_MAX: usize = 400;

/// A checkpoint that counts as a seal with certificate, whatever voters say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub checkpoint: Checkpoint,
    /// Who is active and votes from here on, when that is not what the chain says: sorted by address.
    pub voters: Option<Vec<Voter>>,
}

/// The same as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    index: u64,
    round: Round,
    height: Height,
    block: BlockHash,
    state: Hash,
    registry: Hash,
    /// Digest of the voters.
    voters: Hash,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    electorate: Vec<Voter>,
}

impl From<Entry> for Listed {
    fn from(entry: Entry) -> Listed {
        let Entry { index, round, height, block, state, registry, voters, electorate } = entry;
        let checkpoint = Checkpoint { index, round, height, block, state, registry, voters };
        Listed { checkpoint, voters: (!electorate.is_empty()).then_some(electorate) }
    }
}

impl From<&Listed> for Entry {
    fn from(listed: &Listed) -> Entry {
        let Checkpoint { index, round, height, block, state, registry, voters } = listed.checkpoint;
        let electorate = listed.voters.clone().unwrap_or_default();
        Entry { index, round, height, block, state, registry, voters, electorate }
    }
}

/// A network file with nothing in it but this.
#[derive(Serialize)]
struct Part {
    checkpoint: [Entry; 1],
}

impl Listed {
    /// The entry as it is added to a network file.
    pub fn to_toml(&self) -> String {
        toml::to_string(&Part { checkpoint: [Entry::from(self)] }).expect("an entry is plain data")
    }
}

/// The key out of its bounds, and why.
pub type Bound = Result<(), (&'static str, String)>;

fn wrong(key: &'static str, why: impl Into<String>) -> Bound {
    Err((key, why.into()))
}

/// Whether an entry may follow the one before it.
pub fn check(entry: &Entry, before: Option<&Entry>, (first, prefix): (Round, u8)) -> Bound {
    if entry.index == 0 || before.is_some_and(|before| before.index >= entry.index) {
        return wrong("checkpoint.index", "from 1, ascending");
    }
    if entry.round < first || before.is_some_and(|before| before.round >= entry.round) {
        return wrong("checkpoint.round", "from first_round, ascending");
    }
    // Each seal has a block of its own.
    if entry.height.0 < entry.index || before.is_some_and(|before| before.height >= entry.height) {
        return wrong("checkpoint.height", "from the index up, ascending");
    }
    if entry.electorate.is_empty() {
        return Ok(());
    }
    if entry.electorate.len() > HNS_MAX {
        return wrong("checkpoint.electorate", format!("at most {HNS_MAX} are possible"));
    }
    if let Some(voter) = entry.electorate.iter().find(|it| !(1..=3).contains(&it.weight)) {
        return wrong("checkpoint.electorate", format!("{} is not 1, 2 or 3", voter.weight));
    }
    let addresses: Vec<Address> =
        entry.electorate.iter().map(|it| Address::of(&it.public_key, prefix)).collect();
    let distinct: BTreeSet<_> = addresses.iter().collect();
    if distinct.len() < addresses.len() || !addresses.is_sorted() {
        return wrong("checkpoint.electorate", "each key once, in the order of their addresses");
    }
    if voters_digest(&entry.electorate) != entry.voters {
        let digest = voters_digest(&entry.electorate);
        return wrong("checkpoint.voters", format!("the digest of its electorate is {digest}"));
    }
    Ok(())
}
