//! Bytes and vectors that must not change by accident: a change here is a change of the protocol.
//!
//! `address.json`, `clock.json` and `juror_bias.json` come from the Python hypernode; `signature.json` was made apart
//! (see `tests/golden/README.md`). The others are made here, from fixed keys, and compared. To take new ones on
//! purpose: `BLESS=1 cargo test --test it golden`.

mod address;
mod bytes;
mod plan;
mod seal;
mod signature;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A file of vectors.
fn read(name: &str) -> Value {
    let text = fs::read_to_string(path_of(name)).expect("a file of vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// Compares what the code makes now with what is pinned, and says where they differ.
#[allow(clippy::disallowed_methods, reason = "blessing is asked for in the environment")]
fn compare(name: &str, made: &Value) {
    if std::env::var_os("BLESS").is_some() {
        let mut text = serde_json::to_string_pretty(made).expect("plain data");
        text.push('\n');
        fs::write(path_of(name), text).expect("the golden file can be written");
    }
    let differences = differences(&read(name), made);
    assert!(
        differences.is_empty(),
        "\n{name} differs at {}\nIf the protocol is meant to change: BLESS=1 cargo test --test it golden\n",
        differences.join(", ")
    );
}

/// Places at which two values differ.
fn differences(pinned: &Value, made: &Value) -> Vec<String> {
    match (pinned, made) {
        (Value::Object(pinned), Value::Object(made)) => {
            let keys: std::collections::BTreeSet<&String> =
                pinned.keys().chain(made.keys()).collect();
            let below = |key: &String| match (pinned.get(key), made.get(key)) {
                (Some(pinned), Some(made)) => differences(pinned, made),
                _ => vec![String::new()],
            };
            let named = |key: &String| {
                let places = below(key).into_iter();
                places.map(|place| format!("{key}/{place}")).collect::<Vec<_>>()
            };
            keys.into_iter().flat_map(named).collect()
        }
        (pinned, made) if pinned == made => Vec::new(),
        _ => vec![String::new()],
    }
}

#[test]
fn a_difference_is_found_and_named() {
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let pinned = value(r#"{"a": {"b": 1, "c": [1, 2]}, "d": "x"}"#);
    assert_eq!(differences(&pinned, &pinned), Vec::<String>::new());
    assert_eq!(differences(&pinned, &value(r#"{"a": {"b": 1, "c": [1, 3]}, "d": "x"}"#)), ["a/c/"]);
    assert_eq!(differences(&pinned, &value(r#"{"a": {"b": 1, "c": [1, 2]}}"#)), ["d/"]);
}
