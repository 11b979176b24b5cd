//! Our own blocks in the database.

use crate::machine::records::{self, DutyRecord, Reader, StoredHeader, Table};
use crate::types::block::Point;
use crate::types::clock::{Round, Slot};
use crate::types::key::PublicKey;
use crate::types::sign::BlockRecord;

/// Our newest block among those that lie at most so many heights below the tip, on all forks.
pub fn newest_block(
    own: PublicKey,
    heights: u64,
    tip: &Point,
    db: &dyn Reader,
) -> Option<BlockRecord> {
    let mut key = tip.height.0.saturating_sub(heights).to_be_bytes().to_vec();
    let mut newest: Option<BlockRecord> = None;
    while let Some((found, value)) = db.next(Table::Headers, &key) {
        let stored = records::parse::<StoredHeader>(&value);
        if let Some(stored) = stored.filter(|stored| stored.header.header.forger == own) {
            let (round, slot) = (stored.header.header.round, stored.header.header.slot);
            if newest.is_none_or(|newest| (newest.round, newest.slot) < (round, slot)) {
                newest = Some(BlockRecord { round, slot, hash: stored.header.hash() });
            }
        }
        key = found;
        key.push(0);
    }
    newest
}

/// The newest block that we have forged in a slot or after it, as our duties say.
pub fn newest_duty(from: (Round, Slot), db: &dyn Reader) -> Option<BlockRecord> {
    let mut key = records::duty_key(from.0, from.1);
    let mut newest = None;
    while let Some((found, value)) = db.next(Table::Duties, &key) {
        let record = records::parse::<DutyRecord>(&value);
        if let (Some((round, slot)), Some(DutyRecord::Forged(hash))) =
            (records::parse_duty_key(&found), record)
        {
            newest = Some(BlockRecord { round, slot, hash });
        }
        key = found;
        key.push(0);
    }
    newest
}
