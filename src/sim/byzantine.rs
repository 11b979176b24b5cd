//! Hosts that break the protocol on purpose: a wrapper around a node of the shipped code that bends what it sends.
//!
//! The wrapper has the node's key. It signs second blocks, keeps blocks back, puts invalid ones in their place, claims
//! better chains, and pushes blocks and messages that nobody may send. It knows no secret but its own.

mod ring;
mod voting;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::cast::Cast;
use super::disk::Disk;
use super::faults::FaultKind;
use super::forgery::{self, Forgery};
use super::network::Net;
use super::oracle::Oracle;
use crate::machine::event::{Effect, Event, PeerId};
use crate::machine::records::{self, Batch, Table};
use crate::types::block::{Block, Point, SignedHeader};
use crate::types::clock::{Height, Now};
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::key::SecretKey;
use crate::types::message::{Message, Tip};
use crate::types::rng::Rng;
use crate::types::sign::SignRecord;
use crate::types::tx::Tx;

pub use ring::Ring;
use voting::{BadVoter, halves, is_about_seals};

/// What a host does besides its node.
pub struct Byzantine {
    key: SecretKey,
    rng: Rng,
    habits: BTreeSet<FaultKind>,
    voter: BadVoter,
    /// Blocks of ours that our node knows nothing of.
    blocks: BTreeMap<Point, Vec<Tx>>,
    messages: BTreeMap<TxId, Tx>,
    /// Bodies that our node has just written.
    written: BTreeMap<Point, Vec<Tx>>,
    /// What each own block is treated as, decided once.
    treated: BTreeMap<BlockHash, Treatment>,
    /// Frames kept back until a time.
    later: Vec<(u64, Vec<PeerId>, Rc<Message>)>,
}

/// What is done with an own block.
#[derive(Debug, Clone)]
enum Treatment {
    Honest,
    /// Half of the peers get this one.
    Twin(Rc<Message>),
    /// All get this one.
    Replaced(Rc<Message>),
    /// Nobody gets it, or only later.
    Hidden {
        until: Option<u64>,
    },
}

/// What a wrapper sees of its host.
pub struct View<'a> {
    pub cast: &'a Cast,
    pub disk: &'a Disk,
    pub oracle: &'a Oracle,
    pub net: &'a Net,
    pub now: Now,
    /// Virtual milliseconds.
    pub time: u64,
}

impl Byzantine {
    /// An honest host so far; `ring` is with whom it shares its key.
    pub fn new(key: SecretKey, ring: Rc<Ring>, mut rng: Rng) -> Byzantine {
        Byzantine {
            voter: BadVoter::new(key.clone(), ring, rng.fork("voter")),
            key,
            rng,
            habits: BTreeSet::new(),
            blocks: BTreeMap::new(),
            messages: BTreeMap::new(),
            written: BTreeMap::new(),
            treated: BTreeMap::new(),
            later: Vec::new(),
        }
    }

    /// Starts a habit.
    pub fn take_up(&mut self, habit: FaultKind) {
        self.habits.insert(habit);
    }

    /// Ends a habit; what was kept back until later still comes.
    pub fn give_up(&mut self, habit: FaultKind) {
        self.habits.remove(&habit);
    }

    /// Whether it has no habit left.
    pub fn is_reformed(&self) -> bool {
        self.habits.is_empty()
    }

    /// Answers for what only the wrapper knows; nothing when the node is to answer.
    pub fn answer(&mut self, event: &Event) -> Option<Vec<Effect>> {
        let Event::Received { peer, message, .. } = event else { return None };
        if self.voter.hides(message) {
            return Some(Vec::new());
        }
        let answer = if let Message::WantBodies { request, points } = &**message {
            let shared = |point: &Point| self.voter.ring.body(point);
            let mine = |point| self.blocks.get(point).cloned().or_else(|| shared(point));
            let bodies: Vec<Vec<Tx>> = points.iter().map_while(mine).collect();
            if bodies.is_empty() {
                let hidden = points.iter().any(|point| self.is_hidden(&point.hash));
                return hidden.then(Vec::new);
            }
            Message::Bodies { request: *request, bodies }
        } else if let Message::Want(ids) = &**message {
            let mine = ids.iter().filter_map(|id| self.messages.get(id));
            let mine: Vec<Tx> = mine.cloned().collect();
            if mine.is_empty() {
                return None;
            }
            Message::Messages(mine)
        } else if let Message::NewBlock { header, .. } = &**message {
            // What comes back of its second blocks would tell the node that its key signs elsewhere.
            return self.blocks.contains_key(&header.point()).then(Vec::new);
        } else {
            return None;
        };
        Some(vec![Effect::Send { peers: vec![*peer], message: Rc::new(answer) }])
    }

    /// What it says of its own to what a peer has said.
    pub fn comment(&mut self, event: &Event, view: &View) -> Vec<Effect> {
        match event {
            Event::Received { peer, message, .. }
                if self.habits.contains(&FaultKind::Byzantine) =>
            {
                self.voter.answer(*peer, message, view)
            }
            Event::Wake
            | Event::Connected { .. }
            | Event::DialFailed { .. }
            | Event::Received { .. }
            | Event::Disconnected { .. }
            | Event::Ledger(_)
            | Event::LedgerSummary(_)
            | Event::Request { .. } => Vec::new(),
        }
    }

    fn is_hidden(&self, hash: &BlockHash) -> bool {
        matches!(self.treated.get(hash), Some(Treatment::Hidden { .. }))
    }

    /// What the host does instead of what its node asked for.
    pub fn bend(&mut self, effects: Vec<Effect>, view: &View) -> Vec<Effect> {
        let mut bent = Vec::with_capacity(effects.len());
        for effect in effects {
            if let Effect::Persist(batch) = &effect {
                self.learn_bodies(batch);
            }
            match effect {
                Effect::Send { peers, message } => self.bend_send(peers, message, view, &mut bent),
                // Its node does not know what the wrapper signs: when it ends because of it, it starts again.
                Effect::Guard(SignRecord::Correction(_)) => {}
                Effect::Guard(_)
                | Effect::Persist(_)
                | Effect::Dial { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. }
                | Effect::Stop(_)
                | Effect::Note(_) => bent.push(effect),
            }
        }
        let (due, later) =
            std::mem::take(&mut self.later).into_iter().partition(|(at, ..)| *at <= view.time);
        self.later = later;
        let due: Vec<(u64, Vec<PeerId>, Rc<Message>)> = due;
        bent.extend(due.into_iter().map(|(_, peers, message)| Effect::Send { peers, message }));
        bent
    }

    /// Remembers the bodies about to be written: those of own blocks are not on disk yet when the block is bent.
    fn learn_bodies(&mut self, batch: &Batch) {
        self.written.clear();
        for ((table, key), value) in &batch.0 {
            if let (Table::Bodies, Some(point), Some(value)) =
                (table, records::parse_point_key(key), value)
            {
                self.written.extend(records::parse(value).map(|messages| (point, messages)));
            }
        }
    }

    fn bend_send(
        &mut self,
        peers: Vec<PeerId>,
        message: Rc<Message>,
        view: &View,
        out: &mut Vec<Effect>,
    ) {
        if self.habits.contains(&FaultKind::Byzantine) && is_about_seals(&message) {
            for (at, peers, message) in self.voter.bend(peers, message, view) {
                if at > view.time {
                    self.later.push((at, peers, message));
                } else if !peers.is_empty() {
                    out.push(Effect::Send { peers, message });
                }
            }
            return;
        }
        if let Message::NewBlock { header, .. } = &*message {
            if header.header.forger == self.key.public() {
                return self.bend_block(peers, &message, header, view, out);
            }
        }
        if let Message::Tip(tip) = &*message {
            if self.is_hidden(&tip.point.hash) {
                return;
            }
            if self.habits.contains(&FaultKind::Lie) && !self.rng.one_in(3) {
                let message = Rc::new(self.lie(tip));
                return out.push(Effect::Send { peers, message });
            }
        }
        out.push(Effect::Send { peers, message });
    }

    fn bend_block(
        &mut self,
        peers: Vec<PeerId>,
        message: &Rc<Message>,
        header: &SignedHeader,
        view: &View,
        out: &mut Vec<Effect>,
    ) {
        let message = message.clone();
        match self.treat(header, view) {
            Treatment::Honest => out.push(Effect::Send { peers, message }),
            Treatment::Twin(twin) => {
                let (one, two) = halves(peers);
                out.push(Effect::Send { peers: one, message });
                out.push(Effect::Send { peers: two, message: twin });
            }
            Treatment::Replaced(message) => out.push(Effect::Send { peers, message }),
            Treatment::Hidden { until: Some(at) } => self.later.push((at, peers, message)),
            Treatment::Hidden { until: None } => {}
        }
    }

    fn lie(&mut self, tip: &Tip) -> Message {
        let mut tip = *tip;
        tip.weight += 1 + self.rng.below(1000);
        tip.point.height = Height(tip.point.height.0 + self.rng.below(1000));
        tip.point.hash = BlockHash(Hash(self.noise()));
        Message::Tip(tip)
    }

    fn noise(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes
            .chunks_mut(8)
            .for_each(|part| part.copy_from_slice(&self.rng.next_u64().to_be_bytes()));
        bytes
    }

    fn treat(&mut self, header: &SignedHeader, view: &View) -> Treatment {
        let hash = header.hash();
        if let Some(treatment) = self.treated.get(&hash) {
            return treatment.clone();
        }
        let habits: Vec<FaultKind> =
            self.habits.iter().copied().filter(|habit| *habit != FaultKind::Lie).collect();
        if self.keeps_for_ring(header, view) {
            self.treated.insert(hash, Treatment::Hidden { until: None });
            return Treatment::Hidden { until: None };
        }
        let treatment = match habits.get(self.rng.index(habits.len().max(1))) {
            Some(FaultKind::TwoBlocks) => {
                self.replace(header, Forgery::Twin, view).map(Treatment::Twin)
            }
            Some(FaultKind::BadBlock) => {
                let forgery = Forgery::OWN_SLOT[self.rng.index(Forgery::OWN_SLOT.len())];
                self.replace(header, forgery, view).map(Treatment::Replaced)
            }
            Some(FaultKind::Withhold) => match self.rng.below(3) {
                0 => Some(Treatment::Hidden { until: None }),
                1 => {
                    let wait = self.rng.below(3 * view.cast.network.clock.slot_ms);
                    Some(Treatment::Hidden { until: Some(view.time + wait) })
                }
                _ => self.replace(header, Forgery::MissingBody, view).map(Treatment::Replaced),
            },
            _ => None,
        };
        let treatment = treatment.unwrap_or(Treatment::Honest);
        self.treated.insert(hash, treatment.clone());
        treatment
    }

    /// The last block of a round is what a plot is made of.
    fn keeps_for_ring(&mut self, header: &SignedHeader, view: &View) -> bool {
        let last = header.header.slot.0 + 1 == view.cast.network.clock.slots;
        let plots = self.habits.contains(&FaultKind::Byzantine) && self.voter.ring.plots;
        if !last || !plots {
            return false;
        }
        let point = header.point();
        let written = self.written.get(&point).cloned();
        let Some(messages) = written.or_else(|| records::body(view.disk, &point)) else {
            return false;
        };
        let ids = messages.iter().map(Tx::id).collect();
        let block = Rc::new(Message::NewBlock { header: header.clone(), ids });
        self.voter.ring.hide(block, point, messages);
        true
    }

    /// Makes another block of an own one, remembers its body, and announces it.
    fn replace(
        &mut self,
        header: &SignedHeader,
        forgery: Forgery,
        view: &View,
    ) -> Option<Rc<Message>> {
        let point = header.point();
        let written = self.written.get(&point).cloned();
        let messages = written.or_else(|| records::body(view.disk, &point))?;
        let block = Block { header: header.clone(), messages };
        let block = forgery::forge(block, forgery, &self.key, view.cast, &mut self.rng);
        Some(Rc::new(self.announce(block, forgery != Forgery::MissingBody)))
    }

    fn announce(&mut self, block: Block, with_body: bool) -> Message {
        let ids = block.messages.iter().map(Tx::id).collect();
        if with_body {
            self.blocks.insert(block.header.point(), block.messages);
        }
        Message::NewBlock { header: block.header, ids }
    }

    /// Its part in the newest plot of those with whom it colludes.
    pub fn show_plot(&mut self, peers: &[PeerId], view: &View) -> Vec<Effect> {
        match self.habits.contains(&FaultKind::Byzantine) {
            true => self.voter.show(peers, view),
            false => Vec::new(),
        }
    }

    /// What it pushes unasked, once in a while, to peers that are ready.
    pub fn impulse(&mut self, tip: Point, peers: Vec<PeerId>, view: &View) -> Vec<Effect> {
        let pushes = [FaultKind::BadBlock, FaultKind::Stranger];
        if peers.is_empty() || !pushes.iter().any(|habit| self.habits.contains(habit)) {
            return Vec::new();
        }
        let message = match self.rng.below(4) {
            0 | 1 => {
                let block = forgery::out_of_turn(tip, &self.key, view);
                block.map(|block| self.announce(block, true))
            }
            2 => {
                let message =
                    forgery::stray_message(view.now.wall, &self.key, view.cast, &mut self.rng);
                let id = message.id();
                self.messages.insert(id, message);
                Some(Message::Have(vec![id]))
            }
            _ => Some(self.nonsense()),
        };
        let message = message.map(Rc::new);
        message.map(|message| Effect::Send { peers, message }).into_iter().collect()
    }

    /// A message in its right form that makes no sense where it comes.
    fn nonsense(&mut self) -> Message {
        let request = self.rng.below_u32(u32::MAX);
        let point =
            Point { height: Height(self.rng.below(100)), hash: BlockHash(Hash(self.noise())) };
        match self.rng.below(6) {
            0 => Message::Bodies { request, bodies: vec![Vec::new()] },
            1 => Message::Headers { request, headers: Vec::new() },
            2 => Message::Gone { request },
            3 => Message::Have((0..64).map(|_| TxId(Hash(self.noise()))).collect()),
            4 => Message::WantHeaders { request, above: point },
            _ => Message::WantBodies { request, points: vec![point; 128] },
        }
    }
}
