//! What a card could hold after a power cut, from the record of what a process did to its files.
//!
//! A change is safe when its file was flushed after it, a name when its directory was. Of what is not safe a card may
//! have the first so many and of the next one the beginning, or any, or of each piece of it any sectors, of which some
//! have stopped half way; and of a file the length without the bytes.
//!
//! Not here: cards that lie about a flush, that damage what was safe before (neighbours in flash), or that leave a sector
//! neither old nor new; and LMDB's lock file, which is written through a map and made anew by whoever opens first.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hypernode::types::rng::Rng;

use crate::disk;

/// What a disk writes whole or, when it stops in the middle, up to a byte.
const SECTOR: usize = 512;

/// One thing that a process did to a file or directory, by its path in the directory that was watched.
#[derive(Debug, Clone)]
pub struct Deed {
    pub path: String,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Create,
    MakeDir,
    /// `waits`: it returned when the bytes were on disk.
    Write {
        at: usize,
        bytes: Vec<u8>,
        waits: bool,
    },
    Cut(usize),
    Rename(String),
    Remove,
    Flush,
}

/// Reads what recorder.c wrote about `dir`.
pub fn read(log: &Path, dir: &Path) -> Vec<Deed> {
    let log = fs::read(log).expect("the recorder made it");
    let mut rest = log.as_slice();
    let mut deeds = Vec::new();
    while !rest.is_empty() {
        let kind = take(&mut rest, 1)[0];
        let length = u32::from_ne_bytes(take(&mut rest, 4).try_into().expect("four bytes"));
        let path = take(&mut rest, length as usize);
        let number = number(&mut rest);
        let length = self::number(&mut rest);
        let bytes = take(&mut rest, length).to_vec();
        let inside = |path: &[u8]| {
            let path = Path::new(std::str::from_utf8(path).expect("we named them"));
            let path = path.strip_prefix(dir).expect("it is in there");
            path.to_str().expect("we named them").to_owned()
        };
        let what = match kind {
            b'c' => What::Create,
            b'd' => What::MakeDir,
            b'w' | b'W' => What::Write { at: number, bytes, waits: kind == b'W' },
            b't' => What::Cut(number),
            b'r' => What::Rename(inside(&bytes)),
            b'u' => What::Remove,
            b's' => What::Flush,
            other => panic!("a record of kind {other}"),
        };
        deeds.push(Deed { path: inside(path), what });
    }
    deeds
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

fn number(rest: &mut &[u8]) -> usize {
    let bytes = take(rest, 8).try_into().expect("eight bytes");
    usize::try_from(u64::from_ne_bytes(bytes)).expect("it fits a memory")
}

/// What may have happened of what is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    InOrder,
    AnyOrder,
    Torn,
}

impl Loss {
    pub const ALL: [Loss; 3] = [Loss::InOrder, Loss::AnyOrder, Loss::Torn];
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// What is not safe yet.
#[derive(Debug, Clone)]
enum Change {
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: usize,
        length: usize,
    },
    /// A name stands for something, and another for nothing any more.
    Name {
        now: Option<(String, Node)>,
        gone: Option<String>,
    },
}

/// A card while a process works on it.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// Safe bytes of each file that was ever made, and safe names.
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, Node>,
    /// Names as the process sees them.
    seen: BTreeMap<String, Node>,
    waiting: Vec<Change>,
}

impl Card {
    /// The process does this, and it ends.
    pub fn work(&mut self, deed: &Deed) {
        let begun = self.waiting.len();
        self.begin(deed);
        match (&deed.what, self.seen.get(&deed.path)) {
            (What::Flush, Some(Node::File(file))) => {
                let file = *file;
                self.settle(|change| change.file() == Some(file));
            }
            (What::Flush, _) => self.settle(|change| change.is_name_in(&deed.path)),
            (What::Write { waits: true, .. }, _) => {
                let write = self.waiting[begun].clone();
                self.settle(|change| change.overlaps(&write));
            }
            _ => {}
        }
    }

    /// The process does this, and the power goes before it knows the end of it.
    pub fn begin(&mut self, deed: &Deed) {
        let path = deed.path.clone();
        let file = |seen: &BTreeMap<String, Node>| match seen.get(&deed.path) {
            Some(Node::File(file)) => *file,
            other => panic!("{deed:?} of {other:?}"),
        };
        let change = match &deed.what {
            What::Flush => return,
            What::Create => {
                self.files.push(Vec::new());
                Change::Name { now: Some((path, Node::File(self.files.len() - 1))), gone: None }
            }
            What::MakeDir => Change::Name { now: Some((path, Node::Dir)), gone: None },
            What::Write { at, bytes, .. } => {
                Change::Write { file: file(&self.seen), at: *at, bytes: bytes.clone() }
            }
            What::Cut(length) => Change::Cut { file: file(&self.seen), length: *length },
            What::Rename(to) => {
                let node = self.seen[&path];
                Change::Name { now: Some((to.clone(), node)), gone: Some(path) }
            }
            What::Remove => Change::Name { now: None, gone: Some(path) },
        };
        if let Change::Name { now, gone } = &change {
            rename(&mut self.seen, now.as_ref(), gone.as_ref());
        }
        self.waiting.push(change);
    }

    /// Changes that match are safe from here on.
    fn settle(&mut self, is_safe: impl Fn(&Change) -> bool) {
        for change in std::mem::take(&mut self.waiting) {
            if is_safe(&change) { self.happen(&change) } else { self.waiting.push(change) }
        }
    }

    fn happen(&mut self, change: &Change) {
        match change {
            Change::Write { file, at, bytes } => write(&mut self.files[*file], *at, bytes),
            Change::Cut { file, length } => self.files[*file].resize(*length, 0),
            Change::Name { now, gone } => rename(&mut self.names, now.as_ref(), gone.as_ref()),
        }
    }

    /// The power goes: what of the rest has happened, a die says.
    pub fn lose(&mut self, loss: Loss, rng: &mut Rng) {
        let waiting = std::mem::take(&mut self.waiting);
        let kept = rng.below(waiting.len() as u64 + 1);
        let likely = [10, 50, 90][usize::try_from(rng.below(3)).expect("three")];
        for (change, number) in waiting.iter().zip(0..) {
            match (loss, change) {
                (Loss::InOrder, _) if number < kept => self.happen(change),
                // The one that was under way stops at any byte.
                (Loss::InOrder, Change::Write { file, at, bytes }) => {
                    let length = rng.index(bytes.len() + 1);
                    return write(&mut self.files[*file], *at, &bytes[..length]);
                }
                (Loss::InOrder, _) => return,
                (Loss::Torn, Change::Write { file, at, bytes }) => {
                    for (part, at) in sectors(*at, bytes) {
                        let stopped = rng.below(u64::try_from(part.len()).expect("a sector") + 1);
                        let length = match rng.below(100) {
                            die if die >= likely => continue,
                            0..5 => usize::try_from(stopped).expect("a sector"),
                            _ => part.len(),
                        };
                        write(&mut self.files[*file], at, &part[..length]);
                    }
                }
                _ if rng.below(100) < likely => self.happen(change),
                // A file may have its length already, and not yet its bytes.
                (_, Change::Write { file, at, bytes }) if rng.one_in(3) => {
                    let file = &mut self.files[*file];
                    file.resize(file.len().max(at + bytes.len()), 0);
                }
                _ => {}
            }
        }
    }

    /// Makes the files in an empty directory.
    pub fn put(&self, dir: &Path) {
        for (name, node) in &self.names {
            let path = dir.join(name);
            // A file whose directory is lost is lost.
            if path.parent().is_some_and(Path::is_dir) {
                match node {
                    Node::Dir => fs::create_dir(path).expect("there is room"),
                    Node::File(file) => disk::put_file(&path, &self.files[*file]),
                }
            }
        }
    }
}

impl Change {
    fn file(&self) -> Option<usize> {
        match self {
            Change::Write { file, .. } | Change::Cut { file, .. } => Some(*file),
            Change::Name { .. } => None,
        }
    }

    fn is_name_in(&self, dir: &str) -> bool {
        let Change::Name { now, gone } = self else { return false };
        let name = now.as_ref().map(|(name, _)| name).or(gone.as_ref()).expect("one of them");
        name.rsplit_once('/').map_or("", |(dir, _)| dir) == dir
    }

    /// Whether it is of the same bytes: of two versions the page cache has the later one.
    fn overlaps(&self, write: &Change) -> bool {
        match (self, write) {
            (
                Change::Write { file, at, bytes },
                Change::Write { file: its, at: from, bytes: of },
            ) => file == its && *at < from + of.len() && *from < at + bytes.len(),
            _ => false,
        }
    }
}

fn rename(names: &mut BTreeMap<String, Node>, now: Option<&(String, Node)>, gone: Option<&String>) {
    if let Some(gone) = gone {
        names.remove(gone);
    }
    if let Some((name, node)) = now {
        names.insert(name.clone(), *node);
    }
}

/// Bytes behind the end make a file longer, with zeros between.
fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Cut where sectors begin, each with its place.
fn sectors(at: usize, bytes: &[u8]) -> Vec<(&[u8], usize)> {
    let first = (SECTOR - at % SECTOR).min(bytes.len());
    let (head, tail) = bytes.split_at(first);
    let rest = tail.chunks(SECTOR).zip((at + first..).step_by(SECTOR));
    [(head, at)].into_iter().chain(rest).collect()
}
