//! Why a node has halted, with what proves it: for its operator, and for whoever is to judge.

use serde::{Deserialize, Serialize};

use crate::machine::halt::{HaltReason, HaltRecord};
use crate::rules::refusal::Refusal;
use crate::types::clock::Timestamp;
use crate::types::codec;
use crate::types::hash::Hash;
use crate::types::hex;
use crate::types::seal::{Checkpoint, Quorum, Voter};

/// `hypernode.halt/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct HaltDocument {
    pub halted: bool,
    /// Null while the node has not halted, and when its record cannot be read.
    pub evidence: Option<Evidence>,
    /// There is a record that cannot be read: the node does not start.
    #[serde(default)]
    pub unreadable: bool,
}

/// What stopped the node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evidence {
    pub code: String,
    pub message: String,
    pub at: Timestamp,
    /// The seal that it is about.
    pub index: u64,
    /// The certificate that the node holds, or that it cannot follow; then the one against it.
    pub certificates: Vec<Quorum>,
    /// The listed checkpoint, when it is about one.
    pub listed: Option<Checkpoint>,
    /// Digest of the state that the node computes, when it is another.
    pub state: Option<Hash>,
    /// Why the rules refuse the sealed block.
    pub refusal: Option<Refusal>,
    /// Voters of the instance, by position.
    pub voters: Vec<Voter>,
    /// The canonical bytes of all of it, in hexadecimal digits.
    pub bytes: String,
}

impl HaltDocument {
    /// The document of a node that has halted for this, or not.
    pub fn new(record: Option<&HaltRecord>) -> HaltDocument {
        let evidence = record.map(Evidence::new);
        HaltDocument { halted: record.is_some(), evidence, unreadable: false }
    }

    /// The document of a node whose record cannot be read: that it has halted is all that is known.
    pub fn unreadable() -> HaltDocument {
        HaltDocument { halted: true, evidence: None, unreadable: true }
    }
}

impl Evidence {
    fn new(record: &HaltRecord) -> Evidence {
        let reason = &record.reason;
        let (mut listed, mut state, mut refusal) = (None, None, None);
        match reason {
            HaltReason::Certificates { .. } => {}
            HaltReason::Refused { why, .. } => refusal = Some(*why),
            HaltReason::State { ours, .. } => state = Some(*ours),
            HaltReason::Listed { listed: checkpoint, .. } => listed = Some(*checkpoint),
        }
        Evidence {
            code: reason.code().to_owned(),
            message: reason.to_string(),
            at: record.at,
            index: reason.index(),
            certificates: reason.certificates().into_iter().cloned().collect(),
            listed,
            state,
            refusal,
            voters: record.voters.clone(),
            bytes: hex::encode(&codec::encode(record)),
        }
    }
}
