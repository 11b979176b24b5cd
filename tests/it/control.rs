//! What an operator and a service manager ask of a running node: SIGHUP, SIGUSR1, SIGTERM, and what it tells systemd.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hypernode::shell::store::Store;
use rustix::process::Signal;

use crate::cluster::wait_for;
use crate::elsewhere::{members, sample};
use crate::twice::member::Member;

/// How often a line with these words is in its log.
fn said(node: &Member, words: &str) -> usize {
    node.log().lines().filter(|line| line.contains(words)).count()
}

/// Sends a signal, and waits for one more line with these words.
fn ask(node: &Member, signal: Signal, words: &str) {
    let before = said(node, words);
    node.signal(signal);
    wait_for(words, || (said(node, words) > before).then_some(()));
}

#[test]
fn a_node_takes_its_configuration_and_network_on_while_it_runs_or_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample(2);
    let [mut node, mut peer] = members(&sample, dir.path());
    node.start();
    peer.start();
    node.wait("a block of its own", |status| status.duties.forged > 0);
    let refused = "not reloaded, the node goes on as it was: ";
    let anew = "goes on with the new network file";

    node.edit("hypernode.toml", "log = ", "lgo = ");
    ask(&node, Signal::HUP, &format!("{refused}hypernode: "));
    assert_eq!(said(&node, "unknown key \"lgo\""), 1, "{}", node.log());
    node.edit("hypernode.toml", "lgo = ", "log = ");
    node.edit("network.toml", "messages_max = 1000", "messages_max = 999");
    ask(&node, Signal::HUP, "parameters that are in force already are others there");
    node.edit("network.toml", "messages_max = 999", "messages_max = 1000");
    node.edit("network.toml", "name = \"elsewhere-2\"", "name = \"elsewhere-3\"");
    ask(&node, Signal::HUP, "it is another network; stop the node");
    node.edit("network.toml", "name = \"elsewhere-3\"", "name = \"elsewhere-2\"");
    ask(&node, Signal::HUP, "the network is as it was, the log is DEBUG");
    assert_eq!(said(&node, anew), 0);

    // Parameters of a round to come, less to log, and what only a start can change.
    let mut planned = sample.network.to_toml();
    let entry = planned.split_off(planned.find("[[parameters]]").unwrap());
    let later = entry.replace("from_round = 0", "from_round = 100000");
    let all = format!("{entry}\n{}", later.replace("messages_max = 1000", "messages_max = 900"));
    node.edit("network.toml", &entry, &all);
    node.log_at("info");
    node.edit("hypernode.toml", "map_size = \"1MiB\"", "map_size = \"2MiB\"");
    let before = node.status().unwrap();
    ask(&node, Signal::HUP, anew);
    assert_eq!(said(&node, "map_size has changed: it counts from the next start"), 1);
    let height = before.tip.point.height;
    assert!(node.status().unwrap().tip.point.height >= height, "the chain stays");
    // Counted from the new beginning of the core.
    node.wait("another block of its own", |status| status.duties.forged > 0);
    let status = node.wait("a later seal", |status| status.seal.index > before.seal.index);
    assert!(status.sign_state.proven && status.refused_signature == 0 && status.halt.is_none());
}

#[test]
fn a_service_manager_hears_of_each_step_and_the_log_how_the_node_is() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample(3);
    let [mut node, mut peer] = members(&sample, dir.path());
    peer.start();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let watchdog = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "4000000")];
    node.start_watched(&watchdog);
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        let mut bytes = [0; 512];
        // Its watchdog is petted every second: what does not come among so many lines does not come.
        for _ in 0..200 {
            if heard.iter().any(|line: &String| line.contains(wanted)) {
                return std::mem::take(&mut heard);
            }
            let length = match socket.recv(&mut bytes) {
                Ok(length) => length,
                // A child of another test has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => panic!("no {wanted}: {error}: {heard:?}"),
            };
            heard.push(String::from_utf8_lossy(&bytes[..length]).trim().to_owned());
        }
        panic!("no {wanted}: {heard:?}");
    };
    let begun = hear("READY=1");
    for step in ["STATUS=opening the database", "EXTEND_TIMEOUT_USEC=300000000", "STATUS=reading"] {
        assert!(begun.iter().any(|line| line.contains(step)), "{step}: {begun:?}");
    }
    // Once a second and by the loop itself: a turn of it lies between two of them.
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    hear("STATUS=up to date, height ");
    node.signal(Signal::HUP);
    let reloaded = hear("RELOADING=1");
    assert!(!reloaded.iter().any(|line| line.contains("STOPPING")));
    hear("READY=1");

    ask(&node, Signal::USR1, "status: up to date, height ");
    for words in ["status: round ", "sealed up to height", "clock trusted", " forged, "] {
        assert!(said(&node, words) > 0, "{words}: {}", node.log());
    }
    node.stop();
    hear("STOPPING=1");
    assert_eq!(said(&node, "stopping: SIGTERM"), 1);
    let store = Store::open(&node.data_dir(), sample.network.id(), 1 << 20).unwrap();
    assert!(store.was_clean(), "its next start need not check anything");
}
