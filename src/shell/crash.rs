//! Dying on purpose: lets a test kill the process at each write to disk, one after another.
//!
//! [`point`] stands before, within and after each write of the store and of the sign state, and in the driver between
//! what is written and what is sent. A process started with `HYPERNODE_CRASH_AT=k` aborts at the k-th point that it
//! comes to, from 1, as a power cut or a kill would end it: nothing is closed, flushed or dropped. A test runs the same
//! work with k = 1, 2, 3 … until one run ends by itself. Builds without debug assertions, which is all that is
//! released, have none of this.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the point to die at; without it, none.
pub const VARIABLE: &str = "HYPERNODE_CRASH_AT";

static PASSED: AtomicU64 = AtomicU64::new(0);
static CRASH_AT: OnceLock<Option<u64>> = OnceLock::new();

/// A place where the process may have to die.
#[allow(
    clippy::disallowed_methods,
    reason = "only tests set the variable, and only an end without destructors is like a power cut"
)]
pub fn point() {
    if !cfg!(debug_assertions) {
        return;
    }
    let crash_at = *CRASH_AT.get_or_init(|| std::env::var(VARIABLE).ok()?.parse().ok());
    let here = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    if crash_at == Some(here) {
        std::process::abort();
    }
}
