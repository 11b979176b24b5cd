//! Seals: the agreement of the voters on checkpoints (`docs/protocol.md` §10).

pub mod algorithm;
mod ballots;
pub mod instance;
pub mod proposals;
mod upon;
pub mod votes;

#[cfg(test)]
mod tests;
