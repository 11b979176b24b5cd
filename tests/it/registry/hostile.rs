//! Ledgers that are broken, foreign, or say absurd things: a clear word, and no wrong weight.

use std::fs;

use rusqlite::types::Value as Cell;
use serde_json::json;

use super::{ADDRESS, Ledger, OWNER, explain};

fn data(ip: &str) -> String {
    format!("{ip}:6969:{ADDRESS}")
}

#[test]
fn files_that_are_no_ledger_say_what_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.db");
    let check = |code: i32, word: &str| {
        let (exit, out) = explain(&path, &[]);
        assert_eq!(exit, code, "{out}");
        assert_eq!(out["error"]["code"], word, "{out}");
        assert!(out["error"]["action"].is_string(), "{out}");
    };
    check(66, "missing");
    fs::write(&path, "no database ".repeat(1_000)).expect("a file");
    check(65, "damaged");
    fs::write(&path, "").expect("a file");
    check(65, "foreign");
    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("a directory");
    check(66, "missing");
    fs::remove_dir(&path).expect("it is there");
    let other = rusqlite::Connection::open(&path).expect("a database");
    other.execute("CREATE TABLE transactions (block_height INTEGER)", []).expect("a table");
    check(65, "foreign");
}

#[test]
fn a_truncated_ledger_is_damaged_and_a_locked_one_is_for_later() {
    let ledger = Ledger::new();
    ledger.connection.execute_batch("BEGIN").expect("quicker at once");
    for height in 800_000..800_400 {
        ledger.pay(height, "x", OWNER, 1);
        ledger.register(height, OWNER, "x".repeat(500));
    }
    ledger.connection.execute_batch("COMMIT").expect("kept");
    let whole = fs::read(ledger.path()).expect("bytes");
    let cut = tempfile::tempdir().expect("a directory");
    let path = cut.path().join("ledger.db");
    for share in [2, 3, 10] {
        fs::write(&path, &whole[..whole.len() / share]).expect("a file");
        let (exit, out) = explain(&path, &[]);
        assert_eq!((exit, &out["error"]["code"]), (65, &json!("damaged")), "{out}");
    }
    ledger.connection.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    let (exit, out) = explain(&ledger.path(), &[]);
    assert_eq!((exit, &out["error"]["code"]), (75, &json!("locked")), "{out}");
    ledger.connection.execute_batch("ROLLBACK").expect("no lock");
    assert_eq!(ledger.explain(&[])["rows"].as_array().map(Vec::len), Some(400));
}

#[test]
fn what_is_no_amount_damages_the_ledger_from_its_block_on() {
    let cells: [Cell; 7] = [
        Cell::Text("NaN".into()),
        Cell::Real(1e308),
        Cell::Integer(i64::MIN),
        Cell::Null,
        Cell::Blob(vec![0; 10]),
        Cell::Text("1e12".into()),
        Cell::Real(f64::INFINITY),
    ];
    for cell in cells {
        let ledger = Ledger::new();
        ledger.pay(800_000, "x", OWNER, 10_000);
        ledger.register(800_001, OWNER, data("203.0.113.1"));
        ledger.pay(800_002, "x", "y", cell.clone());
        // Would drop it.
        ledger.pay(800_003, OWNER, "x", 10_000);
        let found = ledger.explain(&[]);
        assert_eq!(found["registry"][0]["weight"], 1, "{cell:?}");
        assert_eq!(found["dropped"], json!([]), "{cell:?}");
        assert_eq!(ledger.explain(&["--height", "800001"])["registry"][0]["owner"], OWNER);
    }
}

#[test]
fn amounts_of_any_type_count_as_the_number_they_are() {
    let cells: [(Cell, i64); 6] = [
        (Cell::Integer(10_000), 1),
        (Cell::Real(9_999.999_999_99), 0),
        (Cell::Real(19_999.999_999_999_9), 2),
        (Cell::Text("30000.5".into()), 3),
        (Cell::Integer(99_999_999_999), 3),
        (Cell::Integer(-10_000), 0),
    ];
    for (cell, weight) in cells {
        let ledger = Ledger::new();
        ledger.pay(800_000, "x", OWNER, cell.clone());
        ledger.register(800_001, OWNER, data("203.0.113.1"));
        let found = ledger.explain(&[]);
        assert_eq!(found["registry"][0]["weight"].as_i64().unwrap_or(0), weight, "{cell:?}");
        let code = if weight == 0 { "no_collateral" } else { "ok" };
        assert_eq!(found["rows"][0]["code"], code, "{cell:?}");
    }
}

#[test]
fn long_and_strange_fields_are_bad_data_and_nothing_else() {
    let ledger = Ledger::new();
    ledger.pay(800_000, "x", OWNER, 10_000);
    let strange: [Cell; 6] = [
        Cell::Text("x".repeat(10 * 1024)),
        Cell::Text(format!("{},x={}", data("203.0.113.1"), "y".repeat(17 * 1024))),
        Cell::Text("'; DROP TABLE transactions; --".into()),
        Cell::Blob(vec![0xff; 100]),
        Cell::Null,
        Cell::Text("\u{202e}\0\u{1b}[2J".into()),
    ];
    let count = strange.len();
    for cell in strange {
        ledger.register(800_001, OWNER, cell);
    }
    // A row below zero registers nobody.
    ledger.register(-800_002, OWNER, data("203.0.113.1"));
    ledger.register(800_003, OWNER, data("203.0.113.2"));
    let found = ledger.explain(&[]);
    let rows = found["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), count + 1);
    for row in &rows[..count] {
        assert_eq!(row["code"], "bad_data", "{row}");
    }
    assert_eq!(found["registry"][0]["ip"], "203.0.113.2");
    let rows: u32 = ledger
        .connection
        .query_row("SELECT count(*) FROM transactions", [], |row| row.get(0))
        .expect("it is there");
    assert_eq!(rows as usize, count + 3);
}

#[test]
fn rows_without_a_height_belong_to_no_block() {
    let ledger = Ledger::new();
    let heights = [Cell::Null, Cell::Text("abc".into()), Cell::Real(5.5), Cell::Integer(i64::MIN)];
    for height in heights {
        let sql =
            "INSERT INTO transactions (block_height, recipient, amount) VALUES (?1, ?2, 10000)";
        ledger.connection.execute(sql, (height, OWNER)).expect("a row");
    }
    ledger.register(i64::MAX, OWNER, data("203.0.113.1"));
    ledger.pay(5, "x", "y", 1);
    assert_eq!(ledger.explain(&[])["rows"][0]["code"], "no_collateral");
    ledger.pay(5, "x", OWNER, 10_000);
    assert_eq!(ledger.explain(&[])["rows"][0]["code"], "ok", "out of order, and read by height");
    assert_eq!(ledger.explain(&["--height", "9223372036854775806"])["rows"], json!([]));
}
