//! Addresses and times as the Python hypernode has them.

use hypernode::types::address::{Address, AddressError};
use hypernode::types::clock::{Round, Slot, Timestamp};
use hypernode::types::hex;
use hypernode::types::network::Network;

use super::read;

#[test]
fn addresses_of_keys_are_those_of_the_python_network() {
    let vectors = read("address.json");
    let mut seen = 0;
    for group in ["python", "ed25519"] {
        for row in vectors[group].as_array().expect("rows") {
            let text = |field: &str| row[field].as_str().expect("text");
            let key = hex::decode(text("public_key")).expect("hex");
            for network in [Network::main(), Network::test()] {
                let expected = text(&network.name);
                let address = Address::of_bytes(&key, network.prefix());
                assert_eq!(address.to_string(), expected);
                assert_eq!(Address::parse(expected, network.prefix()), Ok(address));
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} keys");
}

#[test]
fn what_is_wrong_with_an_address_is_told_apart() {
    let mut seen = 0;
    for row in read("address.json")["invalid"].as_array().expect("rows") {
        let text = |field: &str| row[field].as_str().expect("text");
        assert_eq!(text("network"), "main");
        let error = Address::parse(text("address"), Network::main().prefix()).expect_err("invalid");
        assert!(text("why").split(" or ").any(|why| why == error.code()), "{row}: {error}");
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} addresses");
    let parse = |text: &str| Address::parse(text, 0x19);
    assert_eq!(parse("B9Upé"), Err(AddressError::Character('é', 5)));
    assert_eq!(parse(&"1".repeat(36)), Err(AddressError::Length(36)));
    let zeros = Address::of_bytes(&[0; 32], 0).to_string();
    assert_eq!(parse(&zeros), Err(AddressError::Network { found: 0, expected: 0x19 }));
}

#[test]
fn rounds_and_slots_are_those_of_the_python_network() {
    let clock = Network::main().clock;
    let vectors = read("clock.json");
    let cases = vectors["cases"].as_array().expect("cases");
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    for case in cases {
        // Whole seconds, some of them written as floats.
        let seconds = case["ts"].as_f64().map(|seconds| format!("{seconds:.0}").parse::<u64>());
        let time = Timestamp::from_secs(seconds.expect("a time").expect("after 1970"));
        let round = case["round"].as_u64().map(Round).expect("a round");
        let slot = case["slot"].as_u64().and_then(|slot| slot.try_into().ok()).expect("a slot");
        assert_eq!(clock.at(time), Some((round, Slot(slot))), "{case}");
        assert_eq!(clock.is_forging(Slot(slot)), slot < 19, "{case}");
        assert!(
            clock.start_of(round, Slot(slot)) <= time && time < clock.end_of(round, Slot(slot))
        );
    }
    // The Python node counts on backwards; here there is nothing before the origin.
    assert_eq!(clock.at(Timestamp(clock.origin.0 - 1)), None);
}
