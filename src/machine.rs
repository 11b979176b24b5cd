//! State machines: (now, input) in, effects out. They do no IO and do not know each other; `node` joins them.

#[cfg(test)]
pub mod bed;
pub mod chain;
pub mod custody;
pub mod duty;
pub mod event;
pub mod evidence;
pub mod halt;
pub mod ledger;
pub mod limits;
pub mod mempool;
pub mod note;
pub mod peers;
pub mod records;
pub mod relay;
pub mod rivals;
pub mod seal;
pub mod seals;
pub mod serve;
pub mod status;
pub mod sync;
pub mod timekeeper;
pub mod turn;
