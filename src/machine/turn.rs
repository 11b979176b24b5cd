//! What the machines have at hand during one event: its time, the database with the writes so far, the effects so far.

use super::event::Outbox;
use super::records::Draft;
use crate::types::clock::Now;

/// One event.
pub struct Turn<'a> {
    pub now: Now,
    pub db: Draft<'a>,
    pub out: Outbox,
}
