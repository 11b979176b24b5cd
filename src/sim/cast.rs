//! Who takes part: the default network, its founders, and those who are not registered.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::rc::Rc;

use crate::rules::plan::{Plan, Plans};
use crate::rules::sealed::Anchor;
use crate::rules::validity::Rules;
use crate::types::clock::Round;
use crate::types::key::{PublicKey, SecretKey, Verifier};
use crate::types::network::{Endpoint, Network};
use crate::types::rng::Rng;

/// Start of round 0 in simulated networks, Unix time in seconds.
pub const ORIGIN: u64 = 1_700_000_000;
/// Port of all hosts.
const PORT: u16 = 6969;

/// A network and the keys of its hosts, with what they share in a simulation.
pub struct Cast {
    pub network: Rc<Network>,
    /// Founders in the order of the network's list, then strangers.
    pub keys: Vec<SecretKey>,
    pub nodes: usize,
    pub plans: Plans,
    /// Genesis.
    pub anchor: Rc<Anchor>,
    /// Shared by all hosts: it remembers a pure function.
    pub verifier: Verifier,
}

/// What may differ between simulated networks.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub nodes: usize,
    pub strangers: usize,
    pub slot_seconds: u64,
    pub slots: u32,
    pub seal_slots: u32,
    pub dial_count: u32,
    pub forge_peers_min: u32,
    /// Weights 1 to 3 instead of 1.
    pub weighted: bool,
    pub activity_rounds: u32,
    pub active_min: u32,
    /// Whether a PoW ledger says who is registered, two blocks deep.
    pub ledger: bool,
}

impl Shape {
    /// 19 + 1 slots of 180 s and values like those of the main network, except that empty blocks are allowed.
    pub fn new(nodes: usize) -> Shape {
        Shape {
            nodes,
            strangers: 0,
            slot_seconds: 180,
            slots: 19,
            seal_slots: 1,
            dial_count: 8,
            forge_peers_min: 0,
            weighted: false,
            activity_rounds: 3,
            active_min: u32::try_from(nodes).expect("few hosts"),
            ledger: false,
        }
    }

    /// The weights of the nodes. The generator is the one that the cast is drawn with.
    pub fn weights(&self, rng: &Rng) -> Vec<u64> {
        let mut rng = rng.clone().fork("weights");
        (0..self.nodes).map(|_| if self.weighted { 1 + rng.below(3) } else { 1 }).collect()
    }
}

/// Where a host listens: each in an address block of its own.
pub fn endpoint(host: usize) -> Endpoint {
    let [_, high, middle, low] = u32::try_from(host).expect("few hosts").to_be_bytes();
    Endpoint { ip: Ipv4Addr::new(10 + high, middle, low, 1), port: PORT }
}

impl Cast {
    /// Draws keys and weights, and makes the network of them.
    pub fn new(shape: &Shape, rng: &mut Rng) -> Cast {
        let weights = shape.weights(rng);
        let mut seed = || {
            let mut seed = [0; 32];
            seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&rng.next_u64().to_be_bytes()));
            SecretKey::from_seed(seed)
        };
        let keys: Vec<SecretKey> = (0..shape.nodes + shape.strangers).map(|_| seed()).collect();
        let founders = keys.iter().zip(weights).enumerate();
        let founders = founders.map(|(host, (key, weight))| (key.public(), weight, endpoint(host)));
        let network = Rc::new(network(shape, founders));
        let anchor = Rc::new(Anchor::genesis(&network));
        Cast {
            plans: Plans::new(network.clone(), anchor.clone()),
            anchor,
            network,
            keys,
            nodes: shape.nodes,
            verifier: Verifier::default(),
        }
    }

    /// The rules that the hosts follow.
    pub fn rules(&self) -> Rules<'_> {
        Rules { network: &self.network, plans: &self.plans, verifier: &self.verifier }
    }

    /// The plan of a round whose anchor is genesis.
    pub fn plan(&self, round: Round) -> Rc<Plan> {
        self.plans.of(&self.anchor, round)
    }

    /// The host that has this key.
    pub fn host_of(&self, key: &PublicKey) -> Option<usize> {
        self.keys.iter().position(|own| own.public() == *key)
    }
}

fn network(shape: &Shape, founders: impl Iterator<Item = (PublicKey, u64, Endpoint)>) -> Network {
    let Shape { slot_seconds, slots, seal_slots, dial_count, forge_peers_min, .. } = shape;
    let Shape { activity_rounds, active_min, ledger, .. } = shape;
    let source = if *ledger { "ledger" } else { "list" };
    let (depth, step, first_height) = if *ledger { (2, 1, 1) } else { (30, 60, 773_801) };
    let mut text = format!(
        r#"name = "sim"
magic = 0x686e7331
origin = {ORIGIN}
slot_seconds = {slot_seconds}
slots = {slots}
seal_slots = {seal_slots}
first_round = 0
source = "{source}"
"#
    );
    for (key, weight, Endpoint { ip, port }) in founders {
        write!(
            text,
            "[[founders]]\npublic_key = \"{key}\"\nweight = {weight}\nip = \"{ip}\"\nport = {port}\n"
        )
        .expect("a string takes all");
    }
    write!(
        text,
        r#"[[parameters]]
from_round = 0
[parameters.values]
prefix = 0x7f
clock = "local"
messages_min = 0
senders_min = 0
messages_max = 1000
activity_rounds = {activity_rounds}
active_min = {active_min}
tests_per_slot = 10
test_kinds = ["ping", "tip", "ledger_sample", "chain_sample", "bandwidth"]
dial_count = {dial_count}
forge_peers_min = {forge_peers_min}
inbound_per_block = 4
[parameters.values.ledger]
depth = {depth}
step = {step}
first_height = {first_height}
controller = "{}"
"#,
        "0".repeat(56)
    )
    .expect("a string takes all");
    Network::parse(&text).expect("the text above is a network")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_is_a_network_with_all_its_keys() {
        let mut shape = Shape::new(300);
        shape.strangers = 2;
        shape.weighted = true;
        let cast = Cast::new(&shape, &mut Rng::from_text("cast"));
        assert_eq!(cast.network.founders.len(), 300);
        for (host, founder) in cast.network.founders.iter().enumerate() {
            assert_eq!(cast.host_of(&founder.public_key), Some(host));
            assert_eq!(founder.endpoint(), endpoint(host));
        }
    }
}
