//! The sign-state file: what this key has signed, on disk before anything leaves (`docs/protocol.md` §8, §10).
//!
//! The file holds the same page twice. A record writes one copy and waits for the disk, then the other. So a write that
//! is torn by a power cut, or a page that the disk has lost, leaves a whole page with what was last acknowledged or with
//! what came after it, never with less. A file without a whole page is an error and never an empty state: whoever
//! starts from nothing may sign twice. It lies outside the chain directory, so that it survives a new start of the chain.
//!
//! What may be signed is not decided here: [`SignState::admit`] does.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use self::page::{Content, PAGE_BYTES, PageError};
use crate::shell::crash;
use crate::shell::directory::{self, Lock, LockError};
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::sign::{Conflict, SignRecord, SignState};

mod page;

/// Copies of the page.
const COPIES: usize = 2;
const FILE_BYTES: usize = COPIES * PAGE_BYTES;

/// The sign state of one key in one network.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    file: File,
    content: Content,
    _lock: Lock,
}

/// Why a record is not on disk, or the file cannot be used.
#[derive(Debug)]
pub enum GuardError {
    /// It conflicts with what is there. The file is as it was, and the guard goes on.
    Refused(Box<Conflict>),
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

impl Guard {
    /// Opens `<dir>/sign-state`, or makes an empty one when there is no such file.
    pub fn open(dir: &Path, network_id: Hash, public_key: PublicKey) -> Result<Guard, GuardError> {
        let path = dir.join("sign-state");
        let io = |doing| GuardError::io(&path, doing);
        directory::make(dir).map_err(io("make"))?;
        let lock = Lock::acquire(&dir.join("sign-state.lock")).map_err(|error| match error {
            LockError::Held { by } => GuardError::Locked { path: path.clone(), by },
            LockError::Io(source) => io("lock")(source),
        })?;
        if !path.try_exists().map_err(io("open"))? {
            let state = SignState::default();
            create(dir, &path, &Content { sequence: 0, network_id, public_key, state })
                .map_err(io("make"))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io("open"))?;
        let bytes = fs::read(&path).map_err(io("read"))?;
        let content = newest(&path, &bytes)?;
        if content.public_key != public_key {
            return Err(GuardError::OtherKey { path, found: content.public_key });
        }
        if content.network_id != network_id {
            return Err(GuardError::OtherNetwork { path, found: content.network_id });
        }
        let guard = Guard { path, file, content, _lock: lock };
        guard.repair(&bytes)?;
        Ok(guard)
    }

    /// What was signed.
    pub fn state(&self) -> SignState {
        self.content.state
    }

    /// Notes a signature about to leave; on disk when this returns.
    ///
    /// After an I/O error the record counts as made, since part of it may be on disk: the same one may be tried again,
    /// another for the same slot is refused.
    pub fn record(&mut self, record: SignRecord) -> Result<(), GuardError> {
        let state = self.content.state.admit(record).map_err(GuardError::Refused)?;
        // In memory first: it must never know less than the disk.
        self.content = Content { sequence: self.content.sequence + 1, state, ..self.content };
        for copy in 0..COPIES {
            crash::point();
            self.write(copy)?;
        }
        crash::point();
        Ok(())
    }

    fn write(&self, copy: usize) -> Result<(), GuardError> {
        let offset = u64::try_from(copy * PAGE_BYTES).expect("two pages");
        // The file keeps its length and its place, so that a full disk does not matter and the data is all to flush.
        self.file
            .write_all_at(&page::encode(&self.content), offset)
            .and_then(|()| self.file.sync_data())
            .map_err(GuardError::io(&self.path, "write"))
    }

    /// Makes both copies whole and equal again after an interrupted write.
    fn repair(&self, bytes: &[u8]) -> Result<(), GuardError> {
        let whole = page::encode(&self.content);
        for (copy, page) in bytes.chunks(PAGE_BYTES).enumerate() {
            if page != whole {
                self.write(copy)?;
            }
        }
        Ok(())
    }
}

/// A new file appears whole or not at all.
fn create(dir: &Path, path: &Path, content: &Content) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all_at(&page::encode(content).repeat(COPIES), 0)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    directory::sync(dir)
}

/// The newest content of the whole pages.
fn newest(path: &Path, bytes: &[u8]) -> Result<Content, GuardError> {
    let damaged = |what| GuardError::Damaged { path: path.to_path_buf(), what };
    if bytes.len() != FILE_BYTES {
        return Err(damaged("it has not its length"));
    }
    let mut newest: Option<Content> = None;
    for bytes in bytes.chunks(PAGE_BYTES) {
        let content = match page::decode(bytes.try_into().expect("a whole page")) {
            Ok(content) => content,
            Err(PageError::Damaged) => continue,
            Err(PageError::Newer(found)) => {
                return Err(GuardError::NewerFormat { path: path.to_path_buf(), found });
            }
        };
        match newest {
            Some(other) if !belong_together(&other, &content) => {
                return Err(damaged("its two copies contradict each other"));
            }
            Some(other) if other.sequence >= content.sequence => {}
            Some(_) | None => newest = Some(content),
        }
    }
    newest.ok_or_else(|| damaged("neither of its two copies is whole"))
}

fn belong_together(one: &Content, other: &Content) -> bool {
    let same_owner = (one.network_id, one.public_key) == (other.network_id, other.public_key);
    same_owner && (one.sequence != other.sequence || one.state == other.state)
}

impl GuardError {
    fn io(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> GuardError {
        move |source| GuardError::Io { path: path.to_path_buf(), doing, source }
    }

    /// What the owner can do about it, as a sentence without its full stop.
    pub fn action(&self) -> &'static str {
        match self {
            GuardError::Refused(_) => "nothing: one signature per slot is the rule",
            GuardError::Locked { .. } => "stop the other node: one key runs once",
            GuardError::OtherKey { .. } => "give each key its own directory for its sign state",
            GuardError::OtherNetwork { .. } => {
                "give each network its own directory for its sign state"
            }
            GuardError::NewerFormat { .. } => "run the version that wrote it, or a later one",
            GuardError::Damaged { .. } => {
                "replace the disk if it is failing; move the file away only when no slot of this \
                 masternode can still be open, two rounds after it last ran"
            }
            GuardError::Io { .. } => "check the disk, and who owns the directory",
        }
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuardError::Refused(conflict) => conflict.fmt(f),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{Round, Slot};
    use crate::types::hash::BlockHash;
    use crate::types::sign::BlockRecord;

    fn block(slot: u32, byte: u8) -> BlockRecord {
        BlockRecord { round: Round(7), slot: Slot(slot), hash: BlockHash(Hash([byte; 32])) }
    }

    fn record(slot: u32, byte: u8) -> SignRecord {
        SignRecord::Block(block(slot, byte))
    }

    fn content(sequence: u64, slot: u32, key: u8) -> Content {
        let state = SignState { block: Some(block(slot, 1)), vote: None };
        Content { sequence, network_id: Hash([1; 32]), public_key: PublicKey([key; 32]), state }
    }

    #[test]
    fn a_byte_changed_anywhere_changes_nothing() {
        let now = content(9, 3, 2);
        let bytes = page::encode(&now).repeat(COPIES);
        for at in 0..FILE_BYTES {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let found = newest(Path::new("file"), &flipped).map_err(|error| error.to_string());
            assert_eq!(found, Ok(now), "byte {at}");
        }
    }

    #[test]
    fn copies_that_contradict_each_other_are_not_believed() {
        let found = |one: Content, other: Content| {
            let bytes = [page::encode(&one), page::encode(&other)].concat();
            newest(Path::new("file"), &bytes).ok().map(|content| content.sequence)
        };
        assert_eq!(found(content(9, 3, 2), content(8, 2, 2)), Some(9));
        assert_eq!(found(content(8, 2, 2), content(9, 3, 2)), Some(9));
        assert_eq!(found(content(9, 3, 2), content(9, 4, 2)), None);
        assert_eq!(found(content(9, 3, 2), content(8, 2, 5)), None);
    }

    #[test]
    fn after_a_failed_write_only_the_same_record_is_taken() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let owner = (Hash([1; 32]), PublicKey([2; 32]));
        let mut guard = Guard::open(dir.path(), owner.0, owner.1).expect("a new one");
        let closed = File::open(&guard.path).expect("for reading only");
        let file = std::mem::replace(&mut guard.file, closed);
        let failed = guard.record(record(1, 1));
        assert!(matches!(failed, Err(GuardError::Io { .. })), "{failed:?}");
        guard.file = file;
        let other = guard.record(record(1, 2));
        assert!(matches!(other, Err(GuardError::Refused(_))), "{other:?}");
        guard.record(record(1, 1)).expect("the disk is back");
        drop(guard);
        let guard = Guard::open(dir.path(), owner.0, owner.1).expect("it is whole");
        assert_eq!(guard.state().block, Some(block(1, 1)));
    }
}
