//! The rules that every node computes alike: pure functions, no peers, no timers.

pub mod balances;
pub mod beacon;
pub mod chain;
pub mod cut;
pub mod plan;
pub mod quorum;
pub mod refusal;
pub mod registration;
pub mod registry;
pub mod sealed;
pub mod state;
pub mod tally;
pub mod validity;
