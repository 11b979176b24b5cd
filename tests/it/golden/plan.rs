//! Jurors, tests and dial lists of several networks. HNs are numbered in the order of their addresses.

use hypernode::rules::plan::{Test, dial_list};
use hypernode::types::address::Address;
use serde_json::{Map, Value, json};

use super::compare;
use crate::sample::{Sample, key};

/// Weights of the networks, with what they are there for.
fn networks() -> Vec<(&'static str, Sample)> {
    let slots = ("slots = 5\n", "slots = 19\n");
    let tests = ("tests_per_slot = 2", "tests_per_slot = 10");
    let dial = ("dial_count = 4", "dial_count = 8");
    vec![
        ("nobody", Sample::new(&[])),
        ("one", Sample::new(&[1])),
        ("two", Sample::new(&[1, 1])),
        ("fewer_tickets_than_slots", Sample::edited(&[1, 2, 1], &[slots])),
        ("weights_1_2_3", Sample::edited(&[1, 2, 3, 1, 2, 3], &[slots, tests])),
        ("one_hundred", Sample::edited(&[1; 100], &[slots, tests, dial])),
    ]
}

fn plan(sample: &Sample, round: u64) -> Value {
    let registry: Vec<Address> = sample.anchor.state.registry.iter().map(|hn| hn.address).collect();
    let number =
        |address: &Address| registry.iter().position(|hn| hn == address).expect("registered");
    let numbers = |list: &[Address]| {
        let texts: Vec<String> = list.iter().map(|hn| number(hn).to_string()).collect();
        texts.join(" ")
    };
    let plan = sample.plan(round);
    let test = |test: &Test| {
        format!("{} tests {} by {}", number(&test.tester), number(&test.tested), test.kind.name())
    };
    let tests = plan.tests.iter().map(|slot| slot.iter().map(test).collect::<Vec<_>>().join(", "));
    let dials =
        |own: &Address| numbers(&dial_list(&sample.network, &sample.anchor.state, &plan, own));
    let observer = sample.network.address_of(&key(999_999).public());
    json!({
        "jurors": numbers(&plan.jurors),
        "tests": tests.collect::<Vec<_>>(),
        "dial_lists": {
            "first": registry.first().map(dials),
            "last": registry.last().map(dials),
            "observer": dials(&observer),
        },
    })
}

#[test]
fn plans_of_several_networks() {
    let mut made = Map::new();
    for (name, sample) in networks() {
        let addresses = sample.anchor.state.registry.iter().map(|hn| hn.address.to_string());
        let value = json!({
            "network": sample.network.id().to_string(),
            "addresses": addresses.collect::<Vec<_>>(),
            "weights": sample.anchor.state.registry.iter().map(|hn| hn.weight).collect::<Vec<_>>(),
            "round_0": plan(&sample, 0),
            "round_1000000": plan(&sample, 1_000_000),
        });
        made.insert(name.to_owned(), value);
    }
    compare("plan.json", &Value::Object(made));
}
