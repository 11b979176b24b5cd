//! Networks, keys and messages that tests are made of. Everything follows from fixed names, so that its bytes can be
//! pinned.

use std::rc::Rc;

use hypernode::rules::plan::{Plan, Plans};
use hypernode::rules::sealed::Anchor;
use hypernode::rules::state::ChainState;
use hypernode::rules::validity::{IdentifiedTx, Parent, Place, Rules};
use hypernode::types::address::Address;
use hypernode::types::block::{Block, Header, genesis};
use hypernode::types::clock::{Height, Round, Slot, Timestamp};
use hypernode::types::hash::{Hash, hash};
use hypernode::types::key::{PublicKey, SecretKey, Verifier};
use hypernode::types::network::Network;
use hypernode::types::tx::{Body, Outcome, TestRole, Tx};

const HEAD: &str = r#"
name = "sample"
magic = 0x686e7331
origin = 1700000000
slot_seconds = 2
slots = 5
seal_slots = 1
first_round = 0
source = "list"
"#;

const PARAMETERS: &str = include_str!("../parameters.toml");

/// The secret key of a number.
pub fn key(number: u32) -> SecretKey {
    SecretKey::from_seed(hash("sample key", &[&number.to_be_bytes()]).0)
}

/// A hash that means nothing.
pub fn any_hash(name: &str) -> Hash {
    hash("sample", &[name.as_bytes()])
}

/// The file of a network of founders with these weights; each edit replaces a text that must be there.
pub fn network_text(weights: &[u8], edits: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for (number, weight) in (0..).zip(weights) {
        let (public_key, high, low) = (key(number).public(), number / 250, number % 250 + 1);
        text += &format!(
            "\n[[founders]]\npublic_key = \"{public_key}\"\nweight = {weight}\nip = \"127.1.{high}.{low}\"\nport = 6969\n"
        );
    }
    text += PARAMETERS;
    for (from, to) in edits {
        assert!(text.contains(from), "{from:?} is not in the network file");
        text = text.replace(from, to);
    }
    text
}

/// A network with everything that the rules read of it.
pub struct Sample {
    pub network: Rc<Network>,
    pub anchor: Rc<Anchor>,
    pub plans: Plans,
    pub verifier: Verifier,
    keys: Vec<SecretKey>,
}

impl Sample {
    /// Founders with these weights, 5 + 1 slots of 2 s, 2 tests a slot.
    pub fn new(weights: &[u8]) -> Sample {
        Sample::edited(weights, &[])
    }

    /// The same with another network file.
    pub fn edited(weights: &[u8], edits: &[(&str, &str)]) -> Sample {
        Sample::of(weights, &network_text(weights, edits))
    }

    /// The same with a second entry of parameters, in force from a round on.
    pub fn changing_at(weights: &[u8], round: u64) -> Sample {
        let later = PARAMETERS.replace("from_round = 0", &format!("from_round = {round}"));
        Sample::of(weights, &(network_text(weights, &[]) + &later))
    }

    fn of(weights: &[u8], text: &str) -> Sample {
        let network = Rc::new(Network::parse(text).expect("a valid file"));
        let anchor = Rc::new(Anchor::genesis(&network));
        let plans = Plans::new(network.clone(), anchor.clone());
        let keys = (0..).zip(weights).map(|(number, _)| key(number)).collect();
        Sample { network, anchor, plans, verifier: Verifier::default(), keys }
    }

    /// What the checks read.
    pub fn rules(&self) -> Rules<'_> {
        Rules { network: &self.network, plans: &self.plans, verifier: &self.verifier }
    }

    /// Keys of the founders, by number.
    pub fn keys(&self) -> &[SecretKey] {
        &self.keys
    }

    /// The key of a founder's address.
    pub fn key_of(&self, address: &Address) -> &SecretKey {
        let own = |key: &&SecretKey| self.network.address_of(&key.public()) == *address;
        self.keys.iter().find(own).expect("the address of a founder")
    }

    /// The plan of a round whose anchor is genesis.
    pub fn plan(&self, round: u64) -> Rc<Plan> {
        self.plans.of(&self.anchor, Round(round))
    }

    /// The state of a chain that ends in this round without messages.
    pub fn state(&self, round: u64) -> ChainState {
        ChainState::new(Round(round), self.anchor.seal)
    }

    /// A block of this round that names genesis.
    pub fn place(&self, round: u64) -> Place {
        Place { round: Round(round), seal: self.anchor.seal }
    }

    /// A header on genesis with nothing in it, by nobody: for what looks at rounds alone.
    pub fn header(&self, round: u64) -> Header {
        Header {
            version: 1,
            height: Height(1),
            round: Round(round),
            slot: Slot(0),
            timestamp: self.time(round, 0),
            previous: genesis(&self.network).hash,
            messages_root: Hash::default(),
            seal: self.anchor.seal,
            reveal: None,
            forger: PublicKey([0; 32]),
        }
    }

    /// The key of the juror of a slot.
    pub fn juror(&self, round: u64, slot: u32) -> &SecretKey {
        let plan = self.plan(round);
        self.key_of(plan.juror(Slot(slot)).expect("a forging slot"))
    }

    /// Genesis, as what a first block builds on.
    pub fn genesis(&self) -> Parent {
        let seal = self.anchor.seal;
        Parent { point: genesis(&self.network), at: None, seal, anchor: seal }
    }

    /// A moment in a slot.
    pub fn time(&self, round: u64, slot: u32) -> Timestamp {
        self.network.clock.start_of(Round(round), Slot(slot)).plus(500)
    }

    /// A message signed by a founder.
    pub fn tx(&self, sender: &SecretKey, round: u64, body: Body) -> Tx {
        Tx::sign(Round(round), body, sender, &self.network, &self.verifier)
    }

    /// The heartbeat of the founder with this number.
    pub fn heartbeat(&self, number: usize, round: u64) -> Tx {
        let body =
            Body::Heartbeat { version: 0x0001_0000, commitment: Hash::default(), capacity: 25 };
        self.tx(&self.keys[number], round, body)
    }

    /// The report of a test in the plan, signed by whoever has that part in it.
    pub fn report(&self, round: u64, slot: u32, index: u32, role: TestRole) -> Tx {
        let plan = self.plan(round);
        let test = plan.test(Slot(slot), index).expect("a test of the plan");
        let sender = match role {
            TestRole::Tester => &test.tester,
            TestRole::Tested => &test.tested,
        };
        let (outcome, measured) = (Outcome::Passed, 42);
        let body = Body::TestReport { slot: Slot(slot), index, role, outcome, measured };
        self.tx(self.key_of(sender), round, body)
    }

    /// The block of the slot's juror, with these messages.
    pub fn block(
        &self,
        parent: &Parent,
        state: &ChainState,
        messages: &[Tx],
        at: Timestamp,
    ) -> Block {
        let (round, slot) = self.network.clock.at(at).expect("after the origin");
        let candidates = identified(messages).into_iter();
        let key = self.juror(round.0, slot.0);
        let built = self.rules().build_block(parent, state, candidates, at, key);
        let (block, left_out) = built.expect("enough messages");
        assert_eq!(left_out, Vec::new());
        block
    }
}

/// Messages with their ids.
pub fn identified(messages: &[Tx]) -> Vec<IdentifiedTx> {
    messages.iter().map(|tx| IdentifiedTx { id: tx.id(), tx: tx.clone() }).collect()
}

/// A block of a chain without seals as the parent of the next.
pub fn parent_of(block: &Block) -> Parent {
    let header = &block.header.header;
    let at = Some((header.round, header.slot));
    Parent { point: block.header.point(), at, seal: header.seal, anchor: header.seal }
}
