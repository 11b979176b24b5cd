//! zsh: like bash, with a word of explanation beside each choice.

use std::fmt::Write;

use crate::cli::tree::{Entry, Value, plain, value_of_option};

/// The script; works sourced, and as `_hypernode` in a directory of `fpath`.
const SCRIPT: &str = r#"#compdef hypernode
# Completions of hypernode for zsh, by `hypernode completions zsh`.
# Now: source <(hypernode completions zsh)
# For good: hypernode completions zsh > /usr/share/zsh/vendor-completions/_hypernode

_hypernode() {
    local chosen="" at
    local -a commands options choices
    for (( at = 2; at < CURRENT; at++ )); do
        case "$chosen/${words[at]}" in
@COMMANDS@) chosen=$chosen/${words[at]} ;;
            (*) break ;;
        esac
    done
    case "$chosen ${words[CURRENT-1]}" in
@VALUES@    esac
    case "$chosen" in
@CHOICES@    esac
    _describe -o option options
}

if [[ ${funcstack[1]} == _hypernode ]]; then
    _hypernode "$@"
else
    compdef _hypernode hypernode
fi
"#;

/// What zsh sources.
pub fn script(entries: &[Entry]) -> String {
    let commands: Vec<String> = entries
        .iter()
        .filter(|entry| !entry.words.is_empty())
        .map(|entry| format!("/{}", entry.joined("/")))
        .collect();
    let commands = format!("            ({}", commands.join("|\\\n            "));
    let (mut values, mut choices) = (String::new(), String::new());
    for entry in entries {
        let place = if entry.words.is_empty() { String::new() } else { "/".to_owned() };
        let place = place + &entry.joined("/");
        for flag in entry.options() {
            if let Some(value) = value_of_option(flag) {
                let act = match value {
                    Value::Other => format!("_message {}; ", quote(&plain(flag.description))),
                    value => action(value),
                };
                writeln!(values, "        (\"{place} {}\") {act}return ;;", flag.long)
                    .expect("a string takes all text");
            }
        }
        let pairs = entry.info.commands.iter();
        let pairs = pairs.map(|command| pair(command.name, command.command.description));
        let pairs: Vec<String> = pairs.collect();
        let act = match pairs.is_empty() {
            true => action(entry.positional()),
            false => {
                format!("commands=({}); _describe command commands; ", pairs.join(" "))
            }
        };
        let options: Vec<String> =
            entry.options().map(|flag| pair(flag.long, flag.description)).collect();
        let options = options.join(" ");
        writeln!(choices, "        (\"{place}\") options=({options}); {act};;")
            .expect("a string takes all text");
    }
    SCRIPT
        .replace("@COMMANDS@", &commands)
        .replace("@VALUES@", &values)
        .replace("@CHOICES@", &choices)
}

fn action(value: Value) -> String {
    let words =
        |words: &[&str]| format!("choices=({}); _describe value choices; ", words.join(" "));
    match value {
        Value::Path => "_files; ".to_owned(),
        Value::Word(list) => words(list),
        Value::WordOrPath(list) => words(list) + "_files; ",
        Value::Other => String::new(),
    }
}

/// A name and what it is for, as `_describe` takes them.
fn pair(name: &str, description: &str) -> String {
    quote(&format!("{}:{}", name.replace(':', "\\:"), plain(description)))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
