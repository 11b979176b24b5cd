//! What a node says when its directories, sockets or clock are not what they should be: what is wrong, and what to do.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use hypernode::machine::timekeeper::Timekeeper;
use hypernode::shell::guard::Guard;
use hypernode::shell::host;
use hypernode::shell::journal::note_line;
use hypernode::shell::store::Store;
use hypernode::types::clock::{Monotonic, Now, Timestamp};
use hypernode::types::hash::Hash;
use hypernode::types::key::PublicKey;
use hypernode::types::network::Network;
use hypernode::types::sign::SignState;

use crate::cli::{bad, good};
use crate::disk;
use crate::sample;

const OTHER: Hash = Hash([9; 32]);
const MAP: u64 = 1 << 20;

/// A node that would start, if nothing were in its way.
struct Place {
    dir: tempfile::TempDir,
    network: Network,
    config: PathBuf,
    /// Somebody has its port.
    port: Option<TcpListener>,
}

impl Place {
    /// `number`: the address of a test, so that no other takes a port of it.
    fn new(number: u8) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::new(127, 77, 0, number), 0)).unwrap();
        let text = sample::network_text(&[1], &[]);
        let network = Network::parse(&text).unwrap();
        fs::write(dir.path().join("net.toml"), text).unwrap();
        let config = dir.path().join("hypernode.toml");
        let lines = format!(
            "network = \"net.toml\"\nkey = \"key.pem\"\nlisten = \"{}\"\ndata_dir = \"data\"\nsign_dir = \"sign\"\napi_socket = \"api.sock\"\n",
            port.local_addr().unwrap()
        );
        fs::write(&config, lines).unwrap();
        good(&["key", "new", dir.path().join("key.pem").to_str().unwrap()]);
        Place { dir, network, config, port: Some(port) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The line of a run that ends with `code` has each of the words, and the owner's files stay as they are.
    fn refused(&self, code: i32, words: &[&str]) {
        let owners = || ["key.pem", "hypernode.toml", "net.toml"].map(|it| fs::read(self.path(it)));
        let before = owners().map(Result::unwrap);
        let said = bad(code, &["run", "--config", self.config.to_str().unwrap()]);
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        assert_eq!(owners().map(Result::unwrap), before);
    }

    fn store(&self, network: Hash) -> Store {
        Store::open(&self.path("data"), network, MAP).unwrap()
    }

    fn public_key(&self) -> PublicKey {
        host::read_key(&self.path("key.pem")).unwrap().public()
    }
}

fn us() -> String {
    format!("in use by process {}", std::process::id())
}

#[test]
fn two_processes_never_have_one_directory() {
    let place = Place::new(1);
    let store = place.store(place.network.id());
    place.refused(1, &["database", &us(), "stop the other node"]);
    drop(store);
    let guard = Guard::begin(&place.path("sign"), place.network.id(), place.public_key()).unwrap();
    place.refused(1, &["sign-state", &us(), "stop the other node"]);
    drop(guard);
}

#[test]
fn a_port_or_a_socket_that_another_has_is_named() {
    let mut place = Place::new(2);
    let at = place.port.as_ref().unwrap().local_addr().unwrap().to_string();
    place.refused(1, &["cannot listen on", &at, "check the address and port"]);
    place.port = None;
    let socket = place.path("api.sock");
    let other = UnixListener::bind(&socket).unwrap();
    place.refused(1, &["another node answers on", "api.sock", "its own socket"]);
    drop(other);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "no socket").unwrap();
    place.refused(78, &["is there and is no socket", "move the file away"]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "no socket", "it is not ours to remove");
}

#[test]
fn files_of_another_network_are_refused_and_stay() {
    let place = Place::new(3);
    drop(place.store(OTHER));
    place.refused(78, &["of another network", &OTHER.to_string(), "its own directory"]);
    place.store(OTHER).close().unwrap();
    fs::remove_dir_all(place.path("data")).unwrap();
    drop(Guard::begin(&place.path("sign"), OTHER, place.public_key()).unwrap());
    place.refused(78, &["belongs to another network", &OTHER.to_string(), "its own directory"]);
    assert_eq!(Guard::look(&place.path("sign")).unwrap().network_id, OTHER);
}

#[test]
fn files_that_are_no_database_or_too_new_are_refused_and_stay() {
    let place = Place::new(4);
    let data = place.path("data/chain/data.mdb");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    let text = "a letter, not a database\n".repeat(1000);
    fs::write(&data, &text).unwrap();
    place.refused(65, &["is damaged", "move the directory away"]);
    assert_eq!(fs::read_to_string(&data).unwrap(), text);
    // An empty file is what a full disk leaves: nothing is in it, and it is made anew.
    disk::put_file(&data, b"");
    drop(place.store(place.network.id()));
    assert!(fs::metadata(&data).unwrap().len() > 0);
}

#[test]
fn directories_that_cannot_be_made_are_named() {
    let mut place = Place::new(5);
    place.port = None;
    fs::write(place.path("data"), "a file").unwrap();
    place.refused(74, &["cannot make the database", "data/chain"]);
    fs::remove_file(place.path("data")).unwrap();
    fs::write(place.path("sign"), "a file").unwrap();
    place.refused(74, &["sign-state", "cannot"]);
    let text = fs::read_to_string(&place.config).unwrap();
    fs::write(&place.config, text.replace("api.sock", "nowhere/api.sock")).unwrap();
    fs::remove_file(place.path("sign")).unwrap();
    place.refused(1, &["nowhere/api.sock", "its directory is there"]);
}

#[test]
fn a_clock_that_jumps_is_told_with_what_follows() {
    let network = Network::test();
    let built = Timestamp(0);
    let start = network.clock.start_of(network.first_round, hypernode::types::clock::Slot(0)).0;
    let mut timekeeper = Timekeeper::default();
    let mut lines = |wall: u64, mono: u64, synchronised: bool| {
        let now = Now { wall: Timestamp(start + wall), mono: Monotonic(mono), synchronised };
        let notes = timekeeper.observe(now, &network, built, &SignState::default());
        notes.iter().map(|note| note_line(note).1).collect::<Vec<String>>()
    };
    let waits = "we sign nothing: the clock has just been set";
    let slot = network.clock.slot_ms;
    assert_eq!(lines(1_000, 1_000, true), [""; 0]);
    assert_eq!(lines(3_602_000, 2_000, true), ["the clock was set by 3600000 ms", waits]);
    assert_eq!(lines(3_602_000 + slot, 2_000 + slot, true), ["the clock is trusted: we may sign"]);
    let back = lines(3_000 + slot, 3_000 + slot, true);
    assert_eq!(back, ["the clock was set by -3600000 ms", waits]);
    let waited = 3_000 + 2 * slot;
    assert_eq!(lines(waited, waited, true), ["the clock is trusted: we may sign"]);
    assert_eq!(
        lines(waited + 1, waited + 1, false),
        ["we sign nothing: the clock is not synchronised"]
    );
}
