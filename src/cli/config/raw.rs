//! Configuration as written: texts by key, each with the place it comes from. Layers: file, `conf.d`, environment, flags;
//! a later one wins. What the texts mean is not known here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::file;

/// Bytes of a configuration file; ours have a page.
const FILE_MAX: u64 = 64 * 1024;
/// Files in `conf.d`.
const FILES_MAX: usize = 64;
/// Before a key in the environment.
pub const ENVIRONMENT: &str = "HYPERNODE_";

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Network,
    Secret,
    Listen,
    DataDir,
    SignDir,
    ApiSocket,
    Ledger,
    Memory,
    MapSize,
    Log,
    LivesWith,
}

impl Key {
    /// All of them, in the order of the documentation.
    pub const ALL: [Key; 11] = [
        Key::Network,
        Key::Secret,
        Key::Listen,
        Key::DataDir,
        Key::SignDir,
        Key::ApiSocket,
        Key::Ledger,
        Key::Memory,
        Key::MapSize,
        Key::Log,
        Key::LivesWith,
    ];

    /// Its name in files; in the environment in capitals after `HYPERNODE_`.
    pub fn name(self) -> &'static str {
        match self {
            Key::Network => "network",
            Key::Secret => "key",
            Key::Listen => "listen",
            Key::DataDir => "data_dir",
            Key::SignDir => "sign_dir",
            Key::ApiSocket => "api_socket",
            Key::Ledger => "ledger",
            Key::Memory => "memory",
            Key::MapSize => "map_size",
            Key::Log => "log",
            Key::LivesWith => "lives_with",
        }
    }

    fn of(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// Where a text was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Line(PathBuf, usize),
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Place::Environment(name) => f.write_str(name),
            Place::Flag(name) => f.write_str(name),
        }
    }
}

/// A text and where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub text: String,
    pub place: Place,
}

/// What all layers together say.
#[derive(Debug, Default)]
pub struct Raw {
    settings: BTreeMap<Key, Setting>,
    /// What could not be taken in, in the order of the files and their lines.
    faults: Vec<Fault>,
}

impl Raw {
    /// The file and `conf.d/*.toml` beside it, by name. What is wrong in them is in [`Raw::faults`].
    pub fn read(file: &Path) -> Result<Raw, Failure> {
        let mut raw = Raw::default();
        raw.read_file(file)?;
        for file in drop_ins(file)? {
            raw.read_file(&file)?;
        }
        Ok(raw)
    }

    /// What is wrong with the files, before anybody asks what the texts mean.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is set for a key.
    pub fn setting(&self, key: Key) -> Option<&Setting> {
        self.settings.get(&key)
    }

    /// Takes `HYPERNODE_*` in. Names that are no keys are left alone: others use the prefix too.
    pub fn read_environment(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let (Some(name), Some(text)) = (name.to_str(), value.to_str()) else { continue };
            let Some(key) = name.strip_prefix(ENVIRONMENT) else { continue };
            if let Some(key) = Key::of(&key.to_ascii_lowercase()) {
                let place = Place::Environment(name.to_owned());
                self.settings.insert(key, Setting { text: text.to_owned(), place });
            }
        }
    }

    /// Takes the value of a flag in, if it is given.
    pub fn flag(&mut self, name: &'static str, key: Key, value: Option<String>) {
        if let Some(text) = value {
            self.settings.insert(key, Setting { text, place: Place::Flag(name) });
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let text = file::read(path, FILE_MAX, "configuration").map_err(|failure| {
            failure
                .action("name one that can be read with --config, or make it with `hypernode init`")
        })?;
        self.read_text(path, &text);
        Ok(())
    }

    /// Takes the text of a file in; what is wrong in it is in [`Raw::faults`].
    pub fn read_text(&mut self, path: &Path, text: &str) {
        let lines = text.lines().count().max(1);
        let line = |start: usize| {
            let before = text.as_bytes().get(..start).unwrap_or_default();
            // What is missing at the end is missing in the last line, not behind its end.
            (before.iter().filter(|byte| **byte == b'\n').count() + 1).min(lines)
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut faults: BTreeMap<usize, Fault> = BTreeMap::new();
        for error in errors {
            let at = error.span().map_or(1, |span| line(span.start));
            let place = Place::Line(path.to_owned(), at);
            // The first error of a line is the cause of those behind it.
            faults.entry(at).or_insert_with(|| Fault::syntax(place, error.message()));
        }
        for (name, value) in table.get_ref() {
            let at = line(name.span().start);
            let place = Place::Line(path.to_owned(), at);
            if faults.contains_key(&at) {
                continue;
            }
            match setting(name.get_ref(), value.get_ref(), place) {
                Ok((key, setting)) => {
                    self.settings.insert(key, setting);
                }
                Err(fault) => {
                    faults.insert(at, fault);
                }
            }
        }
        self.faults.extend(faults.into_values());
    }
}

/// What a line of a file sets.
fn setting(name: &str, value: &DeValue<'_>, place: Place) -> Result<(Key, Setting), Fault> {
    let Some(key) = Key::of(name) else {
        return Err(Fault::unknown(place, name, nearest(name, &Key::ALL.map(Key::name))));
    };
    match value {
        DeValue::String(text) => Ok((key, Setting { text: text.clone().into_owned(), place })),
        DeValue::Integer(number) if number.radix() == 10 => {
            Ok((key, Setting { text: number.as_str().to_owned(), place }))
        }
        other => Err(Fault::kind(place, key, other.type_str())),
    }
}

fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let Some(folder) = file.parent().map(|parent| parent.join("conf.d")) else {
        return Ok(Vec::new());
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("{} cannot be read", folder.display());
            return Err(Failure::new(Exit::Configuration, "file", message)
                .because(&error)
                .action("let the user of the node read it"));
        }
    };
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_toml).collect();
    if files.len() > FILES_MAX {
        let message = format!("{} holds more than {FILES_MAX} files", folder.display());
        return Err(Failure::new(Exit::Configuration, "configuration", message)
            .action("put their lines together"));
    }
    files.sort();
    Ok(files)
}

/// The name most like `text`: one that holds it or is held by it, then by letters to insert, remove or replace.
fn nearest<'a>(text: &str, names: &[&'a str]) -> &'a str {
    let apart = |name: &str| !name.contains(text) && !text.contains(name);
    let nearest = names.iter().min_by_key(|name| (apart(name), distance(text, name)));
    nearest.copied().unwrap_or_default()
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        let names = Key::ALL.map(Key::name);
        assert_eq!(nearest("netwrok", &names), "network");
        assert_eq!(nearest("datadir", &names), "data_dir");
        assert_eq!(nearest("socket", &names), "api_socket");
        assert_eq!(nearest("key_file", &names), "key");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn later_layers_win_and_say_where_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hypernode.toml");
        std::fs::write(&file, "# one\nlisten = \"127.0.0.1:1\"\nlog = \"info\"\n").unwrap();
        std::fs::create_dir(folder.path().join("conf.d")).unwrap();
        std::fs::write(folder.path().join("conf.d/20.toml"), "log = \"warn\"\n").unwrap();
        std::fs::write(folder.path().join("conf.d/10.toml"), "log = \"debug\"\n").unwrap();
        std::fs::write(folder.path().join("conf.d/30.off"), "nonsense").unwrap();
        let mut raw = Raw::read(&file).expect("it is right");
        let listen = raw.setting(Key::Listen).expect("it is set");
        assert_eq!(listen.place, Place::Line(file.clone(), 2));
        assert_eq!(raw.setting(Key::Log).map(|log| log.text.as_str()), Some("warn"));
        let variables = [("HYPERNODE_LOG", "error"), ("HYPERNODE_OTHER", "x"), ("PATH", "y")];
        raw.read_environment(variables.into_iter().map(|(a, b)| (a.into(), b.into())));
        assert_eq!(raw.setting(Key::Log).map(|log| log.text.as_str()), Some("error"));
        raw.flag("--log", Key::Log, Some("trace".to_owned()));
        assert_eq!(raw.setting(Key::Log).map(|log| log.place.clone()), Some(Place::Flag("--log")));
    }
}
