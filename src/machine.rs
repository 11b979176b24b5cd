//! State machines: (now, input) in, effects out. They do no IO and do not know each other; `node` joins them.

pub mod chain;
pub mod event;
pub mod mempool;
pub mod note;
pub mod records;
pub mod status;
pub mod timekeeper;
