//! hypernode: a proof-of-stake masternode for small boards.
//!
//! In the middle a deterministic machine that does no IO and reads no clock; around it thin shells. The core has no
//! randomness, thread, environment, hash order or float either: `clippy.toml` and `tests/it/tidy.rs` hold that. Only
//! the shells may read clocks, each where an `allow` says why. Read in this order:

/// Values and their encoding.
#[deny(clippy::float_arithmetic)]
pub mod types;

/// The rules that every node computes alike.
#[deny(clippy::float_arithmetic)]
pub mod rules;

/// State machines: mempool, peers, relay, sync, and the contract with whoever drives them.
#[deny(clippy::float_arithmetic)]
pub mod machine;

/// The node that joins the machines.
#[deny(clippy::float_arithmetic)]
pub mod node;

/// The node on a real machine: disk, sockets, clock.
pub mod shell;

/// Whole networks of nodes in virtual time, from one seed.
pub mod sim;

/// The commands.
pub mod cli;
