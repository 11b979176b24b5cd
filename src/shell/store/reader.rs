//! Reading the database: one transaction, so that all answers are of one moment.
//!
//! [`Reader`] has no room for errors. The first one is kept, the answer is "nothing", and
//! [`StoreReader::finish`] tells.

use std::cell::RefCell;
use std::path::Path;

use heed::{RoTxn, WithoutTls};

use super::layout::{Part, Step};
use super::{OpenStore, StoreError, Tree, value};
use crate::machine::records::{Reader, Table};

/// The database as it was when the reader was made.
pub struct StoreReader<'a> {
    dir: &'a Path,
    /// Nothing when there was no beginning.
    open: Option<(Tree, RoTxn<'a, WithoutTls>)>,
    failure: RefCell<Option<StoreError>>,
}

/// Key and value of a table.
type Entry = (Vec<u8>, Vec<u8>);

impl<'a> StoreReader<'a> {
    pub(super) fn new(dir: &'a Path, open: Result<&'a OpenStore, StoreError>) -> StoreReader<'a> {
        let begun = open.and_then(|open| match open.env.read_txn() {
            Ok(txn) => Ok((open.tree, txn)),
            Err(error) => Err(StoreError::heed(dir, "read", error)),
        });
        match begun {
            Ok(open) => StoreReader { dir, open: Some(open), failure: RefCell::new(None) },
            Err(failure) => StoreReader { dir, open: None, failure: RefCell::new(Some(failure)) },
        }
    }

    /// Ends the view. An error here means that some answers were wrong: nothing that came of them may happen.
    pub fn finish(self) -> Result<(), StoreError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn read<T>(&self, ask: impl FnOnce(&Read<'_>) -> Result<Option<T>, ReadError>) -> Option<T> {
        let (tree, txn) = self.open.as_ref()?;
        ask(&Read { tree: *tree, txn }).unwrap_or_else(|error| {
            let failure = match error {
                ReadError::Heed(error) => StoreError::heed(self.dir, "read", error),
                ReadError::Changed(table) => StoreError::damaged(
                    self.dir,
                    format!("a value of table {} is not what was written", table.name()),
                ),
                ReadError::Disordered(table) => StoreError::damaged(
                    self.dir,
                    format!("the records of table {} are not in their order", table.name()),
                ),
            };
            self.failure.borrow_mut().get_or_insert(failure);
            None
        })
    }
}

impl Reader for StoreReader<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        let place = Part::of(table).place(key)?;
        self.read(|read| match read.tree.get(read.txn, &place)? {
            Some(stored) => read.entry(table, key.to_vec(), stored).map(|entry| Some(entry.1)),
            None => Ok(None),
        })
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<Entry> {
        self.read(|read| read.next(table, from))
    }

    fn last(&self, table: Table) -> Option<Entry> {
        self.read(|read| read.last(table))
    }
}

enum ReadError {
    Heed(heed::Error),
    Changed(Table),
    Disordered(Table),
}

impl From<heed::Error> for ReadError {
    fn from(error: heed::Error) -> ReadError {
        ReadError::Heed(error)
    }
}

struct Read<'t> {
    tree: Tree,
    txn: &'t RoTxn<'t, WithoutTls>,
}

impl Read<'_> {
    fn next(&self, table: Table, from: &[u8]) -> Result<Option<Entry>, ReadError> {
        let part = Part::of(table);
        let mut place = part.start(from);
        while let Some((found, stored)) =
            self.tree.get_greater_than_or_equal_to(self.txn, &place)?
        {
            // A key with a wrong bit: who goes on from it would come here again and again.
            if found < place.as_slice() {
                return Err(ReadError::Disordered(table));
            }
            match part.up(found) {
                Step::Found(key) => return self.entry(table, key, stored).map(Some),
                Step::Seek(next) => place = next,
                Step::End => break,
            }
        }
        Ok(None)
    }

    fn last(&self, table: Table) -> Result<Option<Entry>, ReadError> {
        let part = Part::of(table);
        let mut bound = part.end();
        while let Some((found, stored)) = self.tree.get_lower_than(self.txn, &bound)? {
            if found >= bound.as_slice() {
                return Err(ReadError::Disordered(table));
            }
            match part.down(found) {
                Step::Found(key) => return self.entry(table, key, stored).map(Some),
                Step::Seek(next) => bound = next,
                Step::End => break,
            }
        }
        Ok(None)
    }

    fn entry(&self, table: Table, key: Vec<u8>, stored: &[u8]) -> Result<Entry, ReadError> {
        let value = value::unseal(table, &key, stored).ok_or(ReadError::Changed(table))?;
        let value = value.to_vec();
        Ok((key, value))
    }
}
