//! `hypernode.sign-state/1`: a sign state as JSON, to be read by people and by `import`.

use serde::{Deserialize, Serialize};

use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::network::Network;
use crate::types::sign::{BlockRecord, Doubt, SignState, Standing, VoteRecord};

const SCHEMA: &str = "hypernode.sign-state/1";

/// One sign state, whose it is, and whether it is all.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    schema: String,
    /// Its name, for people.
    network: String,
    network_id: Hash,
    public_key: PublicKey,
    /// `proven`, `new`, `waiting` or `unproven`.
    standing: String,
    /// Why it is unproven; null when it is not.
    doubt: Option<Doubt>,
    block: Option<BlockRecord>,
    vote: Option<VoteRecord>,
}

impl Document {
    /// The document of a state.
    pub fn new(network: &Network, public_key: PublicKey, state: &SignState) -> Document {
        let (standing, doubt) = match state.standing {
            Standing::Unproven(doubt) => ("unproven", Some(doubt)),
            of @ (Standing::Proven | Standing::New | Standing::Waiting) => (word(of), None),
        };
        Document {
            schema: SCHEMA.to_owned(),
            network: network.name.clone(),
            network_id: network.id(),
            public_key,
            standing: standing.to_owned(),
            doubt,
            block: state.block,
            vote: state.vote,
        }
    }

    /// The same of a state that may belong to another network.
    pub fn with_id(self, network_id: Hash) -> Document {
        Document { network_id, ..self }
    }

    /// One line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// A document from its text; why it is none, otherwise.
    pub fn parse(text: &str) -> Result<Document, String> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| format!("no sign state: {error}"))?;
        match document.schema.as_str() {
            SCHEMA => Ok(document),
            other => Err(format!("schema {other:?} is not {SCHEMA}")),
        }
    }

    /// What is in it, when it is of this key and network.
    pub fn state(&self, network: &Network, key: PublicKey) -> Result<SignState, String> {
        if self.network_id != network.id() {
            return Err(format!("it is of network {} ({})", self.network, self.network_id));
        }
        if self.public_key != key {
            return Err(format!("it is of the key {}", self.public_key));
        }
        if self.doubt.is_some_and(|doubt| doubt != Doubt::Retired) {
            return Err("it was not proven where it comes from".to_owned());
        }
        if self.vote.is_some_and(|vote| vote.value == Some(Hash::default())) {
            return Err("no checkpoint is named by zeros".to_owned());
        }
        Ok(SignState { block: self.block, vote: self.vote, standing: Standing::Proven })
    }
}

/// How the documentation calls a standing: the doubt, as JSON has it, when there is one.
pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Proven => "proven",
        Standing::New => "new",
        Standing::Waiting => "waiting",
        Standing::Unproven(Doubt::Missing) => "missing",
        Standing::Unproven(Doubt::Older) => "older",
        Standing::Unproven(Doubt::Copied) => "copied",
        Standing::Unproven(Doubt::Retired) => "retired",
        Standing::Unproven(Doubt::Elsewhere) => "elsewhere",
    }
}
