//! `halt` on the directory of a node that does not run; `shell/api/tests.rs` has it of one that does.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypernode::machine::halt::{HaltReason, HaltRecord};
use hypernode::machine::records::{Batch, Table};
use hypernode::shell::store::Store;
use hypernode::types::clock::{Height, Round, Timestamp};
use hypernode::types::codec;
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::{PublicKey, Signature};
use hypernode::types::network::Network;
use hypernode::types::seal::{Checkpoint, Quorum, Voter};
use serde_json::Value;

use crate::sample::network_text;

fn network() -> Network {
    Network::parse(&network_text(&[1], &[])).unwrap()
}

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("data"), network().id(), 1 << 20).unwrap()
}

/// A directory with a configuration.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("net.toml"), network_text(&[1], &[])).unwrap();
    let config = "network = \"net.toml\"\nkey = \"key.pem\"\ndata_dir = \"data\"\nsign_dir = \"sign\"\n\
                  api_socket = \"api.sock\"\n";
    fs::write(dir.path().join("hypernode.toml"), config).unwrap();
    dir
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
    command.arg("halt").args(arguments).arg("--config").arg(dir.join("hypernode.toml"));
    command.env_clear().stdin(Stdio::null()).output().unwrap()
}

fn good(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn record() -> HaltRecord {
    let certificate = |byte| {
        let checkpoint = Checkpoint {
            index: 7,
            round: Round(3),
            height: Height(9),
            block: BlockHash(Hash([byte; 32])),
            state: Hash([2; 32]),
            registry: Hash([3; 32]),
            voters: Hash([4; 32]),
        };
        Box::new(Quorum::new(checkpoint, 1, &[(0, Signature([byte; 64]))]))
    };
    HaltRecord {
        at: Timestamp(1_700_000_000_000),
        reason: HaltReason::Certificates { held: certificate(5), other: certificate(6) },
        voters: vec![Voter { public_key: PublicKey([8; 32]), weight: 1 }],
    }
}

/// The record as a halting node leaves it; or something else in its place.
fn leave(dir: &Path, bytes: Vec<u8>) {
    let mut store = store(dir);
    store.persist(&Batch([((Table::Halt, b"halt".to_vec()), Some(bytes))].into())).unwrap();
    store.close().unwrap();
}

#[test]
fn the_evidence_of_a_stopped_node_is_shown_whole_and_cleared_by_its_operator() {
    let dir = directory();
    drop(store(dir.path()));
    assert_eq!(good(dir.path(), &["show"]), "not halted\n");
    assert!(good(dir.path(), &["clear"]).contains("nothing to clear"));

    leave(dir.path(), codec::encode(&record()));
    let shown = good(dir.path(), &["show"]);
    assert!(shown.contains("two different checkpoints are certified for seal 7"), "{shown}");
    for byte in ["05", "06"] {
        assert!(shown.contains(&format!("block {}", byte.repeat(32))), "{shown}");
    }
    assert!(shown.contains("1700000000 (unix seconds), "), "{shown}");
    let advice = shown.lines().last().unwrap();
    assert!(advice.ends_with("docs/operating.md#halt") && !advice.contains("clear"), "{advice}");
    let json: Value = serde_json::from_str(&good(dir.path(), &["show", "--json"])).unwrap();
    assert_eq!((&json["schema"], &json["halted"]), (&"hypernode.halt/1".into(), &true.into()));
    let evidence = &json["evidence"];
    assert_eq!((&evidence["code"], &json["unreadable"]), (&"certificates".into(), &false.into()));
    assert_eq!(evidence["at"], 1_700_000_000_000_u64);
    assert_eq!(evidence["certificates"][1]["checkpoint"]["block"], "06".repeat(32));
    assert_eq!(evidence["certificates"][0]["signatures"][0], "05".repeat(64));
    assert_eq!(evidence["voters"][0]["public_key"], "08".repeat(32));
    let bytes = hypernode::types::hex::decode(evidence["bytes"].as_str().unwrap()).unwrap();
    assert_eq!(codec::decode::<HaltRecord>(&bytes, bytes.len()), Ok(record()));

    let cleared: Value = serde_json::from_str(&good(dir.path(), &["clear", "--json"])).unwrap();
    assert_eq!(cleared, json);
    assert_eq!(good(dir.path(), &["show"]), "not halted\n");
}

#[test]
fn nothing_is_cleared_under_the_feet_of_a_node_and_nothing_where_there_is_none() {
    let dir = directory();
    for arguments in [&["show"][..], &["clear"]] {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(66), "{output:?}");
    }
    let output = run(dir.path(), &["clear", "--json"]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "database_missing");
    assert!(!dir.path().join("data").exists(), "looking makes nothing");

    leave(dir.path(), codec::encode(&record()));
    let runs = store(dir.path());
    for arguments in [&["show"][..], &["clear"]] {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    drop(runs);
    assert!(good(dir.path(), &["show"]).contains("halted: "));
}

#[test]
fn a_record_that_cannot_be_read_is_cleared_too() {
    let dir = directory();
    leave(dir.path(), vec![1, 2, 3]);
    let shown = good(dir.path(), &["show"]);
    assert!(shown.contains("cannot be read") && shown.contains("operating.md#halt"), "{shown}");
    let unreadable: Value = serde_json::from_str(&good(dir.path(), &["show", "--json"])).unwrap();
    assert_eq!((&unreadable["halted"], &unreadable["unreadable"]), (&true.into(), &true.into()));
    assert_eq!(unreadable["evidence"], Value::Null);
    let cleared: Value = serde_json::from_str(&good(dir.path(), &["clear", "--json"])).unwrap();
    assert_eq!(cleared, unreadable);
    assert_eq!(good(dir.path(), &["show"]), "not halted\n");

    leave(dir.path(), vec![1, 2, 3]);
    let said = good(dir.path(), &["clear"]);
    assert!(said.starts_with("cleared: ") && said.contains("not be read"), "{said}");
    assert!(good(dir.path(), &["clear"]).contains("nothing to clear"));
    let store = store(dir.path());
    let reader = store.reader();
    let left = hypernode::machine::records::Reader::get(&reader, Table::Halt, b"halt");
    assert_eq!(left, None);
    reader.finish().unwrap();
}

#[test]
fn bad_arguments_are_told() {
    let dir = directory();
    for arguments in [&[][..], &["forget"], &["clear", "--api", "x"], &["show", "--api"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
        let output = command.arg("halt").args(arguments).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    let both = run(dir.path(), &["show", "--api", "x"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}
