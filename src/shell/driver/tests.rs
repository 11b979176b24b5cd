//! Whole nodes in one process: real sockets, real disks, real time.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::machine::status::Status;
use crate::shell::memory::MemoryClass;
use crate::types::key::SecretKey;
use crate::types::network::{Founder, Network};

/// Founders on loopback addresses of this process and test, in slots of one second that begin in the next.
fn network(place: u8, count: u8) -> Network {
    let process = std::process::id().to_be_bytes();
    let mut text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/test.toml"))
        .expect("it is part of the package");
    let origin = SystemClock::start().now().wall.0 / 1000 + 1;
    for (key, value) in [
        ("origin", origin.to_string()),
        ("slot_seconds", "1".to_owned()),
        ("slots", "3".to_owned()),
        ("first_round", "0".to_owned()),
        ("from_round", "0".to_owned()),
        ("clock", "\"local\"".to_owned()),
        ("messages_min", "0".to_owned()),
        ("senders_min", "0".to_owned()),
        ("forge_peers_min", (count - 1).to_string()),
        ("activity_rounds", "1".to_owned()),
        ("active_min", "1".to_owned()),
        ("inbound_per_block", "0".to_owned()),
        ("source", "\"list\"".to_owned()),
    ] {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{key} =")));
        let line = line.unwrap_or_else(|| panic!("no {key} in the file")).to_owned();
        text = text.replace(&line, &format!("{key} = {value}"));
    }
    let mut network = Network::parse(&text).expect("the values are within their bounds");
    network.founders = (1..=count)
        .map(|node| Founder {
            public_key: key(node).public(),
            weight: 1,
            ip: [127, process[2], process[3] ^ place, node].into(),
            port: 4_000 + u16::from(place),
        })
        .collect();
    Network::parse(&network.to_toml()).expect("it was one before")
}

fn key(node: u8) -> SecretKey {
    SecretKey::from_seed([node; 32])
}

fn options(network: &Network, dir: &Path, node: u8) -> RunOptions {
    let dir = dir.join(format!("node-{node}"));
    fs::create_dir_all(&dir).expect("the directory is ours");
    let key_file = dir.join("key.pem");
    let mut file = fs::OpenOptions::new();
    let _ = fs::remove_file(&key_file);
    let file = file.create_new(true).write(true).mode(0o600).open(&key_file);
    std::io::Write::write_all(&mut file.expect("it is ours"), key(node).to_pem().as_bytes())
        .expect("it is short");
    RunOptions {
        listen: network.founders[usize::from(node) - 1].endpoint(),
        network: network.clone(),
        key_file,
        data_dir: dir.join("data"),
        sign_dir: dir.join("sign"),
        api_socket: dir.join("api.sock"),
        ledger: None,
        bounds: Bounds { map_bytes: 1 << 20, ..MemoryClass::Small.bounds() },
        built: Timestamp(0),
        lives_with: None,
    }
}

/// Of nodes that nobody asks to read anything again.
fn unread() -> Reload {
    Box::new(|| Err("nothing is there to be read".to_owned()))
}

/// Runs nodes until `is_done` says so of their status, then stops them all.
fn run(options: Vec<RunOptions>, mut is_done: impl FnMut(&[Status]) -> bool) -> Vec<Status> {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(async {
        let (mut stops, mut engines, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for options in options {
            let (stop, control) = smol::channel::bounded(1);
            let mut driver =
                Driver::start(options, unread(), &executor, control).expect("it starts");
            engines.push((Rc::clone(&driver.engine), Rc::clone(&driver.clock)));
            stops.push(stop);
            ends.push(executor.spawn(async move {
                driver.turn_until_stopped().await;
                driver.stop().await
            }));
        }
        let statuses = loop {
            let statuses: Vec<Status> = engines
                .iter()
                .map(|(engine, clock)| engine.borrow().status(clock.now()).expect("it runs"))
                .collect();
            if is_done(&statuses) {
                break statuses;
            }
            Timer::after(Duration::from_millis(20)).await;
        };
        drop((stops, engines));
        for end in ends {
            end.await;
        }
        statuses
    }))
}

#[test]
fn two_nodes_forge_one_chain_and_go_on_with_it_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let network = network(1, 2);
    let nodes = || vec![options(&network, dir.path(), 1), options(&network, dir.path(), 2)];
    let agree = |above: u64| {
        move |all: &[Status]| {
            let forged = all.iter().all(|status| status.duties.forged > 0 || above > 0);
            forged && all[0].tip.point.height.0 > above + 1 && all[0].tip == all[1].tip
        }
    };
    let before = run(nodes(), agree(0));
    for node in nodes() {
        let store = Store::open(&node.data_dir, network.id(), 1 << 20).expect("it was closed");
        assert!(store.was_clean());
        assert!(!node.api_socket.exists());
    }
    let after = run(nodes(), agree(before[0].tip.point.height.0));
    assert!(after.iter().all(|status| status.refused_signature == 0));
}

#[test]
fn why_a_node_does_not_start_has_its_exit_code() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (network, other) = (network(2, 1), network(3, 1));
    let good = || options(&network, dir.path(), 1);
    // What opens it once makes the database and the sign state.
    assert_eq!(exit_code(good()), None);
    let missing = RunOptions { key_file: dir.path().join("nowhere"), ..good() };
    assert_eq!(exit_code(missing), Some(66));
    let wide = good();
    fs::set_permissions(&wide.key_file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert_eq!(exit_code(wide), Some(77));
    let unusual = good();
    fs::write(&unusual.key_file, "no key").expect("it is ours");
    assert_eq!(exit_code(unusual), Some(78));
    let long = RunOptions { api_socket: dir.path().join("x".repeat(120)), ..good() };
    assert_eq!(exit_code(long), Some(78));
    assert_eq!(exit_code(RunOptions { network: other, ..good() }), Some(78));
    let unwritable = RunOptions { data_dir: "/proc/self/none".into(), ..good() };
    assert_eq!(exit_code(unwritable), Some(74));
    let taken = std::net::TcpListener::bind((good().listen.ip, good().listen.port));
    assert_eq!(exit_code(good()), Some(1));
    drop(taken);
    let lock = Store::open(&good().data_dir, network.id(), 1 << 20);
    assert_eq!(exit_code(good()), Some(1));
    drop(lock);
    let damaged = good();
    fs::write(damaged.sign_dir.join("sign-state"), "zeros").expect("it is ours");
    assert_eq!(exit_code(damaged), Some(65));
}

/// The code of a node that does not start; nothing when it does.
fn exit_code(options: RunOptions) -> Option<u8> {
    let executor = Rc::new(LocalExecutor::new());
    // Nobody is left to ask for anything: it ends at once.
    let (_, control) = smol::channel::bounded(1);
    let node = drive(options, unread(), Rc::clone(&executor), control);
    let ended = smol::block_on(executor.run(node));
    let error = ended.err()?;
    assert!(!error.to_string().is_empty() && !error.action().is_empty());
    Some(error.exit_code())
}
