//! Tables of the database, what is in them, and how the core reads and writes (`docs/protocol.md` §13).
//!
//! Keys start with a height or a round in big-endian, so that all writing is at the end of a table: a random key costs an
//! SD card fifty times as much. [`Reader`] is the only trait of the core; [`Draft`] is a reader with the writes of the
//! running event over it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rules::sealed::STATE_BYTES_MAX;
use crate::rules::state::Undo;
use crate::types::block::{Point, SealRef, SignedHeader};
use crate::types::clock::{Height, Round, Slot};
use crate::types::codec;
use crate::types::evidence::{Offence, OffenceKind};
use crate::types::hash::{BlockHash, TxId};
use crate::types::seal::{Checkpoint, Seal};
use crate::types::tx::Tx;

/// Longest value read back: a sealed state; a body is far shorter.
const VALUE_MAX: usize = STATE_BYTES_MAX;

/// Kinds in the keys of table evidence.
const BLOCKS: u8 = 0;
const VOTES: u8 = 1;
const RIVAL: u8 = 2;

/// The tables. Their names are part of what the database checks its values with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// height ‖ hash → [`StoredHeader`], of all forks.
    Headers,
    /// height ‖ hash → messages of the block.
    Bodies,
    /// height → [`MainRecord`], the best chain.
    Main,
    /// round ‖ id → message that a client submitted and no block holds yet.
    Pool,
    /// round ‖ slot → [`DutyRecord`], our own slots.
    Duties,
    /// index → [`StoredSeal`], without gaps from 1 on, for ever.
    Seals,
    /// index → [`SealedState`](crate::rules::sealed::SealedState), from the anchor of the last sealed round on.
    States,
    /// index → the highest prepare quorum known of the open instance.
    Prepared,
    /// kind ‖ round or index ‖ offender → [`Evidence`](crate::types::evidence::Evidence) that somebody signed twice;
    /// kind ‖ index → [`Rival`](super::rivals::Rival), a second certificate of an index.
    Evidence,
    /// What stopped this node for good, until its operator clears it.
    Halt,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 10] = [
        Table::Headers,
        Table::Bodies,
        Table::Main,
        Table::Pool,
        Table::Duties,
        Table::Seals,
        Table::States,
        Table::Prepared,
        Table::Evidence,
        Table::Halt,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Table::Headers => "headers",
            Table::Bodies => "bodies",
            Table::Main => "main",
            Table::Pool => "pool",
            Table::Duties => "duties",
            Table::Seals => "seals",
            Table::States => "states",
            Table::Prepared => "prepared",
            Table::Evidence => "evidence",
            Table::Halt => "halt",
        }
    }
}

/// Read access to the last persisted state.
///
/// A reader that cannot read (an I/O error) answers nothing and remembers that it failed: the shell looks after each
/// event, and treats it like a failed `Persist`.
pub trait Reader {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>>;
    /// The first entry at or after a key.
    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;
    /// The last entry of a table.
    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)>;
}

/// Writes of one event: value, or nothing for a key to delete. Written whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch(pub BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>);

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The database as it will be after the running event.
pub struct Draft<'a> {
    reader: &'a dyn Reader,
    batch: Batch,
}

/// A header with what its chain is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHeader {
    pub header: SignedHeader,
    /// Distinct forgers summed over rounds, up to and with this block (§9).
    pub weight: u64,
    /// The anchor of its round on its chain (§6).
    pub anchor: SealRef,
}

/// A block of the best chain: which one, and how to take it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainRecord {
    pub hash: BlockHash,
    pub undo: Undo,
}

/// A seal of the chain of seals, and where to find what it does not bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSeal {
    /// Without voters and signatures in its certificate when the network file lists it and nobody had one.
    pub seal: Seal,
    /// The newest seal up to this one that brings a registry; 0 for genesis.
    pub registry_at: u64,
    /// The same for voters.
    pub voters_at: u64,
}

/// What became of a slot that was ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyRecord {
    Forged(BlockHash),
    Missed(super::note::MissReason),
}

/// height ‖ hash.
pub fn point_key(point: &Point) -> Vec<u8> {
    let mut key = point.height.0.to_be_bytes().to_vec();
    key.extend_from_slice(&point.hash.0.0);
    key
}

/// The point of a key written by [`point_key`].
pub fn parse_point_key(key: &[u8]) -> Option<Point> {
    let (height, hash) = key.split_at_checked(8)?;
    let height = u64::from_be_bytes(height.try_into().ok()?);
    let hash = crate::types::hash::Hash(hash.try_into().ok()?);
    Some(Point { height: Height(height), hash: BlockHash(hash) })
}

/// A height as key.
pub fn height_key(height: Height) -> Vec<u8> {
    height.0.to_be_bytes().to_vec()
}

/// The index of a seal as key.
pub fn index_key(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// round ‖ id.
pub fn pool_key(round: Round, id: &TxId) -> Vec<u8> {
    let mut key = round.0.to_be_bytes().to_vec();
    key.extend_from_slice(&id.0.0);
    key
}

/// round ‖ slot.
pub fn duty_key(round: Round, slot: Slot) -> Vec<u8> {
    let mut key = round.0.to_be_bytes().to_vec();
    key.extend_from_slice(&slot.0.to_be_bytes());
    key
}

/// The slot of a key written by [`duty_key`].
pub fn parse_duty_key(key: &[u8]) -> Option<(Round, Slot)> {
    let (round, slot) = key.split_at_checked(8)?;
    let round = u64::from_be_bytes(round.try_into().ok()?);
    let slot = u32::from_be_bytes(slot.try_into().ok()?);
    Some((Round(round), Slot(slot)))
}

/// A value read back; nothing when it is damaged, which the callers treat as absent.
pub fn parse<T: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode(bytes, VALUE_MAX).ok()
}

/// kind ‖ round or index ‖ offender.
pub fn evidence_key(offence: &Offence) -> Vec<u8> {
    let (kind, number) = match offence.kind {
        OffenceKind::Blocks { round } => (BLOCKS, round.0),
        OffenceKind::Votes { index } => (VOTES, index),
    };
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&offence.offender.0);
    key
}

/// kind ‖ index, after all that somebody signed twice.
pub fn rival_key(index: u64) -> Vec<u8> {
    let mut key = vec![RIVAL];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// A block of the best chain.
pub fn main_record(db: &dyn Reader, height: Height) -> Option<MainRecord> {
    parse(&db.get(Table::Main, &height_key(height))?)
}

/// A header of any fork.
pub fn header(db: &dyn Reader, point: &Point) -> Option<StoredHeader> {
    parse(&db.get(Table::Headers, &point_key(point))?)
}

/// The messages of a block of any fork.
pub fn body(db: &dyn Reader, point: &Point) -> Option<Vec<Tx>> {
    parse(&db.get(Table::Bodies, &point_key(point))?)
}

/// A seal whose certificate we hold, or that the network file lists.
pub fn seal(db: &dyn Reader, index: u64) -> Option<StoredSeal> {
    parse(&db.get(Table::Seals, &index_key(index))?)
}

/// The newest one; nothing before the first.
pub fn last_seal(db: &dyn Reader) -> Result<Option<StoredSeal>, &'static str> {
    let Some((key, value)) = db.last(Table::Seals) else { return Ok(None) };
    let stored: StoredSeal = parse(&value).ok_or("the last record of table seals")?;
    if key != index_key(stored.seal.certificate.checkpoint.index) {
        return Err("the last key of table seals");
    }
    Ok(Some(stored))
}

impl StoredSeal {
    /// What is sealed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.seal.certificate.checkpoint
    }

    /// Whether voters have certified it, as far as we hold their signatures: only then can it be served.
    pub fn is_certified(&self) -> bool {
        !self.seal.certificate.signatures.is_empty()
    }
}

impl<'a> Draft<'a> {
    /// Nothing written yet.
    pub fn new(reader: &'a dyn Reader) -> Draft<'a> {
        Draft { reader, batch: Batch::default() }
    }

    /// Writes a value.
    pub fn put<T: Serialize>(&mut self, table: Table, key: Vec<u8>, value: &T) {
        self.batch.0.insert((table, key), Some(codec::encode(value)));
    }

    /// Deletes a key.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.batch.0.insert((table, key), None);
    }

    /// What is to be persisted.
    pub fn into_batch(self) -> Batch {
        self.batch
    }
}

impl Reader for Draft<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if self.batch.0.is_empty() {
            return self.reader.get(table, key);
        }
        match self.batch.0.get(&(table, key.to_vec())) {
            Some(written) => written.clone(),
            None => self.reader.get(table, key),
        }
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut from = from.to_vec();
        loop {
            let below = self.reader.next(table, &from);
            let above = self
                .batch
                .0
                .range((table, from.clone())..)
                .next()
                .filter(|((of, _), _)| *of == table);
            match (below, above) {
                (below, None) => return below,
                (Some(below), Some(((_, key), _))) if below.0 < *key => return Some(below),
                (_, Some(((_, key), Some(value)))) => return Some((key.clone(), value.clone())),
                (_, Some(((_, key), None))) => {
                    from = key.clone();
                    from.push(0);
                }
            }
        }
    }

    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut last = None;
        let mut from = self.reader.last(table).map(|(key, _)| key).unwrap_or_default();
        // The reader's last entry may be deleted and the one before it not: only an empty draft can be asked cheaply.
        if self.batch.0.is_empty() {
            return self.reader.last(table);
        }
        if self.get(table, &from).is_none() {
            from = Vec::new();
        }
        while let Some((key, value)) = self.next(table, &from) {
            from = key.clone();
            from.push(0);
            last = Some((key, value));
        }
        last
    }
}
