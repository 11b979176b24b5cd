//! fish: a line for each command and option, with the words that must stand before it.

use std::fmt::Write;

use crate::cli::tree::{Entry, Value, plain, value_of_option};

/// Before the lines: whether the words so far are a command, or begin with one.
const HEAD: &str = r"# Completions of hypernode for fish, by `hypernode completions fish`.
# Now: hypernode completions fish | source
# For good: hypernode completions fish > /usr/share/fish/vendor_completions.d/hypernode.fish

function __hypernode_begins
    set -l words (commandline -opc)
    set -e words[1]
    test (count $words) -ge (count $argv); or return 1
    for at in (seq (count $argv))
        test $words[$at] = $argv[$at]; or return 1
    end
end

function __hypernode_is
    set -l words (commandline -opc)
    test (count $words) -eq (math 1 + (count $argv)); and __hypernode_begins $argv
end

complete -c hypernode -f
";

/// What fish sources.
pub fn script(entries: &[Entry]) -> String {
    let mut text = HEAD.to_owned();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all text");
    for entry in entries {
        let words = entry.joined(" ");
        let group = !entry.info.commands.is_empty();
        let is = if group { "is" } else { "begins" };
        let head = format!(
            "complete -c hypernode -n {}",
            quote(format!("__hypernode_{is} {words}").trim())
        );
        for command in &entry.info.commands {
            let description = quote(&plain(command.command.description));
            line(format!("{head} -a {} -d {description}", command.name));
        }
        if let Some(takes) = takes(entry.positional()).filter(|_| !group) {
            line(format!("{head} {takes}"));
        }
        for flag in entry.options() {
            let name = flag.long.trim_start_matches('-');
            let description = quote(&plain(flag.description));
            let takes = match value_of_option(flag) {
                None => String::new(),
                Some(value) => format!(" -r {}", takes(value).unwrap_or("-f".to_owned())),
            };
            line(format!("{head} -l {name}{takes} -d {description}"));
        }
    }
    text
}

fn takes(value: Value) -> Option<String> {
    match value {
        Value::Path => Some("-F".to_owned()),
        Value::Word(words) => Some(format!("-f -a {}", quote(&words.join(" ")))),
        Value::WordOrPath(words) => Some(format!("-F -a {}", quote(&words.join(" ")))),
        Value::Other => None,
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
