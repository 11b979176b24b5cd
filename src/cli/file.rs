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
        let (exit, code, action) = match error.kind() {
            ErrorKind::NotFound => (Exit::Missing, "file_missing", "look at its name"),
            _ => (Exit::Configuration, "file", "it has to be a text that this user may read"),
        };
        let message = format!("{what} {} cannot be read", path.display());
        return Err(Failure::new(exit, code, message).because(&error).action(action));
    }
    if text.len() as u64 > most {
        let message = format!("{what} {} is larger than {most} bytes", path.display());
        let failure = Failure::new(Exit::Configuration, "file", message);
        return Err(failure.action("look at its name: this is something else"));
    }
    Ok(text)
}

/// What comes from standard input, of which at most so many bytes are read.
pub fn standard_input(most: u64) -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().take(most).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| {
        Failure::new(Exit::Failed, "input", "standard input cannot be read")
            .because(&error)
            .action("it has to be a text: pipe it in")
    })
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
        _ => unwritable("file", format!("{what} {name} cannot be written"), error),
    }
}

/// What was to be made and could not be: the disk is full or only to be read, or something else is wrong (`code`).
pub fn unwritable(code: &'static str, message: String, error: &io::Error) -> Failure {
    let failure = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            Failure::new(Exit::Storage, "storage", message)
                .action("make room, or choose another disk")
        }
        _ => Failure::new(Exit::Failed, code, message)
            .action("do it as the user who may write there, or choose another place"),
    };
    failure.because(error)
}
