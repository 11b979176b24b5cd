//! One key on two machines, with whole processes: a copy signs nothing, and who sees its key sign elsewhere ends.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "real nodes keep real time")]
#![cfg(debug_assertions)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hypernode::shell::guard::Guard;
use hypernode::types::sign::{Doubt, SignRecord, SignState, Standing};
use rustix::process::Signal;

use crate::cluster::wait_for;
use crate::sample::Sample;
use crate::twice::member::Member;

/// Two founders, whose round 0 has begun: 1 s for each of 3 slots and the seal slot.
pub fn sample(place: u8) -> Sample {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let [.., high, low] = std::process::id().to_be_bytes();
    let origin = format!("origin = {}", since.as_secs());
    let name = format!("name = \"elsewhere-{place}\"");
    let ip = format!("127.{}.{}.", high % 100 + 100 + place, low);
    let edits = [
        ("name = \"sample\"", name.as_str()),
        ("origin = 1700000000", &origin),
        ("slot_seconds = 2", "slot_seconds = 1"),
        ("slots = 5", "slots = 3"),
        ("127.1.0.", &ip),
        ("port = 6969", "port = 4207"),
    ];
    Sample::edited(&[1, 1], &edits)
}

pub fn members(sample: &Sample, dir: &Path) -> [Member; 2] {
    let member = |place: usize| {
        Member::new(dir.join(place.to_string()), &sample.network, &sample.keys()[place])
    };
    [member(0), member(1)]
}

/// Leaves a sign state as an operator would have to look at it.
fn doubt(member: &Member, sample: &Sample, doubt: Doubt) {
    let dir = sign_dir(member);
    let mut guard = Guard::begin(&dir, sample.network.id(), sample.keys()[0].public()).unwrap();
    let standing = Standing::Unproven(doubt);
    guard.record(SignRecord::Correction(SignState { standing, ..guard.state() })).unwrap();
}

fn sign_dir(member: &Member) -> PathBuf {
    member.sign_state().parent().unwrap().to_owned()
}

#[test]
fn a_copied_directory_beside_its_original_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample(0);
    let [mut node, mut peer] = members(&sample, dir.path());
    node.start();
    peer.start();
    node.wait("a block of its own", |status| status.duties.forged > 0);
    let listen = sample.network.founders[0].endpoint().to_string().replace(":4207", ":4208");
    let mut clone = node.copied_to(dir.path().join("copy"), &listen);
    clone.start();
    let first = clone.wait("its doubt", |status| !status.sign_state.proven);
    assert_eq!(first.sign_state.doubt, Some(Doubt::Copied));
    assert_eq!(first.halt, None);

    // Some rounds in which each of the two has slots.
    let until = peer.status().unwrap().round.unwrap().0 + 5;
    let mut end = None;
    wait_for("some rounds", || {
        if end.is_none() {
            end = clone.has_ended();
            let forged = clone.status().map_or(0, |status| status.duties.forged);
            assert_eq!(forged, 0, "{}", clone.log());
        }
        let round = peer.status().and_then(|status| status.round);
        round.filter(|round| round.0 >= until)
    });
    // It may have seen that the other lives. The other may not: it was proven first.
    assert!(end.is_none_or(|end| end.code() == Some(76)), "{end:?}: {}", clone.log());
    let signed = Guard::look(&sign_dir(&clone)).unwrap().state;
    assert_ne!(signed.standing, Standing::Proven);
    let mut blocks = BTreeMap::new();
    for block in peer.recent().into_iter().chain(node.recent()) {
        let place = (block.forger, block.round, block.slot);
        let other = *blocks.entry(place).or_insert(block.point);
        assert_eq!(other, block.point, "two blocks of {place:?}");
    }
    let node = node.wait("another block of its own", |status| status.duties.forged > 1);
    assert!(node.sign_state.proven && node.refused_signature == 0);
}

#[test]
fn a_node_that_sees_its_key_used_elsewhere_ends_with_76_and_stays_down() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample(1);
    let [mut node, mut peer] = members(&sample, dir.path());
    doubt(&node, &sample, Doubt::Older);
    node.start();
    peer.start();
    let first = node.wait("its peer", |status| status.peers.dial_list > 0);
    assert_eq!(first.sign_state.doubt, Some(Doubt::Older));
    // The other node with this key: its heartbeats come by way of the peer.
    let mut sent = None;
    let end = wait_for("its end", || {
        let round = peer.status().and_then(|status| status.round);
        if let Some(round) = round.filter(|round| sent != Some(*round)) {
            sent = Some(round);
            peer.submit(&[sample.heartbeat(0, round.0)]);
        }
        node.has_ended()
    });
    assert_eq!(end.code(), Some(76), "{}", node.log());
    assert!(node.log().contains("somebody else signs with"), "{}", node.log());
    let state = Guard::look(&sign_dir(&node)).unwrap().state;
    assert_eq!(state.standing, Standing::Unproven(Doubt::Elsewhere));
    peer.wait("that it goes on", |status| status.duties.forged > 0);
    // Started by hand, it signs nothing, and says why.
    node.end();
    node.start();
    let again = node.wait("its doubt", |status| status.sign_state.doubt.is_some());
    assert_eq!(again.sign_state.doubt, Some(Doubt::Elsewhere));
    assert_eq!(again.duties.forged, 0);
    node.signal(Signal::TERM);
}
