//! Custody of our key: whether what we know of our own signatures is all of them (`docs/protocol.md` §10,
//! `docs/adr/0009-sign-state-custody.md`).
//!
//! The sign state says what this node has signed. What others show of our signatures is held against it: one that is
//! older than we watch shows that the state lacks something, one that is younger, or for another thing in the same
//! place, that somebody else signs with our key. In both cases nothing more is signed. A state that waits becomes proven
//! after two full rounds in which we listened.
//!
//! Not decided here: what may be signed at a place ([`SignState::admit`]), and what the operator does about it.

mod database;
#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;

use super::event::StopReason;
use super::note::{ClockDistrust, Note};
use super::records::Reader;
use super::status::{SignStanding, SignStatus};
use super::turn::Turn;
use crate::rules::quorum::Electorate;
use crate::types::block::{Point, SignedHeader};
use crate::types::clock::{Now, Round, Slot, Timestamp};
use crate::types::key::{PublicKey, Verifier};
use crate::types::message::Message;
use crate::types::network::{ClockSource, Network};
use crate::types::seal::{Quorum, Step, Vote};
use crate::types::sign::{
    BlockRecord, Doubt, Lock, Place, SignRecord, SignState, Standing, VoteRecord,
};
use crate::types::tx::{Body, Tx};

/// Full rounds of listening: by then no slot is open that was open before, and every voter has sent its votes again.
const LISTEN_ROUNDS: u64 = 2;
/// Rounds of blocks in which ours are looked for at start.
const ROUNDS_READ: u64 = 4;
/// Signatures of ours that are looked at in one message (§11). The rest of it is dropped: votes are said again, and the
/// newest block of ours is what counts.
const CLAIMS_MAX: usize = 64;

/// Watches for signatures of ours.
pub struct Custody {
    own: PublicKey,
    network: Rc<Network>,
    verifier: Verifier,
    begins: bool,
    /// Since when we watch, by a trusted clock.
    since: Option<(Round, Timestamp)>,
    /// The round since which we listen without a break. Its part does not count.
    listening: Option<Round>,
    /// The sign state has changed here and is not on disk yet.
    changed: bool,
    /// The standing of which the last note was, and the signature that has changed it since.
    told: Standing,
    shown: Option<SignRecord>,
    elsewhere: Option<Trace>,
}

/// A signature of ours that somebody shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Of a block, a vote or a proposal.
    Record(SignRecord),
    /// A heartbeat of this round.
    Heartbeat(Round),
}

/// What came of something that names our key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It does not, or says nothing new: no signature was verified.
    Idle,
    /// We have signed it.
    Ours,
    /// The signature does not hold.
    Forged,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trace::Record(record) => write!(f, "{record} is not ours"),
            Trace::Heartbeat(round) => write!(f, "the heartbeat of round {round} is not ours"),
        }
    }
}

/// What the rounds of listening depend on.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// A clock before this date is wrong.
    pub built: Timestamp,
    pub distrust: Option<ClockDistrust>,
    /// Whether there is somebody to hear, or nobody to listen to.
    pub is_listening: bool,
    /// Whether blocks that others have are missing here, ours may be among them.
    pub is_behind: bool,
}

impl Custody {
    /// Holds the sign state against our blocks in the database, on all forks, and what the database has seen of it.
    pub fn open(
        own: PublicKey,
        network: Rc<Network>,
        verifier: Verifier,
        tip: &Point,
        (signed, seen): (&mut SignState, &SignState),
        db: &dyn Reader,
    ) -> Custody {
        let mut custody = Custody {
            own,
            network,
            verifier,
            begins: true,
            since: None,
            listening: None,
            changed: false,
            told: Standing::Proven,
            shown: None,
            elsewhere: None,
        };
        let from = signed.block.map_or((Round(0), Slot(0)), |block| (block.round, block.slot));
        let heights = ROUNDS_READ * u64::from(custody.network.clock.slots);
        let duty = database::newest_duty(from, db);
        let stored = database::newest_block(own, heights, tip, db);
        let blocks = [duty, stored, seen.block].into_iter().flatten().map(SignRecord::Block);
        for record in blocks.chain(seen.vote.map(SignRecord::Vote)) {
            match signed.place(&record) {
                Place::Later => custody.doubt(&record, signed),
                Place::Other => {
                    custody.shown = Some(record);
                    custody.set(Standing::Unproven(Doubt::Elsewhere), signed);
                }
                Place::Earlier | Place::Same => {}
            }
        }
        custody
    }

    /// Looks for signatures of ours in what a peer says, `heartbeat` being the last round of which we sent one. Whether
    /// one does not hold: that is the fault of who says it, since honest nodes verify what they pass on. What follows in
    /// the message is then not looked at.
    ///
    /// Certificates and prepare quorums need their voters: [`Custody::seen_quorum`].
    pub fn hear(
        &mut self,
        turn: &mut Turn,
        message: &Message,
        heartbeat: Option<Round>,
        signed: &mut SignState,
    ) -> bool {
        match message {
            Message::NewBlock { header, .. } => {
                self.seen_block(turn, header, signed) == Claim::Forged
            }
            Message::Headers { headers, .. } => {
                any_forged(headers.iter().map(|header| self.seen_block(turn, header, signed)))
            }
            Message::Messages(list) => {
                any_forged(list.iter().map(|tx| self.seen_heartbeat(turn, tx, heartbeat, signed)))
            }
            Message::Proposal(_) | Message::Vote(_) | Message::Votes(_) => {
                let votes = message.votes().iter();
                any_forged(votes.map(|vote| self.seen_vote(turn, vote, signed)))
            }
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::WantBodies { .. }
            | Message::Bodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
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

    /// A header, of any fork, valid on its chain or not.
    pub fn seen_block(
        &mut self,
        turn: &mut Turn,
        header: &SignedHeader,
        signed: &mut SignState,
    ) -> Claim {
        let fields = &header.header;
        if fields.forger != self.own {
            return Claim::Idle;
        }
        let (round, slot) = (fields.round, fields.slot);
        let record = SignRecord::Block(BlockRecord { round, slot, hash: header.hash() });
        let clock = self.network.clock;
        // Blocks of slots that nobody has reached are not evidence of anything, and would keep us from all before them.
        let is_real = slot.0 < clock.slots && clock.start_of(round, slot) <= turn.now.wall;
        let is_new = is_real && matches!(signed.place(&record), Place::Other | Place::Later);
        if !is_new {
            return Claim::Idle;
        }
        if !header.is_signed(&self.network, &self.verifier) {
            return Claim::Forged;
        }
        let since = self.since.is_some_and(|(_, at)| clock.start_of(round, slot) >= at);
        self.seen(turn, record, since, signed);
        Claim::Ours
    }

    /// A vote or a proposal.
    pub fn seen_vote(&mut self, turn: &mut Turn, vote: &Vote, signed: &mut SignState) -> Claim {
        if vote.voter != self.own {
            return Claim::Idle;
        }
        let &Vote { index, view: of, step, value, .. } = vote;
        // A commit for a value shows the lock under which it was cast.
        let lock = value.filter(|_| step == Step::Commit).map(|value| Lock { view: of, value });
        let record = VoteRecord { index, view: of, step, value, lock };
        let place = signed.place(&SignRecord::Vote(record));
        let is_lost = place == Place::Earlier && self.is_lost(&record, signed);
        let is_new = is_lost || matches!(place, Place::Other | Place::Later);
        if !is_new {
            return Claim::Idle;
        }
        if !vote.is_signed(&self.network, &self.verifier) {
            return Claim::Forged;
        }
        // An instance has no time of its own: by then we have heard what was voted before.
        let now = self.network.clock.at(turn.now.wall);
        let since = now.is_some_and(|(round, _)| self.has_listened(round));
        self.seen(turn, SignRecord::Vote(record), since, signed);
        Claim::Ours
    }

    /// Our vote in a certificate or a prepare quorum of this electorate, if there is one.
    pub fn seen_quorum(
        &mut self,
        turn: &mut Turn,
        quorum: &Quorum,
        step: Step,
        electorate: &Electorate,
        signed: &mut SignState,
    ) -> Claim {
        let Some(own) = electorate.position(&self.own) else { return Claim::Idle };
        let key_at = |at| (at == own).then_some(self.own);
        let vote = quorum.votes(step, key_at).next();
        vote.map_or(Claim::Idle, |vote| self.seen_vote(turn, &vote, signed))
    }

    /// A message of the mempool: a heartbeat that we have not sent shows that another node with our key runs.
    fn seen_heartbeat(
        &mut self,
        turn: &mut Turn,
        tx: &Tx,
        heartbeat: Option<Round>,
        signed: &mut SignState,
    ) -> Claim {
        if tx.sender != self.own || !matches!(tx.body, Body::Heartbeat { .. }) {
            return Claim::Idle;
        }
        // One round of ours may have been the mistake of a clock that was ahead before we started.
        let since = self.since.is_some_and(|(round, _)| tx.round > round.next());
        let is_sent = heartbeat.is_some_and(|sent| tx.round <= sent);
        let now = self.network.clock.at(turn.now.wall).map_or(Round(0), |(round, _)| round);
        let is_due = tx.round <= now.next();
        if !since || !is_due || is_sent {
            return Claim::Idle;
        }
        if !tx.is_signed(&self.network, &self.verifier) {
            return Claim::Forged;
        }
        self.found_elsewhere(turn, Trace::Heartbeat(tx.round), signed);
        Claim::Ours
    }

    /// Whether nothing was looked at since the start, when asked for the first time.
    pub fn begins(&mut self) -> bool {
        std::mem::take(&mut self.begins)
    }

    /// Counts the rounds of listening. After all that was heard, before anything is signed.
    pub fn tick(&mut self, turn: &mut Turn, view: &View, signed: &mut SignState) {
        if let Some((round, _)) = self.network.clock.at(turn.now.wall) {
            if view.distrust.is_none() {
                self.since.get_or_insert((round, turn.now.wall));
            }
            self.listen(round, view, signed);
        }
        if signed.standing == Standing::New && self.is_before_all(turn.now, view) {
            self.set(Standing::Proven, signed);
        }
        if signed.standing != self.told {
            self.told = signed.standing;
            let record = self.shown.take();
            turn.out.note(Note::SignState { standing: signed.standing, record });
        }
        if self.changed && !turn.out.is_guarded() {
            self.changed = false;
            turn.out.guard(SignRecord::Correction(*signed));
        }
        if self.elsewhere.is_some() {
            turn.out.stop(StopReason::KeyElsewhere);
        }
    }

    /// For people.
    pub fn status(&self, signed: &SignState) -> SignStatus {
        let doubt = match signed.standing {
            Standing::Unproven(doubt) => Some(doubt),
            Standing::Proven | Standing::New | Standing::Waiting => None,
        };
        let ready_in = match signed.standing {
            Standing::New | Standing::Waiting => self.ready_in(),
            Standing::Proven | Standing::Unproven(_) => None,
        };
        let proven = signed.standing == Standing::Proven;
        let standing = match signed.standing {
            Standing::Proven => SignStanding::Proven,
            Standing::New => SignStanding::New,
            Standing::Waiting => SignStanding::Waiting,
            Standing::Unproven(_) => SignStanding::Unproven,
        };
        let (block, vote) = (signed.block, signed.vote);
        SignStatus { proven, standing, doubt, ready_in, block, vote }
    }

    /// The round before which we must go on listening.
    fn ready_in(&self) -> Option<Round> {
        self.listening.map(|round| Round(round.0 + LISTEN_ROUNDS + 1))
    }

    /// Whether we have listened for two full rounds without a break.
    fn has_listened(&self, now: Round) -> bool {
        self.ready_in().is_some_and(|ready| now >= ready)
    }

    fn listen(&mut self, round: Round, view: &View, signed: &mut SignState) {
        if view.distrust.is_some() || !view.is_listening {
            self.listening = None;
            return;
        }
        self.listening.get_or_insert(round);
        let waits = matches!(signed.standing, Standing::New | Standing::Waiting);
        if waits && !view.is_behind && self.has_listened(round) {
            self.set(Standing::Proven, signed);
        }
    }

    fn seen(&mut self, turn: &mut Turn, record: SignRecord, since: bool, signed: &mut SignState) {
        if since || signed.place(&record) == Place::Other {
            self.take_in(&record, signed);
            self.found_elsewhere(turn, Trace::Record(record), signed);
            return;
        }
        self.doubt(&record, signed);
    }

    /// A signature of ours from before shows that the state lacks something.
    fn doubt(&mut self, record: &SignRecord, signed: &mut SignState) {
        self.take_in(record, signed);
        match signed.standing {
            Standing::Proven => {
                self.shown = Some(*record);
                self.set(Standing::Unproven(Doubt::Older), signed);
            }
            Standing::New => {
                self.shown = Some(*record);
                self.set(Standing::Unproven(Doubt::Missing), signed);
            }
            // The operator knows that something is lacking.
            Standing::Waiting | Standing::Unproven(_) => {}
        }
    }

    fn found_elsewhere(&mut self, turn: &mut Turn, trace: Trace, signed: &mut SignState) {
        if self.elsewhere.is_none() {
            self.elsewhere = Some(trace);
            self.set(Standing::Unproven(Doubt::Elsewhere), signed);
            turn.out.note(Note::KeyElsewhere { trace });
        }
    }

    fn set(&mut self, standing: Standing, signed: &mut SignState) {
        signed.standing = standing;
        self.changed = true;
    }

    /// What is never to be signed again, and with what lock.
    fn take_in(&mut self, record: &SignRecord, signed: &mut SignState) {
        let mut shown = SignState::default();
        match *record {
            SignRecord::Block(block) => shown.block = Some(block),
            SignRecord::Vote(vote) => shown.vote = Some(vote),
            SignRecord::Correction(_) => {}
        }
        let raised = signed.raised(&shown);
        self.changed |= raised != *signed;
        *signed = raised;
    }

    /// Whether an earlier vote brings back a lock that a state which is not proven has lost.
    fn is_lost(&self, vote: &VoteRecord, signed: &SignState) -> bool {
        let held = signed.vote.filter(|held| held.index == vote.index);
        let known = held.and_then(|held| held.lock).map(|lock| lock.view);
        let is_later = vote.lock.is_some_and(|lock| known.is_none_or(|known| known < lock.view));
        signed.standing != Standing::Proven && held.is_some() && is_later
    }

    /// Whether the first round of the network is still to come, by a clock that we may believe: nobody has signed anything.
    fn is_before_all(&self, now: Now, view: &View) -> bool {
        let first = self.network.first_round;
        let is_synchronised = match self.network.values_at(first).clock {
            ClockSource::Synchronised => now.synchronised,
            ClockSource::Local => true,
        };
        let start = self.network.clock.start_of(first, Slot(0));
        is_synchronised && now.wall >= view.built && now.wall < start
    }
}

/// Whether one of these is forged, looking at them one by one: none after that, nor after as many as one message may
/// have us verify.
fn any_forged(claims: impl Iterator<Item = Claim>) -> bool {
    let looked_at = claims.filter(|claim| *claim != Claim::Idle);
    looked_at.take(CLAIMS_MAX).any(|claim| claim == Claim::Forged)
}
