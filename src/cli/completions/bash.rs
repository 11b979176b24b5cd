//! bash: one function that looks which command stands on the line, then at the option before the cursor.

use std::fmt::Write;

use crate::cli::tree::{Entry, Value, value_of_option};

/// The script; `@ARMS@` are replaced by what follows from the commands.
const SCRIPT: &str = r#"# Completions of hypernode for bash, by `hypernode completions bash`.
# Now: source <(hypernode completions bash)
# For good: hypernode completions bash > /usr/share/bash-completion/completions/hypernode

_hypernode() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local chosen="" at options="" words="" files=""
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "$chosen/${COMP_WORDS[at]}" in
@COMMANDS@) chosen=$chosen/${COMP_WORDS[at]} ;;
            *) break ;;
        esac
    done
    case "$chosen $before" in
@VALUES@        *)
            case "$chosen" in
@CHOICES@            esac
            ;;
    esac
    [[ $word == -* || -z $words$files ]] && words="$words $options"
    COMPREPLY=()
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    if [[ $files && $word != -* ]]; then
        # Quotes names with spaces, and puts a slash behind directories.
        compopt -o filenames 2> /dev/null
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _hypernode hypernode
"#;

/// What bash sources.
pub fn script(entries: &[Entry]) -> String {
    let commands: Vec<String> = entries
        .iter()
        .filter(|entry| !entry.words.is_empty())
        .map(|entry| format!("            /{}", entry.joined("/")))
        .collect();
    let (mut values, mut choices) = (String::new(), String::new());
    for entry in entries {
        let place = if entry.words.is_empty() { String::new() } else { "/".to_owned() };
        let place = place + &entry.joined("/");
        let mut options = Vec::new();
        for flag in entry.options() {
            options.push(flag.long);
            if let Some(value) = value_of_option(flag) {
                let set = assignments(value);
                writeln!(values, "        \"{place} {}\") {set}options=\"\" ;;", flag.long)
                    .expect("a string takes all text");
            }
        }
        let words = entry.commands().join(" ");
        let words = match words.as_str() {
            "" => assignments(entry.positional()),
            words => format!("words=\"{words}\" "),
        };
        let options = options.join(" ");
        writeln!(choices, "                \"{place}\") {words}options=\"{options}\" ;;")
            .expect("a string takes all text");
    }
    SCRIPT
        .replace("@COMMANDS@", &commands.join("|\\\n"))
        .replace("@VALUES@", &values)
        .replace("@CHOICES@", &choices)
}

fn assignments(value: Value) -> String {
    match value {
        Value::Path => "files=1 ".to_owned(),
        Value::Word(words) => format!("words=\"{}\" ", words.join(" ")),
        Value::WordOrPath(words) => format!("words=\"{}\" files=1 ", words.join(" ")),
        Value::Other => String::new(),
    }
}
