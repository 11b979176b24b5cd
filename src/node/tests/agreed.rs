//! What is shown of the block that voters agree on: a node among peers of which each asks for votes.

use super::*;
use crate::machine::bed::Ground;
use crate::machine::limits::Limits;
use crate::rules::quorum::Electorate;
use crate::types::block::Block;
use crate::types::hash::TxId;
use crate::types::seal::{Checkpoint, Quorum, Vote};
use crate::types::tx::Tx;

/// Founders 2 to 4 are more than two thirds of the four.
const VOTERS: std::ops::RangeInclusive<u8> = 2..=4;

struct Bed {
    ground: Ground,
    node: Node,
    disk: Disk,
    now: Now,
}

impl Bed {
    /// Founder 1 in the first slot that is another's.
    fn new() -> (Bed, (Round, Slot)) {
        let ground = Ground::new(network(4));
        let own = ground.address(&bed::key(1));
        let plan = ground.plan(Round(0));
        let slot = (0..5).map(Slot).find(|slot| plan.juror(*slot) != Some(&own));
        let at = (Round(0), slot.expect("four draw"));
        let wall = ground.network.clock.start_of(at.0, at.1).plus(SLOT_MS / 2);
        let now = Now { wall, mono: Monotonic(1_000_000), synchronised: true };
        let disk = Disk::default();
        let setup = Setup {
            network: ground.network.clone(),
            key: bed::key(1),
            seed: hash("agreed", &[]),
            built: Timestamp(0),
            signed: disk.signed,
            seen: disk.signed,
            verifier: ground.verifier.clone(),
            limits: Limits::default(),
        };
        let node = Node::open(setup, now, &disk).expect("the disk is empty");
        (Bed { ground, node, disk, now }, at)
    }

    /// What a founder hears upon what it says.
    fn say(&mut self, founder: u8, message: Message) -> Vec<Message> {
        let bytes = u32::try_from(message.to_frame().len()).expect("short");
        let (peer, message) = (PeerId(founder.into()), Rc::new(message));
        self.handle(founder, Event::Received { peer, message, bytes })
    }

    fn handle(&mut self, founder: u8, event: Event) -> Vec<Message> {
        let mut heard = Vec::new();
        for effect in self.node.handle(self.now, event, &self.disk) {
            match effect {
                Effect::Guard(record) => {
                    let admitted = self.disk.signed.admit(record);
                    self.disk.signed = admitted.expect("nothing is signed twice");
                }
                Effect::Persist(batch) => self.disk.write(batch),
                Effect::Send { peers, message } if peers.contains(&PeerId(founder.into())) => {
                    heard.push((*message).clone());
                }
                Effect::Close { .. } | Effect::Stop(_) => panic!("no reason to close: {effect:?}"),
                Effect::Send { .. }
                | Effect::Dial { .. }
                | Effect::Reply { .. }
                | Effect::Note(_) => {}
            }
        }
        heard
    }

    fn connect(&mut self, founder: u8) {
        let (channel, endpoint) = (Hash([founder; 32]), bed::endpoint(founder));
        let peer = PeerId(founder.into());
        self.handle(founder, Event::Connected { peer, endpoint, dialled: false, channel });
        let hello = self.ground.hello(&bed::key(founder), channel, false);
        self.say(founder, Message::Hello(hello));
    }

    /// More than two thirds have prepared this block for the first seal, in its first view.
    fn prepared(&self, block: &Block) -> Quorum {
        let header = &block.header.header;
        let checkpoint = Checkpoint {
            index: 1,
            round: header.round,
            height: header.height,
            block: block.header.hash(),
            ..self.ground.anchor.checkpoint
        };
        let electorate = Electorate::new(&self.ground.anchor.state.voters);
        let mut votes: Vec<_> = VOTERS
            .map(|number| {
                let (place, value) = ((1, 0, Step::Prepare), Some(checkpoint.id()));
                let (network, verifier) = (&self.ground.network, &self.ground.verifier);
                let vote = Vote::sign(place, value, &bed::key(number), network, verifier);
                (electorate.position(&vote.voter).expect("a founder"), vote.signature)
            })
            .collect();
        votes.sort_unstable_by_key(|(position, _)| *position);
        Quorum::new(checkpoint, 0, &votes)
    }

    /// The blocks shown to a founder that asks for the votes of the second view.
    fn shown(&mut self, founder: u8) -> Vec<(BlockHash, Vec<TxId>)> {
        let (prepares, commits) = (Vec::new(), Vec::new());
        let heard = self.say(founder, Message::WantVotes { index: 1, view: 1, prepares, commits });
        assert!(heard.iter().any(|it| matches!(it, Message::Prepared(_))), "{heard:?}");
        let shown = heard.into_iter().filter_map(|message| {
            let Message::NewBlock { header, ids } = message else { return None };
            Some((header.hash(), ids))
        });
        shown.collect()
    }
}

#[test]
fn a_block_agreed_on_is_shown_when_its_body_is_here_and_not_before() {
    let (mut bed, at) = Bed::new();
    bed.connect(4);
    let message: Tx = bed.ground.heartbeat(&bed::key(4), at.0, 7);
    let chain = &bed.node.chain;
    let block = bed.ground.block(chain.best(), chain.state(), at, vec![message.clone()], 1);
    let (header, ids) = (block.header.clone(), vec![message.id()]);
    bed.say(4, Message::NewBlock { header, ids: ids.clone() });
    bed.say(4, Message::Prepared(Box::new(bed.prepared(&block))));

    bed.connect(3);
    assert_eq!(bed.shown(3), [], "a header alone would be one with wrong messages");
    bed.say(4, Message::Messages(vec![message]));
    bed.connect(2);
    assert_eq!(bed.shown(2), [(block.header.hash(), ids)]);
}
