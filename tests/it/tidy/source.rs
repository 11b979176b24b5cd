//! The files of the repository as `tidy` reads them: Rust with comments and text blanked out, so that a word in a
//! sentence is not taken for code. Just enough of the language for that, no parser.

use std::fs;
use std::path::Path;

/// Folders and files that people write; the rest is made or fetched.
const ROOTS: [&str; 14] = [
    "src",
    "tests",
    "benches",
    "fuzz",
    "docs",
    "boards",
    "config",
    "systemd",
    "build.rs",
    "Cargo.toml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "clippy.toml",
];

/// A file of the repository.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// The text of a Rust file without comments and the insides of literals; lines stay where they are.
    pub code: String,
}

impl Source {
    /// A file as it would be read.
    pub fn new(path: &str, text: &str) -> Source {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The layer it belongs to: `types` for `src/types.rs` and all below `src/types/`.
    pub fn layer(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        let first = path.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

/// All files, in the order of their paths.
pub fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for name in ROOTS {
        collect(root, name, &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(root: &Path, name: &str, files: &mut Vec<Source>) {
    let path = root.join(name);
    if path.is_dir() {
        for entry in fs::read_dir(&path).expect("a folder of the repository") {
            let entry = entry.expect("an entry of a folder");
            let below = format!("{name}/{}", entry.file_name().to_string_lossy());
            collect(root, &below, files);
        }
    } else if let Ok(text) = fs::read_to_string(&path) {
        files.push(Source::new(name, &text));
    }
}

/// Whether a word stands alone; lifetimes (`'static`) are other words.
pub fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        !line[..at].ends_with(part) && !after.is_some_and(part)
    })
}

/// Replaces comments and the insides of literals by spaces.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => find(&chars, at, "\n").unwrap_or(chars.len()),
            ('/', Some('*')) => find(&chars, at + 2, "*/").map_or(chars.len(), |end| end + 2),
            ('r', Some('"' | '#')) if !follows_name(&chars, at) => raw_end(&chars, at),
            ('"', _) => quoted_end(&chars, at, '"'),
            ('\'', Some('\\')) => quoted_end(&chars, at, '\''),
            ('\'', _) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

fn follows_name(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn find(chars: &[char], from: usize, what: &str) -> Option<usize> {
    let what: Vec<char> = what.chars().collect();
    (from..chars.len()).find(|at| chars[*at..].starts_with(&what))
}

/// After `r"…"` or `r#"…"#`; the same place when it is another thing that starts with r.
fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    find(chars, at + 2 + hashes, &close).map_or(chars.len(), |end| end + 1 + hashes)
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

#[test]
fn comments_and_literals_are_blanked_and_code_stays() {
    let code = |text: &str| blank(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code("a // b\nc"), "a c");
    assert_eq!(code("a /* b\n */ c"), "a c");
    assert_eq!(code(r#"a("b \" c") d"#), "a( ) d");
    assert_eq!(code("a(r#\"b \" c\"#) r#d"), "a( ) r#d");
    assert_eq!(code("x('\"') y('\\'') z<'a>(\"\")"), "x( ) y( ) z<'a>( )");
    assert_eq!(blank("a\n\"b\nc\"\nd").lines().count(), 4);
}
