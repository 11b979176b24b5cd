//! Every page of the file, each once: the tree of our records in order, the tree of free pages, and whether both
//! together are all there is. What is wrong is noted, and the walk goes on beside it.

use std::cmp::Ordering;
use std::fs::File;
use std::io;

use super::layout;
use super::pages::{self, Meta, Page, PageError, Root, Value};

/// Flaws kept: more say nothing new.
const FLAWS_MAX: usize = 100;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Of the tables; or what belongs to none of them: `metadata`, `marks`, `tree`, `free pages`.
    pub table: &'static str,
    /// For people; nothing when it is not about one record.
    pub key: Option<String>,
    pub why: String,
}

/// What is wrong, as far as it is kept.
#[derive(Debug, Default)]
pub struct Flaws {
    pub kept: Vec<Flaw>,
    pub count: usize,
}

/// A walk under way.
pub(super) struct Walk<'a> {
    file: &'a File,
    meta: Meta,
    /// Pages met, of those that the file has.
    met: Vec<bool>,
    pages: usize,
    free: usize,
    progress: &'a mut dyn FnMut(usize, usize),
}

/// Takes a key, its value and where flaws are noted.
type Visit<'v> = dyn FnMut(&[u8], &[u8], &mut Flaws) + 'v;

/// The tree that is walked.
struct Course<'c, 'v> {
    name: &'static str,
    compare: fn(&[u8], &[u8]) -> Ordering,
    visit: &'c mut Visit<'v>,
    branches: usize,
    leaves: usize,
    overflow: usize,
    entries: usize,
}

/// Keys below a page are at or after the first and before the second.
#[derive(Clone, Copy)]
struct Bounds<'k> {
    low: Option<&'k [u8]>,
    high: Option<&'k [u8]>,
}

impl Flaws {
    /// Notes one more.
    pub fn add(&mut self, table: &'static str, key: Option<String>, why: impl Into<String>) {
        self.count += 1;
        if self.kept.len() < FLAWS_MAX {
            self.kept.push(Flaw { table, key, why: why.into() });
        }
    }
}

impl<'a> Walk<'a> {
    /// Nothing met yet. `progress` is told of pages met, and of all there are.
    pub(super) fn new(
        file: &'a File,
        meta: Meta,
        progress: &'a mut dyn FnMut(usize, usize),
    ) -> io::Result<Walk<'a>> {
        let pages = file.metadata()?.len() / meta.page_bytes as u64;
        let pages = usize::try_from(pages).unwrap_or(usize::MAX).min(meta.last_page + 1);
        Ok(Walk { file, meta, met: vec![false; pages], pages: 2, free: 0, progress })
    }

    /// Shows every record, in order.
    pub(super) fn records(&mut self, flaws: &mut Flaws, visit: &mut Visit<'_>) -> io::Result<()> {
        self.tree("tree", self.meta.main, |a, b| a.cmp(b), flaws, visit)
    }

    /// Walks the tree of free pages, after the other one; how many are free.
    pub(super) fn free_pages(&mut self, flaws: &mut Flaws) -> io::Result<usize> {
        const NAME: &str = "free pages";
        let by_number = |a: &[u8], b: &[u8]| pages::transaction(a).cmp(&pages::transaction(b));
        let mut lists = Vec::new();
        let newest = self.meta.transaction;
        self.tree(NAME, self.meta.free, by_number, flaws, &mut |key, value, flaws| {
            let at = pages::transaction(key).filter(|at| *at <= newest);
            match (at, pages::free_pages(value)) {
                (Some(_), Some(list)) => lists.push(list),
                _ => flaws.add(NAME, None, "a list of pages is not what was written"),
            }
        })?;
        for page in lists.into_iter().flatten() {
            if page < 2 || page > self.meta.last_page || !self.meet(page) {
                flaws.add(NAME, None, format!("page {page} is free, and in use"));
            }
            self.free += 1;
        }
        let (found, all) = (self.pages + self.free, self.meta.last_page + 1);
        if flaws.count == 0 && found != all {
            flaws.add("metadata", None, format!("{all} pages, of which {found} are used or free"));
        }
        Ok(self.free)
    }

    fn tree(
        &mut self,
        name: &'static str,
        root: Root,
        compare: fn(&[u8], &[u8]) -> Ordering,
        flaws: &mut Flaws,
        visit: &mut Visit<'_>,
    ) -> io::Result<()> {
        let mut course =
            Course { name, compare, visit, branches: 0, leaves: 0, overflow: 0, entries: 0 };
        let before = flaws.count;
        if root.is_too_deep() || (root.depth == 0) != root.is_empty() {
            flaws.add(name, None, format!("a depth of {} is wrong", root.depth));
        } else if !root.is_empty() {
            let bounds = Bounds { low: None, high: None };
            self.descend(&mut course, root.page, root.depth, bounds, flaws)?;
        }
        let found = [course.branches, course.leaves, course.overflow, course.entries];
        let named = [root.branches, root.leaves, root.overflow, root.entries];
        if flaws.count == before && found != named {
            let why = format!(
                "branches, leaves, pages of long values and entries: {named:?} by the metadata, {found:?} found"
            );
            flaws.add(name, None, why);
        }
        Ok(())
    }

    fn descend(
        &mut self,
        course: &mut Course<'_, '_>,
        number: usize,
        depth: u16,
        bounds: Bounds<'_>,
        flaws: &mut Flaws,
    ) -> io::Result<()> {
        let is_leaf = depth == 1;
        let read = match self.meet(number) {
            true => Page::read(self.file, &self.meta, number, is_leaf),
            false => Err(PageError::Wrong("it is used twice, or there is no such page".to_owned())),
        };
        let page = match read {
            Ok(page) => page,
            Err(PageError::Io(error)) => return Err(error),
            Err(PageError::Wrong(why)) => {
                course.flaw(flaws, bounds.low, format!("page {number}: {why}"));
                return Ok(());
            }
        };
        self.pages += 1;
        if is_leaf {
            course.leaves += 1;
            return self.leaf(course, &page, bounds, flaws);
        }
        course.branches += 1;
        self.branch(course, &page, depth, bounds, flaws)
    }

    fn branch(
        &mut self,
        course: &mut Course<'_, '_>,
        page: &Page,
        depth: u16,
        bounds: Bounds<'_>,
        flaws: &mut Flaws,
    ) -> io::Result<()> {
        let mut below = Vec::with_capacity(page.nodes());
        for number in 0..page.nodes() {
            match page.node(number, false) {
                Ok(node) => below.push(node),
                Err(PageError::Io(error)) => return Err(error),
                Err(PageError::Wrong(why)) => {
                    course.flaw(flaws, bounds.low, format!("page {}: {why}", page.number));
                    return Ok(());
                }
            }
        }
        for (number, node) in below.iter().enumerate() {
            // The first key of a branch is never read.
            let low = if number == 0 { bounds.low } else { Some(node.key) };
            let high = below.get(number + 1).map_or(bounds.high, |next| Some(next.key));
            let apart = |low, high| (course.compare)(low, high) == Ordering::Less;
            if !low.zip(high).is_none_or(|(low, high)| apart(low, high)) {
                course.flaw(flaws, low, format!("page {}: its keys are not in order", page.number));
                continue;
            }
            if let Value::Below(child) = node.value {
                self.descend(course, child, depth - 1, Bounds { low, high }, flaws)?;
            }
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        course: &mut Course<'_, '_>,
        page: &Page,
        bounds: Bounds<'_>,
        flaws: &mut Flaws,
    ) -> io::Result<()> {
        let mut before: Option<Vec<u8>> = None;
        for number in 0..page.nodes() {
            let at = before.as_deref().or(bounds.low);
            let node = match page.node(number, true) {
                Ok(node) => node,
                Err(PageError::Io(error)) => return Err(error),
                Err(PageError::Wrong(why)) => {
                    course.flaw(flaws, at, format!("page {}: {why}", page.number));
                    continue;
                }
            };
            let order = |other: &[u8]| (course.compare)(node.key, other);
            let late = before.as_deref().is_none_or(|before| order(before) == Ordering::Greater)
                && bounds.low.is_none_or(|low| order(low) != Ordering::Less);
            let early = bounds.high.is_none_or(|high| order(high) == Ordering::Less);
            if !late || !early {
                course.flaw(flaws, at, format!("page {}: its keys are not in order", page.number));
                continue;
            }
            course.entries += 1;
            match node.value {
                Value::Here(value) => (course.visit)(node.key, value, flaws),
                Value::Run { page, bytes } => match self.run(course, page, bytes) {
                    Ok(value) => (course.visit)(node.key, &value, flaws),
                    Err(PageError::Io(error)) => return Err(error),
                    Err(PageError::Wrong(why)) => course.flaw(flaws, Some(node.key), why),
                },
                Value::Below(_) => {}
            }
            before = Some(node.key.to_vec());
        }
        Ok(())
    }

    fn run(
        &mut self,
        course: &mut Course<'_, '_>,
        first: usize,
        bytes: usize,
    ) -> Result<Vec<u8>, PageError> {
        let (value, pages) = pages::run(self.file, &self.meta, first, bytes)?;
        for page in first..first + pages {
            if !self.meet(page) {
                return Err(PageError::Wrong(format!("page {page} is used twice")));
            }
        }
        self.pages += pages;
        course.overflow += pages;
        Ok(value)
    }

    /// Notes that a page is used; whether that is the first time. A free page may be behind the end of the file.
    fn meet(&mut self, page: usize) -> bool {
        (self.progress)(self.pages + self.free, self.meta.last_page + 1);
        match self.met.get_mut(page) {
            Some(met) => !std::mem::replace(met, true),
            None => page <= self.meta.last_page,
        }
    }
}

impl Course<'_, '_> {
    /// What is wrong below or behind a key belongs to its table.
    fn flaw(&self, flaws: &mut Flaws, at: Option<&[u8]>, why: String) {
        let table = match at.filter(|_| self.name == "tree").and_then(layout::parse) {
            Some((table, _)) => table.name(),
            None => self.name,
        };
        flaws.add(table, None, why);
    }
}
