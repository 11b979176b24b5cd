//! Strangers at the door: none of them comes as far as to say who he is.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use hypernode::shell::noise::{Handshake, Preamble, Role, StaticKey};
use hypernode::types::message::Message;
use hypernode::types::rng::Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::stage::{Scene, Stage};
use super::stranger::{Stranger, connect, preamble, say_and_wait, wait_for_end};
use crate::sample::{any_hash, key, network_text};
use crate::twice::member::Member;

/// How often each of them tries: many times what the log may say.
const TIMES: u64 = 300;
/// Connections at once, of which the node takes a few.
const CROWD: usize = 2_000;
/// Descriptors that this process needs beside those.
const OWN_DESCRIPTORS: u64 = 200;
/// Connections that shake hands, and then take their time to say who they are.
const SLOW_GREETINGS: u32 = 8;
/// Where somebody else comes from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 76, 1, 1);
/// Handshakes that the node lets strangers have under way.
const UNFINISHED_MAX: usize = 32;

#[test]
fn strangers_at_the_door_leave_nothing_behind() {
    let mut stage = Stage::start(0, &[1, 1], 2, 0);
    stage.attack("garbage", |scene| {
        let mut rng = Rng::new(&any_hash("garbage"));
        for _ in 0..TIMES {
            let bytes: Vec<u8> = (0..8).flat_map(|_| rng.next_u64().to_be_bytes()).collect();
            say_and_wait(connect(scene.from, scene.at()), &bytes);
        }
        scene.wait_for_ends("wrong_magic", TIMES);
    });
    stage.attack("wrong network", |scene| {
        let name = ("name = \"sample\"", "name = \"elsewhere\"");
        let network = hypernode::types::network::Network::parse(&network_text(&[1], &[name]));
        let bytes = preamble(&network.unwrap());
        repeat(scene, &bytes, "wrong_network");
    });
    stage.attack("wrong version", |scene| {
        let ours = Preamble::of(scene.network());
        let theirs = Preamble { version_lowest: 7, version_highest: 9, ..ours };
        let bytes = Handshake::new(Role::Dialler, theirs, StaticKey::generate()).output();
        repeat(scene, &bytes, "wrong_version");
    });
    stage.attack("replayed handshake", |scene| {
        let honest = Stranger::shake(connect(scene.from, scene.at()), scene.network()).unwrap();
        repeat(scene, &honest.sent, "handshake");
        honest
    });
    stage.attack("reflected handshake", |scene| {
        let honest = Stranger::shake(connect(scene.from, scene.at()), scene.network()).unwrap();
        repeat(scene, &honest.heard, "handshake");
        honest
    });
    let told = stage.node().command("peers");
    let told = String::from_utf8(told.stdout).unwrap();
    for why in ["not a node of this kind of network", "another network", "speaks versions 7 to 9"] {
        assert!(told.contains(why), "{why}: {told}");
    }
}

#[test]
fn who_is_slow_at_the_door_is_shown_out() {
    let mut stage = Stage::start(1, &[2, 2, 1], 2, 0);
    stage.attack("a byte a second", |scene| {
        let mut greetings = Vec::new();
        for number in 0..SLOW_GREETINGS {
            let stream = connect(scene.from, scene.at());
            let mut stranger = Stranger::shake(stream, scene.network()).unwrap();
            let hello = stranger.hello(&key(9_000 + number));
            let bytes = stranger.seal(&Message::Hello(hello).to_frame());
            greetings.push((stranger, bytes));
        }
        let bytes = preamble(scene.network());
        let mut handshakes: Vec<TcpStream> =
            (0..2 * UNFINISHED_MAX).map(|_| connect(scene.from, scene.at())).collect();
        // Those who are slow hold every place for a handshake; another address gets one of theirs.
        let elsewhere = connect(ELSEWHERE, scene.at());
        assert!(Stranger::shake(elsewhere, scene.network()).is_some(), "{:?}", scene.ends());
        let all = u64::from(SLOW_GREETINGS) + u64::try_from(handshakes.len()).unwrap();
        // Until the node has had enough; the pace is the attack.
        for second in 0..bytes.len() {
            if scene.ends().values().sum::<u64>() >= all {
                break;
            }
            for stream in &mut handshakes {
                // Who found no place is told so by now.
                let _ = stream.write_all(&bytes[second..=second]);
            }
            for (stranger, bytes) in &mut greetings {
                stranger.send_bytes(&bytes[second..=second]);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        let ends = scene.ends();
        println!("{ends:?}");
        assert_eq!(ends.values().sum::<u64>(), all, "{ends:?}");
        assert!(ends["timeout"] > u64::from(SLOW_GREETINGS) && ends["full"] > 0, "{ends:?}");
        handshakes.into_iter().for_each(wait_for_end);
    });
    stage.attack("2,000 connections", |scene| {
        let crowd = raise_descriptors().min(CROWD);
        println!("{crowd} connections");
        let mut raw = Vec::new();
        let mut shaken = Vec::new();
        for number in 0..crowd {
            let stream = connect(scene.from, scene.at());
            if number % 2 == 0 {
                shaken.extend(Stranger::shake(stream, scene.network()));
            } else {
                raw.push(stream);
            }
        }
        let ends = scene.ends();
        println!("{} shook hands, {ends:?}", shaken.len());
        assert!(ends["full"] > 0, "{ends:?}");
        // Nobody is taken in who does not fit, and whoever was let in stays for a while.
        let peers = stage_peers(scene);
        assert!(peers <= 64, "{peers} of them are peers");
        // A founder that was away comes to a node with such a crowd before its door.
        let folder = tempfile::tempdir().expect("a folder");
        let (network, keys) = (scene.network(), scene.stage.sample.keys());
        let mut newcomer = Member::new(folder.path().to_owned(), network, &keys[2]);
        newcomer.start();
        let height = scene.stage.node().status().expect("it answers").tip.point.height;
        newcomer.wait("the chain", |status| status.tip.point.height >= height);
        (raw, shaken, newcomer, folder)
    });
}

/// Sends the same bytes on many connections, one after the other.
fn repeat(scene: &Scene<'_>, bytes: &[u8], code: &str) {
    for _ in 0..TIMES {
        say_and_wait(connect(scene.from, scene.at()), bytes);
    }
    scene.wait_for_ends(code, TIMES);
}

fn stage_peers(scene: &Scene<'_>) -> usize {
    let from = format!("{}:", scene.from);
    let peers = scene.stage.node().peers().peers.into_iter();
    peers.filter(|peer| peer.endpoint.starts_with(&from)).count()
}

/// Gives this process as many descriptors as it may have; how many connections it can make then.
fn raise_descriptors() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let left = maximum.map_or(u64::MAX, |most| most.saturating_sub(OWN_DESCRIPTORS));
    usize::try_from(left).unwrap_or(usize::MAX)
}
