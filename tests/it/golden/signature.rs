//! Which signatures are valid is a rule of the protocol (`docs/protocol.md` §1): the cases in which libraries differ.

use hypernode::types::hash::Hash;
use hypernode::types::hex;
use hypernode::types::key::{PublicKey, Purpose, Signature, Verifier};

use super::read;

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
