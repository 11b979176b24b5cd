//! The database: LMDB behind [`Reader`](crate::machine::records::Reader), one atomic write per event
//! (`docs/protocol.md` §13).
//!
//! Invariants: [`Store::persist`] returns when the batch is on disk, whole; a failed one leaves nothing of it. LMDB runs
//! with its default flags, which alone lose nothing in a power cut. One process has the directory. No transaction
//! lives while the environment is closed to be opened again: writing borrows the store mutably, every reader borrows it.
//!
//! Reads go through a memory map: a disk that fails under a read ends the process (SIGBUS), and whoever supervises it
//! starts it again. Nothing here decides what to store: the core does.

#![allow(
    unsafe_code,
    reason = "a memory map is unsafe to open; it is done in one place, see there"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, MdbError, PutFlags, RwTxn, WithoutTls};

pub use self::error::StoreError;
pub use self::inspect::{Depth, Extent, Inspection, inspect};
use self::layout::Part;
pub use self::reader::StoreReader;
pub use self::walk::{Flaw, Flaws};
use crate::machine::records::Batch;
use crate::shell::crash;
use crate::shell::directory::{self, Lock};
use crate::types::hash::Hash;

mod error;
mod inspect;
mod layout;
mod make;
mod pages;
mod reader;
mod review;
mod value;
mod walk;

/// Pages that one write holds until it is on disk: an answer with bodies, twice, and what they change.
pub const MEMORY_BYTES: usize = 8 * 1024 * 1024;
/// Maps are multiples of this: pages have up to 64 KiB on ARM.
const MAP_UNIT_BYTES: u64 = 64 * 1024;
/// Room over what the file holds, for the first writes after opening.
const MAP_ROOM_BYTES: u64 = 1024 * 1024;
/// Largest map: what a 32-bit process finds in one piece, and more than any chain elsewhere.
pub const MAP_MAX_BYTES: u64 = if cfg!(target_pointer_width = "32") { 1 << 30 } else { 1 << 40 };

/// Room that a file has left when more is added, for a few blocks.
const RESERVE_MIN_BYTES: u64 = 128 * 1024;
/// Zeros added then: what a hundred blocks take.
const RESERVE_BYTES: u64 = 1024 * 1024;
/// Zeros written at once. They are part of the binary, byte for byte.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// The file that LMDB keeps everything in.
const DATA: &str = "data.mdb";

/// Version of the layout and of what is in it.
const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "format";
const NETWORK_NAME: &str = "network";
const CLEAN_NAME: &str = "clean";
/// What the sign state held at the last write.
const SIGNED_NAME: &str = "signed";

type Tree = Database<Bytes, Bytes>;

/// The database of one network in one directory.
pub struct Store {
    dir: PathBuf,
    network_id: Hash,
    map_bytes: u64,
    map_max_bytes: u64,
    was_clean: bool,
    /// What the sign state holds, until it is written.
    signed: Option<Vec<u8>>,
    /// Nothing after an attempt to open it again has failed.
    open: Option<OpenStore>,
    _lock: Lock,
}

struct OpenStore {
    env: Env<WithoutTls>,
    tree: Tree,
    page_bytes: u64,
    file: File,
}

impl Store {
    /// Opens or makes the database in `<dir>/chain`. `map_bytes` is the size of the map to begin with, rounded up
    /// to whole 64 KiB; it grows when it has to.
    pub fn open(dir: &Path, network_id: Hash, map_bytes: u64) -> Result<Store, StoreError> {
        let dir = dir.join("chain");
        directory::make(&dir).map_err(|error| StoreError::io(&dir, "make", error))?;
        let lock = Lock::acquire(&dir.join("lock")).map_err(|e| StoreError::lock(&dir, e))?;
        make::make_once(&dir, MAP_ROOM_BYTES)?;
        let mut store = Store {
            dir,
            network_id,
            map_bytes,
            map_max_bytes: MAP_MAX_BYTES,
            was_clean: false,
            signed: None,
            open: None,
            _lock: lock,
        };
        store.was_clean = store.attach()?;
        directory::sync(&store.dir).map_err(|error| StoreError::io(&store.dir, "open", error))?;
        Ok(store)
    }

    /// Whether the database was new or closed in order when it was opened. If not, check what was written last.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Takes down what the sign state holds now: it is written with the next batch, or when this closes.
    pub fn see(&mut self, signed: Vec<u8>) {
        self.signed = Some(signed);
    }

    /// What the sign state held when the database was written last; nothing when that was never said.
    pub fn seen(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let open = self.opened()?;
        let look = || {
            let txn = open.env.read_txn()?;
            let found = open.tree.get(&txn, &layout::meta(SIGNED_NAME))?;
            Ok(found.map(<[u8]>::to_vec))
        };
        look().map_err(|error| StoreError::heed(&self.dir, "read", error))
    }

    /// Writes all of a batch or nothing; on disk when this returns.
    ///
    /// After an error, [`Store::recover`] before anything else.
    pub fn persist(&mut self, batch: &Batch) -> Result<(), StoreError> {
        crash::point();
        while let Err(error) = self.opened()?.write(batch, self.signed.as_deref()) {
            if !matches!(error, heed::Error::Mdb(MdbError::MapFull)) {
                return Err(StoreError::heed(&self.dir, "write", error));
            }
            // The transaction is dead, and with it all that was put: the batch is written again from its start.
            self.grow()?;
        }
        self.signed = None;
        crash::point();
        Ok(())
    }

    /// A view of what is on disk now.
    pub fn reader(&self) -> StoreReader<'_> {
        StoreReader::new(&self.dir, self.opened())
    }

    /// Opens the database again, as after a start, without letting go of the directory. LMDB refuses everything
    /// once the last step of a write has failed.
    pub fn recover(&mut self) -> Result<(), StoreError> {
        self.attach().map(|_| ())
    }

    /// Closes in order: the next start need not check anything. Dropping closes without that.
    pub fn close(self) -> Result<(), StoreError> {
        let open = self.opened()?;
        let mark = |open: &OpenStore| {
            let mut txn = open.env.write_txn()?;
            open.tree.put(&mut txn, &layout::meta(CLEAN_NAME), &[1])?;
            open.put_signed(&mut txn, self.signed.as_deref())?;
            txn.commit()
        };
        mark(open).map_err(|error| StoreError::heed(&self.dir, "write", error))
    }

    /// Opens the file; whether it was new or closed in order.
    fn attach(&mut self) -> Result<bool, StoreError> {
        // Closed first: a file can be open only once.
        self.open = None;
        let length = fs::metadata(self.dir.join(DATA)).map_or(0, |file| file.len());
        let bytes = self.map_bytes.max(length.saturating_add(MAP_ROOM_BYTES));
        self.map_bytes = bytes.next_multiple_of(MAP_UNIT_BYTES);
        let open = OpenStore::open(&self.dir, self.map_bytes)?;
        let was_clean = open.claim(&self.dir, self.network_id)?;
        self.open = Some(open);
        Ok(was_clean)
    }

    fn grow(&mut self) -> Result<(), StoreError> {
        if self.map_bytes >= self.map_max_bytes {
            return Err(StoreError::MapFull { dir: self.dir.clone(), bytes: self.map_bytes });
        }
        self.map_bytes = self.map_bytes.saturating_mul(2).min(self.map_max_bytes);
        self.recover()
    }

    fn opened(&self) -> Result<&OpenStore, StoreError> {
        let closed = || io::Error::other("it is closed since an error");
        self.open.as_ref().ok_or_else(|| StoreError::io(&self.dir, "use", closed()))
    }
}

impl OpenStore {
    fn open(dir: &Path, map_bytes: u64) -> Result<OpenStore, StoreError> {
        let failed = |error| StoreError::heed(dir, "open", error);
        make::clear_readers(dir).map_err(|error| StoreError::io(dir, "open", error))?;
        let map_size = usize::try_from(map_bytes)
            .map_err(|_| StoreError::MapFull { dir: dir.to_path_buf(), bytes: map_bytes })?;
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size);
        // SAFETY: the map is valid while nobody else changes the file. The lock file, which the store holds for longer
        // than this environment lives, keeps other processes out; heed refuses a second environment in this one. No flag
        // is set, so LMDB locks and writes in its safe way.
        let env = unsafe { options.open(dir) }.map_err(failed)?;
        let begin = || {
            let mut txn = env.write_txn()?;
            let tree: Tree = env.create_database(&mut txn, None)?;
            let page_bytes = u64::from(tree.stat(&txn)?.page_size);
            let file = OpenOptions::new().write(true).open(dir.join(DATA))?;
            txn.commit()?;
            Ok((tree, page_bytes, file))
        };
        let (tree, page_bytes, file) = begin().map_err(failed)?;
        let open = OpenStore { env, tree, page_bytes, file };
        open.pad().map_err(|error| StoreError::io(dir, "open", error))?;
        Ok(open)
    }

    /// Bytes of the file that LMDB may have pages in.
    fn used_bytes(&self) -> u64 {
        let last = u64::try_from(self.env.info().last_page_number).unwrap_or(u64::MAX);
        last.saturating_add(1).saturating_mul(self.page_bytes)
    }

    /// Makes a file that was cut off as long as its map says: a page that is not there ends the process when it is
    /// read, a page of zeros is an error.
    fn pad(&self) -> io::Result<()> {
        let (used, length) = (self.used_bytes(), self.file.metadata()?.len());
        if length < used {
            // Half a page looks whole to LMDB. The first two stay: it has read them.
            let whole = length - length % self.page_bytes;
            self.file.set_len(whole.max(2 * self.page_bytes))?;
            self.file.set_len(used)?;
        }
        Ok(())
    }

    /// Keeps written zeros behind the last page. A file that grows with each write costs a journal of the file system
    /// twice the bytes of the write itself; and what is there can be written when the disk is full.
    fn reserve(&self) -> io::Result<()> {
        let (used, length) = (self.used_bytes(), self.file.metadata()?.len());
        if length < used.saturating_add(RESERVE_MIN_BYTES) {
            let start = length.max(used);
            for at in (start..start.saturating_add(RESERVE_BYTES)).step_by(ZEROS.len()) {
                self.file.write_all_at(&ZEROS, at)?;
            }
        }
        Ok(())
    }

    /// Marks a new database as ours, and refuses what is not. Whether it was new or closed in order.
    fn claim(&self, dir: &Path, network_id: Hash) -> Result<bool, StoreError> {
        let failed = |error| StoreError::heed(dir, "open", error);
        let mut txn = self.env.write_txn().map_err(failed)?;
        let clean = layout::meta(CLEAN_NAME);
        let was_clean = if self.tree.is_empty(&txn).map_err(failed)? {
            let mut put = |name, value: &[u8]| self.tree.put(&mut txn, &layout::meta(name), value);
            put(FORMAT_NAME, &FORMAT.to_be_bytes()).map_err(failed)?;
            put(NETWORK_NAME, &network_id.0).map_err(failed)?;
            true
        } else {
            self.check_marks(dir, &txn, network_id)?;
            self.tree.get(&txn, &clean).map_err(failed)? == Some(&[1])
        };
        if was_clean {
            self.tree.put(&mut txn, &clean, &[0]).map_err(failed)?;
        }
        txn.commit().map_err(|error| StoreError::heed(dir, "write", error))?;
        Ok(was_clean)
    }

    fn check_marks(&self, dir: &Path, txn: &RwTxn<'_>, network_id: Hash) -> Result<(), StoreError> {
        let mark = |name| {
            let value = self.tree.get(txn, &layout::meta(name));
            value.map_err(|error| StoreError::heed(dir, "read", error))
        };
        let format = mark(FORMAT_NAME)?.and_then(|bytes| bytes.try_into().ok());
        match format.map(u32::from_be_bytes) {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => {
                return Err(StoreError::NewerFormat { dir: dir.to_path_buf(), found });
            }
            _ => return Err(StoreError::damaged(dir, "it has no record of its format")),
        }
        match mark(NETWORK_NAME)?.and_then(|bytes| bytes.try_into().ok()).map(Hash) {
            Some(found) if found == network_id => Ok(()),
            Some(found) => Err(StoreError::OtherNetwork { dir: dir.to_path_buf(), found }),
            None => Err(StoreError::damaged(dir, "it has no record of its network")),
        }
    }

    fn write(&self, batch: &Batch, signed: Option<&[u8]>) -> heed::Result<()> {
        // Without room the write itself will tell.
        let _ = self.reserve();
        let mut writes = BTreeMap::new();
        for ((table, key), value) in &batch.0 {
            // Only a core that writes a key of the chain without its height could come to the error.
            let place = Part::of(*table).place(key).ok_or(MdbError::BadValSize)?;
            writes.insert(place, (*table, key, value));
        }
        let mut txn = self.env.write_txn()?;
        self.put_signed(&mut txn, signed)?;
        // In the order of the tree, or blocks written together would be inserted into each other.
        for (place, (table, key, value)) in writes {
            let Some(value) = value else {
                self.tree.delete(&mut txn, &place)?;
                continue;
            };
            let stored = value::seal(table, key, value);
            // Appending fills pages whole, where inserting leaves them half empty.
            let at_end = self.tree.last(&txn)?.is_none_or(|(last, _)| last < place.as_slice());
            let flags = if at_end { PutFlags::APPEND } else { PutFlags::empty() };
            self.tree.put_with_flags(&mut txn, flags, &place, &stored)?;
        }
        crash::point();
        txn.commit()
    }

    fn put_signed(&self, txn: &mut RwTxn<'_>, signed: Option<&[u8]>) -> heed::Result<()> {
        signed.map_or(Ok(()), |bytes| self.tree.put(txn, &layout::meta(SIGNED_NAME), bytes))
    }
}

/// Bytes that this process has sent to disks since it started, as the system counts them: more than the disk writes
/// where the kernel counts large pieces of a file for each page of them (Linux 6.16 and later on ext4).
pub fn device_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::records::Table;

    fn batch(bytes: usize) -> Batch {
        Batch(BTreeMap::from([((Table::Bodies, vec![1; 8]), Some(vec![7; bytes]))]))
    }

    #[test]
    fn maps_are_whole_units_and_end_at_the_maximum() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut store = Store::open(dir.path(), Hash([1; 32]), 1_500_000).expect("a new one");
        store.map_max_bytes = 6_000_000;
        let mapped = |store: &Store| {
            let bytes = store.opened().expect("it is open").env.info().map_size as u64;
            assert_eq!(bytes % MAP_UNIT_BYTES, 0);
            bytes
        };
        assert!(mapped(&store) >= 1_500_000);
        store.persist(&batch(2_000_000)).expect("it grows");
        assert!(mapped(&store) >= 3_000_000);
        let full = store.persist(&batch(9_000_000));
        assert!(matches!(full, Err(StoreError::MapFull { .. })), "{full:?}");
        store.persist(&batch(1_000)).expect("what fits is written");
    }
}
