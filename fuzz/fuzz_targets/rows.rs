//! Rows with anything in their cells: reading a ledger of them ends, never panics, and all that its blocks do can be
//! taken back to nothing.
//!
//! An input is read byte by byte: first how the table is made, then rows, cell after cell. A cell is of any type, or what
//! stands in such a column usually, for no mutation finds a good registration.

#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hypernode::machine::ledger::{Follower, LedgerNews};
use hypernode::rules::registry::{Registry, Scope, Undo};
use hypernode::shell::ledger::LedgerFile;
use hypernode::types::address::Address;
use hypernode::types::network::Network;
use hypernode::types::pow::{Mark, PowBlock};
use libfuzzer_sys::fuzz_target;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params};

const ROWS_MAX: usize = 40;
/// More looks than rows can ask for: reading does not end.
const LOOKS_MAX: usize = 10 * ROWS_MAX;
const OWNERS: u8 = 5;
/// Columns in the order of a row's cells.
const COLUMNS: [&str; 10] = [
    "block_height INTEGER",
    "timestamp NUMERIC",
    "address TEXT",
    "recipient TEXT",
    "amount NUMERIC",
    "block_hash TEXT",
    "fee NUMERIC",
    "reward NUMERIC",
    "operation TEXT",
    "openfield TEXT",
];

/// What does not change from input to input.
struct Bench {
    network: Rc<Network>,
    path: PathBuf,
    connection: Connection,
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// The bytes not read yet; zeros follow.
struct Tape<'a>(&'a [u8]);

/// A cell; text may be no UTF-8.
enum Cell {
    Value(Value),
    Text(Vec<u8>),
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with_borrow_mut(|bench| {
        let bench = bench.get_or_insert_with(Bench::new);
        bench.fill(&mut Tape(bytes));
        bench.read();
    });
});

impl Bench {
    fn new() -> Bench {
        // Registrations count from the first block on.
        let text = Network::main().to_toml();
        let text = text.replacen("first_height = 773801", "first_height = 1", 1);
        let network = Rc::new(Network::parse(&text).expect("a good network"));
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = folder.join(format!("hypernode-fuzz-rows-{}", std::process::id()));
        let connection = Connection::open(&path).expect("a database");
        let quick = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF";
        connection.execute_batch(quick).expect("it is quicker");
        Bench { network, path, connection }
    }

    /// Makes the table and its rows.
    fn fill(&mut self, tape: &mut Tape<'_>) {
        let choices = tape.byte();
        // Without types SQLite keeps what it is given.
        let is_typed = choices & 1 == 0;
        let columns = COLUMNS.map(|column| match is_typed {
            true => column,
            false => column.split(' ').next().unwrap_or_default(),
        });
        let names = columns.join(", ");
        let index = match choices & 2 == 0 {
            true => "",
            false => "CREATE INDEX heights ON transactions (block_height)",
        };
        let sql = format!(
            "DROP TABLE IF EXISTS transactions; CREATE TABLE transactions ({names}); {index}"
        );
        let transaction = self.connection.transaction().expect("nobody else writes");
        transaction.execute_batch(&sql).expect("a table");
        let names = COLUMNS.map(|column| column.split(' ').next().unwrap_or_default()).join(", ");
        let sql = format!(
            "INSERT OR IGNORE INTO transactions (rowid, {names}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        );
        let mut statement = transaction.prepare(&sql).expect("a statement");
        let controller = &self.network.entries()[0].values.ledger.controller;
        for _ in 0..ROWS_MAX {
            if tape.0.is_empty() {
                break;
            }
            let row = match tape.byte() {
                0..=239 => None,
                240..=247 => Some(i64::from(tape.byte()) - 128),
                248.. => Some(tape.number()),
            };
            let cells: [Cell; COLUMNS.len()] = std::array::from_fn(|at| cell(tape, at, controller));
            let [a, b, c, d, e, f, g, h, i, j] = &cells;
            // At the end of the numbers of rows, or for an integer too large, there is no row.
            let _ = statement.execute(params![row, a, b, c, d, e, f, g, h, i, j]);
        }
        drop(statement);
        transaction.commit().expect("it is written");
    }

    /// Reads it to its end, then takes all back.
    fn read(&self) {
        let values = &self.network.entries()[0].values.ledger;
        let scope = Scope::new(&self.network, values);
        let nothing = Registry::new(scope);
        let mut registry = nothing.clone();
        let mut follower = Follower::new(self.network.clone());
        let mut done: Vec<(Mark, Undo)> = Vec::new();
        let mut file = LedgerFile::new(&self.path);
        let mut is_over = false;
        for look in 0.. {
            assert!(look < LOOKS_MAX, "it does not end");
            let tip = done.last().map(|(mark, _)| *mark);
            assert_eq!(follower.tip(), tip);
            let news = file.read(tip, Duration::from_secs(1));
            follower.hear(&news);
            match news {
                LedgerNews::Blocks { after, blocks, end } => {
                    assert_eq!(after, tip.map(|tip| tip.id));
                    is_over = end || blocks.iter().any(|block| block.damage.is_some());
                    take_in(&mut registry, &mut done, &blocks);
                }
                LedgerNews::Gone { id } => {
                    let (mark, undo) = done.pop().expect("it is of a block");
                    assert_eq!(mark.id, id);
                    registry.undo(&undo);
                }
                LedgerNews::Anew => {
                    registry = nothing.clone();
                    done.clear();
                }
                LedgerNews::Fault(_) => is_over = true,
            }
            assert_eq!(*follower.registry(), registry);
            if is_over {
                break;
            }
        }
        for (_, undo) in done.iter().rev() {
            registry.undo(undo);
        }
        assert_eq!(registry, nothing);
    }
}

/// As the follower does: up to a block that is damaged.
fn take_in(registry: &mut Registry, done: &mut Vec<(Mark, Undo)>, blocks: &[PowBlock]) {
    for block in blocks.iter().take_while(|block| block.damage.is_none()) {
        assert!(done.last().is_none_or(|(tip, _)| tip.height < block.height));
        let (undo, applied) = registry.apply(block);
        assert_eq!(applied.verdicts.len(), registry.orders(block).count());
        done.push((block.mark(), undo));
    }
}

impl Tape<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    fn number(&mut self) -> i64 {
        let mut eight = [0; 8];
        eight.iter_mut().for_each(|byte| *byte = self.byte());
        i64::from_le_bytes(eight)
    }

    fn text(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte());
        self.bytes(length)
    }
}

/// The next cell, for a column.
fn cell(tape: &mut Tape<'_>, column: usize, controller: &str) -> Cell {
    Cell::Value(match tape.byte() {
        0..=159 => return usual(tape, column, controller),
        160..=167 => Value::Null,
        168..=175 => Value::Integer(tape.number()),
        176..=191 => Value::Integer(i64::from(tape.byte()) - 128),
        192..=199 => Value::Real(f64::from_bits(tape.number().cast_unsigned())),
        200..=215 => Value::Real(f64::from(tape.byte()) / 100.0 - 1.0),
        216..=239 => return Cell::Text(tape.text()),
        240.. => Value::Blob(tape.text()),
    })
}

/// What stands in a column usually.
fn usual(tape: &mut Tape<'_>, column: usize, controller: &str) -> Cell {
    let choice = tape.byte();
    let number = i64::from(choice);
    let owner = |number: u8| match number % OWNERS {
        0 => controller.to_owned(),
        number => format!("{number:056x}"),
    };
    let text = match column {
        // Heights of few blocks, one in eight below zero.
        0 => {
            let height = number / 8;
            return Cell::Value(Value::Integer(if number % 8 == 0 { -height } else { height }));
        }
        1 => return Cell::Value(Value::Integer(1_534_716_000 + number * 60)),
        2 | 3 => owner(choice),
        4 => return Cell::Value(Value::Integer(number % 8 * 5_000)),
        6 | 7 => return Cell::Value(Value::Real(f64::from(choice / 16) / 100.0)),
        8 => ["", "hypernode:register", "hypernode:unregister"][usize::from(choice % 3)].to_owned(),
        9 => {
            let address = Address::of_bytes(&[choice % OWNERS], 0x19);
            let option = match choice / 32 {
                0 => format!(",reward={}", owner(choice)),
                1 => format!(",source={}", owner(choice)),
                _ => String::new(),
            };
            format!("5.1.1.{}:{}:{address}{option}", choice % 7, 6969 + u16::from(choice % 2))
        }
        _ => "a block".to_owned(),
    };
    Cell::Text(text.into_bytes())
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Value(value) => ToSqlOutput::Borrowed(ValueRef::from(value)),
            Cell::Text(bytes) => ToSqlOutput::Borrowed(ValueRef::Text(bytes)),
        })
    }
}
