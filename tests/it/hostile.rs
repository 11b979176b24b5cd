//! Hostile peers against running nodes, real processes on loopback: whatever strangers and one bad founder do, what the
//! node holds stays bounded, the chain of the honest goes on meanwhile, the log stays short, and `peers` says what became
//! of them and why. Nothing here depends on how fast the machine is; figures are printed, and only bounds are asserted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "real nodes keep real time")]
#![allow(clippy::print_stdout, reason = "the figures of each attack")]
#![cfg(debug_assertions)]

mod channel;
mod door;
mod founder;
mod gauge;
mod heights;
mod stage;
mod stranger;
