//! Files that commands read and make: bounded, and never overwritten.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::exit::Exit;
use super::failure::Failure;
use crate::shell::directory;

/// The text of a file of at most `most` bytes; `what` is what people call it.
pub fn read(path: &Path, most: u64, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_string(&mut text));
    if let Err(error) = read {
        let (exit, code) = match error.kind() {
            ErrorKind::NotFound => (Exit::Missing, "file_missing"),
            _ => (Exit::Configuration, "file"),
        };
        let message = format!("{what} {} cannot be read", path.display());
        return Err(Failure::new(exit, code, message).because(&error));
    }
    if text.len() as u64 > most {
        let message = format!("{what} {} is larger than {most} bytes", path.display());
        return Err(Failure::new(Exit::Configuration, "file", message));
    }
    Ok(text)
}

/// A new file with this text and mode, whole and on disk, or no file at all. One that exists is never touched.
pub fn create(path: &Path, text: &str, mode: u32, what: &str) -> Result<(), Failure> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = open.map_err(|error| create_failure(path, what, &error))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| directory::sync(directory::folder_of(path))).map_err(|error| {
        // Half a file would keep the next attempt from making a whole one.
        let _ = std::fs::remove_file(path);
        create_failure(path, what, &error)
    })
}

fn create_failure(path: &Path, what: &str, error: &io::Error) -> Failure {
    let name = path.display();
    match error.kind() {
        ErrorKind::AlreadyExists => {
            let message = format!("{what} {name} exists already");
            Failure::new(Exit::Failed, "exists", message)
                .action("it is never overwritten: move it away first, or choose another name")
        }
        ErrorKind::NotFound => {
            let message = format!("the directory of {what} {name} does not exist");
            Failure::new(Exit::Missing, "directory_missing", message).action("make it first")
        }
        _ if is_of_disk(error) => {
            let message = format!("{what} {name} cannot be written");
            Failure::new(Exit::Storage, "storage", message)
                .because(error)
                .action("make room, or choose another disk")
        }
        _ => {
            let message = format!("{what} {name} cannot be written");
            Failure::new(Exit::Failed, "file", message).because(error)
        }
    }
}

/// Whether the disk is full, or only to be read.
pub fn is_of_disk(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
    )
}
