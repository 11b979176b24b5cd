//! What `boards/` says of boards and architectures is what the node and `cross.toml` know.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hypernode::shell::memory::MemoryClass;
use serde::Deserialize;
use toml::{Table, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Board {
    name: String,
    architecture: String,
    processor: String,
    memory_mb: Vec<u64>,
    memory_class: String,
    page_bytes: u64,
    watchdog: String,
    tested: Vec<Tested>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tested {
    how: String,
    on: toml::value::Datetime,
}

fn boards() -> Vec<(PathBuf, Board)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "toml"));
    files
        .map(|path| {
            let board = toml::from_str(&fs::read_to_string(&path).unwrap());
            (path.clone(), board.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect()
}

#[test]
fn each_board_has_its_class_and_pages_that_the_database_can_have() {
    let boards = boards();
    for (path, board) in &boards {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem, board.name.to_lowercase().replace(' ', "-"));
        let is_32_bit = match board.architecture.as_str() {
            "arm64" => false,
            "armhf" => true,
            other => panic!("{stem}: {other} is nothing that boards/build builds"),
        };
        // A kernel and graphics keep an eighth of it for themselves.
        let smallest = board.memory_mb.iter().min().unwrap() * 1_000_000 / 8 * 7;
        assert_eq!(MemoryClass::of(smallest, is_32_bit).name(), board.memory_class, "{stem}");
        assert!(board.memory_mb.is_sorted(), "{stem}");
        // A map is whole units of 64 KiB.
        assert!(board.page_bytes.is_power_of_two() && board.page_bytes <= 65_536, "{stem}");
        assert!(board.processor.starts_with("cortex-") && !board.watchdog.is_empty(), "{stem}");
        for tested in &board.tested {
            assert!(tested.on.date.is_some() && !tested.how.is_empty(), "{stem}");
        }
    }
    assert_eq!(boards.len(), 7);
}

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
