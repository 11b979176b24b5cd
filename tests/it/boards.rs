//! What `boards/` and `cross.toml` must agree on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn cross_knows_the_targets_of_boards_build_and_nothing_that_cross_does_not_know() {
    let scripts = read("boards/env.sh");
    let targets: BTreeSet<&str> = scripts
        .split("triple=")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert_eq!(targets.len(), 4, "{targets:?}");

    let cross: Table = read("cross.toml").parse().expect("cross.toml is TOML");
    let tables: Vec<&str> = cross.keys().map(String::as_str).collect();
    assert_eq!(tables, ["build", "target"]);
    let named = cross["target"].as_table().expect("a table for each target");
    assert_eq!(named.keys().map(String::as_str).collect::<BTreeSet<_>>(), targets);
    let default = cross["build"]["default-target"].as_str().expect("a target");
    assert!(targets.contains(default), "{default}");
    let passed = cross["build"]["env"]["passthrough"].as_array().expect("names of variables");
    assert!(passed.iter().all(Value::is_str), "{passed:?}");
}
