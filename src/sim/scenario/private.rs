//! A private block proposed by its forger (`docs/protocol.md` §10): if voters accepted any valid proposal, one turn to
//! propose would be enough to have it sealed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::stage::{self, Notes};
use crate::machine::event::{Effect, Event, PeerId};
use crate::sim::cast::Cast;
use crate::sim::checks::Violation;
use crate::sim::script::{Scene, Script};
use crate::types::block::Point;
use crate::types::clock::Round;
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::SecretKey;
use crate::types::message::Message;
use crate::types::seal::{Checkpoint, Proposal, Step, Vote};

/// Rounds of a run.
const ROUNDS: u64 = 5;
/// So many honest blocks stand beside a private one at least: its chain is worse by weight.
const BESIDE: u32 = 2;

/// What became of private blocks.
#[derive(Debug)]
pub struct PrivateBlocks {
    pub honest: u64,
    /// Proposals of a private block, and in the first view of an instance.
    pub proposed: u64,
    pub proposed_at_once: u64,
    /// Honest hosts that heard the proposal, held its block whole, prepared it and prepared nothing: each in the attempt
    /// in which they were fewest, but for those that prepared it, which are all.
    pub heard: u64,
    pub held: u64,
    pub prepared: u64,
    pub prepared_nil: u64,
    /// Honest hosts that ever followed a private block, and private blocks in the final chain.
    pub followed: u64,
    pub in_chain: u64,
    /// Rounds run, and sealed by all.
    pub rounds: u64,
    pub sealed: u64,
    pub violations: Vec<Violation>,
}

/// An attempt: in which instance and view, for what.
type Attempt = (u64, u32, Checkpoint);

/// Keeps its early blocks to itself and proposes them.
struct Keeper {
    key: SecretKey,
    blocks: BTreeMap<BlockHash, Private>,
    attempts: Rc<RefCell<Vec<Attempt>>>,
}

struct Private {
    point: Point,
    round: Round,
    announcement: Rc<Message>,
    shown: bool,
}

impl Keeper {
    /// Whether a block of this hash is nobody else's business yet.
    fn is_hidden(&self, hash: &BlockHash) -> bool {
        self.blocks.get(hash).is_some_and(|block| !block.shown)
    }

    fn send(&mut self, peers: Vec<PeerId>, message: Rc<Message>, scene: &Scene) -> Vec<Effect> {
        let own = self.key.public();
        if let Message::NewBlock { header, .. } = &*message {
            let (hash, fields) = (header.hash(), &header.header);
            let early = fields.slot.0 + BESIDE < scene.view.cast.network.clock.slots;
            if fields.forger == own && early && !self.blocks.contains_key(&hash) {
                let (point, round) = (header.point(), fields.round);
                let announcement = message.clone();
                self.blocks.insert(hash, Private { point, round, announcement, shown: false });
            }
            if self.is_hidden(&hash) {
                return Vec::new();
            }
        } else if let Message::Tip(tip) = &*message {
            if self.is_hidden(&tip.point.hash) {
                return Vec::new();
            }
        } else if let Message::Headers { request, headers } = &*message {
            if headers.iter().any(|header| self.is_hidden(&header.hash())) {
                let message = Rc::new(Message::Gone { request: *request });
                return vec![Effect::Send { peers, message }];
            }
        } else if let Message::Proposal(proposal) = &*message {
            if proposal.vote.voter == own && proposal.prepared.is_none() {
                if let Some(effects) = self.propose(&peers, proposal, scene) {
                    return effects;
                }
            }
        } else if let Message::Vote(vote) = &*message {
            let forged = self.attempts.borrow().iter().find_map(|(index, view, checkpoint)| {
                let ours = vote.voter == own && vote.step == Step::Prepare;
                (ours && (*index, *view) == (vote.index, vote.view)).then(|| checkpoint.id())
            });
            if let Some(value) = forged {
                let vote = self.sign((vote.index, vote.view, Step::Prepare), value, scene);
                return vec![Effect::Send { peers, message: Rc::new(Message::Vote(vote)) }];
            }
        }
        vec![Effect::Send { peers, message }]
    }

    fn sign(&self, step: (u64, u32, Step), value: Hash, scene: &Scene) -> Vote {
        let Cast { network, verifier, .. } = scene.view.cast;
        Vote::sign(step, Some(value), &self.key, network, verifier)
    }

    /// The same view's proposal, of a private block of the same round: its digests are right.
    fn propose(
        &mut self,
        peers: &[PeerId],
        proposal: &Proposal,
        scene: &Scene,
    ) -> Option<Vec<Effect>> {
        let round = proposal.checkpoint.round;
        let block = self.blocks.values_mut().find(|block| block.round == round)?;
        let (index, view) = (proposal.vote.index, proposal.vote.view);
        let oracle = scene.view.oracle;
        let before = oracle.seals_at(index.checked_sub(1)?).next()?.checkpoint.id();
        let checkpoint = oracle.compute(&block.point.hash, &before)?;
        block.shown = true;
        let announcement = block.announcement.clone();
        let vote = self.sign((index, view, Step::Propose), checkpoint.id(), scene);
        let forged = Proposal { vote, checkpoint, prepared: None };
        let attempt = (index, view, checkpoint);
        if !self.attempts.borrow().contains(&attempt) {
            self.attempts.borrow_mut().push(attempt);
        }
        let messages = [announcement, Rc::new(Message::Proposal(Box::new(forged)))];
        let send = |message| Effect::Send { peers: peers.to_vec(), message };
        Some(messages.into_iter().map(send).collect())
    }
}

impl Script for Keeper {
    fn hides(&mut self, event: &Event, _scene: &Scene) -> bool {
        let Event::Received { message, .. } = event else { return false };
        message.votes().iter().any(|vote| vote.voter == self.key.public())
    }

    fn bend(&mut self, _event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let mut bent = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::Send { peers, message } => bent.extend(self.send(peers, message, scene)),
                Effect::Guard(_)
                | Effect::Persist(_)
                | Effect::Dial { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. }
                | Effect::Stop(_)
                | Effect::Note(_) => bent.push(effect),
            }
        }
        bent
    }
}

/// Seven HNs, each forging one block of a round. The first proposer keeps its blocks to itself, while at least two
/// others forge beside each, and proposes them when it is its turn.
pub fn private_block(seed: &str) -> PrivateBlocks {
    let shape = stage::shape(7, 7);
    let cast = stage::cast(seed, &shape, |cast| {
        let villain = cast.network.address_of(&cast.keys[stage::first_proposer(cast)].public());
        let plan = cast.plan(Round(0));
        let slot = plan.jurors.iter().position(|juror| *juror == villain);
        slot.is_some_and(|slot| slot + (BESIDE as usize) < plan.jurors.len())
    });
    let villain = stage::first_proposer(&cast);
    let (mut world, notes) = stage::world(seed, cast.clone(), 0);
    let attempts: Rc<RefCell<Vec<Attempt>>> = Rc::default();
    let key = cast.keys[villain].clone();
    let keeper = Keeper { key, blocks: BTreeMap::new(), attempts: attempts.clone() };
    world.corrupt(villain, Box::new(keeper));
    stage::finish(&mut world, ROUNDS);

    let (notes, attempts) = (notes.borrow(), attempts.borrow());
    let fewest = |of: &dyn Fn(&Attempt) -> u64| attempts.iter().map(of).min().unwrap_or(0);
    let prepared = |index: &u64, view: &u32, value: Option<Hash>| {
        Notes::honest(notes.prepares.get(&(*index, *view, value)), &world)
    };
    let block = |(.., checkpoint): &Attempt| checkpoint.block;
    let chain = world.best_honest().map(|tip| world.checks.oracle.chain(&tip.hash));
    let is_private = |hash: &BlockHash| attempts.iter().any(|attempt| block(attempt) == *hash);
    PrivateBlocks {
        honest: world.hosts.iter().filter(|host| host.honest).count() as u64,
        proposed: attempts.len() as u64,
        proposed_at_once: attempts.iter().filter(|(_, view, _)| *view == 0).count() as u64,
        heard: fewest(&|(.., value)| Notes::honest(notes.proposals.get(&value.id()), &world)),
        held: fewest(&|attempt| Notes::honest(notes.stored.get(&block(attempt)), &world)),
        prepared: attempts.iter().map(|(i, v, it)| prepared(i, v, Some(it.id()))).sum(),
        prepared_nil: fewest(&|(index, view, _)| prepared(index, view, None)),
        followed: attempts
            .iter()
            .map(|attempt| Notes::honest(notes.followed.get(&block(attempt)), &world))
            .sum(),
        in_chain: chain.into_iter().flatten().filter(|it| is_private(&it.point.hash)).count()
            as u64,
        rounds: ROUNDS,
        sealed: stage::seals(&world).len().saturating_sub(1) as u64,
        violations: world.checks.violations.clone(),
    }
}
