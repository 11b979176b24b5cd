//! What can be wrong with a configuration: where, which key, why, and what to do about it.

use super::raw::{Key, Place};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// Where to look up what a key may be.
const EXAMPLE: &str = "`hypernode config example` shows every key";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// As it is written; nothing when the text itself is the matter.
    pub key: Option<String>,
    pub why: String,
    pub action: String,
}

impl Fault {
    /// A line that is no TOML.
    pub fn syntax(place: Place, why: &str) -> Fault {
        let action = format!("a line is `key = \"value\"`; {EXAMPLE}");
        // Messages of a parser may span lines.
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        Fault { place, key: None, why, action }
    }

    /// A key that nobody knows.
    pub fn unknown(place: Place, name: &str, nearest: &str) -> Fault {
        let action = format!("the nearest known key is {nearest:?}");
        Fault { place, key: Some(name.to_owned()), why: format!("unknown key {name:?}"), action }
    }

    /// A value that is no text.
    pub fn kind(place: Place, key: Key, found: &str) -> Fault {
        let why = format!("a text is due, not a {found}");
        Fault { place, key: Some(key.name().to_owned()), why, action: EXAMPLE.to_owned() }
    }

    /// A value that means nothing.
    pub fn value(place: Place, key: Key, failure: &Failure) -> Fault {
        // The place and the key stand at the head of some messages already.
        let head = format!("{place}: {}: ", key.name());
        let why = failure.message().strip_prefix(&head).unwrap_or(failure.message()).to_owned();
        let action = failure.advice().unwrap_or(EXAMPLE).to_owned();
        Fault { place, key: Some(key.name().to_owned()), why, action }
    }

    /// What is wrong, with its key.
    pub fn message(&self) -> String {
        match &self.key {
            // "unknown key" has it already.
            Some(key) if !self.why.starts_with("unknown key") => format!("{key}: {}", self.why),
            Some(_) | None => self.why.clone(),
        }
    }

    /// The end of a command that needs the configuration.
    pub fn failure(&self) -> Failure {
        let message = format!("{}: {}", self.place, self.message());
        Failure::new(Exit::Configuration, "configuration", message).action(self.action.as_str())
    }
}
