//! A block withheld until its round is sealed without it (`docs/protocol.md` §8): a seal closes its round, and whoever
//! shows or relays such a block is not to blame.

use std::cell::RefCell;
use std::rc::Rc;

use super::stage::{self, Notes};
use crate::machine::event::{Effect, Event};
use crate::machine::note::Note;
use crate::machine::records;
use crate::sim::checks::Violation;
use crate::sim::script::{Scene, Script};
use crate::types::block::Point;
use crate::types::clock::{Round, Slot};
use crate::types::key::PublicKey;
use crate::types::message::Message;
use crate::types::seal::Step;
use crate::types::tx::Tx;

/// Rounds of a run.
const ROUNDS: u64 = 5;

/// When a withheld block is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When its forger has the certificate of the round without it.
    Sealed,
    /// When its forger hears the first commit for the round without it: some follow it when they learn of the seal, and
    /// those who have the seal hear of it from them.
    Committed,
}

/// What became of blocks that came too late.
#[derive(Debug)]
pub struct LateBlocks {
    pub honest: u64,
    /// Blocks shown after the moment, and honest hosts that refused one as of a sealed round, that held one, and that
    /// followed one until they learned of the seal.
    pub shown: u64,
    pub refused: u64,
    pub held: u64,
    pub followed: u64,
    /// Peers charged with something, by honest hosts.
    pub charges: u64,
    /// Late blocks in the final chain, and rounds after theirs that begin on the sealed block.
    pub in_chain: u64,
    pub went_on: u64,
    pub rounds: u64,
    pub sealed: u64,
    pub violations: Vec<Violation>,
}

/// Blocks shown, with their rounds and bodies.
type Shown = Rc<RefCell<Vec<(Point, Round, Vec<Tx>)>>>;

struct Late {
    own: PublicKey,
    moment: Moment,
    held: Option<Held>,
    shown: Shown,
}

struct Held {
    point: Point,
    round: Round,
    announcement: Rc<Message>,
    body: Option<Vec<Tx>>,
}

impl Late {
    /// Whether the host may send this; keeps its block of a last slot.
    fn passes(&mut self, message: &Rc<Message>, scene: &Scene) -> bool {
        if let Message::NewBlock { header, .. } = &**message {
            let (fields, point) = (&header.header, header.point());
            let last = fields.slot.0 + 1 == scene.view.cast.network.clock.slots;
            // Of the last round nothing would show how it goes on.
            if fields.forger != self.own || !last || fields.round.0 + 1 == ROUNDS {
                return true;
            }
            if self.held.as_ref().is_none_or(|held| held.point != point) {
                let (round, announcement) = (fields.round, message.clone());
                self.held = Some(Held { point, round, announcement, body: None });
            }
            return false;
        }
        let held = self.held.as_ref().map(|held| held.point);
        if let Message::Tip(tip) = &**message {
            return Some(tip.point) != held;
        }
        if let Message::Headers { headers, .. } = &**message {
            return held.is_none() || headers.iter().all(|header| Some(header.point()) != held);
        }
        // It would say what it keeps: its own chain is the only one that ends there.
        !message.votes().iter().any(|vote| vote.voter == self.own)
    }

    /// Whether the moment has come.
    fn comes(&self, event: &Event, effects: &[Effect], round: Round) -> bool {
        match self.moment {
            Moment::Sealed => effects.iter().any(|effect| {
                matches!(effect, Effect::Note(Note::Sealed { round: of, .. }) if *of == round)
            }),
            Moment::Committed => {
                let Event::Received { message, .. } = event else { return false };
                let mut votes = message.votes().iter();
                votes.any(|vote| vote.step == Step::Commit && vote.value.is_some())
            }
        }
    }
}

impl Script for Late {
    fn hides(&mut self, event: &Event, _scene: &Scene) -> bool {
        let Event::Received { message, .. } = event else { return false };
        let Message::WantBodies { points, .. } = &**message else { return false };
        self.shown.borrow().iter().any(|(point, ..)| points.contains(point))
    }

    fn bend(&mut self, event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let due = self.held.as_ref().is_some_and(|held| self.comes(event, &effects, held.round));
        let passes = |effect: &Effect| match effect {
            Effect::Send { message, .. } => self.passes(message, scene),
            Effect::Guard(_)
            | Effect::Persist(_)
            | Effect::Dial { .. }
            | Effect::Close { .. }
            | Effect::Reply { .. }
            | Effect::Stop(_)
            | Effect::Note(_) => true,
        };
        let mut bent: Vec<Effect> = effects.into_iter().filter(passes).collect();
        if let Some(held) = &mut self.held {
            if held.body.is_none() {
                held.body = records::body(scene.view.disk, &held.point);
            }
        }
        if let Some(held) = self.held.take_if(|_| due) {
            let body = held.body.unwrap_or_default();
            self.shown.borrow_mut().push((held.point, held.round, body));
            bent.push(Effect::Send { peers: scene.ready.clone(), message: held.announcement });
        }
        if let Event::Received { peer, message, .. } = event {
            if let Message::WantBodies { request, points } = &**message {
                let shown = self.shown.borrow();
                let body = shown.iter().find(|(point, ..)| points.first() == Some(point));
                let bodies = body.map(|(.., body)| vec![body.clone()]);
                let answer = bodies.map(|bodies| Message::Bodies { request: *request, bodies });
                bent.extend(
                    answer.map(|answer| Effect::Send {
                        peers: vec![*peer],
                        message: Rc::new(answer),
                    }),
                );
            }
        }
        bent
    }
}

/// Seven HNs. The forger of the last slot of round 0 keeps each block of a last slot until its round is sealed without.
pub fn late_block(seed: &str, moment: Moment) -> LateBlocks {
    let shape = stage::shape(7, 7);
    let cast = stage::cast(seed, &shape, |_| true);
    let last = Slot(cast.network.clock.slots - 1);
    let plan = cast.plan(Round(0));
    let is_last = |key: &crate::types::key::SecretKey| {
        plan.juror(last) == Some(&cast.network.address_of(&key.public()))
    };
    let villain = cast.keys.iter().position(is_last).expect("every slot has a juror");
    let (mut world, notes) = stage::world(seed, cast.clone(), 0);
    let shown = Shown::default();
    let own = cast.keys[villain].public();
    world.corrupt(villain, Box::new(Late { own, moment, held: None, shown: shown.clone() }));
    stage::finish(&mut world, ROUNDS);

    let (notes, shown) = (notes.borrow(), shown.borrow());
    let count = |of: &dyn Fn(&Point) -> u64| shown.iter().map(|(point, ..)| of(point)).sum();
    let seals = stage::seals(&world);
    let chain = world.best_honest().map(|tip| world.checks.oracle.chain(&tip.hash));
    let chain = chain.unwrap_or_default();
    let went_on = |(point, round, _): &&(Point, Round, Vec<Tx>)| {
        let sealed = seals.iter().find(|seal| seal.closes(*round));
        let next = chain.iter().find(|block| block.round > *round);
        sealed.zip(next).is_some_and(|(sealed, next)| {
            next.previous == sealed.block && sealed.block != point.hash
        })
    };
    LateBlocks {
        honest: world.hosts.iter().filter(|host| host.honest).count() as u64,
        shown: shown.len() as u64,
        refused: count(&|point| {
            Notes::honest(notes.refused.get(&(point.hash, "round_sealed")), &world)
        }),
        held: count(&|point| Notes::honest(notes.stored.get(&point.hash), &world)),
        followed: count(&|point| Notes::honest(notes.followed.get(&point.hash), &world)),
        charges: notes.charges(&world),
        in_chain: count(&|point| chain.iter().filter(|block| block.point == *point).count() as u64),
        went_on: shown.iter().filter(went_on).count() as u64,
        rounds: ROUNDS,
        sealed: seals.len().saturating_sub(1) as u64,
        violations: world.checks.violations.clone(),
    }
}
