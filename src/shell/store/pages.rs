//! The file of LMDB, read page by page without LMDB: it follows what a page says without a look, and a page that lost a
//! bit would end the process. Here every number is compared with what it can be before it is used; then LMDB can
//! read the same pages.
//!
//! Layout (mdb.c of LMDB 0.9): two pages with metadata, of which the newer counts; pages of two trees, one of free pages
//! and one of ours; runs of pages for values that fit in none. Numbers are those of the machine, so the layout
//! differs between 32 and 64 bits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a number of a page, or of a transaction.
const WORD: usize = size_of::<usize>();
/// Bytes before the content of a page: its number, padding, flags, and two bounds.
const HEAD: usize = WORD + 8;
/// Bytes before the key of a node.
const NODE: usize = 8;
/// Longest key.
const KEY_MAX: usize = 511;
/// Deepest tree: as deep as a cursor of LMDB.
const DEPTH_MAX: u16 = 32;
/// Bytes of the record of a tree.
const TREE: usize = 8 + 5 * WORD;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
/// Keys of the free tree are numbers.
const FREE_FLAGS: u16 = 8;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const META: u16 = 8;
/// The value of a node is a run of pages.
const BIG: u16 = 1;
/// The root of a tree without pages.
const NOWHERE: usize = usize::MAX;

/// What is wrong, as far as pages are concerned; an I/O error is another matter.
#[derive(Debug)]
pub(super) enum PageError {
    Io(io::Error),
    Wrong(String),
}

/// What the metadata that counts says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub page_bytes: usize,
    pub map_bytes: usize,
    pub last_page: usize,
    pub transaction: usize,
    pub free: Root,
    pub main: Root,
}

/// A tree by its root, and what it should consist of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    flags: u16,
    pub depth: u16,
    pub branches: usize,
    pub leaves: usize,
    pub overflow: usize,
    pub entries: usize,
    pub page: usize,
}

/// A page that was read, with its number.
pub(super) struct Page {
    pub number: usize,
    bytes: Vec<u8>,
}

/// A node of a page.
pub(super) struct Node<'a> {
    pub key: &'a [u8],
    pub value: Value<'a>,
}

/// What is behind a key.
pub(super) enum Value<'a> {
    /// In a branch: the page below.
    Below(usize),
    /// In a leaf.
    Here(&'a [u8]),
    /// In a run of pages.
    Run { page: usize, bytes: usize },
}

type Checked<T> = Result<T, PageError>;

fn wrong<T>(why: impl Into<String>) -> Checked<T> {
    Err(PageError::Wrong(why.into()))
}

impl From<io::Error> for PageError {
    fn from(error: io::Error) -> PageError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                PageError::Wrong("it is behind the end of the file".to_owned())
            }
            _ => PageError::Io(error),
        }
    }
}

/// The metadata of a file. Both pages must be right: LMDB refuses the file otherwise.
pub(super) fn meta(file: &File) -> Checked<Meta> {
    let first = read_meta(file, 0, 0)?;
    let second = read_meta(file, 1, first.page_bytes)?;
    if first.page_bytes != second.page_bytes {
        return wrong("the two pages of metadata name different sizes of pages");
    }
    let (newer, older, number) = match first.transaction < second.transaction {
        true => (second, first, 1),
        false => (first, second, 0),
    };
    // They are written in turn; before the first write both are of transaction 0.
    let in_turn = newer.transaction.checked_sub(1) == Some(older.transaction)
        && newer.transaction % 2 == number;
    if !in_turn && newer.transaction > 0 {
        return wrong("the two pages of metadata are not of the last two transactions");
    }
    Ok(newer)
}

fn read_meta(file: &File, number: usize, at: usize) -> Checked<Meta> {
    let mut bytes = vec![0; HEAD + 8 + 2 * WORD + 2 * TREE + 2 * WORD];
    file.read_exact_at(&mut bytes, at as u64)?;
    let place = format!("metadata {number}");
    let at = HEAD;
    if flags(&bytes) != META || u32_at(&bytes, at) != MAGIC || u32_at(&bytes, at + 4) != VERSION {
        return wrong(format!(
            "{place}: not a database of this kind of machine (32 and 64 bits differ), or its first pages are lost"
        ));
    }
    if word_at(&bytes, 0) != number {
        return wrong(format!("{place}: it has the number of another page"));
    }
    let trees = at + 8 + 2 * WORD;
    let page_bytes = u32_at(&bytes, trees) as usize;
    if !page_bytes.is_power_of_two() || !(512..=32_768).contains(&page_bytes) {
        return wrong(format!("{place}: pages of {page_bytes} bytes"));
    }
    let meta = Meta {
        page_bytes,
        map_bytes: word_at(&bytes, at + 8 + WORD),
        free: read_root(&bytes[trees..]),
        main: read_root(&bytes[trees + TREE..]),
        last_page: word_at(&bytes, trees + 2 * TREE),
        transaction: word_at(&bytes, trees + 2 * TREE + WORD),
    };
    if meta.free.flags != FREE_FLAGS || meta.main.flags != 0 {
        return wrong(format!("{place}: unknown flags"));
    }
    if meta.last_page == 0 || meta.last_page > usize::MAX / page_bytes - 1 {
        return wrong(format!("{place}: the last page cannot be {}", meta.last_page));
    }
    Ok(meta)
}

fn read_root(bytes: &[u8]) -> Root {
    let word = |number: usize| word_at(bytes, 8 + number * WORD);
    Root {
        flags: u16_at(bytes, 4),
        depth: u16_at(bytes, 6),
        branches: word(0),
        leaves: word(1),
        overflow: word(2),
        entries: word(3),
        page: word(4),
    }
}

impl Root {
    /// Whether there are no pages.
    pub(super) fn is_empty(&self) -> bool {
        self.page == NOWHERE
    }

    /// Whether it is deeper than any.
    pub(super) fn is_too_deep(&self) -> bool {
        self.depth > DEPTH_MAX
    }
}

impl Page {
    /// Reads a page of a tree. `is_leaf` is what its depth says it is.
    pub(super) fn read(file: &File, meta: &Meta, number: usize, is_leaf: bool) -> Checked<Page> {
        let mut bytes = vec![0; meta.page_bytes];
        file.read_exact_at(&mut bytes, offset(meta, number)?)?;
        let page = Page { number, bytes };
        let due = if is_leaf { LEAF } else { BRANCH };
        if word_at(&page.bytes, 0) != number || flags(&page.bytes) != due {
            let kind = if is_leaf { "leaf" } else { "branch" };
            return wrong(format!("it is no {kind} of this number"));
        }
        let (lower, upper) = (page.lower(), usize::from(u16_at(&page.bytes, HEAD - 2)));
        if lower < HEAD || lower % 2 != 0 || lower > upper || upper > meta.page_bytes {
            return wrong("its bounds are not those of a page");
        }
        let least = if is_leaf { 1 } else { 2 };
        if page.nodes() < least {
            return wrong("there is too little in it");
        }
        Ok(page)
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        (self.lower() - HEAD) / 2
    }

    /// A node by its number.
    pub(super) fn node(&self, number: usize, is_leaf: bool) -> Checked<Node<'_>> {
        let at = usize::from(u16_at(&self.bytes, HEAD + 2 * number));
        let upper = usize::from(u16_at(&self.bytes, HEAD - 2));
        if at < upper || at % 2 != 0 || at + NODE > self.bytes.len() {
            return wrong(format!("node {number} is outside of the page"));
        }
        let part = |place: usize| usize::from(u16_at(&self.bytes, at + 2 * place));
        let (low, high, flags, key_bytes) = (part(0), part(1), part(2), part(3));
        let start = at + NODE;
        let Some(key) = self.bytes.get(start..start + key_bytes).filter(|_| key_bytes <= KEY_MAX)
        else {
            return wrong(format!("the key of node {number} is too long"));
        };
        if !is_leaf {
            let top = flags.checked_shl(32).unwrap_or(0);
            return Ok(Node { key, value: Value::Below(low | high << 16 | top) });
        }
        let (bytes, start) = (low | high << 16, start + key_bytes);
        let value = match u16::try_from(flags) {
            Ok(0) => self.bytes.get(start..start.saturating_add(bytes)).map(Value::Here),
            Ok(BIG) if start + WORD <= self.bytes.len() => {
                Some(Value::Run { page: word_at(&self.bytes, start), bytes })
            }
            _ => None,
        };
        match value {
            Some(value) => Ok(Node { key, value }),
            None => wrong(format!("the value of node {number} is outside of the page")),
        }
    }

    fn lower(&self) -> usize {
        usize::from(u16_at(&self.bytes, HEAD - 4))
    }
}

/// A value in a run of pages, and how many pages it has.
pub(super) fn run(
    file: &File,
    meta: &Meta,
    page: usize,
    bytes: usize,
) -> Checked<(Vec<u8>, usize)> {
    let least = (HEAD - 1 + bytes) / meta.page_bytes + 1;
    let mut head = [0; HEAD];
    let start = offset(meta, page)?;
    file.read_exact_at(&mut head, start)?;
    let pages = u32_at(&head, HEAD - 4) as usize;
    let last = page.checked_add(pages.saturating_sub(1)).unwrap_or(NOWHERE);
    if word_at(&head, 0) != page || flags(&head) != OVERFLOW || pages < least {
        return wrong(format!("page {page} is not the first of the value's"));
    }
    if last > meta.last_page || start.saturating_add(bytes as u64) > file.metadata()?.len() {
        return wrong(format!("the value at page {page} is longer than the file"));
    }
    let mut value = vec![0; bytes];
    file.read_exact_at(&mut value, start + HEAD as u64)?;
    Ok((value, pages))
}

/// Numbers of free pages: how many, then from the last to the first.
pub(super) fn free_pages(value: &[u8]) -> Option<Vec<usize>> {
    if value.len() % WORD != 0 {
        return None;
    }
    let mut words = value.chunks_exact(WORD).map(|word| word_at(word, 0));
    let count = words.next()?;
    let pages: Vec<usize> = words.take(count).collect();
    let in_order = pages.windows(2).all(|pair| pair[0] > pair[1]);
    (pages.len() == count && in_order).then_some(pages)
}

/// The number of the transaction that a key of the free tree is.
pub(super) fn transaction(key: &[u8]) -> Option<usize> {
    (key.len() == WORD).then(|| word_at(key, 0))
}

fn offset(meta: &Meta, page: usize) -> Checked<u64> {
    if page < 2 || page > meta.last_page {
        return wrong(format!("there is no page {page}"));
    }
    Ok(page as u64 * meta.page_bytes as u64)
}

fn flags(page: &[u8]) -> u16 {
    u16_at(page, WORD + 2)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(number)
}

fn word_at(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; WORD];
    number.copy_from_slice(&bytes[at..at + WORD]);
    usize::from_ne_bytes(number)
}
