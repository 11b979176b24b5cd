//! A PoW ledger without proof of work, for private networks: the companion's table, written by whoever asks.
//!
//! What is sent waits in a table beside it until a block is mined. Nothing is checked but that amounts are amounts: the
//! rules of registration are tried on ledgers of all kinds.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};

use crate::types::clock::Timestamp;
use crate::types::hash::hash;
use crate::types::pow::coins;

/// Coins for whoever mines a block.
const REWARD: i64 = 15;
/// Every so many blocks a mirror row below zero, as the companion writes it, pays whoever these coins are for.
const MIRROR_EVERY: i64 = 10;
const MIRROR_COINS: i64 = 8;
/// The companion may hold the lock for a moment; so may another command.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE transactions (block_height INTEGER, timestamp NUMERIC, address TEXT, recipient TEXT,
        amount NUMERIC, signature TEXT, public_key TEXT, block_hash TEXT, fee NUMERIC, reward NUMERIC,
        operation TEXT, openfield TEXT);
    CREATE INDEX heights ON transactions (block_height);
    CREATE TABLE waiting (address TEXT, recipient TEXT, amount NUMERIC, fee NUMERIC, operation TEXT,
        openfield TEXT);";

/// What waits for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub sender: String,
    pub recipient: String,
    /// In units.
    pub amount: i128,
    pub fee: i128,
    pub operation: String,
    pub data: String,
}

/// A ledger to write to.
pub struct DummyLedger {
    connection: Connection,
}

/// Why it cannot be written.
#[derive(Debug)]
pub enum DummyError {
    /// There is something at this path already.
    Exists,
    /// No file there.
    Missing,
    /// A real ledger, or no ledger: it has no place for what waits.
    Foreign,
    /// The disk is full, or fails.
    Disk(rusqlite::Error),
    Database(rusqlite::Error),
}

impl DummyLedger {
    /// A new one, with block 1 mined at a time by nobody in particular.
    pub fn create(path: &Path, at: Timestamp) -> Result<DummyLedger, DummyError> {
        if path.exists() {
            return Err(DummyError::Exists);
        }
        let begin = || {
            let mut ledger = DummyLedger { connection: Connection::open(path)? };
            ledger.connection.execute_batch(TABLES)?;
            ledger.mine("miner", at)?;
            Ok(ledger)
        };
        // Half of one would keep the next attempt from its name.
        begin().inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    /// One that stands there.
    pub fn open(path: &Path) -> Result<DummyLedger, DummyError> {
        if !path.exists() {
            return Err(DummyError::Missing);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        let sql = "SELECT count(*) FROM sqlite_master WHERE name IN ('transactions', 'waiting')";
        match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
            Ok(2) => Ok(DummyLedger { connection }),
            Ok(_) => Err(DummyError::Foreign),
            Err(error) => Err(error.into()),
        }
    }

    /// Of the newest block; 0 when there is none.
    pub fn height(&self) -> Result<i64, DummyError> {
        let sql = "SELECT coalesce(max(block_height), 0) FROM transactions";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// How much waits for a block.
    pub fn waiting(&self) -> Result<u64, DummyError> {
        let sql = "SELECT count(*) FROM waiting";
        let count: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Lets something wait for the next block.
    pub fn send(&self, sent: &Sent) -> Result<(), DummyError> {
        let Sent { sender, recipient, amount, fee, operation, data } = sent;
        let sql = "INSERT INTO waiting VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (amount, fee) = (coins(*amount), coins(*fee));
        self.connection.execute(sql, params![sender, recipient, amount, fee, operation, data])?;
        Ok(())
    }

    /// Puts all that waits into a block; its height.
    pub fn mine(&mut self, miner: &str, at: Timestamp) -> Result<i64, DummyError> {
        let height = self.height()? + 1;
        let write = self.connection.transaction()?;
        let block = block_hash(&write, height, at, miner)?;
        // Seconds with two decimals, as the companion has them.
        #[allow(
            clippy::cast_precision_loss,
            reason = "a time in milliseconds has less than 53 bits"
        )]
        let time = (at.0 / 10) as f64 / 100.0;
        let sql = "INSERT INTO transactions SELECT ?1, ?2, address, recipient, amount, '', '', ?3, fee, 0, \
                   operation, openfield FROM waiting ORDER BY rowid";
        write.execute(sql, params![height, time, block])?;
        write.execute("DELETE FROM waiting", [])?;
        let sql = "INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5, '', '', ?6, 0, ?7, '', '')";
        write.execute(sql, params![height, time, miner, miner, 0, block, REWARD])?;
        if height % MIRROR_EVERY == 0 {
            let whom = "Hypernode Payouts";
            write.execute(sql, params![-height, time, whom, whom, MIRROR_COINS, block, 0])?;
        }
        write.commit()?;
        Ok(height)
    }

    /// Takes the newest blocks away; the height then. What was in them does not wait again.
    pub fn roll_back(&mut self, blocks: u64) -> Result<i64, DummyError> {
        let blocks = i64::try_from(blocks).unwrap_or(i64::MAX);
        let height = (self.height()? - blocks).max(0);
        let sql = "DELETE FROM transactions WHERE abs(block_height) > ?1";
        self.connection.execute(sql, params![height])?;
        Ok(height)
    }
}

/// Names the block before it, so that all blocks above one that changed are others too.
fn block_hash(
    write: &Transaction,
    height: i64,
    at: Timestamp,
    miner: &str,
) -> Result<String, DummyError> {
    let sql = "SELECT coalesce(max(block_hash), '') FROM transactions WHERE block_height = ?1";
    let previous: String = write.query_row(sql, params![height - 1], |row| row.get(0))?;
    let sql = "SELECT coalesce(group_concat(quote(address) || quote(recipient) || amount || fee || \
               quote(operation) || quote(openfield)), '') FROM waiting";
    let content: String = write.query_row(sql, [], |row| row.get(0))?;
    let at = at.0.to_be_bytes();
    let parts = [previous.as_bytes(), &at, content.as_bytes(), miner.as_bytes()];
    Ok(hash("dummy-block", &parts).to_string())
}

impl From<rusqlite::Error> for DummyError {
    fn from(error: rusqlite::Error) -> DummyError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => DummyError::Disk(error),
            Some(_) | None => DummyError::Database(error),
        }
    }
}

impl fmt::Display for DummyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DummyError::Exists => f.write_str("something is there already"),
            DummyError::Missing => f.write_str("there is no such file"),
            DummyError::Foreign => f.write_str("it was not made by `hypernode pow-ledger new`"),
            DummyError::Disk(error) | DummyError::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DummyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ledger::LedgerNews;
    use crate::shell::ledger::LedgerFile;

    #[test]
    fn what_is_sent_stands_in_the_next_block_and_goes_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut ledger = DummyLedger::create(&path, Timestamp(1_000)).expect("a new one");
        assert!(matches!(DummyLedger::create(&path, Timestamp(1)), Err(DummyError::Exists)));
        let sent = Sent {
            sender: "faucet".into(),
            recipient: "8e".repeat(28),
            amount: 1_250_000_000,
            fee: 1_000_000,
            operation: String::new(),
            data: "it's".into(),
        };
        ledger.send(&sent).expect("it waits");
        assert_eq!(ledger.waiting().expect("a count"), 1);
        for height in 2..=20_i64 {
            let at = Timestamp(1_000 * height.unsigned_abs());
            assert_eq!(ledger.mine("miner", at).expect("a block"), height);
        }
        let read = || match LedgerFile::new(&path).read(None, Duration::from_secs(60)) {
            LedgerNews::Blocks { blocks, end: true, .. } => blocks,
            other => panic!("{other:?}"),
        };
        let blocks = read();
        assert_eq!(blocks.len(), 20);
        assert_eq!(
            (blocks[1].rows[0].received, blocks[1].rows[0].sent),
            (1_250_000_000, 1_251_000_000)
        );
        assert_eq!(blocks[1].mined_at, Some(Timestamp(2_000)));
        assert_eq!(blocks[9].rows.len(), 2, "with a mirror row");
        assert_eq!(ledger.roll_back(18).expect("shorter"), 2);
        assert_eq!(read(), blocks[..2]);
        ledger.mine("other", Timestamp(3_000)).expect("a block");
        assert_ne!(read()[2].id, blocks[2].id);
        assert_eq!(ledger.roll_back(1_000).expect("empty"), 0);
    }
}
