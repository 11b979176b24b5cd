//! State machines: (now, input) in, effects out. They do no IO and do not know each other; `node` joins them.

pub mod event;
pub mod note;
pub mod records;
pub mod status;
