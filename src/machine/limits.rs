//! Bounds that depend on how much memory the machine has. No rule depends on them: nodes with different ones agree.

/// What a node holds at most. Without a machine to look at: what 1 GB can spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// HNs that dialled us: with 8 dialled each and the jurors, a few times what is expected.
    pub accepted: usize,
    /// Observers, and as many connections that have not said who they are.
    pub observers: usize,
    /// Peers asked for bodies at once: each may answer with the largest frame.
    pub asked: usize,
    /// Messages in the mempool, of two rounds.
    pub messages: usize,
    /// Their bytes; the maps around them take as much again.
    pub message_bytes: usize,
    /// Verified signatures remembered, some 100 bytes each: two rounds of 500 HNs with their tests are 16,384.
    pub verified: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            accepted: 96,
            observers: 24,
            asked: 32,
            messages: 16_384,
            message_bytes: 4 * 1024 * 1024,
            verified: 16_384,
        }
    }
}
