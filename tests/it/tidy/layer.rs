//! Who may import whom, and what the core must not touch.

use super::source::{Source, has_word};

/// Who may import whom, and why not more.
const LAYERS: [(&str, &[&str], &str); 7] = [
    ("types", &["types"], "values take no decisions and know nobody who does"),
    (
        "rules",
        &["types", "rules"],
        "a rule that sees a peer or a timer is not computed alike by all",
    ),
    ("machine", &["types", "rules", "machine"], "machines do no IO and are joined by node"),
    ("node", &["types", "rules", "machine", "node"], "the same node runs in shell and in sim"),
    (
        "shell",
        &["types", "rules", "machine", "node", "shell"],
        "the shell is what is shipped; the simulator must not be part of it",
    ),
    (
        "sim",
        &["types", "rules", "machine", "node", "sim"],
        "the simulator is the other shell; what it borrowed from the first would not be tested",
    ),
    (
        "cli",
        &["types", "rules", "machine", "node", "shell", "sim", "cli"],
        "commands are made of what is in the crate",
    ),
];

/// What the core must not touch, and why (contract 5).
const CORE: [&str; 4] = ["types", "rules", "machine", "node"];
const CORE_WORDS: [(&str, &str); 24] = [
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
    ("Instant", "time comes in with every event"),
    ("SystemTime", "time comes in with every event"),
    ("Duration", "milliseconds as integers: one unit, exact in records and on the wire"),
    ("f32", "floats differ between machines"),
    ("f64", "floats differ between machines"),
    ("std::fs", "the shell does IO"),
    ("std::io", "the shell does IO"),
    ("std::env", "parameters come in with Setup"),
    ("std::process", "a node does not end the process"),
    ("std::thread", "one thread"),
    ("std::sync", "one thread, no global state"),
    ("thread_local", "no global state"),
    ("static", "no global state"),
    ("async", "events come in one by one"),
    ("await", "events come in one by one"),
    ("TcpStream", "the shell does IO"),
    ("TcpListener", "the shell does IO"),
    ("UdpSocket", "the shell does IO"),
    ("getrandom", "the core is seeded"),
    ("log", "facts are notes; the shell logs them"),
    ("heed", "the store is behind Reader and Persist"),
    ("smol", "the shell runs tasks"),
];

pub fn layers(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some(layer) = file.layer() else { continue };
        let Some((_, allowed, why)) = LAYERS.iter().find(|(name, ..)| *name == layer) else {
            if !matches!(layer, "lib" | "main") {
                complaints.push(format!("{}: in no layer of docs/architecture.md", file.path));
            }
            continue;
        };
        for (line, import) in imports(&file.code) {
            if !allowed.contains(&import.as_str()) {
                let path = &file.path;
                complaints.push(format!("{path}:{line}: {layer} imports {import}: {why}"));
            }
        }
    }
    complaints
}

/// First names of all paths that start at the root of the crate, with their lines.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(rest) => first_names(rest),
            None => vec![first_name(rest)],
        };
        found.extend(list.into_iter().filter(|name| !name.is_empty()).map(|name| (line, name)));
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names before the first `::` of each path of a group.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' if depth == 0 => {
                names.push(first_name(&group[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                names.push(first_name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

pub fn core_words(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.layer().is_some_and(|layer| CORE.contains(&layer)))
    {
        for (number, line) in (1..).zip(file.code.lines()) {
            for (word, why) in CORE_WORDS.iter().filter(|(word, _)| has_word(line, word)) {
                let path = &file.path;
                complaints.push(format!("{path}:{number}: {word} in the core: {why}"));
            }
        }
    }
    complaints
}
