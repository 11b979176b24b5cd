//! `config`: what counts and where it comes from, all that is wrong at once, and the example.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;

use serde_json::{Value, json};

use crate::cli::{bad, bad_json, command, good, json, run, stderr, stdout};

const EXAMPLE: &str = include_str!("../../config/hypernode.toml");

#[test]
fn every_key_is_shown_with_its_value_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, drop_in) = (path("hypernode.toml"), path("conf.d/10.toml"));
    fs::create_dir(path("conf.d")).unwrap();
    fs::write(&config, "network = \"test\"\nkey = \"key.pem\"\nlog = \"warn\"\n").unwrap();
    fs::write(&drop_in, "# ours\nlog = \"debug\"\n").unwrap();
    let shown = |more: &[&str]| {
        let mut command = command(&[&["config", "show", "--config", &config], more].concat());
        command.env("HYPERNODE_LISTEN", "127.0.0.1:1").env("HYPERNODE_OTHER", "x");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let said = json(&shown(&["--json"]));
    assert_eq!(said["schema"], "hypernode.config.show/1");
    assert_eq!(said["file"], config);
    let row = |key: &str| {
        let rows = said["settings"].as_array().unwrap().iter();
        rows.clone().find(|row| row["key"] == key).unwrap().clone()
    };
    let of = |key: &str, value: Value, source: &str, file: Value, line: Value, variable: Value| {
        json!({ "key": key, "value": value, "source": source, "file": file, "line": line,
                "variable": variable })
    };
    let none = Value::Null;
    for expected in [
        of("network", json!("test"), "file", json!(config), json!(1), none.clone()),
        of("key", json!(path("key.pem")), "file", json!(config), json!(2), none.clone()),
        of("log", json!("debug"), "file", json!(drop_in), json!(2), none.clone()),
        of(
            "listen",
            json!("127.0.0.1:1"),
            "environment",
            none.clone(),
            none.clone(),
            json!("HYPERNODE_LISTEN"),
        ),
        of(
            "data_dir",
            json!("/var/lib/hypernode"),
            "built_in",
            none.clone(),
            none.clone(),
            none.clone(),
        ),
        of("ledger", none.clone(), "built_in", none.clone(), none.clone(), none.clone()),
    ] {
        assert_eq!(row(expected["key"].as_str().unwrap()), expected);
    }
    assert_eq!(said["settings"].as_array().unwrap().len(), 11);
    let text = shown(&[]);
    let line = text.lines().find(|line| line.starts_with("log ")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["log", "debug", &format!("{drop_in}:2")]
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hypernode.toml").to_str().unwrap().to_owned();
    let lines = [
        "netwrok = \"main\"",
        "log = \"loud\"",
        "listen = ",
        "map_size = \"1GB\"",
        "data_dir = true",
        "map_size = \"1GiB\"",
        "network = \"nowhere.toml\"",
    ];
    fs::write(&config, lines.join("\n")).unwrap();
    let check = ["config", "check", "--config", &config];
    let output = run(&check);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    let text = stdout(&output);
    for (line, said) in [
        (1, "error: unknown key \"netwrok\"; the nearest known key is \"network\""),
        (2, "error: log: \"loud\" is not error, warn, info, debug or trace; "),
        (3, "error: "),
        (4, "error: map_size: \"1GB\" is neither auto nor a size such as 512MiB or 1GiB; "),
        (5, "error: data_dir: a text is due, not a boolean; "),
        (6, "error: duplicate key"),
        (7, "error: network: network file "),
    ] {
        let found =
            text.lines().any(|found| found.starts_with(&format!("{config}:{line}: {said}")));
        assert!(found, "line {line}: {said}\n{text}");
    }
    assert_eq!(text.lines().count(), lines.len(), "{text}");
    let output = run(&[&check[..], &["--json"]].concat());
    assert_eq!((output.status.code(), stderr(&output)), (Some(78), String::new()));
    let said = json(&stdout(&output));
    assert_eq!(
        (&said["schema"], &said["valid"]),
        (&json!("hypernode.config.check/1"), &json!(false))
    );
    let errors = said["errors"].as_array().unwrap();
    assert_eq!(errors.len(), lines.len());
    assert_eq!((&errors[0]["key"], &errors[0]["line"]), (&json!("netwrok"), &json!(1)));
    for error in errors {
        assert!(error["file"] == config && error["action"].is_string(), "{error}");
    }

    fs::write(&config, "network = \"test\"\n").unwrap();
    assert_eq!(good(&check), format!("{config}: valid\n"));
    let wrong = command(&check).env("HYPERNODE_LOG", "loud").output().unwrap();
    assert_eq!(wrong.status.code(), Some(78));
    assert!(stdout(&wrong).starts_with("HYPERNODE_LOG: error: log: "), "{}", stdout(&wrong));
    // A file that is not there is another matter.
    let missing = ["config", "check", "--config", "/nowhere/hypernode.toml"];
    assert!(bad(66, &missing).contains("hypernode init"));
    assert_eq!(bad_json(66, &[&missing[..], &["--json"]].concat())["code"], "file_missing");
}

#[test]
fn the_example_is_the_file_of_the_repository_and_right() {
    assert_eq!(good(&["config", "example"]), EXAMPLE);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hypernode.toml").to_str().unwrap().to_owned();
    fs::write(&config, EXAMPLE).unwrap();
    assert!(good(&["config", "check", "--config", &config]).ends_with(": valid\n"));
    // Also with what it leaves out.
    let whole = EXAMPLE.replace("# ledger =", "ledger =").replace("# lives_with =", "lives_with =");
    fs::write(&config, whole).unwrap();
    good(&["config", "check", "--config", &config]);
    let shown = json(&good(&["config", "show", "--config", &config, "--json"]));
    for row in shown["settings"].as_array().unwrap() {
        assert_eq!(row["source"], "file", "{row}");
    }
    bad(2, &["config", "example", "x"]);
}
