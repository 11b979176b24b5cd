//! All commands in the order of the help: what the man page and the completions of shells are made of.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use super::Arguments;

/// A command and the words that lead to it.
pub struct Entry {
    /// `["registry", "list"]`; none for the program itself.
    pub words: Vec<&'static str>,
    pub info: CommandInfoWithArgs,
}

/// What a value is, as far as a shell can help with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A file or a directory.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a file.
    WordOrPath(&'static [&'static str]),
    /// Something else.
    Other,
}

/// The program and all its commands, each before those below it.
pub fn entries() -> Vec<Entry> {
    let mut found = Vec::new();
    collect(Vec::new(), Arguments::get_args_info(), &mut found);
    found
}

fn collect(words: Vec<&'static str>, info: CommandInfoWithArgs, found: &mut Vec<Entry>) {
    let below = info.commands.clone();
    found.push(Entry { words: words.clone(), info });
    for command in below {
        let words = [&words[..], &[command.name]].concat();
        collect(words, command.command, found);
    }
}

impl Entry {
    /// The words with something between them.
    pub fn joined(&self, between: &str) -> String {
        self.words.join(between)
    }

    /// Names of the commands below.
    pub fn commands(&self) -> Vec<&'static str> {
        self.info.commands.iter().map(|command| command.name).collect()
    }

    /// Its options, `--help` among them.
    pub fn options(&self) -> impl Iterator<Item = &'static FlagInfo<'static>> + use<> {
        self.info.flags.iter().filter(|flag| !flag.hidden)
    }

    /// How it is typed, with all that it takes; what may be left out stands in brackets.
    pub fn usage(&self) -> String {
        let mut usage = format!("hypernode {}", self.joined(" "));
        let mut add = |text: String, optionality: &Optionality| {
            usage.push_str(&match optionality {
                Optionality::Required => format!(" {text}"),
                Optionality::Optional => format!(" [{text}]"),
                Optionality::Repeating | Optionality::Greedy => format!(" [{text}]..."),
            });
        };
        for flag in self.options().filter(|flag| flag.long != "--help") {
            add(form(flag), &flag.optionality);
        }
        for positional in self.info.positionals {
            add(positional.name.to_uppercase(), &positional.optionality);
        }
        usage
    }

    /// What it takes besides options, when a shell can help with it.
    pub fn positional(&self) -> Value {
        self.info.positionals.first().map_or(Value::Other, |first| value_of(first.name))
    }
}

/// An option as it is typed: `--config CONFIG`.
pub fn form(flag: &FlagInfo<'_>) -> String {
    match flag.kind {
        FlagInfoKind::Switch => flag.long.to_owned(),
        FlagInfoKind::Option { arg_name } => format!("{} {}", flag.long, arg_name.to_uppercase()),
    }
}

/// What an option takes; nothing for one without a value.
pub fn value_of_option(flag: &FlagInfo<'_>) -> Option<Value> {
    match flag.kind {
        FlagInfoKind::Switch => None,
        FlagInfoKind::Option { .. } => Some(value_of(flag.long.trim_start_matches('-'))),
    }
}

/// A name means the same in every command.
fn value_of(name: &str) -> Value {
    match name {
        "config" | "api" | "dir" | "data-dir" | "ledger" | "file" => Value::Path,
        "network" => Value::WordOrPath(&["main", "test"]),
        "log" => Value::Word(&["error", "warn", "info", "debug", "trace"]),
        "shell" => Value::Word(&["bash", "zsh", "fish"]),
        _ => Value::Other,
    }
}

/// A description on one line, without a full stop.
pub fn plain(description: &str) -> String {
    let text = description.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_name_files_are_known_as_such() {
        for entry in entries() {
            let positionals = entry.info.positionals.iter();
            let named = positionals.map(|one| (one.name, one.description, value_of(one.name)));
            let options = entry
                .options()
                .filter_map(|flag| Some((flag.long, flag.description, value_of_option(flag)?)));
            for (name, description, value) in named.chain(options) {
                let words = ["file", "directory", "socket", "configuration", "path of"];
                // A file that is spoken of, and one that is meant.
                let is_path = words.iter().any(|word| description.starts_with(word))
                    || ["the ", "unix "].iter().any(|head| {
                        let rest = description.strip_prefix(head).unwrap_or_default();
                        words.iter().any(|word| rest.starts_with(word))
                    });
                assert!(
                    !is_path || value != Value::Other,
                    "{} {name}: {description}",
                    entry.joined(" ")
                );
            }
        }
    }
}
