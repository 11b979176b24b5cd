//! Why a sign state cannot be used, and what its owner can do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::sign::SignError;

/// Why a record is not on disk, or the file cannot be used.
#[derive(Debug)]
pub enum GuardError {
    /// It conflicts with what is there, or the state is not proven. The file is as it was, and the guard goes on.
    Refused(Box<SignError>),
    /// There is no file.
    Missing { path: PathBuf },
    /// Another process uses it; its number as far as it is known.
    Locked { path: PathBuf, by: Option<u32> },
    /// It belongs to this key.
    OtherKey { path: PathBuf, found: PublicKey },
    /// It belongs to the network of this id.
    OtherNetwork { path: PathBuf, found: Hash },
    /// A later version of this software wrote it.
    NewerFormat { path: PathBuf, found: u32 },
    /// What was signed can no longer be known from it.
    Damaged { path: PathBuf, what: &'static str },
    /// The system refused.
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

impl GuardError {
    pub(super) fn io(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> GuardError {
        move |source| GuardError::Io { path: path.to_path_buf(), doing, source }
    }

    /// What the owner can do about it, as a sentence without its full stop.
    pub fn action(&self) -> &'static str {
        match self {
            GuardError::Refused(error) => match **error {
                SignError::Conflict { .. } => "nothing: one signature per place is the rule",
                SignError::Unproven { .. } => "see `hypernode sign-state show`",
            },
            GuardError::Missing { .. } => {
                "bring it from where the key was used with `hypernode sign-state import`, or let the node listen for \
                 two rounds first with `hypernode sign-state wait`"
            }
            GuardError::Locked { .. } => "stop the other node: one key runs once",
            GuardError::OtherKey { .. } => "give each key its own directory for its sign state",
            GuardError::OtherNetwork { .. } => {
                "give each network its own directory for its sign state"
            }
            GuardError::NewerFormat { .. } => "run the version that wrote it, or a later one",
            GuardError::Damaged { .. } => {
                "replace the disk if it is failing; then `hypernode sign-state wait` puts the file aside and lets \
                 the node listen for two rounds before it signs"
            }
            GuardError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space"
            }
            GuardError::Io { .. } => "check the disk, and who owns the directory",
        }
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuardError::Refused(error) => error.fmt(f),
            GuardError::Missing { path } => write!(f, "there is no {}", path.display()),
            GuardError::Locked { path, by: Some(process) } => {
                write!(f, "{} is in use by process {process}", path.display())
            }
            GuardError::Locked { path, by: None } => {
                write!(f, "{} is in use by another process", path.display())
            }
            GuardError::OtherKey { path, found } => {
                write!(f, "{} belongs to another key, {found}", path.display())
            }
            GuardError::OtherNetwork { path, found } => {
                write!(f, "{} belongs to another network, {found}", path.display())
            }
            GuardError::NewerFormat { path, found } => {
                write!(f, "{} has the newer format {found}", path.display())
            }
            GuardError::Damaged { path, what } => {
                write!(f, "{} is damaged: {what}", path.display())
            }
            GuardError::Io { path, doing, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for GuardError {}
