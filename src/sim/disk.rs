//! A simulated disk: tables in memory, and the sign state in a file of its own.
//!
//! Only whole batches are written. What was written survives a crash; a restored backup brings old tables back, and
//! leaves the sign state as it is, since that lives outside the chain's directory, unless a scenario wants it otherwise.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::records::{Batch, Reader, Table};
use crate::types::sign::{SignRecord, SignState, Standing};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A copy.
#[derive(Clone)]
struct Backup {
    tables: [Rows; Table::ALL.len()],
    signed: SignState,
    seen: SignState,
}

/// What a host keeps over a restart.
#[derive(Clone, Default)]
pub struct Disk {
    tables: [Rows; Table::ALL.len()],
    /// What was signed.
    pub signed: SignState,
    /// What the tables have seen of that.
    pub seen: SignState,
    /// Whether every write fails now.
    pub full: bool,
    /// How often an old copy was put back.
    pub restores: u32,
    /// What the sign state of an old copy counts as, when it is put back too; nothing where it stays as it is. Where it
    /// counts as proven, it is put back alone, over the file.
    pub restores_signed: Option<Standing>,
    backup: Option<Box<Backup>>,
}

/// Why a barrier was not passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// No space left.
    Full,
    /// The record conflicts with one on disk.
    Conflict,
}

impl Disk {
    /// Writes a batch: all of it or nothing.
    pub fn persist(&mut self, batch: &Batch) -> Result<(), DiskError> {
        if self.full {
            return Err(DiskError::Full);
        }
        for ((table, key), value) in &batch.0 {
            let rows = &mut self.tables[*table as usize];
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        self.seen = self.signed;
        Ok(())
    }

    /// Notes what is about to be signed.
    pub fn guard(&mut self, record: SignRecord) -> Result<(), DiskError> {
        if self.full {
            return Err(DiskError::Full);
        }
        self.signed = self.signed.admit(record).map_err(|_| DiskError::Conflict)?;
        Ok(())
    }

    /// Copies tables and sign state aside.
    pub fn back_up(&mut self) {
        let (tables, signed, seen) = (self.tables.clone(), self.signed, self.seen);
        self.backup = Some(Box::new(Backup { tables, signed, seen }));
    }

    /// Puts the copy back in place.
    pub fn restore(&mut self) {
        if let Some(backup) = self.backup.take() {
            let Backup { tables, signed, seen } = *backup;
            self.restores += 1;
            match self.restores_signed {
                // Written over the file, which the tables are not a part of.
                Some(Standing::Proven) => self.signed = signed,
                Some(standing) => {
                    (self.tables, self.seen) = (tables, seen);
                    self.signed = SignState { standing, ..signed };
                }
                None => (self.tables, self.seen) = (tables, seen),
            }
        }
    }

    /// A new database; the sign state stays, since it lives elsewhere.
    pub fn wipe(&mut self) {
        (self.tables, self.seen) = Default::default();
        self.restores += 1;
    }

    /// All rows of a table in order.
    pub fn rows(&self, table: Table) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.tables[table as usize].iter()
    }
}

impl Reader for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.tables[table as usize].get(key).cloned()
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let rows = &self.tables[table as usize];
        let range = (Bound::Included(from), Bound::Unbounded);
        rows.range::<[u8], _>(range).next().map(|(key, value)| (key.clone(), value.clone()))
    }

    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        let rows = &self.tables[table as usize];
        rows.last_key_value().map(|(key, value)| (key.clone(), value.clone()))
    }
}
