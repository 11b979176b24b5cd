//! Thin IO around the core: disk, network, clock, people. No decision that a test would miss.

pub mod api;
pub mod client;
pub mod clock;
pub mod crash;
pub mod crowd;
pub mod directory;
pub mod document;
pub mod driver;
pub mod engine;
pub mod frame;
pub mod guard;
pub mod host;
pub mod journal;
pub mod ledger;
pub mod link;
pub mod memory;
pub mod noise;
pub mod store;
pub mod tally;
pub mod tcp;
pub mod witness;
