//! Whether a node is well, in a word, and what is the matter: for whoever watches many nodes and reads no more than this.

use serde::Serialize;

use super::State;
use crate::machine::status::{SignStatus, Status};
use crate::shell::engine::Failure;

/// `hypernode.health/1`.
#[derive(Debug, Serialize)]
pub struct HealthDocument {
    pub health: &'static str,
    /// What is wrong or waited for, also of a node that is healthy and signs nothing; null while there is nothing.
    pub why: Option<String>,
}

impl HealthDocument {
    /// The health of a node with this status.
    pub fn new(status: Result<&Status, &Failure>) -> HealthDocument {
        let health = match State::of(status) {
            State::Running => "healthy",
            State::Syncing => "syncing",
            State::Halted => "halted",
            State::StorageFailed => "storage_failed",
        };
        let why = match status {
            Ok(status) => why(status),
            Err(failure) => Some(failure.cause.clone()),
        };
        HealthDocument { health, why }
    }
}

/// The first thing that keeps a node from its work; then what keeps the network from sealing.
fn why(status: &Status) -> Option<String> {
    if let Some(halt) = &status.halt {
        return Some(halt.message.clone());
    }
    if status.sync.behind {
        let height = status.tip.point.height;
        let target = status.sync.target.map(|target| format!(" of {target}"));
        let target = target.unwrap_or_default();
        return Some(format!("fetches blocks that others have: at height {height}{target}"));
    }
    if let Some(why) = why_unsigned(status) {
        return Some(why);
    }
    let late = status.seal.open.as_ref().filter(|open| open.late)?;
    let (index, has, needed) = (late.index, late.voted_percent, late.needed_percent);
    Some(format!("seal {index} is late: sealing needs {needed} %, has {has} %"))
}

/// What keeps a masternode from signing anything at all; an observer signs nothing anyway.
pub fn why_unsigned(status: &Status) -> Option<String> {
    if !status.masternode {
        return None;
    }
    if let Some(halt) = &status.halt {
        return Some(halt.message.clone());
    }
    if !status.sign_state.proven {
        return Some(unproven(&status.sign_state));
    }
    status.clock.distrust.map(|distrust| format!("nothing is signed: {distrust}"))
}

fn unproven(state: &SignStatus) -> String {
    match (state.doubt, state.ready_in) {
        (Some(doubt), _) => format!("nothing is signed: {doubt}"),
        (None, Some(round)) => {
            format!("nothing is signed: listens for signatures of this key until round {round}")
        }
        (None, None) => {
            "nothing is signed: waits for peers and blocks, to listen for two rounds".to_owned()
        }
    }
}
