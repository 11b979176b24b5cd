//! `sign-state`: shown, moved and repaired, and what it refuses.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hypernode::shell::guard::Guard;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::SecretKey;
use hypernode::types::network::Network;
use hypernode::types::seal::Step;
use hypernode::types::sign::{BlockRecord, Lock, SignRecord, VoteRecord};
use serde_json::{Value, json};

use crate::disk;
use crate::sample::network_text;

/// A node made by `init`, that does not run.
struct Node {
    dir: PathBuf,
}

impl Node {
    fn new(dir: &Path) -> Node {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("network.toml"), network_text(&[1, 1], &[])).unwrap();
        let network = dir.join("network.toml");
        let init = ["init", "--network", network.to_str().unwrap(), "--dir", dir.to_str().unwrap()];
        let output = command(&init).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Node { dir: dir.to_owned() }
    }

    /// Another one with the same key.
    fn twin(&self, dir: &Path) -> Node {
        fs::create_dir_all(dir).unwrap();
        fs::copy(self.dir.join("key.pem"), dir.join("key.pem")).unwrap();
        Node::new(dir)
    }

    fn sign_dir(&self) -> PathBuf {
        self.dir.join("sign")
    }

    fn guard(&self) -> Guard {
        let network = Network::parse(&network_text(&[1, 1], &[])).unwrap();
        let pem = fs::read_to_string(self.dir.join("key.pem")).unwrap();
        let key = SecretKey::from_pem(&pem).unwrap().public();
        Guard::open(&self.sign_dir(), network.id(), key).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.dir.join("hypernode.toml");
        let config = ["--config", config.to_str().unwrap()];
        let all = [&["sign-state", arguments[0]], &config[..], &arguments[1..]].concat();
        command(&all).output().unwrap()
    }

    /// What a command prints that ends well.
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line on standard error of a command that ends with `code`.
    fn bad(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        text
    }

    fn show(&self) -> Value {
        serde_json::from_str(&self.good(&["show", "--json"])).unwrap()
    }

    fn standing(&self) -> Value {
        let shown = self.show();
        let word = if shown["doubt"].is_null() { &shown["standing"] } else { &shown["doubt"] };
        // The text calls it as JSON does.
        let line = format!("standing  {}: ", word.as_str().unwrap());
        let text = self.good(&["show"]);
        assert!(text.lines().any(|of| of.starts_with(&line)), "{line:?} is not in {text}");
        word.clone()
    }

    /// Imports a document; the exit code.
    fn import(&self, document: &str) -> Option<i32> {
        let path = self.dir.join("export.json");
        fs::write(&path, document).unwrap();
        self.run(&["import", path.to_str().unwrap()]).status.code()
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn block(slot: u32, byte: u8) -> SignRecord {
    let hash = BlockHash(Hash([byte; 32]));
    SignRecord::Block(BlockRecord { round: Round(7), slot: Slot(slot), hash })
}

fn vote(view: u32, byte: u8) -> SignRecord {
    let value = Some(Hash([byte; 32]));
    let lock = Some(Lock { view: 1, value: Hash([9; 32]) });
    SignRecord::Vote(VoteRecord { index: 300, view, step: Step::Commit, value, lock })
}

#[test]
fn a_key_made_by_init_is_proven_and_one_that_was_there_listens_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    let shown = node.show();
    assert_eq!(shown["schema"], "hypernode.sign-state/1");
    assert_eq!(shown["network"], "sample");
    assert_eq!(node.standing(), "proven");
    assert_eq!((&shown["block"], &shown["vote"]), (&Value::Null, &Value::Null));
    let text = node.good(&["show"]);
    assert!(text.contains("block     none") && text.contains("is proven"), "{text}");

    let twin = node.twin(&folder.path().join("two"));
    assert!(twin.bad(66, &["show"]).contains("sign-state import"));
    twin.bad(66, &["export"]);
    drop(twin.guard());
    assert_eq!(twin.standing(), "new");
    fs::remove_file(twin.sign_dir().join("sign-state")).unwrap();
    drop(twin.guard());
    assert_eq!(twin.standing(), "missing");
    assert!(twin.bad(1, &["export"]).contains("sign-state wait"));
    twin.good(&["wait"]);
    assert_eq!(twin.standing(), "waiting");
}

#[test]
fn what_was_signed_is_shown_and_moved_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    let mut guard = node.guard();
    guard.record(block(3, 1)).unwrap();
    guard.record(vote(2, 4)).unwrap();
    let state = guard.state();
    drop(guard);
    let shown = node.show();
    assert_eq!(shown["block"], json!({"round": 7, "slot": 3, "hash": "01".repeat(32)}));
    let lock = json!({"view": 1, "value": "09".repeat(32)});
    let value = "04".repeat(32);
    let expected = json!({"index": 300, "view": 2, "step": "commit", "value": value, "lock": lock});
    assert_eq!(shown["vote"], expected);
    assert!(node.good(&["show"]).contains("the commit of seal 300 view 2"));

    let export = node.good(&["export"]);
    assert_eq!(serde_json::from_str::<Value>(&export).unwrap(), shown);
    assert_eq!(node.standing(), "proven", "an export alone retires nothing");
    let retired = node.good(&["export", "--retire"]);
    assert_eq!(retired, export);
    assert_eq!(node.standing(), "retired");
    assert!(node.guard().record(block(4, 1)).is_err());

    let twin = node.twin(&folder.path().join("two"));
    assert_eq!(twin.import(&export), Some(0));
    assert_eq!(twin.guard().state(), state);
    assert!(twin.guard().record(block(3, 2)).is_err());
    twin.guard().record(block(4, 2)).unwrap();
    // And back again.
    assert_eq!(node.import(&twin.good(&["export", "--retire"])), Some(0));
    assert!(node.guard().record(block(4, 1)).is_err());
    node.guard().record(block(5, 1)).unwrap();
}

#[test]
fn an_import_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    node.guard().record(block(3, 1)).unwrap();
    let older = node.good(&["export"]);
    node.guard().record(block(4, 2)).unwrap();
    node.guard().record(vote(2, 4)).unwrap();
    let held = node.show();
    assert_eq!(node.import(&older), Some(0));
    assert_eq!(node.show(), held);
    // Standard input will do, too.
    let mut child = command(&[]);
    let config = node.dir.join("hypernode.toml");
    child.args(["sign-state", "import", "--json", "--config", config.to_str().unwrap()]);
    child.stdin(fs::File::open(node.dir.join("export.json")).unwrap());
    let said: Value = serde_json::from_slice(&child.output().unwrap().stdout).unwrap();
    assert_eq!(said, held);
}

#[test]
fn what_does_not_belong_here_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    node.guard().record(block(3, 1)).unwrap();
    node.guard().record(vote(2, 4)).unwrap();
    let good: Value = serde_json::from_str(&node.good(&["export"])).unwrap();
    let with = |path: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed.to_string()
    };
    let zeros = "00".repeat(32);
    let mut more = good.clone();
    more["lock"] = json!(1);
    let bad = [
        String::new(),
        "[]".to_owned(),
        "\u{feff}{}".to_owned(),
        good.to_string()[1..].to_owned(),
        format!("{good}{good}"),
        more.to_string(),
        without("schema"),
        without("network_id"),
        without("standing"),
        with("/schema", json!("hypernode.sign-state/2")),
        with("/network_id", json!("11".repeat(32))),
        with("/public_key", json!("11".repeat(32))),
        with("/public_key", json!("11")),
        with("/doubt", json!("older")),
        with("/doubt", json!("unheard of")),
        with("/block/round", json!(-1)),
        with("/block/slot", json!(u64::MAX)),
        with("/block/hash", json!("zz")),
        with("/vote/step", json!("abstain")),
        with("/vote/view", json!(1.5)),
        with("/vote/value", json!(zeros)),
        // Signed elsewhere for the same place.
        with("/block/hash", json!("02".repeat(32))),
        with("/vote/value", Value::Null),
    ];
    let held = node.show();
    for document in bad {
        assert_eq!(node.import(&document), Some(65), "{document}");
        assert_eq!(node.show(), held, "{document}");
    }
    let said = node.bad(65, &["import", node.dir.join("export.json").to_str().unwrap()]);
    assert!(said.contains("signed twice"), "{said}");
    node.bad(66, &["import", "nowhere.json"]);
    assert_eq!(node.import(&" ".repeat(70_000)), Some(78));
}

#[test]
fn nothing_is_changed_under_the_feet_of_a_node_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    let export = node.good(&["export"]);
    let runs = node.guard();
    assert_eq!(node.import(&export), Some(1));
    for arguments in [&["wait"][..], &["export"], &["export", "--retire"]] {
        let said = node.bad(1, arguments);
        assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    }
    assert_eq!(node.standing(), "proven", "to look does no harm");
    drop(runs);
    node.good(&["wait"]);
}

#[test]
fn a_damaged_file_is_told_and_put_aside_when_its_owner_waits() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(&folder.path().join("one"));
    let file = node.sign_dir().join("sign-state");
    let whole = fs::read(&file).unwrap();
    disk::put_file(&file, &whole[..5000]);
    assert!(node.bad(65, &["show"]).contains("sign-state wait"));
    node.bad(65, &["export"]);
    let output = node.run(&["wait", "--json"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(node.standing(), "waiting");
    assert_eq!(fs::read(node.sign_dir().join("sign-state.damaged")).unwrap(), whole[..5000]);
}

#[test]
fn the_sign_state_of_another_key_or_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Node::new(&folder.path().join("one")), Node::new(&folder.path().join("two")));
    fs::remove_dir_all(two.sign_dir()).unwrap();
    fs::rename(one.sign_dir(), two.sign_dir()).unwrap();
    for arguments in [&["export"][..], &["wait"]] {
        assert!(two.bad(78, arguments).contains("another key"));
    }
    let shown = two.show();
    assert_ne!(shown["public_key"], Value::Null, "to look at, it is what it is");
}
