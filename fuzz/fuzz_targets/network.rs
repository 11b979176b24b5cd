//! The file of a network: reading never panics, and what is taken reads the same when it is printed.

#![no_main]

use hypernode::types::clock::Round;
use hypernode::types::network::Network;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(network) = Network::parse(text) else { return };
    let again = Network::parse(&network.to_toml()).expect("what we print can be read");
    assert_eq!(again.id(), network.id());
    assert_eq!(again.parameters_digest(), network.parameters_digest());
    for round in [network.first_round, Round(u64::MAX)] {
        assert_eq!(again.values_at(round), network.values_at(round));
    }
});
