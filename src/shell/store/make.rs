//! A new database: whole before it has its name. LMDB writes the first pages of a file in place and without waiting for
//! the disk, so a power cut in that moment would leave one that can never be opened.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::{DATA, OpenStore, StoreError, ZEROS};
use crate::shell::directory;

/// What a directory has while a database is made in it.
const DRAFT: &str = "draft";
/// LMDB's table of readers, and its bytes: 126 of 64, and what is of all of them.
const READERS: &str = "lock.mdb";
const READERS_BYTES: usize = 8192;

/// Makes an empty database in `dir` when there is none, and takes away what an interrupted attempt has left.
pub fn make_once(dir: &Path, map_bytes: u64) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(dir, "make", error);
    let (data, draft) = (dir.join(DATA), dir.join(DRAFT));
    clear(&draft).map_err(failed)?;
    match fs::metadata(&data) {
        Ok(file) if file.len() > 0 => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    directory::make(&draft).map_err(failed)?;
    // Closed before it is moved: a file can be open only once.
    let flushed = OpenStore::open(&draft, map_bytes)?.file.sync_all();
    let moved = flushed.and_then(|()| fs::rename(draft.join(DATA), data));
    moved.and_then(|()| directory::sync(dir)).and_then(|()| clear(&draft)).map_err(failed)
}

/// Makes the table of readers one of zeros, which LMDB fills through a map: without blocks of its own a full disk would end
/// the process by a signal there. Who has the directory has no readers yet.
pub fn clear_readers(dir: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(dir.join(READERS))?.write_all_at(&ZEROS[..READERS_BYTES], 0)
}

/// Removes a draft, if there is one.
fn clear(draft: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for name in [DATA, READERS] {
        gone(fs::remove_file(draft.join(name)))?;
    }
    gone(fs::remove_dir(draft))
}
