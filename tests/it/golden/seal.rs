//! Secrets, evidence and a sealed state: the bytes that voters and newcomers must agree on.

use hypernode::rules::beacon::commitment_to;
use hypernode::types::clock::Round;
use hypernode::types::codec::encode;
use hypernode::types::evidence::Evidence;
use hypernode::types::hex;
use hypernode::types::seal::{Step, Vote};
use hypernode::types::tx::Tx;
use serde_json::{Value, json};

use super::compare;
use crate::history::{History, committed, double, proof};
use crate::sample::{Sample, any_hash};

fn message(tx: &Tx) -> Value {
    json!({
        "kind": tx.body.kind(),
        "bytes": hex::encode(&encode(tx)),
        "id": tx.id().to_string(),
        "key": hex::encode(&encode(&tx.key())),
    })
}

#[test]
fn a_sealed_state_and_what_it_is_made_of() {
    let sample = Sample::new(&[1, 2, 3]);
    let keys = sample.keys();
    let vote = |value| {
        let at = (1, 0, Step::Commit);
        Vote::sign(at, value, &keys[2], &sample.network, &sample.verifier)
    };
    let votes = Evidence::of_votes(&vote(None), &vote(Some(any_hash("checkpoint"))));
    let votes = proof(&sample, &keys[0], 2, votes.expect("they exclude each other"));
    let blocks = proof(&sample, &keys[0], 2, double(&sample, &keys[1], 1));

    // Everybody commits in each round; both proofs come in round 2; the seal is of round 3, whose blocks reveal.
    let mut history = History::new(&sample);
    for round in 1..=3 {
        let mut messages: Vec<Tx> = keys.iter().map(|key| committed(&sample, key, round)).collect();
        if round == 2 {
            messages.extend([votes.clone(), blocks.clone()]);
        }
        for slot in 0..5 {
            history.forge(round, slot, &std::mem::take(&mut messages));
        }
    }
    let reveals: Vec<_> = history.headers().filter_map(|header| header.reveal).collect();
    let anchor = history.seal();
    // Its first block names the seal, and the round after it has a plan made of the state.
    history.forge(4, 0, &[]);
    let secret = keys[0].secret_of(&sample.network.id(), Round(3));
    let made = json!({
        "secret": secret.to_string(),
        "commitment": commitment_to(&secret).to_string(),
        "two_blocks": message(&blocks),
        "two_votes": message(&votes),
        "reveals": reveals.iter().map(|secret| secret.to_string()).collect::<Vec<_>>(),
        "beacon": anchor.state.beacon.to_string(),
        "state_bytes": hex::encode(&anchor.state.to_bytes()),
        "state": anchor.state.digest().to_string(),
        "checkpoint_bytes": hex::encode(&encode(&anchor.checkpoint)),
        "checkpoint": anchor.seal.checkpoint.to_string(),
        "plan": history.plan(5).jurors.iter().map(|juror| juror.to_string()).collect::<Vec<_>>(),
    });
    compare("seal.json", &made);
}
