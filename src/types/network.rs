//! A network: its identity, its parameters by round, its founders (`docs/protocol.md` §2), and its file in TOML.
//!
//! A `Network` that exists is valid: `parse` checks every bound.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::clock::{Clock, Round, Timestamp};
use super::codec;
use super::hash::{Hash, hash};
use super::key::PublicKey;

/// Most HNs that a registry, and so a list of founders, may hold (§2).
pub const REGISTRY_MAX: usize = 4096;
/// Most forging slots in a round: a plan and two rounds of blocks must fit in memory.
pub const SLOTS_MAX: u32 = 256;
/// Most entries in the list of parameters: one a quarter for a century.
const ENTRIES_MAX: usize = 400;
/// Longest name of a network, in bytes.
const NAME_MAX: usize = 32;

/// Everything the rules need to know about a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: String,
    pub magic: u32,
    pub clock: Clock,
    pub first_round: Round,
    pub source: Source,
    pub founders: Vec<Founder>,
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

/// The file as written, before its bounds are checked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    name: String,
    magic: u32,
    origin: u64,
    slot_seconds: u64,
    slots: u32,
    seal_slots: u32,
    first_round: Round,
    source: Source,
    #[serde(default)]
    founders: Vec<Founder>,
    parameters: Vec<Entry>,
}

/// What is wrong with a network file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkError {
    /// Not TOML, or a key unknown, missing or of a wrong type; the parser's words, with the line.
    Syntax(String),
    /// A value out of its bounds.
    Value { key: &'static str, why: String },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Syntax(text) => f.write_str(text.trim_end()),
            NetworkError::Value { key, why } => write!(f, "{key}: {why}"),
        }
    }
}

impl std::error::Error for NetworkError {}

fn wrong(key: &'static str, why: impl Into<String>) -> Result<(), NetworkError> {
    Err(NetworkError::Value { key, why: why.into() })
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
        let file: NetworkFile =
            toml::from_str(text).map_err(|error| NetworkError::Syntax(error.to_string()))?;
        Network::from_file(file)
    }

    /// The text that `parse` reads back as this network.
    pub fn to_toml(&self) -> String {
        let file = NetworkFile {
            name: self.name.clone(),
            magic: self.magic,
            origin: self.clock.origin.0 / 1000,
            slot_seconds: self.clock.slot_ms / 1000,
            slots: self.clock.slots,
            seal_slots: self.clock.seal_slots,
            first_round: self.first_round,
            source: self.source,
            founders: self.founders.clone(),
            parameters: self.entries.clone(),
        };
        toml::to_string(&file).expect("a network is plain data")
    }

    fn from_file(file: NetworkFile) -> Result<Network, NetworkError> {
        check_identity(&file)?;
        check_founders(&file.founders)?;
        check_entries(&file)?;
        let id = hash(
            "network",
            &[&codec::encode(&(
                &file.name,
                file.magic,
                file.origin,
                file.slot_seconds,
                file.slots,
                file.seal_slots,
                file.first_round,
                file.source,
                &file.founders,
            ))],
        );
        let clock = Clock {
            origin: Timestamp::from_secs(file.origin),
            slot_ms: file.slot_seconds * 1000,
            slots: file.slots,
            seal_slots: file.seal_slots,
        };
        Ok(Network {
            name: file.name,
            magic: file.magic,
            clock,
            first_round: file.first_round,
            source: file.source,
            founders: file.founders,
            entries: file.parameters,
            id,
        })
    }

    /// H("network", …) over what can never change (§2).
    pub fn id(&self) -> Hash {
        self.id
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

    /// The address of a key on this network.
    pub fn address_of(&self, key: &PublicKey) -> Address {
        Address::of(key, self.prefix())
    }
}

fn check_identity(file: &NetworkFile) -> Result<(), NetworkError> {
    let printable = file.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if file.name.is_empty() || file.name.len() > NAME_MAX || !printable {
        return wrong("name", format!("1 to {NAME_MAX} letters, digits or dashes are due"));
    }
    // 253,402,300,800 is the year 10000: below it, no arithmetic on milliseconds overflows.
    if file.origin > 253_402_300_800 {
        return wrong("origin", "later than the year 9999");
    }
    if !(1..=86_400).contains(&file.slot_seconds) {
        return wrong("slot_seconds", "1 to 86400 are due");
    }
    if !(1..=SLOTS_MAX).contains(&file.slots) {
        return wrong("slots", format!("1 to {SLOTS_MAX} are due"));
    }
    if !(1..=SLOTS_MAX).contains(&file.seal_slots) {
        return wrong("seal_slots", format!("1 to {SLOTS_MAX} are due"));
    }
    Ok(())
}

fn check_founders(founders: &[Founder]) -> Result<(), NetworkError> {
    if founders.len() > REGISTRY_MAX {
        return wrong("founders", format!("at most {REGISTRY_MAX} are possible"));
    }
    let mut keys = std::collections::BTreeSet::new();
    let mut endpoints = std::collections::BTreeSet::new();
    for founder in founders {
        if !(1..=3).contains(&founder.weight) {
            return wrong("founders.weight", format!("{} is not 1, 2 or 3", founder.weight));
        }
        if founder.port == 0 {
            return wrong("founders.port", "0 is no port");
        }
        if !keys.insert(founder.public_key) {
            return wrong("founders.public_key", format!("{} is there twice", founder.public_key));
        }
        if !endpoints.insert((founder.ip, founder.port)) {
            let place = format!("{}:{} is there twice", founder.ip, founder.port);
            return wrong("founders.ip", place);
        }
    }
    Ok(())
}

fn check_entries(file: &NetworkFile) -> Result<(), NetworkError> {
    let entries = &file.parameters;
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        return wrong("parameters", format!("1 to {ENTRIES_MAX} entries are due"));
    }
    // The first block may come in first_round: an entry must be in force then.
    if entries[0].from_round > file.first_round {
        return wrong("parameters.from_round", "the first entry must be in force in first_round");
    }
    if !entries.windows(2).all(|pair| pair[0].from_round < pair[1].from_round) {
        return wrong("parameters.from_round", "each entry must start later than the one before");
    }
    for Entry { values, .. } in entries {
        if values.prefix != entries[0].values.prefix {
            return wrong("parameters.values.prefix", "it can never change");
        }
        if !(1..=1000).contains(&values.messages_max) {
            return wrong("parameters.values.messages_max", "1 to 1000 are due");
        }
        if values.messages_min > values.messages_max || values.senders_min > values.messages_max {
            return wrong("parameters.values.messages_min", "more than messages_max");
        }
        if values.activity_rounds == 0 || values.active_min == 0 {
            return wrong("parameters.values.activity_rounds", "at least 1 round and 1 HN are due");
        }
        if values.tests_per_slot > 100
            || values.test_kinds.is_empty()
            || values.test_kinds.len() > 16
        {
            return wrong("parameters.values.tests_per_slot", "at most 100, of 1 to 16 kinds");
        }
        if !(1..=64).contains(&values.dial_count) || values.forge_peers_min > values.dial_count {
            return wrong("parameters.values.dial_count", "1 to 64, and at least forge_peers_min");
        }
        let controller = &values.ledger.controller;
        let hex = controller.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if controller.len() != 56 || !hex {
            return wrong(
                "parameters.values.ledger.controller",
                "56 lower-case hex digits are due",
            );
        }
        if values.ledger.step == 0 || values.ledger.first_height == 0 {
            return wrong("parameters.values.ledger.step", "step and first_height start at 1");
        }
    }
    Ok(())
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
