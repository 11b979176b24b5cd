//! Sizes, names, heads and comments of Rust files.

use super::source::Source;

/// Lines of a Rust file: up to 350 is the habit, this is the end.
pub const LINES_MAX: usize = 500;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 12] = [
    "util", "utils", "common", "helper", "helpers", "manager", "managers", "handler", "handlers",
    "misc", "shared", "mod",
];

pub fn lines(files: &[Source]) -> Vec<String> {
    let long = |file: &&Source| file.is_rust() && file.text.lines().count() > LINES_MAX;
    files
        .iter()
        .filter(long)
        .map(|file| format!("{}: more than {LINES_MAX} lines: split it by type", file.path))
        .collect()
}

pub fn names(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
        if let Some(name) = path.split('/').find(|part| EMPTY_NAMES.contains(part)) {
            let path = &file.path;
            complaints.push(format!("{path}: {name} says nothing: a noun of the field is due"));
        }
        for (number, line) in (1..).zip(file.code.lines()) {
            if file.path.starts_with("src/") && line.contains("fn get_") {
                complaints.push(format!("{}:{number}: no get_ before a name", file.path));
            }
        }
    }
    complaints
}

pub fn heads(files: &[Source]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.is_rust() && file.path != "build.rs")
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: starts without //!: what lives here, what does not", file.path))
        .collect()
}

pub fn public_items(files: &[Source]) -> Vec<String> {
    const ITEMS: [&str; 8] = [
        "pub fn ",
        "pub const ",
        "pub struct ",
        "pub enum ",
        "pub trait ",
        "pub type ",
        "pub async fn ",
        "pub static ",
    ];
    let mut complaints = Vec::new();
    let public = |file: &&Source| file.path.starts_with("src/") && !is_private(file, files);
    for file in files.iter().filter(|file| file.is_rust()).filter(public) {
        let text: Vec<&str> = file.text.lines().collect();
        for (at, line) in text.iter().enumerate() {
            let item = line.trim_start();
            if !ITEMS.iter().any(|start| item.starts_with(start)) {
                continue;
            }
            let mut above = text[..at].iter().rev().map(|line| line.trim_start());
            let doc = above.find(|line| !line.starts_with("#[")).unwrap_or("");
            // The last line of a longer attribute is taken for good.
            if !doc.starts_with("///") && doc != ")]" {
                complaints.push(format!("{}:{}: public without ///", file.path, at + 1));
            }
        }
    }
    complaints
}

/// Whether the file above declares this one without `pub`: its items are for its neighbours.
fn is_private(file: &Source, files: &[Source]) -> bool {
    let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let above = format!("{folder}.rs");
    let declared = format!("\nmod {name};");
    files.iter().any(|file| file.path == above && file.code.contains(&declared))
}

pub fn ignored_tests(files: &[Source]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.code.contains("#[ignore"))
        .map(|file| format!("{}: a test that does not run protects nothing", file.path))
        .collect()
}
