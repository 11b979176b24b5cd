//! Reads the companion's PoW ledger (`docs/protocol.md` §5): an SQLite file that somebody else writes.
//!
//! Read-only, without waiting for a lock, and in slices: between two of them nothing is held, so that neither the loop nor
//! the companion's writer waits for long. Rows are read in the order of the file, which is that of the chain; where it
//! is not, by height. What is in a cell is never trusted, and never an error of ours.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, params, params_from_iter};

use crate::machine::ledger::{LedgerFault, LedgerNews, Mark};
use crate::types::hash::hash;
use crate::types::pow::PowBlock;
use gather::{Gather, Raw};

mod cell;
mod dummy;
mod gather;
mod watch;

pub use dummy::{DummyError, DummyLedger, Sent};
pub use watch::Watch;

/// Rows in a slice: a quarter of a megabyte of them.
const SLICE_ROWS: usize = 2_048;
/// Rows that a file without an index on heights may have when they are out of order: each look goes through all of them.
const UNINDEXED_ROWS: i64 = 200_000;
/// Bytes of a row; the companion's have 3,000.
const ROW_BYTES: i32 = 16 * 1024 * 1024;
/// What a first read of a million rows may take, with the summary at its end (`docs/benchmarks.md`: 29.5 MiB).
pub const MEMORY_BYTES: u64 = 32 * 1024 * 1024;
/// Heights looked at together when they are out of order, at first and at most; and how long one look should take.
const WIDTH: u64 = 64;
const WIDTH_MAX: u64 = 4_096;
const LOOK: Duration = Duration::from_millis(4);

const COLUMNS: &str = "rowid, block_height, timestamp, address, recipient, amount, fee, reward, \
                       operation, openfield, block_hash";

/// The file of a ledger.
pub struct LedgerFile {
    path: PathBuf,
    connection: Option<Connection>,
    /// Which file that is: another one may be put in its place.
    inode: (u64, u64),
    order: Order,
}

/// How its rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As they stand in the file: each block's rows behind those of the blocks before.
    File,
    /// By height, so many heights at once.
    Height { width: u64 },
}

impl LedgerFile {
    /// The ledger at a path. Whether there is one, reading tells.
    pub fn new(path: &Path) -> LedgerFile {
        LedgerFile { path: path.to_owned(), connection: None, inode: (0, 0), order: Order::File }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on behind a block, for about so long.
    pub fn read(&mut self, tip: Option<Mark>, budget: Duration) -> LedgerNews {
        let until = now() + budget;
        match self.look(tip, until) {
            Ok(news) => news,
            Err(fault) => {
                // Whatever was wrong, the file may be another one next time.
                self.connection = None;
                LedgerNews::Fault(fault)
            }
        }
    }

    fn look(&mut self, tip: Option<Mark>, until: Instant) -> Result<LedgerNews, LedgerFault> {
        let order = self.order;
        let connection = self.connect()?;
        let found = match order {
            Order::File => in_file_order(connection, tip, until)?,
            Order::Height { width } => by_height(connection, tip, width, until)?,
        };
        if let Some(order) = found.order {
            self.order = order;
        }
        Ok(found.news)
    }

    fn connect(&mut self) -> Result<&Connection, LedgerFault> {
        let missing = |error: io::Error| LedgerFault::Missing(error.to_string());
        let file = fs::metadata(&self.path).map_err(missing)?;
        let inode = (file.dev(), file.ino());
        if self.connection.is_none() || inode != self.inode {
            self.connection = Some(open(&self.path, &file)?);
            self.inode = inode;
        }
        Ok(self.connection.as_ref().expect("it was just made"))
    }
}

/// What a look came to, and how to read from now on when that changes.
struct Found {
    news: LedgerNews,
    order: Option<Order>,
}

impl From<LedgerNews> for Found {
    fn from(news: LedgerNews) -> Found {
        Found { news, order: None }
    }
}

#[allow(clippy::disallowed_methods, reason = "a slice of reading is as long as it may be")]
fn now() -> Instant {
    Instant::now()
}

fn open(path: &Path, file: &Metadata) -> Result<Connection, LedgerFault> {
    let missing = |error: &dyn std::fmt::Display| LedgerFault::Missing(error.to_string());
    if !file.is_file() {
        return Err(missing(&"it is no file"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| missing(&error))?;
    connection.busy_timeout(Duration::ZERO).map_err(|error| fault(&error))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_BYTES).map_err(|error| fault(&error))?;
    // Looks once at all columns, so that a foreign file is told from an empty ledger.
    let probe = format!("SELECT {COLUMNS} FROM transactions LIMIT 0");
    connection.prepare(&probe).map_err(|error| fault(&error))?;
    Ok(connection)
}

/// What an error of SQLite says of the file.
fn fault(error: &rusqlite::Error) -> LedgerFault {
    // No such table, or no such column.
    if let rusqlite::Error::SqlInputError { msg, .. } = error {
        return LedgerFault::Foreign(msg.clone());
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerFault::Locked,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            LedgerFault::Missing(error.to_string())
        }
        Some(ErrorCode::Unknown) => LedgerFault::Foreign(error.to_string()),
        _ => LedgerFault::Damaged(error.to_string()),
    }
}

fn prepare<'a>(connection: &'a Connection, rest: &str) -> Result<Statement<'a>, LedgerFault> {
    let sql = format!("SELECT {COLUMNS} FROM transactions {rest}");
    connection.prepare(&sql).map_err(|error| fault(&error))
}

/// Reads behind the row of a block in the order of the file.
fn in_file_order(
    connection: &Connection,
    tip: Option<Mark>,
    until: Instant,
) -> Result<Found, LedgerFault> {
    let anew = || Found { news: LedgerNews::Anew, order: Some(Order::Height { width: WIDTH }) };
    if let Some(tip) = tip {
        if last_block(connection, tip.last_row)?.is_none_or(|found| found.id != tip.id) {
            return Ok(LedgerNews::Gone { id: tip.id }.into());
        }
    }
    let mut statement = prepare(connection, "WHERE rowid > ?1 ORDER BY rowid")?;
    let after = tip.map_or(i64::MIN, |tip| tip.last_row);
    let mut rows = statement.query(params![after]).map_err(|error| fault(&error))?;
    let mut gather = Gather::default();
    let mut blocks = Vec::new();
    let mut count = 0;
    let mut highest = tip.map(|tip| tip.height);
    loop {
        let Some(row) = rows.next().map_err(|error| fault(&error))? else {
            blocks.extend(gather.finish());
            break;
        };
        let Some(raw) = Raw::read(row).map_err(|error| fault(&error))? else { continue };
        let height = raw.height.unsigned_abs();
        if gather.height() != Some(height) {
            if highest == Some(height) && blocks.is_empty() && gather.height().is_none() {
                // More rows of a block that was taken for whole.
                let id = tip.expect("it has this height").id;
                return Ok(LedgerNews::Gone { id }.into());
            }
            if highest.is_some_and(|highest| height <= highest) {
                return Ok(anew());
            }
            highest = Some(height);
            blocks.extend(gather.finish());
            let is_over = count >= SLICE_ROWS || now() >= until;
            if is_over && !blocks.is_empty() {
                return Ok(news(tip, blocks, false));
            }
        }
        gather.push(raw)?;
        count += 1;
    }
    Ok(news(tip, blocks, true))
}

fn news(tip: Option<Mark>, blocks: Vec<PowBlock>, end: bool) -> Found {
    // Nothing counts behind damage: a reader that went on would come back to it at once, for ever.
    let end = end || blocks.iter().any(|block| block.damage.is_some());
    LedgerNews::Blocks { after: tip.map(|tip| tip.id), blocks, end }.into()
}

/// The block whose last row in the file is this one.
fn last_block(connection: &Connection, last_row: i64) -> Result<Option<PowBlock>, LedgerFault> {
    let mut statement = prepare(connection, "WHERE rowid <= ?1 ORDER BY rowid DESC")?;
    let mut rows = statement.query(params![last_row]).map_err(|error| fault(&error))?;
    let mut of_block: Vec<Raw> = Vec::new();
    while let Some(row) = rows.next().map_err(|error| fault(&error))? {
        let Some(raw) = Raw::read(row).map_err(|error| fault(&error))? else { continue };
        let height = raw.height.unsigned_abs();
        match of_block.first() {
            None if raw.row != last_row => return Ok(None),
            Some(first) if first.height.unsigned_abs() != height => break,
            None | Some(_) => of_block.push(raw),
        }
    }
    let mut gather = Gather::default();
    of_block.into_iter().rev().try_for_each(|raw| gather.push(raw))?;
    Ok(gather.finish())
}

/// Reads behind a height, whatever the order of the file.
fn by_height(
    connection: &Connection,
    tip: Option<Mark>,
    width: u64,
    until: Instant,
) -> Result<Found, LedgerFault> {
    let last_row = number(connection, "SELECT max(rowid) FROM transactions", [])?.unwrap_or(0);
    if last_row > UNINDEXED_ROWS && !has_index(connection)? {
        return Err(LedgerFault::Disordered);
    }
    if let Some(tip) = tip {
        let here = of_heights(connection, tip.height, tip.height, tip.last_row)?;
        if here.first().is_none_or(|found| found.id != tip.id) {
            return Ok(LedgerNews::Gone { id: tip.id }.into());
        }
        // Without the plus it would look at all rows of these heights, not at the new rows.
        let sql = "SELECT 1 FROM transactions WHERE rowid > ?1 AND +block_height BETWEEN -?2 AND ?2 \
                   AND typeof(block_height) = 'integer' LIMIT 1";
        if number(connection, sql, [tip.last_row, bound(tip.height)])?.is_some() {
            return Ok(LedgerNews::Anew.into());
        }
    }
    let mut from = tip.map_or(0, |tip| tip.height.saturating_add(1));
    let (mut width, mut blocks, mut count) = (width, Vec::new(), 0);
    let end = loop {
        let Some(next) = next_height(connection, from)? else { break true };
        let to = next.saturating_add(width - 1);
        let started = now();
        let found = of_heights(connection, next, to, last_row)?;
        let rows: usize = found.iter().map(|block| block.rows.len()).sum();
        count += rows;
        blocks.extend(found);
        from = to.saturating_add(1);
        // Half as much next time when this was much, else twice as much.
        let is_much = rows > SLICE_ROWS / 4 || now() - started > LOOK;
        width = if is_much { (width / 2).max(1) } else { (width * 2).min(WIDTH_MAX) };
        if now() >= until && !blocks.is_empty() || count >= SLICE_ROWS {
            break false;
        }
    };
    let order = Some(Order::Height { width });
    Ok(Found { order, ..news(tip, blocks, end) })
}

/// The lowest height from this one on that has rows, whatever their sign.
fn next_height(connection: &Connection, from: u64) -> Result<Option<u64>, LedgerFault> {
    let above = "SELECT block_height FROM transactions \
                 WHERE block_height BETWEEN ?1 AND 9223372036854775807 \
                 AND typeof(block_height) = 'integer' ORDER BY block_height LIMIT 1";
    let below = "SELECT block_height FROM transactions \
                 WHERE block_height BETWEEN -9223372036854775807 AND -?1 \
                 AND typeof(block_height) = 'integer' ORDER BY block_height DESC LIMIT 1";
    let Ok(from) = i64::try_from(from) else { return Ok(None) };
    let (above, below) = (number(connection, above, [from])?, number(connection, below, [from])?);
    Ok(above.into_iter().chain(below).map(i64::unsigned_abs).min())
}

/// The one number that a question is answered with; nothing when there is none.
fn number<const N: usize>(
    connection: &Connection,
    sql: &str,
    of: [i64; N],
) -> Result<Option<i64>, LedgerFault> {
    let mut statement = connection.prepare(sql).map_err(|error| fault(&error))?;
    let mut rows = statement.query(params_from_iter(of)).map_err(|error| fault(&error))?;
    match rows.next().map_err(|error| fault(&error))? {
        Some(row) => row.get(0).map_err(|error| fault(&error)),
        None => Ok(None),
    }
}

fn bound(height: u64) -> i64 {
    i64::try_from(height).unwrap_or(i64::MAX)
}

/// The blocks of these heights, from rows up to one of the file.
fn of_heights(
    connection: &Connection,
    from: u64,
    to: u64,
    last_row: i64,
) -> Result<Vec<PowBlock>, LedgerFault> {
    let rest = "WHERE (block_height BETWEEN ?1 AND ?2 OR block_height BETWEEN -?2 AND -?1) \
                AND rowid <= ?3 ORDER BY abs(block_height), rowid";
    let mut statement = prepare(connection, rest)?;
    let bounds = params![bound(from), bound(to), last_row];
    let mut rows = statement.query(bounds).map_err(|error| fault(&error))?;
    let mut gather = Gather::default();
    let mut blocks = Vec::new();
    while let Some(row) = rows.next().map_err(|error| fault(&error))? {
        let Some(raw) = Raw::read(row).map_err(|error| fault(&error))? else { continue };
        if gather.height() != Some(raw.height.unsigned_abs()) {
            blocks.extend(gather.finish());
        }
        gather.push(raw)?;
    }
    blocks.extend(gather.finish());
    for block in &mut blocks {
        block.last_row = last_row;
        // Rows before that one may be of later blocks: a start, which tries the order of the file, must not go on from it.
        block.id = hash("ledger-block-by-height", &[&block.id.0]);
    }
    Ok(blocks)
}

/// Whether an index begins with the height.
fn has_index(connection: &Connection) -> Result<bool, LedgerFault> {
    let sql = "SELECT 1 FROM pragma_index_list('transactions') AS list, \
               pragma_index_info(list.name) AS info \
               WHERE info.seqno = 0 AND info.name = 'block_height' LIMIT 1";
    Ok(number(connection, sql, [])?.is_some())
}
