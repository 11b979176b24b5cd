//! What peers pour in costs no more than it is worth: useless votes and proposals are dropped before their signatures are
//! looked at.

use std::rc::Rc;

use crate::machine::bed::{self, Disk, Ground};
use crate::machine::chain::Chain;
use crate::machine::event::PeerId;
use crate::machine::ledger::Follower;
use crate::machine::peers::Peers;
use crate::machine::seal::{Outcome, Sealing, View};
use crate::machine::seals::Seals;
use crate::types::clock::Monotonic;
use crate::types::hash::Hash;
use crate::types::key::{Purpose, Verifier};
use crate::types::network::Network;
use crate::types::seal::{Proposal, Quorum, Step, Vote};
use crate::types::sign::SignState;

const SLOT_MS: u64 = 180_000;
const PAUSE_MS: u64 = SLOT_MS / 12 / 2;

/// Founder 1 of four, in the instance of the first seal.
struct Bed {
    network: Rc<Network>,
    verifier: Verifier,
    /// What the founders sign with: what they sign is not verified yet.
    theirs: Verifier,
    chain: Chain,
    peers: Peers,
    seals: Seals,
    sealing: Sealing,
    ms: u64,
}

impl Bed {
    fn new() -> Bed {
        let network = bed::network(4, &[]);
        let ground = Ground::new(network.clone());
        let (disk, verifier) = (Disk::default(), ground.verifier.clone());
        let (chain, peers) = (ground.chain(&disk), ground.peers());
        let seals = Seals::open(network.clone(), verifier.clone(), &disk).expect("an empty disk");
        let sealing = Sealing::new(network.clone(), bed::key(1), verifier.clone());
        let theirs = Verifier::default();
        let mut bed = Bed { network, verifier, theirs, chain, peers, seals, sealing, ms: 0 };
        bed.tick();
        bed
    }

    /// One event.
    fn tick(&mut self) -> Vec<Outcome> {
        let disk = Disk::default();
        let mut turn = bed::turn(&self.network, self.ms, &disk);
        let (chain, peers, seals) = (&self.chain, &self.peers, &self.seals);
        let ledger = &Follower::new(Rc::new(chain.network().clone()));
        let view = View { chain, ledger, peers, seals, may_sign: false };
        self.sealing.tick(&mut turn, &view, &mut SignState::default())
    }

    fn vote(&self, founder: u8, view: u32, step: Step, byte: u8) -> Vote {
        let value = (byte != 0).then_some(Hash([byte; 32]));
        Vote::sign((1, view, step), value, &bed::key(founder), &self.network, &self.theirs)
    }

    /// A peer brings votes; how much then waits to be verified.
    fn push(&mut self, votes: &[Vote]) -> usize {
        votes.iter().for_each(|vote| self.sealing.vote(Monotonic(self.ms), PeerId(1), vote));
        self.sealing.intake.len()
    }

    /// Whether a vote's signature was verified.
    fn is_verified(&self, vote: &Vote) -> bool {
        let mut bytes = [vote.index.to_be_bytes(), u64::from(vote.view).to_be_bytes()].concat();
        bytes.extend_from_slice(&(vote.step as u64).to_be_bytes());
        bytes.extend_from_slice(&vote.value.unwrap_or_default().0);
        let (id, signature) = (self.network.id(), &vote.signature);
        self.verifier.knows(&vote.voter, Purpose::Vote, &id, &[&bytes], signature)
    }

    fn verified(&self, votes: &[Vote]) -> usize {
        votes.iter().filter(|vote| self.is_verified(vote)).count()
    }

    fn proposal(&self, founder: u8, view: u32, byte: u8) -> Proposal {
        let checkpoint = bed::checkpoint(1, byte);
        let (place, value) = ((1, view, Step::Propose), Some(checkpoint.id()));
        let vote = Vote::sign(place, value, &bed::key(founder), &self.network, &self.theirs);
        Proposal { vote, checkpoint, prepared: None }
    }

    fn propose(&mut self, proposal: &Proposal) -> usize {
        self.sealing.proposal(Monotonic(self.ms), PeerId(1), proposal);
        self.sealing.intake.len()
    }

    /// More than a third is in this view, and so are we.
    fn move_to(&mut self, view: u32) {
        let votes = [2, 3].map(|founder| self.vote(founder, view, Step::Prepare, 1));
        self.push(&votes);
        let outcomes = self.tick();
        let entered = |it: &Outcome| matches!(it, Outcome::Entered { view: of, .. } if *of == view);
        assert!(outcomes.iter().any(entered), "{outcomes:?}");
    }
}

#[test]
fn a_voter_that_runs_through_the_views_costs_one_signature_in_a_pause() {
    let mut bed = Bed::new();
    let votes: Vec<Vote> = (1..=300).map(|view| bed.vote(2, view, Step::Prepare, 1)).collect();
    assert_eq!(bed.push(&votes), 300, "of this voter nothing is known");
    bed.tick();
    assert_eq!((bed.sealing.intake.len(), bed.verified(&votes)), (0, 1));
    bed.ms += PAUSE_MS - 1;
    assert_eq!(bed.push(&votes), 0, "not even waiting");
    bed.ms += 1;
    assert_eq!(bed.push(&votes), 299);
    bed.tick();
    assert_eq!((bed.sealing.intake.len(), bed.verified(&votes)), (0, 2));
    // Others are not kept waiting by that, and neither are both its votes of a view.
    assert_eq!(bed.push(&[bed.vote(3, 9, Step::Prepare, 1), bed.vote(2, 2, Step::Commit, 1)]), 2);
}

#[test]
fn of_past_views_only_what_says_something_is_verified() {
    let mut bed = Bed::new();
    bed.move_to(5);
    let push = |bed: &mut Bed, vote: Vote| {
        let waits = bed.push(&[vote]) == 1;
        bed.tick();
        waits
    };
    for (founder, view, step, byte, of_use) in [
        (2, 5, Step::Prepare, 1, false),
        (2, 4, Step::Prepare, 1, false),
        (2, 4, Step::Commit, 0, false),
        (2, 3, Step::Commit, 1, true),
        (2, 3, Step::Commit, 1, false),
        (2, 2, Step::Commit, 1, false),
        (2, 4, Step::Commit, 1, true),
        // That it is there.
        (4, 3, Step::Prepare, 0, true),
        (4, 3, Step::Prepare, 0, false),
        (4, 5, Step::Prepare, 0, true),
        (9, 5, Step::Prepare, 0, false),
        (4, 5, Step::Propose, 1, false),
    ] {
        let vote = bed.vote(founder, view, step, byte);
        assert_eq!(push(&mut bed, vote), of_use, "{founder} {view} {step:?} {byte}");
    }
}

#[test]
fn one_second_vote_of_a_voter_is_enough() {
    let mut bed = Bed::new();
    bed.move_to(5);
    let votes: Vec<Vote> = (2..=100).map(|byte| bed.vote(2, 5, Step::Prepare, byte)).collect();
    assert_eq!(bed.push(&votes), 99);
    let doubles = bed.tick().into_iter().filter(|it| matches!(it, Outcome::Double(..)));
    assert_eq!((doubles.count(), bed.verified(&votes), bed.sealing.intake.len()), (1, 1, 0));
    assert_eq!(bed.push(&votes), 0);
    assert_eq!(bed.push(&[bed.vote(2, 5, Step::Commit, 1)]), 1, "its votes still count");
}

#[test]
fn what_follows_a_forged_vote_is_dropped_with_it() {
    let mut bed = Bed::new();
    let mut votes: Vec<Vote> = (1..=4).map(|it| bed.vote(it, 1, Step::Prepare, 1)).collect();
    votes[0].signature.0[5] ^= 1;
    bed.push(&votes);
    assert!(matches!(bed.tick()[..], [Outcome::Blame(PeerId(1))]));
    assert_eq!((bed.sealing.intake.len(), bed.verified(&votes)), (0, 0));
}

#[test]
fn who_proposes_in_later_views_is_looked_up_at_the_pace_of_its_voters() {
    let mut bed = Bed::new();
    bed.move_to(1);
    bed.ms += PAUSE_MS;
    let electorate = bed.seals.electorate().clone();
    let beacon = bed.chain.sealed().state.beacon;
    let is_by = |founder: u8, view| {
        let proposer = electorate.proposer(&bed.network, &beacon, 1, view);
        proposer == electorate.position(&bed::key(founder).public())
    };
    let other = (2..=4).find(|founder| !is_by(*founder, 1)).expect("not all");
    let by = (2..=4).find(|founder| (2..9).any(|view| is_by(*founder, view))).expect("some");
    let later = (2..9).find(|view| is_by(by, *view)).expect("found above");
    let wrong = (2..=4).find(|founder| *founder != by).expect("three");
    assert_eq!(bed.propose(&bed.proposal(other, 1, 1)), 0, "not its view");

    // Of later ones nobody looks before the signature holds.
    let mut forged = bed.proposal(wrong, later, 1);
    forged.vote.signature.0[5] ^= 1;
    assert_eq!(bed.propose(&forged), 1);
    assert!(matches!(bed.tick()[..], [Outcome::Blame(PeerId(1))]));
    assert_eq!(bed.propose(&bed.proposal(wrong, later, 1)), 1);
    assert!(bed.tick().is_empty(), "a voter may sign what it likes");
    assert_eq!(bed.propose(&bed.proposal(wrong, later + 1, 1)), 0, "but not all at once");
    bed.ms += PAUSE_MS;
    assert_eq!(bed.propose(&bed.proposal(wrong, later + 1, 1)), 1);
    bed.tick();

    // Two values of its proposer, the third says nothing new.
    for (byte, waits) in [(1, 1), (1, 0), (2, 1), (3, 0)] {
        assert_eq!(bed.propose(&bed.proposal(by, later, byte)), waits, "value {byte}");
        bed.tick();
    }
}

#[test]
fn a_proposal_robbed_of_its_quorum_says_nothing_new() {
    let mut bed = Bed::new();
    bed.move_to(1);
    let electorate = bed.seals.electorate().clone();
    let beacon = bed.chain.sealed().state.beacon;
    let proposer = electorate.proposer(&bed.network, &beacon, 1, 1);
    let by = |founder: &u8| proposer == electorate.position(&bed::key(*founder).public());
    let Some(founder) = (2..=4).find(by) else { panic!("the view is ours: take another") };
    let robbed = bed.proposal(founder, 1, 1);
    let value = Some(robbed.checkpoint.id());
    let prepare = |founder: u8| {
        let key = bed::key(founder);
        let vote = Vote::sign((1, 0, Step::Prepare), value, &key, &bed.network, &bed.theirs);
        (electorate.position(&key.public()).expect("a founder"), vote.signature)
    };
    let mut signed: Vec<_> = (1..=4).map(prepare).collect();
    signed.sort_by_key(|(position, _)| *position);
    let signatures = signed.into_iter().map(|(_, signature)| signature).collect();
    let quorum = Quorum { checkpoint: robbed.checkpoint, view: 0, voters: vec![15], signatures };
    let whole = Proposal { prepared: Some(quorum.clone()), ..robbed.clone() };
    // Robbed first, it can still become whole, but not the other way round.
    for (proposal, waits) in [(&robbed, 1), (&robbed, 0), (&whole, 1), (&whole, 0), (&robbed, 0)] {
        assert_eq!(bed.propose(proposal), waits, "{proposal:?}");
        assert!(bed.tick().is_empty());
    }
    // The honest other side of a split has other voters at these positions.
    let foreign = Quorum { view: 1, ..quorum };
    bed.sealing.prepared(PeerId(1), &foreign);
    assert_eq!(bed.sealing.intake.len(), 1);
    assert!(bed.tick().is_empty(), "its sender is not blamed");
    assert_eq!(bed.sealing.intake.len(), 0);
}
