//! Why a PoW ledger cannot be read, and what its operator can do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a ledger cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", content = "detail", rename_all = "snake_case")]
pub enum LedgerFault {
    /// No file there, or none that may be opened.
    Missing(String),
    /// A database, and not of a ledger: what is lacking.
    Foreign(String),
    /// Somebody holds its lock.
    Locked,
    /// The file is no database, or broken.
    Damaged(String),
    /// Rows are out of order, and an index that would help is lacking.
    Disordered,
}

impl LedgerFault {
    /// Stable name of the fault, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            LedgerFault::Missing(_) => "missing",
            LedgerFault::Foreign(_) => "foreign",
            LedgerFault::Locked => "locked",
            LedgerFault::Damaged(_) => "damaged",
            LedgerFault::Disordered => "disordered",
        }
    }

    /// What the operator can do about it.
    pub fn action(&self) -> &'static str {
        match self {
            LedgerFault::Missing(_) => "name the ledger of the PoW node, and let this user read it",
            LedgerFault::Foreign(_) => "name the ledger of the PoW node, not another database",
            LedgerFault::Locked => "the PoW node is writing: it is tried again",
            LedgerFault::Damaged(_) => "let the PoW node fetch its ledger again",
            LedgerFault::Disordered => {
                "let it be sorted: CREATE INDEX heights ON transactions (block_height)"
            }
        }
    }
}

impl fmt::Display for LedgerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerFault::Missing(why) => write!(f, "it cannot be opened: {why}"),
            LedgerFault::Foreign(why) => write!(f, "it is no PoW ledger: {why}"),
            LedgerFault::Locked => f.write_str("it is locked"),
            LedgerFault::Damaged(why) => write!(f, "it is damaged: {why}"),
            LedgerFault::Disordered => {
                f.write_str("its rows are out of order, and no index on their heights helps")
            }
        }
    }
}
