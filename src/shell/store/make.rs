//! A new database: whole before it has its name. LMDB writes the first pages of a file in place and without waiting for
//! the disk, so a power cut in that moment would leave one that can never be opened.

use std::fs;
use std::io;
use std::path::Path;

use super::{DATA, OpenStore, StoreError};
use crate::shell::directory;

/// What a directory has while a database is made in it.
const DRAFT: &str = "draft";

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

/// Removes a draft, if there is one.
fn clear(draft: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for name in [DATA, "lock.mdb"] {
        gone(fs::remove_file(draft.join(name)))?;
    }
    gone(fs::remove_dir(draft))
}
