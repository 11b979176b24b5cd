//! Directories of ours: made for us alone, safe on disk, and used by one process at a time.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// Makes a directory, and those above it, that only its owner may enter; their names are on disk when this returns. One
/// that is there stays as it is.
pub fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = folder_of(dir);
    make(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        // Somebody else was as far.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    sync(above)
}

/// Puts the names in a directory on disk: without it a power cut may take a file that was just made, written and flushed.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a file, or puts another in its place, whole or not at all, whenever the power goes: `write` fills a draft beside
/// it, which is on disk before it takes the name. Only its owner may read it.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let draft = draft_of(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(folder_of(path))
}

/// Where a path lies: the current directory for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a file is called until it is whole.
pub fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// A lock file held by this process, until dropped. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// How often, and how far apart, a lock that is held is tried again.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why the lock is not ours.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it; its number as far as it is known.
    Held { by: Option<u32> },
    /// The file cannot be made or locked.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock, or says who has it. A process that was killed may hold it until the system has cleaned up after
    /// it, so who restarts a node at once waits a moment.
    pub fn acquire(path: &Path) -> Result<Lock, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Lock::take(options.open(path).map_err(LockError::Io)?)
    }

    /// Takes the lock of a directory that is only to be read, which may be a copy, or on a medium that cannot be
    /// written. Nothing when there is no file to lock: then nobody has it.
    pub fn acquire_to_read(path: &Path) -> Result<Option<Lock>, LockError> {
        let writable = OpenOptions::new().read(true).write(true).open(path);
        match writable.or_else(|_| File::open(path)) {
            Ok(file) => Lock::take(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LockError::Io(error)),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "nothing else runs before the lock is taken")]
    fn take(file: File) -> Result<Lock, LockError> {
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..LOCK_TRIES {
            if locked != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(LOCK_PAUSE);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { by: read_holder(&file) });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // The number is for people; a full disk must not keep a node from starting.
        let _ = file.write_all_at(format!("{:>10}\n", std::process::id()).as_bytes(), 0);
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started holds a copy of the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn read_holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { by: Some(process) } => write!(f, "in use by process {process}"),
            LockError::Held { by: None } => f.write_str("in use by another process"),
            LockError::Io(error) => write!(f, "cannot be locked: {error}"),
        }
    }
}

impl std::error::Error for LockError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_lies_in_the_current_directory() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("/", ".")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn a_second_holder_is_told_of_the_first() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path).expect("nobody has it");
        let second = Lock::acquire(&path).map(|_| ());
        let own = std::process::id();
        assert!(matches!(second, Err(LockError::Held { by: Some(by) }) if by == own));
        drop(first);
        Lock::acquire(&path).expect("the first has let go");
    }
}
