//! hypernode: a proof-of-stake masternode for small boards.
//!
//! In the middle a deterministic machine that does no IO and reads no clock; around it thin shells. Read in this order:

/// Values and their encoding.
pub mod types;

/// The rules that every node computes alike.
pub mod rules;

/// State machines: mempool, peers, relay, sync, and the contract with whoever drives them.
pub mod machine;

/// The node that joins the machines.
pub mod node;
