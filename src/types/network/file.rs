//! The file of a network, in TOML: reading it, checking every bound, writing it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::listed::{self, Bound, LISTED_MAX, Listed};
use super::{Entry, Founder, LEDGER_SPAN_MAX, Network, REGISTRY_MAX, SLOTS_MAX, Source, Values};
use crate::types::clock::{Clock, Round, Timestamp};
use crate::types::codec;
use crate::types::hash::{Hash, hash};

/// Most entries in the list of parameters: one a quarter for a century.
const ENTRIES_MAX: usize = 400;
/// Longest name of a network, in bytes.
const NAME_MAX: usize = 32;
/// 253,402,300,800 is the year 10000: below it, no arithmetic on milliseconds overflows.
const ORIGIN_MAX: u64 = 253_402_300_800;

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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    checkpoint: Vec<listed::Entry>,
}

/// What is wrong with a network file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkError {
    /// Not TOML, or a key unknown, missing or of a wrong type; the parser's words, and the line where it stopped.
    Syntax { line: Option<usize>, why: String },
    /// A value out of its bounds; `item` counts from 0 in the list that the key goes through.
    Value { key: &'static str, item: Option<usize>, why: String },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Syntax { line: Some(line), why } => write!(f, "line {line}: {why}"),
            NetworkError::Syntax { line: None, why } => f.write_str(why),
            NetworkError::Value { key, item: Some(item), why } => {
                write!(f, "{key}, number {}: {why}", item + 1)
            }
            NetworkError::Value { key, item: None, why } => write!(f, "{key}: {why}"),
        }
    }
}

impl std::error::Error for NetworkError {}

fn wrong(key: &'static str, why: impl Into<String>) -> Bound {
    Err((key, why.into()))
}

/// A network from the text of its file.
pub(super) fn parse(text: &str) -> Result<Network, NetworkError> {
    let file: NetworkFile = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    check_identity(&file).map_err(|bound| value(None, bound))?;
    check_founders(&file.founders)?;
    check_entries(&file)?;
    check_listed(&file)?;
    let clock = Clock {
        origin: Timestamp::from_secs(file.origin),
        slot_ms: file.slot_seconds * 1000,
        slots: file.slots,
        seal_slots: file.seal_slots,
    };
    Ok(Network {
        id: id_of(&file),
        name: file.name,
        magic: file.magic,
        clock,
        first_round: file.first_round,
        source: file.source,
        founders: file.founders,
        entries: file.parameters,
        checkpoints: file.checkpoint.into_iter().map(Listed::from).collect(),
    })
}

/// The text that `parse` reads back as this network.
pub(super) fn write(network: &Network) -> String {
    let file = NetworkFile {
        name: network.name.clone(),
        magic: network.magic,
        origin: network.clock.origin.0 / 1000,
        slot_seconds: network.clock.slot_ms / 1000,
        slots: network.clock.slots,
        seal_slots: network.clock.seal_slots,
        first_round: network.first_round,
        source: network.source,
        founders: network.founders.clone(),
        parameters: network.entries.clone(),
        checkpoint: network.checkpoints.iter().map(listed::Entry::from).collect(),
    };
    toml::to_string(&file).expect("a network is plain data")
}

fn syntax(text: &str, error: &toml::de::Error) -> NetworkError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    NetworkError::Syntax { line, why: error.message().trim_end().to_owned() }
}

fn value(item: Option<usize>, (key, why): (&'static str, String)) -> NetworkError {
    NetworkError::Value { key, item, why }
}

fn id_of(file: &NetworkFile) -> Hash {
    let identity = (
        &file.name,
        file.magic,
        file.origin,
        file.slot_seconds,
        file.slots,
        file.seal_slots,
        file.first_round,
        file.source,
        &file.founders,
    );
    hash("network", &[&codec::encode(&identity)])
}

fn check_identity(file: &NetworkFile) -> Bound {
    let printable = file.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if file.name.is_empty() || file.name.len() > NAME_MAX || !printable {
        return wrong("name", format!("1 to {NAME_MAX} letters, digits or dashes are due"));
    }
    if file.origin > ORIGIN_MAX {
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
    if file.founders.len() > REGISTRY_MAX {
        return wrong("founders", format!("at most {REGISTRY_MAX} are possible"));
    }
    let entries = &file.parameters;
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        return wrong("parameters", format!("1 to {ENTRIES_MAX} entries are due"));
    }
    Ok(())
}

fn check_founders(founders: &[Founder]) -> Result<(), NetworkError> {
    let mut keys = BTreeSet::new();
    let mut endpoints = BTreeSet::new();
    for (item, founder) in founders.iter().enumerate() {
        let bound = if !(1..=3).contains(&founder.weight) {
            wrong("founders.weight", format!("{} is not 1, 2 or 3", founder.weight))
        } else if founder.port == 0 {
            wrong("founders.port", "0 is no port")
        } else if !keys.insert(founder.public_key) {
            wrong("founders.public_key", format!("{} is there twice", founder.public_key))
        } else if !endpoints.insert(founder.endpoint()) {
            wrong("founders.ip", format!("{} is there twice", founder.endpoint()))
        } else {
            Ok(())
        };
        bound.map_err(|bound| value(Some(item), bound))?;
    }
    Ok(())
}

fn check_entries(file: &NetworkFile) -> Result<(), NetworkError> {
    let entries = &file.parameters;
    // The first block may come in first_round: an entry must be in force then.
    if entries[0].from_round > file.first_round {
        let why = "the first entry must be in force in first_round".to_owned();
        return Err(value(Some(0), ("parameters.from_round", why)));
    }
    for (item, Entry { from_round, values }) in entries.iter().enumerate() {
        let bound = if item > 0 && entries[item - 1].from_round >= *from_round {
            wrong("parameters.from_round", "it must be later than that of the entry before")
        } else if values.prefix != entries[0].values.prefix {
            wrong("parameters.values.prefix", "it can never change")
        } else {
            check_values(values)
        };
        bound.map_err(|bound| value(Some(item), bound))?;
    }
    Ok(())
}

fn check_listed(file: &NetworkFile) -> Result<(), NetworkError> {
    if file.checkpoint.len() > LISTED_MAX {
        let why = format!("at most {LISTED_MAX} are possible");
        return Err(value(None, ("checkpoint", why)));
    }
    let of_network = (file.first_round, file.parameters[0].values.prefix);
    let mut before = None;
    for (item, entry) in file.checkpoint.iter().enumerate() {
        let bound = listed::check(entry, before, of_network);
        bound.map_err(|bound| value(Some(item), bound))?;
        before = Some(entry);
    }
    Ok(())
}

fn check_values(values: &Values) -> Bound {
    if !(1..=1000).contains(&values.messages_max) {
        return wrong("parameters.values.messages_max", "1 to 1000 are due");
    }
    if values.messages_min > values.messages_max {
        return wrong("parameters.values.messages_min", "more than messages_max");
    }
    if values.senders_min > values.messages_max {
        return wrong("parameters.values.senders_min", "more than messages_max");
    }
    if values.activity_rounds == 0 {
        return wrong("parameters.values.activity_rounds", "at least 1 round is due");
    }
    if values.active_min == 0 {
        return wrong("parameters.values.active_min", "at least 1 HN is due");
    }
    if values.tests_per_slot > 100 {
        return wrong("parameters.values.tests_per_slot", "at most 100 are possible");
    }
    if !(1..=16).contains(&values.test_kinds.len()) {
        return wrong("parameters.values.test_kinds", "1 to 16 kinds are due");
    }
    if !(1..=64).contains(&values.dial_count) {
        return wrong("parameters.values.dial_count", "1 to 64 are due");
    }
    if values.forge_peers_min > values.dial_count {
        return wrong("parameters.values.forge_peers_min", "more than dial_count");
    }
    let controller = &values.ledger.controller;
    let hex = controller.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if controller.len() != 56 || !hex {
        return wrong("parameters.values.ledger.controller", "56 lower-case hex digits are due");
    }
    if values.ledger.step == 0 {
        return wrong("parameters.values.ledger.step", "at least 1 is due");
    }
    let span = values.ledger.depth.saturating_add(values.ledger.step);
    if span > LEDGER_SPAN_MAX as u64 {
        return wrong("parameters.values.ledger.depth", "with the step more than 4096 blocks");
    }
    if values.ledger.first_height == 0 {
        return wrong("parameters.values.ledger.first_height", "heights start at 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::seal::{Voter, voters_digest};

    /// The main network's file with one text replaced.
    fn edited(from: &str, to: &str) -> Result<Network, NetworkError> {
        let text = Network::main().to_toml();
        assert!(text.contains(from), "{from} is in the file");
        parse(&text.replacen(from, to, 1))
    }

    fn check(from: &str, to: &str, expected: &str) {
        let error = edited(from, to).expect_err("it is wrong");
        assert!(error.to_string().contains(expected), "{from} -> {to}: {error}");
    }

    #[test]
    fn the_compiled_in_files_are_valid_and_round_trip() {
        for network in [Network::main(), Network::test()] {
            assert_eq!(parse(&network.to_toml()), Ok(network));
        }
    }

    #[test]
    fn every_bound_names_its_key() {
        check("name = \"main\"", "name = \"ma in\"", "name: ");
        check("slot_seconds = 180", "slot_seconds = 0", "slot_seconds: ");
        check("slots = 19", "slots = 257", "slots: ");
        check("messages_max = 1000", "messages_max = 1001", "messages_max, number 1: ");
        check("active_min = 10", "active_min = 0", "active_min, number 1: ");
        check("step = 60", "step = 0", "ledger.step, number 1: ");
        check("depth = 30", "depth = 4037", "ledger.depth, number 1: ");
        check("from_round = 0", "from_round = 1", "from_round, number 1: ");
        check("cf2562", "CF2562", "controller, number 1: ");
    }

    #[test]
    fn what_the_parser_refuses_has_its_line() {
        let first = edited("name = \"main\"", "nam = \"main\"").expect_err("an unknown key");
        assert!(matches!(first, NetworkError::Syntax { line: Some(1), .. }), "{first}");
        assert!(first.to_string().contains("unknown field `nam`"), "{first}");
        check("slot_seconds = 180", "slot_seconds = -1", "line 4: ");
    }

    #[test]
    fn listed_checkpoints_are_bounded_and_no_part_of_the_identity() {
        let voter = Voter { public_key: crate::types::key::PublicKey([5; 32]), weight: 1 };
        let digest = voters_digest(&[voter]);
        let listed = |index: u64, voters: Hash, electorate: &str| {
            let some = "11".repeat(32);
            format!(
                "\n[[checkpoint]]\nindex = {index}\nround = {index}\nheight = {index}\nblock = \"{some}\"\n\
                 state = \"{some}\"\nregistry = \"{some}\"\nvoters = \"{voters}\"\n{electorate}"
            )
        };
        let brought = format!(
            "[[checkpoint.electorate]]\npublic_key = \"{}\"\nweight = 1\n",
            voter.public_key
        );
        let base = Network::main().to_toml();
        let text = |parts: &[String]| base.clone() + &parts.concat();
        let good = parse(&text(&[listed(1, digest, ""), listed(7, digest, &brought)]));
        let good = good.expect("both are fine");
        assert_eq!(good.id(), Network::main().id());
        assert_eq!(good.checkpoints[1].voters, Some(vec![voter]));
        assert_eq!(good.checkpoints[0].voters, None);
        let appended =
            base.clone() + &good.checkpoints.iter().map(Listed::to_toml).collect::<String>();
        assert_eq!(parse(&appended), Ok(good.clone()), "as an operator adds them");
        assert_eq!(parse(&good.to_toml()), Ok(good));
        let error = |parts: &[String]| parse(&text(parts)).expect_err("it is wrong").to_string();
        let twice = error(&[listed(7, digest, ""), listed(7, digest, "")]);
        assert!(twice.starts_with("checkpoint.index, number 2: "), "{twice}");
        let other = error(&[listed(7, Hash([1; 32]), &brought)]);
        assert!(other.starts_with("checkpoint.voters, number 1: "), "{other}");
    }

    #[test]
    fn a_founder_is_there_once() {
        let key = "00".repeat(32);
        let founder = |port: u16| {
            format!(
                "[[founders]]\npublic_key = \"{key}\"\nweight = 1\nip = \"127.0.0.1\"\nport = {port}\n"
            )
        };
        let text = Network::main().to_toml() + &founder(1) + &founder(2);
        let text = text.replacen("founders = []\n", "", 1);
        let error = parse(&text).expect_err("the key is there twice").to_string();
        assert!(error.starts_with("founders.public_key, number 2: "), "{error}");
    }
}
