//! Reading a network file critically: its errors, and what is allowed but hardly meant, each with its line.

use std::fmt;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use crate::types::network::{ClockSource, Network, NetworkError, Source};

/// Slots shorter than this leave a board little time to forge, send and check.
const SLOT_MS_LOW: u64 = 2_000;

/// Something to tell about a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// From 1; null when it is about no line.
    pub line: Option<usize>,
    /// The key that it is about; null when the text itself is the matter.
    pub key: Option<String>,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Errors and warnings of the text of a network file. A text with an error has no warnings.
pub fn review(text: &str) -> (Vec<Finding>, Vec<Finding>) {
    match Network::parse(text) {
        Ok(network) => (Vec::new(), warnings(&network, text)),
        Err(NetworkError::Syntax { line, why }) => {
            (vec![Finding { line, key: None, message: why }], Vec::new())
        }
        Err(NetworkError::Value { key, item, why }) => {
            (vec![finding(text, key, item, why)], Vec::new())
        }
    }
}

fn finding(text: &str, key: &str, item: Option<usize>, message: String) -> Finding {
    Finding { line: line_of(text, key, item), key: Some(key.to_owned()), message }
}

fn warnings(network: &Network, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut warn = |key: &str, item: Option<usize>, message: String| {
        found.push(finding(text, key, item, message));
    };
    let founders = network.founders.len();
    if founders == 0 {
        warn("name", None, "no founders: nobody can forge the first block".to_owned());
    }
    if network.clock.slot_ms < SLOT_MS_LOW {
        warn("slot_seconds", None, "short for boards: 2 or more are advised".to_owned());
    }
    if network.source == Source::Ledger && founders > 0 {
        warn("source", None, "the PoW ledger is not followed yet: the founders stay".to_owned());
    }
    for (number, founder) in network.founders.iter().enumerate() {
        let item = Some(number);
        if founder.ip.is_unspecified() || founder.ip.is_broadcast() || founder.ip.is_multicast() {
            warn("founders.ip", item, format!("{} cannot be dialled", founder.ip));
        } else if founder.ip.is_loopback() != network.founders[0].ip.is_loopback() {
            warn("founders.ip", item, "some founders are on loopback, some are not".to_owned());
        }
        let twice = network.founders[..number].iter().any(|one| one.ip == founder.ip);
        if twice && !founder.ip.is_loopback() {
            warn("founders.ip", item, format!("{} has another founder too", founder.ip));
        }
    }
    for (item, entry) in network.entries().iter().enumerate() {
        let (item, values) = (Some(item), &entry.values);
        let others = founders.saturating_sub(1);
        if founders > 0 && values.forge_peers_min as usize > others {
            let why = format!("nobody can forge: each founder has {others} others");
            warn("parameters.values.forge_peers_min", item, why);
        }
        if founders > 0 && values.senders_min as usize > founders {
            let why = format!("nobody can forge: there are {founders} founders");
            warn("parameters.values.senders_min", item, why);
        }
        if founders > 0 && values.active_min as usize > founders {
            let why = format!("more than the {founders} founders");
            warn("parameters.values.active_min", item, why);
        }
        let public = network.founders.iter().any(|founder| !founder.ip.is_loopback());
        if values.clock == ClockSource::Local && public {
            let why = "machines differ: \"synchronised\" is advised".to_owned();
            warn("parameters.values.clock", item, why);
        }
    }
    found
}

/// The line, from 1, where a key stands whose path is joined by dots; `item` picks one in the list that comes first.
fn line_of(text: &str, key: &str, item: Option<usize>) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut at = None;
    for (depth, part) in key.split('.').enumerate() {
        let entry = table.iter().find(|(name, _)| name.get_ref() == part);
        // A key that is not written has the line of what it would stand in.
        let Some((name, value)) = entry else { break };
        at = Some(name.span().start);
        let value = match (depth, item, value.get_ref()) {
            (0, Some(item), DeValue::Array(list)) => {
                let Some(value) = list.get(item) else { break };
                at = Some(value.span().start);
                value
            }
            _ => value,
        };
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    at.and_then(|at| text.get(..at)).map(|before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../config/main.toml");

    /// The line of the first error after a replacement, and the line where `to` stands.
    fn lines(from: &str, to: &str) -> (Option<usize>, Option<usize>) {
        assert!(FILE.contains(from), "{from} is in the file");
        let text = FILE.replacen(from, to, 1);
        let stands = text.find(to).map(|at| text[..at].matches('\n').count() + 1);
        let (errors, _) = review(&text);
        (errors.first().expect("it is wrong").line, stands)
    }

    #[test]
    fn an_error_has_the_line_of_its_key() {
        for (from, to) in [
            ("slots = 19", "slots = 0"),
            ("messages_max = 1000", "messages_max = 0"),
            ("step = 60", "step = 0"),
            ("active_min = 10", "active_min = -1"),
            ("source = \"ledger\"", "sauce = \"ledger\""),
            ("[[parameters]]", "[[parameters"),
        ] {
            let (found, stands) = lines(from, to);
            assert_eq!(found, stands, "{to}");
        }
    }

    #[test]
    fn an_error_in_a_list_has_the_line_of_its_item() {
        let founder = |byte: &str, weight: u8, port: u16| {
            format!(
                "\n[[founders]]\npublic_key = \"{}\"\nweight = {weight}\nip = \"10.0.0.1\"\nport = {port}\n",
                byte.repeat(32)
            )
        };
        let base = FILE.lines().count();
        let text = FILE.to_owned() + &founder("01", 1, 1) + &founder("02", 4, 2);
        assert_eq!(review(&text).0[0].line, Some(base + 6 + 4));
        let text = FILE.to_owned() + &founder("01", 1, 1) + &founder("01", 1, 2);
        assert_eq!(review(&text).0[0].line, Some(base + 6 + 3));
        let text = FILE.to_owned() + &founder("01", 1, 1) + &founder("02", 1, 2);
        let (errors, warnings) = review(&text);
        assert_eq!(errors, Vec::new());
        let twice = warnings.iter().find(|finding| finding.message.contains("another founder"));
        assert_eq!(twice.and_then(|finding| finding.line), Some(base + 6 + 5));
    }

    #[test]
    fn a_network_without_founders_is_worth_a_warning() {
        let (errors, warnings) = review(FILE);
        assert_eq!(errors, Vec::new());
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].line, Some(2));
    }
}
