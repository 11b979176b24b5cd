//! What several tests of the disk need.
//!
//! Tests that must end in a process of their own run this same program again, with one of its tests and a variable set.
//! Without the variable such a test does nothing: its parent runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hypernode::machine::records::{Batch, Reader, Table};

/// Records by table and key.
pub type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Names the directory that a child is to work in.
const WORK: &str = "HYPERNODE_TEST_CHILD";

/// This program, to run `test` alone in `dir`.
pub fn command(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(WORK, dir)
        .current_dir(dir);
    command
}

/// The directory to work in, in a child.
pub fn dir() -> Option<PathBuf> {
    variable(WORK)
}

/// A path that whoever runs the tests gives.
#[allow(clippy::disallowed_methods, reason = "a test has no other arguments")]
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(Into::into)
}

/// An empty directory that is gone when it is dropped, in memory where the system has a place for that: for what opens and
/// flushes thousands of files and does not ask for the disk itself.
pub fn quick() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a place for files")
}

/// Puts a new file in the place of one, thousands of times if need be: ext4 flushes a file that is written over.
pub fn put_file(path: &Path, bytes: &[u8]) {
    if path.exists() {
        std::fs::remove_file(path).expect("it is ours");
    }
    std::fs::write(path, bytes).expect("there is room");
}

/// All that a child has said.
pub fn words(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that a database holds.
pub fn content(reader: &dyn Reader) -> Content {
    let mut all = Content::new();
    for table in Table::ALL {
        let mut from = Vec::new();
        while let Some((key, value)) = reader.next(table, &from) {
            from = [key.as_slice(), &[0]].concat();
            all.insert((table, key), value);
        }
    }
    all
}

/// What a batch makes of it.
pub fn apply(batch: &Batch, content: &mut Content) {
    for (place, value) in &batch.0 {
        match value {
            Some(value) => content.insert(place.clone(), value.clone()),
            None => content.remove(place),
        };
    }
}
