//! What the disk writes for a block and for a signature: `cargo bench --bench store [-- DIRECTORY]`.
//!
//! The chain is filled in large batches up to a height, then blocks come one at a time, as from the network. Bytes are
//! those that the disk under the directory has written, for whomever: give it a directory on a disk of its own, as
//! `benches/quiet-disk` does.

#![allow(clippy::disallowed_methods, reason = "it takes times and a directory")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use hypernode::machine::records::{Batch, Table, height_key, point_key};
use hypernode::shell::guard::Guard;
use hypernode::shell::memory::MemoryClass;
use hypernode::shell::store::Store;
use hypernode::types::block::Point;
use hypernode::types::clock::{Height, Round, Slot};
use hypernode::types::hash::{BlockHash, Hash, hash};
use hypernode::types::key::PublicKey;
use hypernode::types::sign::{BlockRecord, SignRecord};

const HEADER_BYTES: usize = 300;
const BODY_BYTES: usize = 5 * 1024;
const MAIN_BYTES: usize = 60;
const BLOCK_BYTES: usize = HEADER_BYTES + BODY_BYTES + MAIN_BYTES;
/// Blocks of one batch while filling.
const FILL: u64 = 500;
/// Blocks, or signatures, over which the figures are taken.
const MEASURED: u64 = 500;

fn add_block(batch: &mut Batch, height: u64) {
    let id = hash("bench", &[&height.to_be_bytes()]);
    let height = Height(height);
    let key = point_key(&Point { height, hash: BlockHash(id) });
    batch.0.insert((Table::Headers, key.clone()), Some(vec![1; HEADER_BYTES]));
    batch.0.insert((Table::Bodies, key), Some(vec![2; BODY_BYTES]));
    batch.0.insert((Table::Main, height_key(height)), Some(vec![3; MAIN_BYTES]));
}

/// Bytes that the disk under a directory has written.
fn written(dir: &Path) -> Result<u64, Box<dyn Error>> {
    let device = std::fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"))?;
    let sectors: u64 = text.split_whitespace().nth(6).ok_or("no such counter")?.parse()?;
    Ok(sectors * 512)
}

fn main() -> Result<(), Box<dyn Error>> {
    let chosen = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let dir = match chosen {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut out = std::io::stdout().lock();
    let network = Hash([1; 32]);
    let mut store = Store::open(dir.path(), network, MemoryClass::Small.bounds().map_bytes)?;
    let mut height = 0;
    for from in [1_000, 10_000, 100_000] {
        while height < from {
            let mut batch = Batch(BTreeMap::new());
            let end = from.min(height + FILL);
            (height..end).for_each(|height| add_block(&mut batch, height));
            store.persist(&batch)?;
            height = end;
        }
        let (bytes, started) = (written(dir.path())?, Instant::now());
        for _ in 0..MEASURED {
            let mut batch = Batch(BTreeMap::new());
            add_block(&mut batch, height);
            store.persist(&batch)?;
            height += 1;
        }
        let bytes = (written(dir.path())? - bytes) / MEASURED;
        let each = started.elapsed() / u32::try_from(MEASURED)?;
        writeln!(
            out,
            "from height {from}: {bytes} bytes for a block of {BLOCK_BYTES}, {each:?} each"
        )?;
    }

    let mut guard = Guard::begin(&dir.path().join("sign"), network, PublicKey([2; 32]))?;
    let (bytes, started) = (written(dir.path())?, Instant::now());
    for round in 0..MEASURED {
        let hash = BlockHash(network);
        guard.record(SignRecord::Block(BlockRecord {
            round: Round(round),
            slot: Slot(0),
            hash,
        }))?;
    }
    let bytes = (written(dir.path())? - bytes) / MEASURED;
    let each = started.elapsed() / u32::try_from(MEASURED)?;
    writeln!(out, "a signature: {bytes} bytes, {each:?} each")?;
    Ok(())
}
