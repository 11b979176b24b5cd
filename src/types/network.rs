//! A network: its identity, its parameters by round, its founders (`docs/protocol.md` §2). How its file is read and
//! checked is in `network/file.rs`.
//!
//! A `Network` that exists is valid: `parse` checks every bound.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::clock::{Clock, Round};
use super::codec;
use super::hash::{Hash, hash};
use super::key::PublicKey;

mod file;
mod listed;

pub use file::NetworkError;
pub use listed::Listed;

/// Most HNs that a registry, and so a list of founders, may hold (§2).
pub const REGISTRY_MAX: usize = 4096;
/// Most blocks of the PoW ledger that a registry may lie back, depth and step together: a node keeps twice as many.
pub const LEDGER_SPAN_MAX: usize = 4096;
/// Most forging slots in a round: a plan and two rounds of blocks must fit in memory.
pub const SLOTS_MAX: u32 = 256;

/// Everything the rules need to know about a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: String,
    pub magic: u32,
    pub clock: Clock,
    pub first_round: Round,
    pub source: Source,
    pub founders: Vec<Founder>,
    /// Listed in the file, by index; no part of the network's identity.
    pub checkpoints: Vec<Listed>,
    entries: Vec<Entry>,
    id: Hash,
}

/// Where registrations come from (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The founders, for good.
    List,
    /// The PoW ledger.
    Ledger,
}

/// An HN that is registered, active and voter from genesis on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    pub public_key: PublicKey,
    /// 1 to 3.
    pub weight: u8,
    pub ip: Ipv4Addr,
    pub port: u16,
}

/// An IPv4 address and a TCP port, where a node listens or dials.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
}

/// Rule parameters in force from a round on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub from_round: Round,
    pub values: Values,
}

/// The rule parameters (the table of §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// First byte of addresses; the same in every entry.
    pub prefix: u8,
    pub clock: ClockSource,
    /// Messages in a block: at least, from at least so many senders, at most.
    pub messages_min: u32,
    pub senders_min: u32,
    pub messages_max: u32,
    pub activity_rounds: u32,
    pub active_min: u32,
    pub tests_per_slot: u32,
    pub test_kinds: Vec<TestKind>,
    pub dial_count: u32,
    pub forge_peers_min: u32,
    /// Connections accepted from one /24 of addresses; 0: no limit.
    #[serde(default)]
    pub inbound_per_block: u32,
    pub ledger: LedgerValues,
}

/// What a node asks of its clock before it signs (§3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// Synchronised since boot.
    Synchronised,
    /// Whatever the machine says: all nodes are on one machine.
    Local,
}

/// A test that one HN runs on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    Ping,
    Tip,
    LedgerSample,
    ChainSample,
    Bandwidth,
}

/// How the PoW ledger is read (§5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerValues {
    pub depth: u64,
    pub step: u64,
    pub first_height: u64,
    /// PoW address of the controller, 56 hex digits.
    pub controller: String,
}

impl Network {
    /// The main network, compiled in.
    pub fn main() -> Network {
        Network::parse(include_str!("../../config/main.toml")).expect("a test parses the file")
    }

    /// The test network, compiled in.
    pub fn test() -> Network {
        Network::parse(include_str!("../../config/test.toml")).expect("a test parses the file")
    }

    /// A network from the text of its file.
    pub fn parse(text: &str) -> Result<Network, NetworkError> {
        file::parse(text)
    }

    /// The text that `parse` reads back as this network.
    pub fn to_toml(&self) -> String {
        file::write(self)
    }

    /// Whether it is the main network, where everybody must be reachable from everywhere.
    pub fn is_main(&self) -> bool {
        self.name == "main"
    }

    /// H("network", …) over what can never change (§2).
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The parameters and the rounds from which they are in force, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// First byte of this network's addresses.
    pub fn prefix(&self) -> u8 {
        self.entries[0].values.prefix
    }

    /// The header version of a round, from 1: the number of the entry in force.
    pub fn version_at(&self, round: Round) -> u32 {
        let in_force = self.entries.iter().take_while(|entry| entry.from_round <= round).count();
        u32::try_from(in_force.max(1)).expect("at most 400 entries")
    }

    /// The parameters in force in a round.
    pub fn values_at(&self, round: Round) -> &Values {
        &self.entries[self.version_at(round) as usize - 1].values
    }

    /// H("parameters", …): two nodes that differ here will one day part.
    pub fn parameters_digest(&self) -> Hash {
        hash("parameters", &[&codec::encode(&self.entries)])
    }

    /// The listed checkpoint of an index.
    pub fn listed(&self, index: u64) -> Option<&Listed> {
        self.checkpoints.iter().find(|listed| listed.checkpoint.index == index)
    }

    /// The address of a key on this network.
    pub fn address_of(&self, key: &PublicKey) -> Address {
        Address::of(key, self.prefix())
    }
}

impl TestKind {
    /// The name used in files and output.
    pub fn name(self) -> &'static str {
        match self {
            TestKind::Ping => "ping",
            TestKind::Tip => "tip",
            TestKind::LedgerSample => "ledger_sample",
            TestKind::ChainSample => "chain_sample",
            TestKind::Bandwidth => "bandwidth",
        }
    }
}

impl Founder {
    /// Where this HN listens.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { ip: self.ip, port: self.port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
