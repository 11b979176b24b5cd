//! Where a record lies. All tables share one tree of LMDB, and those that grow with the chain are ordered by height
//! first: what a block brings is written side by side. A tree for each table would be simpler to read and would cost an
//! SD card half as much again, because each write rewrites the pages from a leaf up to the root.
//!
//! area (1), and behind it the key; in the area of the chain: height (8) ‖ kind (1) ‖ rest of the key.

use crate::machine::records::Table;

/// Bytes of the height, which keys of the chain begin with.
const HEIGHT_BYTES: usize = 8;

const META: u8 = 0;
const POOL: u8 = 1;
const DUTIES: u8 = 2;
const SEALS: u8 = 3;
const STATES: u8 = 4;
const PREPARED: u8 = 5;
const EVIDENCE: u8 = 6;
const HALT: u8 = 7;
/// The last area: new blocks are added at the end of the tree.
const CHAIN: u8 = 8;

/// The part of the tree that a table is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// An area of its own.
    Area(u8),
    /// Every record of this kind in the area of the chain.
    Kind(u8),
}

/// Where to go on looking for the records of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This is one: its key in the table.
    Found(Vec<u8>),
    /// Not before (or, downwards, not at or after) this place.
    Seek(Vec<u8>),
    /// There is none.
    End,
}

/// The place of a record of our own about the database.
pub(super) fn meta(name: &str) -> Vec<u8> {
    [&[META], name.as_bytes()].concat()
}

/// Table and key of a place; nothing for a record of our own, and where no record can be.
pub(super) fn parse(place: &[u8]) -> Option<(Table, Vec<u8>)> {
    Table::ALL.into_iter().find_map(|table| match Part::of(table).look(place) {
        Look::Ours(key) => Some((table, key)),
        Look::Other { .. } | Look::Outside => None,
    })
}

/// The name of a record of our own about the database.
pub(super) fn parse_meta(place: &[u8]) -> Option<&[u8]> {
    place.strip_prefix(&[META])
}

impl Part {
    pub(super) fn of(table: Table) -> Part {
        match table {
            Table::Main => Part::Kind(0),
            Table::Headers => Part::Kind(1),
            Table::Bodies => Part::Kind(2),
            Table::Pool => Part::Area(POOL),
            Table::Duties => Part::Area(DUTIES),
            Table::Seals => Part::Area(SEALS),
            Table::States => Part::Area(STATES),
            Table::Prepared => Part::Area(PREPARED),
            Table::Evidence => Part::Area(EVIDENCE),
            Table::Halt => Part::Area(HALT),
        }
    }

    /// The place of a key; nothing for a key that no record of this table can have.
    pub(super) fn place(self, key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Part::Area(area) => Some([&[area], key].concat()),
            Part::Kind(kind) => {
                let (height, rest) = key.split_at_checked(HEIGHT_BYTES)?;
                Some([&[CHAIN], height, &[kind], rest].concat())
            }
        }
    }

    /// A place that no record with this key or a later one is before.
    pub(super) fn start(self, from: &[u8]) -> Vec<u8> {
        let mut padded = from.to_vec();
        if let Part::Kind(_) = self {
            padded.resize(from.len().max(HEIGHT_BYTES), 0);
        }
        self.place(&padded).expect("it is as long as a height")
    }

    /// A place that all records of this part are before.
    pub(super) fn end(self) -> Vec<u8> {
        match self {
            Part::Area(area) => vec![area + 1],
            Part::Kind(_) => vec![CHAIN + 1],
        }
    }

    /// Looks at the first record at or after a place of this part.
    pub(super) fn up(self, found: &[u8]) -> Step {
        let kind = match self.look(found) {
            Look::Ours(key) => return Step::Found(key),
            Look::Outside => return Step::End,
            Look::Other { kind } => kind,
        };
        let Part::Kind(ours) = self else { return Step::End };
        let mut height = [0; HEIGHT_BYTES];
        height.copy_from_slice(&found[1..=HEIGHT_BYTES]);
        let next = if kind < ours { Some(height) } else { above(height) };
        next.map_or(Step::End, |height| Step::Seek([&[CHAIN], height.as_slice(), &[ours]].concat()))
    }

    /// Looks at the last record before a place.
    pub(super) fn down(self, found: &[u8]) -> Step {
        let kind = match self.look(found) {
            Look::Ours(key) => return Step::Found(key),
            Look::Outside => return Step::End,
            Look::Other { kind } => kind,
        };
        let Part::Kind(ours) = self else { return Step::End };
        let mut bound = found[..=HEIGHT_BYTES].to_vec();
        if kind > ours {
            bound.push(ours + 1);
        }
        Step::Seek(bound)
    }

    fn look(self, found: &[u8]) -> Look {
        match (self, found) {
            (Part::Area(area), [first, key @ ..]) if *first == area => Look::Ours(key.to_vec()),
            (Part::Kind(ours), [CHAIN, key @ ..]) => match key.split_at_checked(HEIGHT_BYTES) {
                Some((height, [kind, rest @ ..])) if *kind == ours => {
                    Look::Ours([height, rest].concat())
                }
                Some((_, [kind, ..])) => Look::Other { kind: *kind },
                _ => Look::Outside,
            },
            _ => Look::Outside,
        }
    }
}

enum Look {
    Ours(Vec<u8>),
    Other { kind: u8 },
    Outside,
}

fn above(height: [u8; HEIGHT_BYTES]) -> Option<[u8; HEIGHT_BYTES]> {
    u64::from_be_bytes(height).checked_add(1).map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_of_a_height_lie_together_and_in_the_order_of_their_tables() {
        let key = |height: u64, rest: &[u8]| [&height.to_be_bytes(), rest].concat();
        let place = |table, key: &[u8]| Part::of(table).place(key).unwrap();
        let places = [
            meta("format"),
            place(Table::Pool, b"zz"),
            place(Table::Duties, b"aa"),
            place(Table::Main, &key(7, b"")),
            place(Table::Headers, &key(7, b"a")),
            place(Table::Headers, &key(7, b"b")),
            place(Table::Bodies, &key(7, b"a")),
            place(Table::Main, &key(8, b"")),
        ];
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(Part::of(Table::Main).place(&[0; 7]), None);
        assert_eq!(parse(&places[4]), Some((Table::Headers, key(7, b"a"))));
        assert_eq!((parse(&places[0]), parse_meta(&places[0])), (None, Some(b"format".as_slice())));
        assert_eq!(parse(&[CHAIN, 1, 2]), None);
    }
}
