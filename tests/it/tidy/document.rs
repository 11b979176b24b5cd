//! The documents keep up with the code.

use std::collections::BTreeSet;
use std::path::Path;

use super::source::Source;

pub fn changelog(files: &[Source]) -> Vec<String> {
    const SECTIONS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let Some(file) = files.iter().find(|file| file.path == "CHANGELOG.md") else {
        return vec!["CHANGELOG.md: missing".to_owned()];
    };
    let mut complaints = Vec::new();
    if file.text.lines().filter(|line| *line == "## [Unreleased]").count() != 1 {
        complaints.push("CHANGELOG.md: one section [Unreleased] is due".to_owned());
    }
    for name in file.text.lines().filter_map(|line| line.strip_prefix("### ")) {
        if !SECTIONS.contains(&name) {
            complaints.push(format!("CHANGELOG.md: {name} is no section of Keep a Changelog"));
        }
    }
    complaints
}

pub fn dependencies(files: &[Source]) -> Vec<String> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| &file.text);
    let (Some(manifest), Some(record)) = (text("Cargo.toml"), text(DEPENDENCIES)) else {
        return vec![format!("Cargo.toml or {DEPENDENCIES}: missing")];
    };
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            named.insert(name);
            if !record.contains(&format!("| `{name}` |")) {
                complaints.push(format!("{DEPENDENCIES}: no line for {name}"));
            }
        }
    }
    for name in record.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()) {
        if !named.contains(name) {
            complaints.push(format!("{DEPENDENCIES}: {name} is not in Cargo.toml"));
        }
    }
    complaints
}

pub const DEPENDENCIES: &str = "docs/adr/0002-dependencies.md";

/// Numbers of sections that code cites must be there: they are never renumbered.
pub fn sections(files: &[Source]) -> Vec<String> {
    let protocol = files.iter().find(|file| file.path == "docs/protocol.md");
    let known: BTreeSet<&str> = protocol
        .iter()
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.strip_prefix("## ")?.split(' ').next())
        .collect();
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("src/")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for cited in line.split('§').skip(1) {
                let section: &str = cited.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
                if !known.contains(section) {
                    let path = &file.path;
                    complaints.push(format!("{path}:{number}: docs/protocol.md has no §{section}"));
                }
            }
        }
    }
    complaints
}

/// Links between documents lead to files of the repository.
pub fn links(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
            if !path.exists() {
                complaints.push(format!("{}: the link to {link} leads nowhere", file.path));
            }
        }
    }
    complaints
}
