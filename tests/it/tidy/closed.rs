//! Matches on the enums of the contract name every kind, so that a new one must be looked at everywhere.

use super::source::{Source, has_word};

/// Those enums.
const CLOSED: [&str; 5] = ["Event::", "Effect::", "Message::", "Note::", "Body::"];

/// An open block of a match: whether an arm names a closed enum, and the line of an arm that takes everything.
struct Block {
    is_match: bool,
    closed: bool,
    wild: Option<usize>,
    arm_start: usize,
}

pub fn closed_matches(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/") && file.is_rust()) {
        for line in wild_arms(&file.code) {
            let path = &file.path;
            complaints.push(format!("{path}:{line}: an arm for the rest hides kinds to come"));
        }
    }
    complaints
}

/// Lines of arms that take the rest, in matches on the enums of [`CLOSED`].
fn wild_arms(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' | '(' | '[' => {
                let is_match = character == '{' && has_word(&code[start..at], "match");
                blocks.push(Block { is_match, closed: false, wild: None, arm_start: at + 1 });
                start = at + 1;
            }
            '}' | ')' | ']' => {
                let block = blocks.pop();
                found.extend(block.filter(|block| block.closed).and_then(|block| block.wild));
                // After the braces of an arm comes the next arm; after those of a pattern comes its `=>`.
                let pattern = code[at + 1..].trim_start().starts_with("=>")
                    || code[at + 1..].trim_start().starts_with("if ")
                    || code[at + 1..].trim_start().starts_with('|');
                if let Some(block) = blocks.last_mut().filter(|_| character == '}' && !pattern) {
                    block.arm_start = at + 1;
                }
                start = if character == '}' { at + 1 } else { start };
            }
            ',' | ';' => {
                start = at + 1;
                if let Some(block) = blocks.last_mut() {
                    block.arm_start = at + 1;
                }
            }
            '=' if code[at..].starts_with("=>") => {
                let Some(block) = blocks.last_mut().filter(|block| block.is_match) else {
                    continue;
                };
                let arm = code[block.arm_start..at].trim();
                block.closed |= CLOSED.iter().any(|name| arm.contains(name));
                let rest = arm.split_whitespace().next().unwrap_or("");
                let binds = |c: char| c.is_lowercase() || c == '_';
                if !rest.is_empty() && rest.chars().all(binds) && block.wild.is_none() {
                    block.wild = Some(code[..at].lines().count());
                }
                start = at + 2;
            }
            _ => {}
        }
    }
    found
}
