//! The sign-state file: what this key has signed, on disk before anything leaves (`docs/protocol.md` §8, §10).
//!
//! The file holds the same page twice. A record writes one copy and waits for the disk, then the other. So a write that
//! is torn by a power cut, or a page that the disk has lost, leaves a whole page with what was last acknowledged or with
//! what came after it, never with less. A file without a whole page is an error and never an empty state: whoever
//! starts from nothing may sign twice. It lies outside the chain directory, so that it survives a new start of the chain.
//!
//! A copy of the file is told from the file by the moment at which the file system made it, which is written in it:
//! whoever goes on from a copy may not be the only one (`docs/adr/0009-sign-state-custody.md`).
//!
//! What may be signed is not decided here: [`SignState::admit`] does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

pub use self::error::GuardError;
use self::page::{Content, PAGE_BYTES, PageError};
use crate::shell::crash;
use crate::shell::directory::{self, Lock, LockError};
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::sign::{Doubt, SignRecord, SignState, Standing};

mod error;
pub mod page;

/// Its name in its directory.
const FILE: &str = "sign-state";
/// Held by whoever uses it.
const LOCK: &str = "sign-state.lock";
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

/// What a file says, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub network_id: Hash,
    pub public_key: PublicKey,
    pub state: SignState,
}

impl Guard {
    /// Opens `<dir>/sign-state`. When there is none, the key may have signed elsewhere: one is made that is new, or, where
    /// there has been one, missing.
    pub fn open(dir: &Path, network_id: Hash, public_key: PublicKey) -> Result<Guard, GuardError> {
        Guard::open_or_make(dir, network_id, public_key, Some(Standing::New))
    }

    /// The same for a key that was made just now, and so has signed nothing.
    pub fn begin(dir: &Path, network_id: Hash, public_key: PublicKey) -> Result<Guard, GuardError> {
        Guard::open_or_make(dir, network_id, public_key, Some(Standing::Proven))
    }

    /// Opens it when it is there.
    pub fn open_held(
        dir: &Path,
        network_id: Hash,
        public_key: PublicKey,
    ) -> Result<Guard, GuardError> {
        Guard::open_or_make(dir, network_id, public_key, None)
    }

    /// What the file says, whoever uses it: one of its copies is whole at any moment.
    pub fn look(dir: &Path) -> Result<Look, GuardError> {
        let path = dir.join(FILE);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GuardError::Missing { path: path.clone() },
            _ => GuardError::io(&path, "read")(error),
        })?;
        let Content { network_id, public_key, state, .. } = newest(&path, &bytes)?;
        Ok(Look { network_id, public_key, state })
    }

    /// Renames a file that is of no use any more; where it is now.
    pub fn put_aside(dir: &Path) -> Result<PathBuf, GuardError> {
        let path = dir.join(FILE);
        let aside = path.with_extension("damaged");
        let io = |doing| GuardError::io(&path, doing);
        let _lock = take_lock(&path, &dir.join(LOCK))?;
        fs::rename(&path, &aside).and_then(|()| directory::sync(dir)).map_err(io("put aside"))?;
        Ok(aside)
    }

    fn open_or_make(
        dir: &Path,
        network_id: Hash,
        public_key: PublicKey,
        missing: Option<Standing>,
    ) -> Result<Guard, GuardError> {
        let path = dir.join(FILE);
        let io = |doing| GuardError::io(&path, doing);
        let lock_path = dir.join(LOCK);
        let is_there = path.try_exists().map_err(io("open"))?;
        if !is_there && missing.is_none() {
            return Err(GuardError::Missing { path });
        }
        directory::make(dir).map_err(io("make"))?;
        // Where a lock is and no draft, there was a file: the draft comes first, and goes when the file is whole.
        let draft = directory::draft_of(&path);
        let was_used = !is_there && lock_path.exists() && !draft.exists();
        if !is_there && !was_used {
            // Another process may be as far.
            let made = OpenOptions::new().write(true).create_new(true).open(&draft);
            made.map(|_| ()).or_else(not_twice).map_err(io("make"))?;
            // Or a power cut may leave the lock alone, and a new key would look used.
            directory::sync(dir).map_err(io("make"))?;
        }
        let lock = take_lock(&path, &lock_path)?;
        if let (false, Some(standing)) = (path.try_exists().map_err(io("open"))?, missing) {
            let standing = if was_used { Standing::Unproven(Doubt::Missing) } else { standing };
            let state = SignState { standing, ..SignState::default() };
            let content = Content { sequence: 0, network_id, public_key, state, place: None };
            create(&path, content).map_err(io("make"))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io("open"))?;
        let bytes = fs::read(&path).map_err(io("read"))?;
        let mut content = newest(&path, &bytes)?;
        if content.public_key != public_key {
            return Err(GuardError::OtherKey { path, found: content.public_key });
        }
        if content.network_id != network_id {
            return Err(GuardError::OtherNetwork { path, found: content.network_id });
        }
        let here = place(&file).map_err(io("open"))?;
        if content.place.is_some_and(|place| place != here) {
            content.sequence += 1;
            content.state.standing = Standing::Unproven(Doubt::Copied);
        }
        content.place = Some(here);
        let guard = Guard { path, file, content, _lock: lock };
        guard.repair(&bytes)?;
        Ok(guard)
    }

    /// What was signed, and whether that is all.
    pub fn state(&self) -> SignState {
        self.content.state
    }

    /// Notes a signature about to leave, or a correction; on disk when this returns.
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

fn take_lock(path: &Path, lock_path: &Path) -> Result<Lock, GuardError> {
    Lock::acquire(lock_path).map_err(|error| match error {
        LockError::Held { by } => GuardError::Locked { path: path.to_path_buf(), by },
        LockError::Io(source) => GuardError::io(path, "lock")(source),
    })
}

/// A new file appears whole or not at all.
fn create(path: &Path, content: Content) -> io::Result<()> {
    directory::replace(path, |file| {
        let content = Content { place: Some(place(file)?), ..content };
        file.write_all_at(&page::encode(&content).repeat(COPIES), 0)
    })
}

fn not_twice(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// What a file has that its copies have not: the nanosecond in which it was made, or where the file system does not tell,
/// its number. It keeps it when it is moved, and so does a disk that is moved as a whole.
fn place(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let nanos = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
    Ok(nanos.unwrap_or(metadata.ino()))
}

/// The newest content of the whole pages in the bytes of a file.
pub fn newest(path: &Path, bytes: &[u8]) -> Result<Content, GuardError> {
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
        let state = SignState { block: Some(block(slot, 1)), ..SignState::default() };
        let (network_id, public_key) = (Hash([1; 32]), PublicKey([key; 32]));
        Content { sequence, network_id, public_key, state, place: None }
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
        let mut guard = Guard::begin(dir.path(), owner.0, owner.1).expect("a new one");
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
