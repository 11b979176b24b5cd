//! A simulated disk: tables in memory, and the sign state in a file of its own.
//!
//! Only whole batches are written. What was written survives a crash; a restored backup brings old tables back, and
//! leaves the sign state as it is, since that lives outside the chain's directory, unless a scenario wants it otherwise.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::records::{Batch, Reader, Table};
use crate::types::sign::{SignRecord, SignState, Standing};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a host keeps over a restart.
#[derive(Clone, Default)]
pub struct Disk {
    tables: [Rows; Table::ALL.len()],
    /// What was signed.
    pub signed: SignState,
    /// Whether every write fails now.
    pub full: bool,
    /// How often an old copy was put back.
    pub restores: u32,
    /// What the sign state of an old copy counts as, when it is put back too; nothing where it stays as it is.
    pub restores_signed: Option<Standing>,
    backup: Option<Box<([Rows; Table::ALL.len()], SignState)>>,
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
        self.backup = Some(Box::new((self.tables.clone(), self.signed)));
    }

    /// Puts the copy back in place.
    pub fn restore(&mut self) {
        if let Some(backup) = self.backup.take() {
            let (tables, signed) = *backup;
            self.tables = tables;
            self.restores += 1;
            if let Some(standing) = self.restores_signed {
                self.signed = SignState { standing, ..signed };
            }
        }
    }

    /// A new database; the sign state stays, since it lives elsewhere.
    pub fn wipe(&mut self) {
        self.tables = Default::default();
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
