//! The vectors of the Python hypernode, row by row. Where it decided otherwise its verdict stays here, on record.

use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use super::{Ledger, Row};

/// What a number or a text of the vectors is in a cell.
fn cell(value: &Value) -> Cell {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().expect("a number").into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Cell::Null,
    }
}

fn ledger_of(rows: &Value) -> Ledger {
    let ledger = Ledger::new();
    for row in rows.as_array().expect("rows") {
        let at = |column: usize| cell(&row[column]);
        ledger.add(Row {
            height: at(0),
            timestamp: at(1),
            sender: at(2),
            recipient: at(3),
            amount: at(4),
            fee: at(5),
            reward: at(6),
            operation: at(7),
            openfield: at(8),
        });
    }
    ledger
}

/// The rows that are accepted.
fn accepted(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().expect("rows").iter().filter(|row| row["accepted"] == true);
    let key = |row: &Value| json!([row["height"], row["sender"], row["operation"], row["data"]]);
    let mut all: Vec<String> = rows.map(|row| key(row).to_string()).collect();
    all.sort();
    all
}

/// Who is registered, as far as the Python node tells: its ports are text.
fn registered(registry: &Value) -> Vec<String> {
    let hns = registry.as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut all: Vec<String> = hns
        .map(|hn| {
            let fields = [&hn["address"], &hn["ip"], &hn["port"], &hn["weight"]];
            fields.map(text).join(" ")
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_ledger_of_the_vectors_has_its_rows_codes_drops_and_registry() {
    let vectors: Value = {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/registration.json");
        let text = std::fs::read_to_string(path).expect("a file of vectors");
        serde_json::from_str(&text).expect("JSON")
    };
    let scenarios = vectors["scenarios"].as_array().expect("scenarios");
    assert_eq!(scenarios.len(), 55);
    let (mut registries, mut rows) = (0, 0);
    for scenario in scenarios {
        let name = &scenario["name"];
        let found = ledger_of(&scenario["ledger"]).explain(&[]);
        let expected = &scenario["expected"];
        assert_eq!(found["schema"], "hypernode.registry.explain/1");
        for part in ["rows", "dropped", "registry"] {
            assert_eq!(found[part], expected[part], "{name}: {part}");
        }
        // Not a test of the Python node: it records where the two part, and that they part nowhere else.
        let python = &scenario["python"];
        let same = registered(&found["registry"]) == registered(&python["registry"]);
        assert_eq!(!same, scenario["deliberately_different"] == true, "{name}: {python}");
        registries += u32::from(!same);
        rows += u32::from(accepted(&found["rows"]) != accepted(&python["rows"]));
    }
    assert_eq!(registries, 18, "ledgers of which the Python node makes another registry");
    assert_eq!(rows, 18, "and those of which it accepts other rows");
}
