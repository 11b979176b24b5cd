//! The directory of a devnet: marked as ours, used by one devnet at a time, and the only thing that is ever removed.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::file;
use crate::shell::api::SOCKET_PATH_MAX;
use crate::shell::directory::{Lock, LockError};

/// The file that makes a directory ours.
const MARKER: &str = ".hypernode-devnet";
/// What the marker says; nothing else counts.
const MARK: &str = "Made by `hypernode devnet`, which may remove everything in this directory.\n";
/// Held by the devnet that runs here.
const LOCK: &str = "lock";

/// A marked directory that this process holds.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: Lock,
}

impl Directory {
    /// Opens a directory of a devnet or makes one. One with anything in it and without the marker is not touched.
    pub fn open(path: &Path) -> Result<Directory, Failure> {
        let path = std::path::absolute(path)
            .map_err(|error| failure(path, "has no absolute path", &error))?;
        match contents(&path)? {
            Contents::Ours => {}
            Contents::Nothing => {
                make(&path).map_err(|error| failure(&path, "cannot be made", &error))?;
                file::create(&path.join(MARKER), MARK, 0o644, "marker")?;
            }
            Contents::Foreign => {
                let message = format!("{} is not empty and no devnet made it", path.display());
                return Err(Failure::new(Exit::Failed, "directory_foreign", message)
                    .action("choose another with --dir; it has not been touched"));
            }
        }
        let lock = Lock::acquire(&path.join(LOCK)).map_err(|error| match error {
            LockError::Held { .. } => {
                let message = format!("a devnet runs in {} already", path.display());
                Failure::new(Exit::Failed, "directory_in_use", message)
                    .because(&error)
                    .action("end it, or choose another with --dir")
            }
            LockError::Io(error) => failure(&path, "cannot be locked", &error),
        })?;
        Ok(Directory { path, _lock: lock })
    }

    /// Where it is, from the root on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file stands in it.
    pub fn holds(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Removes all but what makes it ours.
    pub fn clear(&self) -> Result<(), Failure> {
        let remove = || -> io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let path = entry.path();
                if path.ends_with(MARKER) || path.ends_with(LOCK) {
                    continue;
                }
                // A link is removed, not what it leads to.
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(&path)?,
                    false => fs::remove_file(&path)?,
                }
            }
            Ok(())
        };
        remove().map_err(|error| failure(&self.path, "cannot be cleared", &error))
    }

    /// Refuses a directory in which this socket's path would be too long for the kernel.
    pub fn check_socket(&self, socket: &Path) -> Result<(), Failure> {
        let length = socket.as_os_str().len();
        if length <= SOCKET_PATH_MAX {
            return Ok(());
        }
        let message = format!(
            "{} is too long: {} would have {length} bytes, a Unix socket has {SOCKET_PATH_MAX} at most",
            self.path.display(),
            socket.display()
        );
        Err(Failure::new(Exit::Configuration, "socket_path", message)
            .action("choose a directory with a shorter path with --dir"))
    }
}

enum Contents {
    Nothing,
    Ours,
    Foreign,
}

fn contents(path: &Path) -> Result<Contents, Failure> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::Nothing),
        Err(error) => return Err(failure(path, "cannot be read", &error)),
    };
    if fs::read(path.join(MARKER)).is_ok_and(|text| text == MARK.as_bytes()) {
        return Ok(Contents::Ours);
    }
    let empty = entries.into_iter().next().is_none();
    Ok(if empty { Contents::Nothing } else { Contents::Foreign })
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn failure(path: &Path, what: &str, error: &io::Error) -> Failure {
    file::unwritable("directory", format!("{} {what}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_directory_is_cleared() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net");
        let directory = Directory::open(&path).expect("it is made");
        fs::create_dir(path.join("node-1")).unwrap();
        fs::write(path.join("node-1/file"), "x").unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, path.join("link")).unwrap();
        directory.clear().expect("it is ours");
        assert!(!path.join("node-1").exists() && !path.join("link").exists());
        assert!(outside.join("keep").exists());
        drop(directory);

        let foreign = Directory::open(&outside).expect_err("it is not ours");
        assert!(foreign.line().contains("no devnet made it"), "{}", foreign.line());
        assert!(outside.join("keep").exists());
        fs::write(outside.join(MARKER), "something else").unwrap();
        assert!(Directory::open(&outside).is_err());
    }

    #[test]
    fn one_devnet_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Directory::open(folder.path()).expect("it is empty");
        let second = Directory::open(folder.path()).expect_err("it is held");
        assert!(second.line().contains("runs in"), "{}", second.line());
        drop(first);
        Directory::open(folder.path()).expect("it is free");
    }

    #[test]
    fn a_path_too_long_for_sockets_is_said_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("x".repeat(100))).expect("it is made");
        let refused = directory.check_socket(&directory.path().join("node-1/api.sock"));
        assert!(refused.is_err_and(|failure| failure.line().contains("at most")));
    }
}
