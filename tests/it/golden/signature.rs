//! Which signatures are valid is a rule of the protocol (`docs/protocol.md` §1): the cases in which libraries differ.

use hypernode::types::hash::Hash;
use hypernode::types::hex;
use hypernode::types::key::{PublicKey, Purpose, SecretKey, Signature, Verifier};
use hypernode::types::network::Network;
use hypernode::types::seal::Vote;

use serde_json::Value;

use super::read;
use crate::sample::Sample;

#[test]
fn verdicts_on_signatures_are_those_of_ed25519_compact() {
    let vectors = read("signature.json");
    let network: Hash = vectors["network"].as_str().expect("hex").parse().expect("32 bytes");
    let mut verdicts = [0, 0];
    for case in vectors["cases"].as_array().expect("cases") {
        let text = |field: &str| case[field].as_str().expect("text");
        let key = PublicKey(hex::decode_array(text("key")).expect("32 bytes"));
        let signature = Signature(hex::decode_array(text("signature")).expect("64 bytes"));
        let content = hex::decode(text("content")).expect("hex");
        let valid = key.verify(Purpose::Message, &network, &[&content], &signature);
        assert_eq!(Some(valid), case["valid"].as_bool(), "{}: {}", text("name"), text("what"));
        // What the cache says must not depend on what it was asked before.
        let verifier = Verifier::default();
        for _ in 0..2 {
            let cached = verifier.verify(&key, Purpose::Message, &network, &[&content], &signature);
            assert_eq!(cached, valid, "{}", text("name"));
        }
        verdicts[usize::from(valid)] += 1;
    }
    assert!(verdicts[0] >= 15 && verdicts[1] >= 4, "{verdicts:?}");
}

#[test]
fn votes_are_signed_as_a_plain_implementation_signs_them() {
    let vectors = &read("signature.json")["votes"];
    let text = |value: &Value, field: &str| value[field].as_str().expect("text").to_owned();
    let network = Network::clone(&Sample::new(&[1, 2, 3]).network);
    assert_eq!(network.id().to_string(), text(vectors, "network"));
    let key = SecretKey::from_seed(hex::decode_array(&text(vectors, "seed")).expect("32 bytes"));
    assert_eq!(key.public().to_string(), text(vectors, "key"));
    let mut verdicts = [0, 0];
    for case in vectors["cases"].as_array().expect("cases") {
        let vote = Vote {
            index: case["index"].as_u64().expect("a number"),
            view: serde_json::from_value(case["view"].clone()).expect("a view"),
            step: serde_json::from_value(case["step"].clone()).expect("a step"),
            value: case["value"].as_str().map(|value| value.parse().expect("32 bytes")),
            voter: key.public(),
            signature: Signature(hex::decode_array(&text(case, "signature")).expect("64 bytes")),
        };
        let verifier = Verifier::default();
        let valid = vote.is_signed(&network, &verifier);
        assert_eq!(Some(valid), case["valid"].as_bool(), "{}", case["name"]);
        let place = (vote.index, vote.view, vote.step);
        let signed = Vote::sign(place, vote.value, &key, &network, &verifier);
        assert_eq!(
            signed == vote,
            valid || case["name"] == "zeros_for_nothing",
            "{}",
            case["name"]
        );
        verdicts[usize::from(valid)] += 1;
    }
    assert_eq!(verdicts, [9, 4]);
}
