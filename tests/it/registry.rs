//! Registration on the PoW ledger: the vectors, ledgers made to confuse, and what the commands say.

mod hostile;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;

/// Registered in the vectors.
const OWNER: &str = "8e3f9ecacda19f7f7b5953593781a1961e672b8244ab01f13a6d11ed";
const ADDRESS: &str = "BSr4oBftynAV5ZdmdhMZPLR5NyV3A27gq1";
/// The table of the companion.
const TABLE: &str = "CREATE TABLE transactions (block_height INTEGER, timestamp NUMERIC, address TEXT, \
     recipient TEXT, amount NUMERIC, signature TEXT, public_key TEXT, block_hash TEXT, fee NUMERIC, \
     reward NUMERIC, operation TEXT, openfield TEXT)";

/// A ledger file in a directory of its own.
struct Ledger {
    dir: TempDir,
    connection: Connection,
}

/// A row as the vectors have it.
struct Row {
    height: Cell,
    timestamp: Cell,
    sender: Cell,
    recipient: Cell,
    amount: Cell,
    fee: Cell,
    reward: Cell,
    operation: Cell,
    openfield: Cell,
}

impl Ledger {
    fn new() -> Ledger {
        let dir = tempfile::tempdir().expect("a directory");
        let connection = Connection::open(dir.path().join("ledger.db")).expect("a database");
        connection.execute(TABLE, []).expect("a table");
        Ledger { dir, connection }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    fn add(&self, row: Row) {
        let sql = "INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5, 'signature', 'key', 'hash', ?6, ?7, ?8, ?9)";
        let Row { height, timestamp, sender, recipient, amount, fee, reward, operation, openfield } =
            row;
        let cells = params![
            height, timestamp, sender, recipient, amount, fee, reward, operation, openfield
        ];
        self.connection.execute(sql, cells).expect("a row");
    }

    /// A payment in a block.
    fn pay(&self, height: i64, sender: &str, recipient: &str, amount: impl Into<Cell>) {
        self.add(Row {
            height: height.into(),
            timestamp: 1_534_716_000.into(),
            sender: sender.to_owned().into(),
            recipient: recipient.to_owned().into(),
            amount: amount.into(),
            fee: 0.into(),
            reward: 0.into(),
            operation: String::new().into(),
            openfield: String::new().into(),
        });
    }

    /// A registration that costs nothing.
    fn register(&self, height: i64, sender: &str, data: impl Into<Cell>) {
        self.add(Row {
            height: height.into(),
            timestamp: 1_534_716_000.into(),
            sender: sender.to_owned().into(),
            recipient: sender.to_owned().into(),
            amount: 0.into(),
            fee: 0.into(),
            reward: 0.into(),
            operation: "hypernode:register".to_owned().into(),
            openfield: data.into(),
        });
    }

    fn explain(&self, more: &[&str]) -> Value {
        let (code, out) = explain(&self.path(), more);
        assert_eq!(code, 0, "{out}");
        out
    }
}

/// `registry explain --json` on a file: its exit code and what it prints.
fn explain(path: &Path, more: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["registry", "explain", "--network", "main", "--json", "--ledger"])
        .arg(path)
        .args(more)
        .output()
        .expect("the command runs");
    let out = String::from_utf8(output.stdout).expect("text");
    let error = String::from_utf8_lossy(&output.stderr);
    let value: Result<Value, _> = serde_json::from_str(&out);
    let value = value.map_err(|_| format!("{out}{error}")).expect("one JSON object");
    (output.status.code().expect("it exits"), value)
}
