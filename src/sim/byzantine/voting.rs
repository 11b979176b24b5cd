//! What Byzantine voters do with votes and proposals: two at once, for what is not theirs, none at all, together.
//!
//! What they do together is in [`super::ring`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::View;
use super::ring::Ring;
use crate::machine::event::{Effect, PeerId};
use crate::sim::traffic::VOTING_KINDS;
use crate::types::hash::Hash;
use crate::types::key::SecretKey;
use crate::types::message::{Message, VOTES_MAX};
use crate::types::rng::Rng;
use crate::types::seal::{Checkpoint, Proposal, Step, Vote};

/// A way to break the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    /// Half of the peers get another vote.
    TwoVotes,
    /// Half of the peers get another proposal.
    TwoValues,
    /// Votes of others, for indices and views that are not open.
    NotTheirs,
    /// Some votes come late or not at all.
    Withhold,
    /// Nothing is said about seals.
    Silent,
    /// As an honest voter, as far as can be seen.
    Quiet,
}

/// The part of a wrapper that votes.
pub struct BadVoter {
    key: SecretKey,
    rng: Rng,
    manners: Vec<Manner>,
    /// Whom it colludes with; nobody when it is alone.
    pub ring: Rc<Ring>,
    /// The last plot that it has had a part in.
    shown: u64,
    /// Identities of checkpoints seen, by index.
    values: BTreeMap<u64, BTreeSet<Hash>>,
    /// What was answered to whom.
    answered: BTreeSet<(PeerId, u64, u32, Step, Option<Hash>)>,
}

impl BadVoter {
    /// A voter with one to three manners.
    pub fn new(key: SecretKey, ring: Rc<Ring>, mut rng: Rng) -> BadVoter {
        const ALL: [Manner; 6] = [
            Manner::TwoVotes,
            Manner::TwoValues,
            Manner::NotTheirs,
            Manner::Withhold,
            Manner::Silent,
            Manner::Quiet,
        ];
        let mut manners: Vec<Manner> =
            (0..=rng.index(3)).map(|_| ALL[rng.index(ALL.len())]).collect();
        if ring.plots {
            manners = vec![Manner::Quiet];
        }
        let (values, answered) = (BTreeMap::new(), BTreeSet::new());
        BadVoter { key, rng, manners, ring, shown: 0, values, answered }
    }

    /// Whether an event must not come to its node: that others know its key would stop it.
    pub fn hides(&self, message: &Message) -> bool {
        let own = self.key.public();
        match message {
            Message::Vote(vote) => vote.voter == own,
            Message::Votes(votes) => votes.iter().any(|vote| vote.voter == own),
            Message::Proposal(proposal) => proposal.vote.voter == own,
            Message::NewBlock { header, .. } => header.header.forger == own,
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::WantBodies { .. }
            | Message::Bodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::WantVotes { .. }
            | Message::Prepared(_)
            | Message::WantSeals { .. }
            | Message::Seals { .. }
            | Message::WantState { .. }
            | Message::State { .. }
            | Message::Bye(_) => false,
        }
    }

    /// What it says to a peer that has just said this.
    pub fn answer(&mut self, peer: PeerId, message: &Message, view: &View) -> Vec<Effect> {
        let mut said = message.votes().to_vec();
        for vote in said.iter_mut().filter(|vote| vote.step == Step::Propose) {
            self.values.entry(vote.index).or_default().extend(vote.value);
            vote.step = Step::Prepare;
        }
        if self.ring.is_empty() || self.ring.plots {
            return Vec::new();
        }
        let mut votes = Vec::new();
        for vote in said.iter().filter(|vote| vote.step != Step::Propose && vote.value.is_some()) {
            let step = (vote.index, vote.view, vote.step);
            if self.answered.insert((peer, step.0, step.1, step.2, vote.value)) {
                votes.extend(self.ring.votes(step, vote.value, view));
            }
        }
        votes.truncate(VOTES_MAX);
        send(vec![peer], votes)
    }

    /// Its part in the newest plot.
    pub fn show(&mut self, peers: &[PeerId], view: &View) -> Vec<Effect> {
        let ring = self.ring.clone();
        ring.show(peers, &mut self.shown, view)
    }

    /// What it sends instead of what its node sends about seals, and when: virtual milliseconds.
    pub fn bend(
        &mut self,
        peers: Vec<PeerId>,
        message: Rc<Message>,
        view: &View,
    ) -> Vec<(u64, Vec<PeerId>, Rc<Message>)> {
        let now = view.time;
        if let Message::Proposal(proposal) = &*message {
            let own = proposal.vote.voter == self.key.public();
            if own && proposal.prepared.is_none() && self.ring.plot(proposal, &self.key, view) {
                return Vec::new();
            }
        }
        let manner = self.manners[self.rng.index(self.manners.len())];
        let own = self.key.public();
        if self.ring.is_waiting() {
            // No view comes to anything until one of them may propose.
            let Message::Vote(vote) = &*message else { return Vec::new() };
            let nil = self.sign((vote.index, vote.view, vote.step), None, view);
            let message = if vote.voter == own { Rc::new(Message::Vote(nil)) } else { message };
            return vec![(now, peers, message)];
        }
        if manner == Manner::Silent {
            return Vec::new();
        }
        let honest = || vec![(now, peers.clone(), message.clone())];
        match (&*message, manner) {
            (Message::Vote(vote), _) if vote.voter == own => {
                self.bend_vote(manner, peers, vote, view)
            }
            (Message::Proposal(proposal), Manner::TwoValues) if proposal.vote.voter == own => {
                let (one, two) = halves(peers.clone());
                let other = self.other_proposal(proposal, view).map_or(message.clone(), Rc::new);
                vec![(now, one, message.clone()), (now, two, other)]
            }
            (Message::Proposal(_), Manner::Withhold) if self.rng.one_in(2) => Vec::new(),
            _ => honest(),
        }
    }

    fn bend_vote(
        &mut self,
        manner: Manner,
        peers: Vec<PeerId>,
        vote: &Vote,
        view: &View,
    ) -> Vec<(u64, Vec<PeerId>, Rc<Message>)> {
        let now = view.time;
        let step = (vote.index, vote.view, vote.step);
        let message = Rc::new(Message::Vote(*vote));
        match manner {
            Manner::TwoVotes => {
                let (one, two) = halves(peers);
                let value = self.other_value(vote);
                let other = Rc::new(Message::Vote(self.sign(step, value, view)));
                vec![(now, one, message), (now, two, other)]
            }
            Manner::NotTheirs => {
                let foreign = Rc::new(Message::Vote(self.foreign(vote, view)));
                vec![(now, peers.clone(), message), (now, peers, foreign)]
            }
            Manner::Withhold => match self.rng.below(3) {
                0 => Vec::new(),
                1 => {
                    let wait = self.rng.below(view.cast.network.clock.slot_ms);
                    vec![(now + wait, peers, message)]
                }
                _ => vec![(now, peers, message)],
            },
            Manner::Silent => Vec::new(),
            Manner::TwoValues | Manner::Quiet => vec![(now, peers, message)],
        }
    }

    fn sign(&self, step: (u64, u32, Step), value: Option<Hash>, view: &View) -> Vote {
        Vote::sign(step, value, &self.key, &view.cast.network, &view.cast.verifier)
    }

    /// Another value for a step: nothing, something else that was proposed, or what nobody knows.
    fn other_value(&mut self, vote: &Vote) -> Option<Hash> {
        let known = self.values.get(&vote.index).into_iter().flatten();
        let others: Vec<Hash> = known.copied().filter(|value| Some(*value) != vote.value).collect();
        match self.rng.below(3) {
            0 if vote.value.is_some() => None,
            1 => Some(Hash([7; 32])),
            _ => Some(
                others.get(self.rng.index(others.len().max(1))).copied().unwrap_or(Hash([8; 32])),
            ),
        }
    }

    /// A vote that is not its own, or not of the open instance.
    fn foreign(&mut self, vote: &Vote, view: &View) -> Vote {
        let founders = &view.cast.network.founders;
        let other = founders[self.rng.index(founders.len())].public_key;
        let (index, of, step) = (vote.index, vote.view, vote.step);
        match self.rng.below(4) {
            0 => Vote { voter: other, ..*vote },
            1 => self.sign((index + 1, of, step), vote.value, view),
            2 => self.sign((index.saturating_sub(1), of, step), vote.value, view),
            _ => {
                let later = of + 1 + self.rng.below_u32(1000);
                self.sign((index, later, step), None, view)
            }
        }
    }

    /// Another checkpoint proposed for the view: of the block below, with its true state if that is known.
    fn other_proposal(&mut self, proposal: &Proposal, view: &View) -> Option<Message> {
        let checkpoint = proposal.checkpoint;
        let below = view.oracle.get(&checkpoint.block)?.previous;
        let befores = view.oracle.seals_at(checkpoint.index.checked_sub(1)?);
        let mut of_below =
            befores.filter_map(|it| view.oracle.compute(&below, &it.checkpoint.id()));
        let wrong = Checkpoint { state: Hash([9; 32]), ..checkpoint };
        let other = of_below.next().filter(|_| !self.rng.one_in(3)).unwrap_or(wrong);
        let step = (proposal.vote.index, proposal.vote.view, Step::Propose);
        let vote = self.sign(step, Some(other.id()), view);
        Some(Message::Proposal(Box::new(Proposal { vote, checkpoint: other, prepared: None })))
    }
}

fn send(peers: Vec<PeerId>, votes: Vec<Vote>) -> Vec<Effect> {
    if votes.is_empty() {
        return Vec::new();
    }
    vec![Effect::Send { peers, message: Rc::new(Message::Votes(votes)) }]
}

/// Peers by whether their connection's number is even.
pub(super) fn halves(peers: Vec<PeerId>) -> (Vec<PeerId>, Vec<PeerId>) {
    peers.into_iter().partition(|peer| (peer.0 >> 1) % 2 == 0)
}

/// Whether a message is about seals.
pub(super) fn is_about_seals(message: &Message) -> bool {
    VOTING_KINDS.contains(&message.kind())
}
