//! Rows of a file, gathered into blocks.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::cell;
use crate::machine::ledger::LedgerFault;
use crate::types::clock::Timestamp;
use crate::types::hash::hash;
use crate::types::pow::{DATA_MAX, Order, OrderKind, PowAddress, PowBlock, PowRow};

/// Rows of one block. The companion's blocks have a few hundred.
const BLOCK_ROWS_MAX: usize = 100_000;
/// Bytes that most rows add to what a block's id is made of.
const ROW_ID_BYTES: usize = 128;
/// Bytes of a text that are kept: of one that is too long one more than it may have.
const TEXT_MAX: usize = DATA_MAX + 1;

/// A row that belongs to a block.
pub struct Raw {
    /// Its position in the file.
    pub row: i64,
    /// Below zero in mirror rows.
    pub height: i64,
    content: PowRow,
    damage: Option<String>,
    mined: Option<Mined>,
}

/// What a row with a reward says of its block.
struct Mined {
    at: Option<Timestamp>,
    hash: String,
}

/// The rows of one block so far.
#[derive(Default)]
pub struct Gather {
    rows: Vec<Raw>,
}

impl Raw {
    /// Reads a row; nothing when it has no height and so belongs to no block.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Option<Raw>> {
        let ValueRef::Integer(height) = row.get_ref(1)? else { return Ok(None) };
        if height == i64::MIN {
            return Ok(None);
        }
        let number: i64 = row.get(0)?;
        let mut damage = None;
        let mut units = |column: usize, name: &str| -> rusqlite::Result<i128> {
            Ok(cell::units(row.get_ref(column)?).unwrap_or_else(|shown| {
                damage.get_or_insert(format!("row {number}: {name} is {shown}"));
                0
            }))
        };
        let amount = units(5, "amount")?;
        let fee = units(6, "fee")?;
        let reward = units(7, "reward")?;
        let kind = OrderKind::parse(text(row.get_ref(8)?).unwrap_or_default());
        let order = match kind {
            Some(kind) => Some(Box::new(Order {
                height,
                sender: lossy(row.get_ref(3)?),
                kind,
                data: lossy(row.get_ref(9)?),
            })),
            None => None,
        };
        let mined = match reward > 0 && height > 0 {
            true => Some(Mined { at: cell::time(row.get_ref(2)?), hash: lossy(row.get_ref(10)?) }),
            false => None,
        };
        let address = |column| -> rusqlite::Result<Option<PowAddress>> {
            Ok(text(row.get_ref(column)?).and_then(PowAddress::parse))
        };
        let content = PowRow {
            sender: address(3)?,
            recipient: address(4)?,
            sent: amount + fee,
            received: amount + reward,
            order,
        };
        Ok(Some(Raw { row: number, height, content, damage, mined }))
    }
}

fn text(cell: ValueRef<'_>) -> Option<&str> {
    match cell {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

fn lossy(cell: ValueRef<'_>) -> String {
    match cell {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_MAX)]).into_owned()
        }
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    }
}

impl Gather {
    /// The height of the block that is gathered.
    pub fn height(&self) -> Option<u64> {
        self.rows.first().map(|raw| raw.height.unsigned_abs())
    }

    /// Adds the next row of the block, or the first one of another after `finish`.
    pub fn push(&mut self, raw: Raw) -> Result<(), LedgerFault> {
        if self.rows.len() == BLOCK_ROWS_MAX {
            let height = raw.height.unsigned_abs();
            let what = format!("block {height} has more than {BLOCK_ROWS_MAX} rows");
            return Err(LedgerFault::Damaged(what));
        }
        self.rows.push(raw);
        Ok(())
    }

    /// The block of the rows gathered; nothing when there are none.
    pub fn finish(&mut self) -> Option<PowBlock> {
        let height = self.height()?;
        let next = Vec::with_capacity(self.rows.len());
        let mut rows = std::mem::replace(&mut self.rows, next);
        let last_row = rows.last().map_or(0, |raw| raw.row);
        let mut bytes = Vec::with_capacity(rows.len() * ROW_ID_BYTES);
        bytes.extend(height.to_be_bytes());
        for raw in &rows {
            identify(raw, &mut bytes);
        }
        let id = hash("ledger-block", &[&bytes]);
        let mined_at = rows.iter().find_map(|raw| raw.mined.as_ref()).and_then(|mined| mined.at);
        let damage = rows.iter_mut().find_map(|raw| raw.damage.take());
        let rows = rows.into_iter().map(|raw| raw.content).collect();
        Some(PowBlock { height, id, mined_at, last_row, damage, rows })
    }
}

/// Everything of a row that matters here, and what the ledger itself calls its block.
fn identify(raw: &Raw, bytes: &mut Vec<u8>) {
    let PowRow { sender, recipient, sent, received, order } = &raw.content;
    for address in [sender, recipient] {
        bytes.push(u8::from(address.is_some()));
        bytes.extend(address.iter().flat_map(|address| address.0));
    }
    bytes.extend(sent.to_be_bytes());
    bytes.extend(received.to_be_bytes());
    let mut text = |text: &str| {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    if let Some(order) = order {
        text(order.kind.operation());
        text(&order.sender);
        text(&order.data);
    }
    if let Some(mined) = &raw.mined {
        text(&mined.hash);
        let at = mined.at.map_or(u64::MAX, |at| at.0);
        bytes.extend(at.to_be_bytes());
    }
    bytes.extend(raw.height.to_be_bytes());
}
