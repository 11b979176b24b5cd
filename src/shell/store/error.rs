//! What goes wrong with the database, told apart as far as an owner has to do different things.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use heed::MdbError;

use crate::shell::directory::LockError;
use crate::types::hash::Hash;

/// Free bytes below which a failed write counts as a full disk: LMDB reports a short write as a plain I/O error.
const FULL_BELOW_BYTES: u64 = 1024 * 1024;

/// Why the database cannot be opened, read or written. Each names the directory.
#[derive(Debug)]
pub enum StoreError {
    /// Another process uses it; its number as far as it is known.
    Locked { dir: PathBuf, by: Option<u32> },
    /// It belongs to the network of this id.
    OtherNetwork { dir: PathBuf, found: Hash },
    /// A later version of this software wrote it.
    NewerFormat { dir: PathBuf, found: u32 },
    /// Its content is not what was written.
    Damaged { dir: PathBuf, what: String },
    /// No space is left, or no more of it for this user.
    DiskFull { dir: PathBuf },
    /// It is as large as it can be on this machine.
    MapFull { dir: PathBuf, bytes: u64 },
    /// The system refused.
    Io { dir: PathBuf, doing: &'static str, source: io::Error },
}

impl StoreError {
    /// What the owner can do about it, as a sentence without its full stop.
    pub fn action(&self) -> &'static str {
        match self {
            StoreError::Locked { .. } => "stop the other node, or give this one its own directory",
            StoreError::OtherNetwork { .. } => {
                "give each network its own directory, or correct the network in the configuration"
            }
            StoreError::NewerFormat { .. } => "run the version that wrote it, or a later one",
            StoreError::Damaged { .. } => {
                "move the directory away and start again: the node fetches the chain from its peers; \
                 leave the sign state where it is"
            }
            StoreError::DiskFull { .. } => "free some space",
            StoreError::MapFull { .. } => "move to a machine with 64-bit addresses",
            StoreError::Io { .. } => "check the disk, and who owns the directory",
        }
    }

    pub(super) fn io(dir: &Path, doing: &'static str, source: io::Error) -> StoreError {
        let dir = dir.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::DiskFull { dir }
            }
            _ if doing == "write" && is_full(&dir) => StoreError::DiskFull { dir },
            _ => StoreError::Io { dir, doing, source },
        }
    }

    pub(super) fn lock(dir: &Path, error: LockError) -> StoreError {
        match error {
            LockError::Held { by } => StoreError::Locked { dir: dir.to_path_buf(), by },
            LockError::Io(source) => StoreError::io(dir, "lock", source),
        }
    }

    pub(super) fn damaged(dir: &Path, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { dir: dir.to_path_buf(), what: what.into() }
    }

    pub(super) fn heed(dir: &Path, doing: &'static str, error: heed::Error) -> StoreError {
        match error {
            heed::Error::Io(source) => StoreError::io(dir, doing, source),
            heed::Error::Mdb(MdbError::Invalid | MdbError::VersionMismatch) => StoreError::damaged(
                dir,
                "not a database of this kind of machine (32- and 64-bit differ), or its first pages are lost",
            ),
            heed::Error::Mdb(
                error @ (MdbError::Corrupted | MdbError::PageNotFound | MdbError::Incompatible),
            ) => StoreError::damaged(dir, error.to_string()),
            other => StoreError::io(dir, doing, io::Error::other(other.to_string())),
        }
    }
}

fn is_full(dir: &Path) -> bool {
    rustix::fs::statvfs(dir)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW_BYTES)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Locked { dir, by: Some(process) } => {
                write!(f, "the database in {} is in use by process {process}", dir.display())
            }
            StoreError::Locked { dir, by: None } => {
                write!(f, "the database in {} is in use by another process", dir.display())
            }
            StoreError::OtherNetwork { dir, found } => {
                write!(f, "the database in {} is of another network, {found}", dir.display())
            }
            StoreError::NewerFormat { dir, found } => {
                write!(f, "the database in {} has the newer format {found}", dir.display())
            }
            StoreError::Damaged { dir, what } => {
                write!(f, "the database in {} is damaged: {what}", dir.display())
            }
            StoreError::DiskFull { dir } => {
                write!(f, "no space is left for the database in {}", dir.display())
            }
            StoreError::MapFull { dir, bytes } => {
                let mebibytes = bytes / (1024 * 1024);
                write!(f, "the database in {} is full at {mebibytes} MiB", dir.display())
            }
            StoreError::Io { dir, doing, source } => {
                write!(f, "cannot {doing} the database in {}: {source}", dir.display())
            }
        }
    }
}

impl std::error::Error for StoreError {}
