//! What several tests of the disk need.

use std::path::Path;

/// Puts a new file in the place of one, thousands of times if need be: ext4 flushes a file that is written over.
pub fn put_file(path: &Path, bytes: &[u8]) {
    if path.exists() {
        std::fs::remove_file(path).expect("it is ours");
    }
    std::fs::write(path, bytes).expect("there is room");
}
