//! The rules of the house that no compiler knows (`docs/architecture.md`): layers, sizes, names, heads of files,
//! exhaustive matches, and that the documents keep up with the code. Each rule is shown to fail on a bad sample.

mod closed;
mod code;
mod document;
mod layer;
mod source;

use std::collections::BTreeSet;

use code::LINES_MAX;
use document::DEPENDENCIES;
use source::{Source, repository};

type Rule = fn(&[Source]) -> Vec<String>;

const RULES: [(&str, Rule); 12] = [
    ("layers", layer::layers),
    ("core_words", layer::core_words),
    ("lines", code::lines),
    ("names", code::names),
    ("heads", code::heads),
    ("public_items", code::public_items),
    ("closed_matches", closed::closed_matches),
    ("ignored_tests", code::ignored_tests),
    ("changelog", document::changelog),
    ("dependencies", document::dependencies),
    ("sections", document::sections),
    ("links", document::links),
];

#[test]
fn the_repository_keeps_the_rules_of_the_house() {
    let files = repository();
    assert!(files.len() > 30, "only {} files found", files.len());
    let complaints: Vec<String> = RULES.iter().flat_map(|(_, rule)| rule(&files)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn each_rule_fails_on_a_bad_sample_and_only_on_it() {
    let long = "//! x\n".to_owned() + &"\n".repeat(LINES_MAX);
    // Where the path is what is bad, there is no good text.
    const NONE: &str = "no good text";
    // Rule, path, bad, good.
    let samples: Vec<(&str, &str, &str, &str)> = vec![
        ("layers", "src/types/x.rs", "use crate::rules::plan;", "use crate::types::hash;"),
        ("layers", "src/rules.rs", "fn f(_: crate::node::Node) {}", "// crate::node"),
        (
            "layers",
            "src/shell/x.rs",
            "use crate::{\n types::a,\n sim::{b, c},\n};",
            "use crate::{types::{a, b}, node};",
        ),
        ("layers", "src/sim/x.rs", "use crate::shell::tcp;", "use crate::node::Node;"),
        ("layers", "src/node/x.rs", "use crate::cli;", "use crate::machine::note;"),
        ("layers", "src/extra.rs", "", NONE),
        (
            "core_words",
            "src/rules/x.rs",
            "use std::collections::{BTreeMap, HashMap};",
            "// HashMap",
        ),
        ("core_words", "src/node.rs", "let t = std::time::Instant::now();", "let t = \"Instant\";"),
        ("core_words", "src/machine/x.rs", "static N: u8 = 0;", "const N: &'static str = \"\";"),
        ("core_words", "src/machine/x.rs", "log::info!(\"\")", "let logged = catalog.log_of;"),
        ("lines", "src/types/x.rs", &long, "//! x\n"),
        ("names", "src/shell/utils.rs", "", NONE),
        ("names", "src/shell/mod.rs", "", NONE),
        ("names", "src/types/x.rs", "pub fn get_key() {}", "pub fn key() {}"),
        ("heads", "src/types/x.rs", "use a;\n//! late", "//! Here."),
        ("public_items", "src/types/x.rs", "pub fn f() {}", "/// F.\n#[inline]\npub fn f() {}"),
        (
            "closed_matches",
            "src/node/x.rs",
            "match e { Event::Wake => 1, _ => 2 }",
            "match e { Event::Wake => 1, Event::Request { .. } => 2 }",
        ),
        (
            "closed_matches",
            "src/node/x.rs",
            "match m {\n Message::Bye(r) if r.x() => { f(|_| 1) }\n other => g(other),\n}",
            "match k { 1 => Message::Bye(r), _ => h() }",
        ),
        (
            "closed_matches",
            "src/node/x.rs",
            "match n { Note::Forged { .. } | Note::SyncFinished => match k { 1 => 2, _ => 3 } _ => 4 }",
            "match n { Note::SyncFinished => match k { 1 => 2, _ => 3 } Note::Forged { .. } => 4 }",
        ),
        ("ignored_tests", "tests/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", "// #[ignore]"),
        ("changelog", "CHANGELOG.md", "# Changelog\n", "## [Unreleased]\n\n### Added\n"),
        ("changelog", "CHANGELOG.md", "## [Unreleased]\n\n### News\n", "## [Unreleased]\n"),
        (
            "links",
            "docs/x.md",
            "[a](nowhere.md)",
            "[a](../README.md#b) [b](https://example.org) [c](#d)",
        ),
    ];
    let mut shown = BTreeSet::from(["dependencies", "sections"]);
    for (name, path, bad, good) in samples {
        let (_, rule) = RULES.iter().find(|(rule, _)| *rule == name).expect("a rule");
        let run = |text: &str| rule(&[Source::new(path, text)]);
        assert_eq!(run(bad).len(), 1, "{name} on {bad:?}: {:?}", run(bad));
        if good != NONE {
            assert_eq!(run(good), Vec::<String>::new(), "{name} on {good:?}");
        }
        shown.insert(name);
    }
    assert_eq!(shown.len(), RULES.len(), "a rule without a bad sample");
}

#[test]
fn a_dependency_needs_its_line_and_a_citation_its_section() {
    let manifest = Source::new("Cargo.toml", "[dependencies]\na = \"1\"\n[lints]\nb = \"x\"");
    let record = |text: &str| Source::new(DEPENDENCIES, text);
    let complaints =
        |text| document::dependencies(&[Source::new("Cargo.toml", &manifest.text), record(text)]);
    assert_eq!(complaints("| `a` | why |"), Vec::<String>::new());
    assert_eq!(complaints("| `b` | why |").len(), 2);

    let protocol = || Source::new("docs/protocol.md", "## 1 Basics\n## 12 Sync\n");
    let cited =
        |text: &str| document::sections(&[protocol(), Source::new("src/types/x.rs", text)]).len();
    assert_eq!(cited("//! §1, and §12.\n"), 0);
    assert_eq!(cited("//! §2, and §13.\n"), 2);
}

#[test]
fn a_module_that_is_private_needs_no_words_on_its_items() {
    let complaints = |declared: &str| {
        let above = Source::new("src/machine/chain.rs", declared);
        let below = Source::new("src/machine/chain/tree.rs", "pub fn f() {}");
        code::public_items(&[above, below]).len()
    };
    assert_eq!(complaints("//! X.\nmod tree;\n"), 0);
    assert_eq!(complaints("//! X.\npub mod tree;\n"), 1);
}
