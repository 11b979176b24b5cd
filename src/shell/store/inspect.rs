//! A database looked at without opening it: how much is in it, and whether it is what was written. It is only read, and
//! no node may have it meanwhile: pages would change under the reader, and a reader known to LMDB keeps the node from using
//! free pages again, which makes its file grow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::pages::{self, PageError};
use super::review::Review;
use super::walk::{Flaws, Walk};
use super::{
    CLEAN_NAME, FORMAT, FORMAT_NAME, NETWORK_NAME, SIGNED_NAME, StoreError, layout, value,
};
use crate::machine::records::{StoredSeal, Table, parse};
use crate::shell::directory::Lock;
use crate::shell::witness;
use crate::types::hash::Hash;
use crate::types::hex;

/// Of records of our own.
const MARKS: &str = "marks";

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The pages.
    Pages,
    /// Every record too.
    Records,
}

/// What is in a database.
#[derive(Debug, Default)]
pub struct Inspection {
    pub file_bytes: u64,
    pub page_bytes: u64,
    /// Of the map of the last write.
    pub map_bytes: u64,
    /// In pages, those not used again yet too.
    pub used_bytes: u64,
    /// In pages that the next writes use.
    pub free_bytes: u64,
    pub network: Option<Hash>,
    /// Whether it was closed in order.
    pub is_clean: bool,
    pub tables: BTreeMap<Table, Extent>,
    /// Of the best chain; 0 without blocks.
    pub height: u64,
    /// Of the newest seal: its index and height.
    pub sealed: Option<(u64, u64)>,
    pub flaws: Flaws,
}

/// How much is in a table.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extent {
    pub entries: u64,
    /// Of keys and values.
    pub bytes: u64,
}

/// Looks at the database in `<dir>/chain`, which is to be of `network` when that is known. `progress` is told of pages
/// seen, and of all there are.
pub fn inspect(
    dir: &Path,
    network: Option<Hash>,
    depth: Depth,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Inspection, StoreError> {
    let dir = dir.join("chain");
    let failed = |error| StoreError::io(&dir, "read", error);
    let _lock =
        Lock::acquire_to_read(&dir.join("lock")).map_err(|error| StoreError::lock(&dir, error))?;
    let file = File::open(dir.join(super::DATA)).map_err(failed)?;
    look(&file, network, depth, progress).map_err(failed)
}

fn look(
    file: &File,
    network: Option<Hash>,
    depth: Depth,
    progress: &mut dyn FnMut(usize, usize),
) -> io::Result<Inspection> {
    let mut found = Inspection { file_bytes: file.metadata()?.len(), ..Inspection::default() };
    let meta = match pages::meta(file) {
        Ok(meta) => meta,
        Err(PageError::Io(error)) => return Err(error),
        Err(PageError::Wrong(why)) => {
            found.flaws.add("metadata", None, why);
            return Ok(found);
        }
    };
    let bytes = |pages: usize| pages as u64 * meta.page_bytes as u64;
    (found.page_bytes, found.map_bytes) = (bytes(1), meta.map_bytes as u64);
    found.used_bytes = bytes(meta.last_page + 1);
    let mut flaws = Flaws::default();
    let mut walk = Walk::new(file, meta, progress)?;
    let mut marks = BTreeMap::new();
    let mut review = Review::default();
    let mut newest_seal = Vec::new();
    walk.records(&mut flaws, &mut |place, stored, flaws| {
        if let Some(name) = layout::parse_meta(place) {
            marks.insert(name.to_vec(), stored.to_vec());
            // They come first: block 1 names the network.
            review.of(hash_of(&marks));
            return;
        }
        let Some((table, key)) = layout::parse(place) else {
            flaws.add("tree", Some(hex::encode(place)), "it belongs to no table");
            return;
        };
        let extent = found.tables.entry(table).or_default();
        extent.entries += 1;
        extent.bytes += (place.len() + stored.len()) as u64;
        match (table, key.as_slice().try_into().map(u64::from_be_bytes)) {
            (Table::Main, Ok(height)) => found.height = height,
            (Table::Seals, Ok(_)) => {
                newest_seal = value::unseal(table, &key, stored).unwrap_or_default().to_vec();
            }
            _ => {}
        }
        if depth == Depth::Records {
            review.record(table, &key, stored, flaws);
        }
    })?;
    if depth == Depth::Records {
        review.finish(&mut flaws);
    }
    found.free_bytes = bytes(walk.free_pages(&mut flaws)?);
    check_marks(&marks, network, &mut flaws);
    found.network = hash_of(&marks);
    found.is_clean = marks.get(CLEAN_NAME.as_bytes()).is_some_and(|mark| mark == &[1]);
    found.sealed = parse::<StoredSeal>(&newest_seal).map(|stored| {
        let checkpoint = stored.checkpoint();
        (checkpoint.index, checkpoint.height.0)
    });
    found.flaws = flaws;
    Ok(found)
}

fn hash_of(marks: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Hash> {
    marks.get(NETWORK_NAME.as_bytes())?.as_slice().try_into().ok().map(Hash)
}

/// Records of our own: three are one of few, the last has a checksum.
fn check_marks(marks: &BTreeMap<Vec<u8>, Vec<u8>>, network: Option<Hash>, flaws: &mut Flaws) {
    let name = |name: &str| Some(name.to_owned());
    let mark = |name: &str| marks.get(name.as_bytes()).map(Vec::as_slice);
    match mark(FORMAT_NAME).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) {
        Some(FORMAT) => {}
        Some(found) => {
            let why =
                format!("{found}: this version reads {FORMAT}; a later one may have written it");
            flaws.add(MARKS, name(FORMAT_NAME), why);
        }
        None => flaws.add(MARKS, name(FORMAT_NAME), "there is no record of it"),
    }
    match (hash_of(marks), network) {
        (None, _) => flaws.add(MARKS, name(NETWORK_NAME), "there is no record of it"),
        (Some(found), Some(due)) if found != due => {
            let why = format!("it is of network {found}, the configuration of {due}");
            flaws.add(MARKS, name(NETWORK_NAME), why);
        }
        (Some(_), _) => {}
    }
    if !matches!(mark(CLEAN_NAME), Some([0 | 1])) {
        flaws.add(MARKS, name(CLEAN_NAME), "it is neither yes nor no");
    }
    if mark(SIGNED_NAME).is_some_and(|bytes| !witness::is_whole(bytes)) {
        flaws.add(MARKS, name(SIGNED_NAME), "it is damaged");
    }
    let known = [FORMAT_NAME, NETWORK_NAME, CLEAN_NAME, SIGNED_NAME].map(str::as_bytes);
    for other in marks.keys().filter(|other| !known.contains(&other.as_slice())) {
        flaws.add(MARKS, Some(String::from_utf8_lossy(other).into_owned()), "nobody knows it");
    }
}
