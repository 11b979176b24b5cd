//! The rules once more, slow and obvious: what the checks believe instead of the code under test.
//!
//! Written from `docs/protocol.md` §6 to §9 and nothing else; it shares types, hashes and signatures with the core, and
//! none of its rules. Every block seen is judged once, on its chain.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::rules::plan::Plans;
use crate::rules::sealed::Anchor;
use crate::types::block::{Header, Point, SignedHeader, genesis, messages_root};
use crate::types::clock::{Round, Slot};
use crate::types::codec;
use crate::types::evidence::{Evidence, Offence, OffenceKind};
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::key::{PublicKey, Purpose, Verifier};
use crate::types::network::{Founder, Network};
use crate::types::seal::Vote;
use crate::types::tx::{Body, TestRole, Tx, TxKey};

/// A block judged.
#[derive(Debug, Clone)]
pub struct Judged {
    pub point: Point,
    pub previous: BlockHash,
    pub round: Round,
    pub slot: Slot,
    pub forger: PublicKey,
    /// Distinct forgers summed over rounds.
    pub weight: u64,
    pub keys: Vec<TxKey>,
    /// Commitments in its heartbeats, with their senders and the rounds of the heartbeats.
    pub commitments: Vec<(PublicKey, Round, Hash)>,
    /// Why it is not valid, or the first below it that is not.
    pub fault: Option<&'static str>,
}

/// What is true of the blocks of a network.
pub struct Oracle {
    network: Rc<Network>,
    genesis: Point,
    anchor: Rc<Anchor>,
    plans: Plans,
    jurors: BTreeMap<Round, Vec<PublicKey>>,
    blocks: BTreeMap<BlockHash, Judged>,
}

impl Oracle {
    /// Knows genesis alone.
    pub fn new(network: Rc<Network>) -> Oracle {
        let anchor = Rc::new(Anchor::genesis(&network));
        Oracle {
            genesis: genesis(&network),
            plans: Plans::new(network.clone(), anchor.clone()),
            anchor,
            network,
            jurors: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// A block judged before.
    pub fn get(&self, hash: &BlockHash) -> Option<&Judged> {
        self.blocks.get(hash)
    }

    /// Whether this is genesis.
    pub fn is_genesis(&self, hash: &BlockHash) -> bool {
        *hash == self.genesis.hash
    }

    /// Judges a block whose parent is judged.
    pub fn judge(&mut self, signed: &SignedHeader, messages: &[Tx]) -> &Judged {
        let point = signed.point();
        if !self.blocks.contains_key(&point.hash) {
            let header = &signed.header;
            let fault = self.fault_of(signed, messages).err();
            let forged = self.round_of(&header.previous, header.round);
            let again = forged.iter().any(|block| block.forger == header.forger);
            let below = self.blocks.get(&header.previous).map_or(0, |parent| parent.weight);
            let judged = Judged {
                point,
                previous: header.previous,
                round: header.round,
                slot: header.slot,
                forger: header.forger,
                weight: below + u64::from(!again),
                keys: messages.iter().map(Tx::key).collect(),
                commitments: messages.iter().filter_map(commitment).collect(),
                fault,
            };
            self.blocks.insert(point.hash, judged);
        }
        &self.blocks[&point.hash]
    }

    fn fault_of(&mut self, signed: &SignedHeader, messages: &[Tx]) -> Result<(), &'static str> {
        let require = |holds: bool, fault| if holds { Ok(()) } else { Err(fault) };
        let header = &signed.header;
        let (network, clock) = (self.network.clone(), self.network.clock);
        if header.previous == self.genesis.hash {
            require(header.height.0 == 1, "not at height 1")?;
        } else {
            let parent = self.blocks.get(&header.previous).ok_or("without a parent")?;
            parent.fault.map_or(Ok(()), Err)?;
            require(header.height.0 == parent.point.height.0 + 1, "not one above its parent")?;
            let later = header.round > parent.round
                || header.round == parent.round && header.slot > parent.slot;
            require(later, "not later than its parent")?;
        }
        require(header.slot.0 < clock.slots, "in a seal slot")?;
        require(header.version == 1, "of another version")?;
        let round_ms = clock.slot_ms * u64::from(clock.slots + clock.seal_slots);
        let start =
            clock.origin.0 + header.round.0 * round_ms + u64::from(header.slot.0) * clock.slot_ms;
        let time = header.timestamp.0;
        require(time >= start && time < start + clock.slot_ms, "stamped outside its slot")?;
        require(header.seal == self.anchor.seal, "on another seal")?;
        require(self.reveals(header), "with a wrong reveal")?;
        let juror = self.jurors(header.round).get(header.slot.0 as usize).copied();
        require(juror == Some(header.forger), "by someone who is not the juror")?;
        let bytes = codec::encode(header);
        let purpose = Purpose::Block;
        let is_signed = header.forger.verify(purpose, &network.id(), &[&bytes], &signed.signature);
        require(is_signed, "without its forger's signature")?;
        let ids: Vec<_> = messages.iter().map(Tx::id).collect();
        require(messages_root(&ids) == header.messages_root, "with other messages")?;
        let mut sorted = ids.clone();
        sorted.sort();
        require(sorted == ids, "with messages out of order")?;
        require(messages.len() <= 1000, "with too many messages")?;
        let mut keys: BTreeSet<TxKey> = BTreeSet::new();
        for round in [header.round.0.saturating_sub(1), header.round.0] {
            let before = self.round_of(&header.previous, Round(round));
            keys.extend(before.iter().flat_map(|block| &block.keys));
        }
        for message in messages {
            require(keys.insert(message.key()), "with a message whose key is there already")?;
            let round = message.round.0;
            require(round == header.round.0 || round + 1 == header.round.0, "with an old message")?;
            let sender = |founder: &Founder| founder.public_key == message.sender;
            require(network.founders.iter().any(sender), "with a message of a stranger")?;
            require(self.is_in_plan(message), "with a report of a test that is not planned")?;
            require(self.proves(message, header.round.0), "with evidence that proves nothing")?;
            let good = message.is_signed(&network, &Verifier::default());
            require(good, "with a message that its sender did not sign")?;
        }
        Ok(())
    }

    /// Whether a block shows the secret that its forger committed to two rounds before, in its first block of a round,
    /// and in no other.
    fn reveals(&self, header: &Header) -> bool {
        let Header { forger, round, previous, .. } = header;
        let again = self.round_of(previous, *round).iter().any(|block| block.forger == *forger);
        let mut committed = Hash([0; 32]);
        for of in [round.0.saturating_sub(2), round.0.saturating_sub(1)] {
            for block in self.round_of(previous, Round(of)) {
                for (sender, when, commitment) in &block.commitments {
                    if sender == forger && when.0 + 2 == round.0 {
                        committed = *commitment;
                    }
                }
            }
        }
        match &header.reveal {
            Some(secret) => !again && hash("commit", &[&secret.0]) == committed,
            None => again || committed == Hash([0; 32]),
        }
    }

    /// Blocks of a round at the end of the chain up to `tip`, newest first; those of later rounds are passed over.
    fn round_of(&self, tip: &BlockHash, round: Round) -> Vec<&Judged> {
        let mut found = Vec::new();
        let mut at = self.blocks.get(tip);
        while let Some(block) = at.filter(|block| block.round >= round) {
            if block.round == round {
                found.push(block);
            }
            at = self.blocks.get(&block.previous);
        }
        found
    }

    fn is_in_plan(&self, message: &Tx) -> bool {
        match &message.body {
            Body::Heartbeat { .. } | Body::Equivocation(_) => true,
            Body::TestReport { slot, index, role, .. } => {
                // The draw of tests is pinned by vectors; what matters here is who takes part.
                let plan = self.plans.of(&self.anchor, message.round);
                let sender = message.sender_address(&self.network);
                plan.test(*slot, *index).is_some_and(|test| match role {
                    TestRole::Tester => test.tester == sender,
                    TestRole::Tested => test.tested == sender,
                })
            }
        }
    }

    /// Whether what a message shows of a founder, if it does, excludes itself, in a block of this round.
    fn proves(&self, message: &Tx, round: u64) -> bool {
        let Body::Equivocation(evidence) = &message.body else { return true };
        let Offence { kind, offender } = evidence.offence();
        let in_time = match kind {
            OffenceKind::Blocks { round: of } => of.0 <= round && round <= of.0 + 24,
            // All blocks name genesis.
            OffenceKind::Votes { index } => index <= 1,
        };
        let known = self.network.founders.iter().any(|founder| founder.public_key == offender);
        let signed = evidence.is_signed(&self.network, &Verifier::default());
        let excluded = match &**evidence {
            Evidence::Blocks(a, b) => {
                let place = |it: &SignedHeader| (it.header.forger, it.header.round, it.header.slot);
                a.hash() < b.hash() && a.header != b.header && place(a) == place(b)
            }
            Evidence::Votes(a, b) => {
                let place = |vote: &Vote| (vote.voter, vote.index, vote.view, vote.step);
                a.value < b.value && place(a) == place(b)
            }
        };
        in_time && known && signed && excluded
    }

    /// The jurors of a round: all tickets, sorted.
    pub fn jurors(&mut self, round: Round) -> &[PublicKey] {
        let network = &self.network;
        self.jurors.entry(round).or_insert_with(|| {
            let beacon = hash("beacon", &[&network.id().0]);
            let slots = network.clock.slots as usize;
            let mut tickets = Vec::new();
            let mut times = 0;
            while !network.founders.is_empty() && tickets.len() < slots {
                for founder in &network.founders {
                    let address = network.address_of(&founder.public_key);
                    let weight = u64::from(founder.weight);
                    for number in times * weight..(times + 1) * weight {
                        let round = round.0.to_be_bytes();
                        let parts: [&[u8]; 4] =
                            [&beacon.0, &round, &address.0, &number.to_be_bytes()];
                        let score = hash("ticket", &parts);
                        tickets.push((score, address, number, founder.public_key));
                    }
                }
                times += 1;
            }
            tickets.sort();
            tickets.iter().take(slots).map(|(_, _, _, key)| *key).collect()
        })
    }

    /// The chain below a block, from the first block up to it.
    pub fn chain(&self, tip: &BlockHash) -> Vec<&Judged> {
        let mut chain = Vec::new();
        let mut at = self.blocks.get(tip);
        while let Some(block) = at {
            chain.push(block);
            at = self.blocks.get(&block.previous);
        }
        chain.reverse();
        chain
    }

    /// A block for people.
    pub fn describe(&self, hash: &BlockHash) -> String {
        let Some(block) = self.blocks.get(hash) else { return "genesis".to_owned() };
        let Judged { point, round, slot, weight, .. } = block;
        let short = hash.0.short();
        format!("{short} (height {}, weight {weight}, round {round} slot {slot})", point.height)
    }

    /// Which of two chains is better (§9). Genesis is the chain without blocks.
    pub fn compare(&self, a: &BlockHash, b: &BlockHash) -> Ordering {
        let worth = |hash: &BlockHash| {
            self.blocks.get(hash).map_or((0, 0), |block| (block.weight, block.point.height.0))
        };
        let by_worth = worth(a).cmp(&worth(b));
        if by_worth != Ordering::Equal || a == b {
            return by_worth;
        }
        let (mut a, mut b) = (self.blocks.get(a), self.blocks.get(b));
        while let (Some(left), Some(right)) = (a, b) {
            if left.previous == right.previous {
                let place = |block: &Judged| (block.round, block.slot, block.point.hash);
                return place(right).cmp(&place(left));
            }
            (a, b) = (self.blocks.get(&left.previous), self.blocks.get(&right.previous));
        }
        Ordering::Equal
    }
}

fn commitment(message: &Tx) -> Option<(PublicKey, Round, Hash)> {
    match message.body {
        Body::Heartbeat { commitment, .. } => Some((message.sender, message.round, commitment)),
        Body::TestReport { .. } | Body::Equivocation(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::cast::{Cast, Shape};
    use crate::sim::prefab::Chain;
    use crate::types::rng::Rng;

    /// Two ways to the same answer: the rules and this file agree about chains of a weighted network.
    #[test]
    fn the_rules_and_the_oracle_agree() {
        let mut shape = Shape::new(9);
        shape.weighted = true;
        let cast = Cast::new(&shape, &mut Rng::from_text("oracle"));
        let mut oracle = Oracle::new(cast.network.clone());
        for round in (0..50).map(Round) {
            let plan = cast.plan(round);
            let jurors = oracle.jurors(round).iter().map(|key| cast.network.address_of(key));
            assert_eq!(jurors.collect::<Vec<_>>(), plan.jurors, "round {round}");
        }
        let full = Chain::empty().extend(&cast, 0, 0..3, |_, _| true);
        let sparse = full.extend(&cast, 20, 2..3, |_, slot| slot.0 % 2 == 0);
        for chain in [&full, &sparse] {
            for block in &chain.blocks {
                assert_eq!(oracle.judge(&block.header, &block.messages).fault, None);
            }
        }
        let (better, worse) = (full.tip(&cast).hash, sparse.tip(&cast).hash);
        assert_eq!(oracle.compare(&better, &worse), Ordering::Greater);
        assert_eq!(oracle.compare(&worse, &better), Ordering::Less);
        let mut block = full.blocks[0].clone();
        block.messages.pop();
        assert_eq!(oracle.judge(&block.header, &block.messages).fault, None, "judged once");
        block.header.header.reveal = Some(crate::types::hash::Hash([1; 32]));
        assert_eq!(oracle.judge(&block.header, &block.messages).fault, Some("with a wrong reveal"));
    }
}
