//! What we say in the open instance: votes signed and guarded, said again, and what others said passed on.

use super::{Open, Outcome, View};
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::records::{self, Reader, Table};
use crate::machine::seal::instance::Input;
use crate::machine::seal::own::Wanted;
use crate::machine::seal::proposals::Verdict;
use crate::machine::seal::votes::Cast;
use crate::machine::turn::Turn;
use crate::types::key::{SecretKey, Verifier};
use crate::types::message::Message;
use crate::types::network::Network;
use crate::types::seal::{Proposal, Quorum, Step, Vote};
use crate::types::sign::{SignRecord, SignState, VoteRecord};

impl Open {
    /// Signs the next of our votes: guarded first, then sent, then counted like anybody's.
    pub fn sign_one(
        &mut self,
        turn: &mut Turn,
        view: &View,
        (key, network, verifier): (&SecretKey, &Network, &Verifier),
        signed: &mut SignState,
        outcomes: &mut Vec<Outcome>,
    ) {
        let Some(Wanted { record, prepared }) = self.said.next() else { return };
        // It waited for a clock that could be trusted, and the others went on.
        if self.instance.view().is_some_and(|now| record.view < now) {
            return;
        }
        // And our chain, perhaps: what we would not prepare now we do not sign, but nil, or the others would wait for us for
        // ever. After a restart the last vote is said again as it was.
        let stays = signed.vote == Some(record) || self.is_prepared_still(&record);
        let record = if stays { record } else { VoteRecord { value: None, ..record } };
        let quorum = prepared.as_ref().and_then(|prepared| self.quorum_of(prepared));
        if prepared.is_some() && quorum.is_none() {
            // A lock must never be without what it rests on.
            return;
        }
        if let Some(quorum) = &quorum {
            self.hold(quorum);
        }
        let rests_on = quorum.as_ref().map(|quorum| quorum.view);
        let needed = rests_on.max(record.lock.map(|lock| lock.view));
        let kept = self.kept_view(turn);
        // A lock whose quorum went with an old database still binds us, and others may have it.
        let held = self.prepared.as_ref().filter(|it| Some(it.view) >= needed && needed > kept);
        if let Some(held) = held {
            // Before the vote is noted: a crash between the two would leave a lock that nobody can prove any more.
            turn.db.put(Table::Prepared, records::index_key(self.index), held);
            self.said.put_back(Wanted { record, prepared });
            return;
        }
        let asked = SignRecord::Vote(record);
        match signed.admit(asked) {
            Ok(state) => {
                *signed = state;
                self.signed = signed.vote;
            }
            Err(_) => {
                turn.out.note(Note::SignatureRefused { asked });
                return;
            }
        }
        turn.out.guard(asked);
        let place = (record.index, record.view, record.step);
        let vote = Vote::sign(place, record.value, key, network, verifier);
        let cast = Cast::of(&vote, &self.electorate);
        let peers = masternodes(view, None);
        if record.step == Step::Propose {
            // After a restart it is the same again, or lost.
            let ours = self.candidate(turn, view);
            let both = ours.iter().flat_map(|ours| [Some(ours.present), ours.renewed]);
            both.flatten().for_each(|checkpoint| self.know(checkpoint));
            let checkpoint = record.value.and_then(|value| self.checkpoint(&value));
            let Some(checkpoint) = checkpoint else { return };
            let proposal = Proposal { vote, checkpoint, prepared: quorum };
            self.said.proposed(proposal.clone());
            self.proposals.insert(record.view, proposal.clone());
            let of = (record.view, proposal.prepared.is_some());
            let verdict = self.verdict_on(turn, view, &checkpoint, of);
            turn.out.broadcast(peers, Message::Proposal(Box::new(proposal)));
            let Some(cast) = cast else { return };
            self.input(turn.now, Input::Proposal { cast, prepared, verdict }, outcomes);
        } else {
            self.said.voted(vote);
            turn.out.broadcast(peers, Message::Vote(vote));
            if let Some(cast) = cast {
                self.input(turn.now, Input::Vote(cast), outcomes);
            }
        }
    }

    /// Whether what a prepare is for is still worth it (lines 22 and 28); everything but a prepare for a value is.
    fn is_prepared_still(&self, record: &VoteRecord) -> bool {
        let Some(value) = record.value.filter(|_| record.step == Step::Prepare) else {
            return true;
        };
        let mut of_view = self.instance.proposals().of_view(record.view);
        of_view.any(|held| match held.verdict {
            Verdict::Acceptable => held.value == value,
            Verdict::Sound => held.value == value && held.prepared.is_some(),
            Verdict::Unknown | Verdict::Wrong => false,
        })
    }

    /// The view of the prepare quorum on disk.
    fn kept_view(&self, turn: &Turn) -> Option<u32> {
        let kept = turn.db.get(Table::Prepared, &records::index_key(self.index))?;
        records::parse::<Quorum>(&kept).map(|kept| kept.view)
    }

    /// What we said last, for these peers.
    pub fn say_again(&self, turn: &mut Turn, peers: Vec<PeerId>) {
        let (proposal, votes) = self.said.said();
        if let Some(proposal) = proposal {
            turn.out.broadcast(peers.clone(), Message::Proposal(Box::new(proposal.clone())));
        }
        for vote in votes {
            turn.out.broadcast(peers.clone(), Message::Vote(*vote));
        }
        if let Some(quorum) = &self.prepared {
            turn.out.broadcast(peers, Message::Prepared(Box::new(quorum.clone())));
        }
    }

    /// Says all again when the step has not changed for a base time, and asks one peer for the votes that we lack.
    pub fn repeat(&mut self, turn: &mut Turn, view: &View) {
        let due = self.said.again_at().is_some_and(|at| turn.now.mono >= at);
        if self.is_decided() || self.started.is_none() || !due {
            return;
        }
        self.said.rest_until(turn.now.mono.plus(self.base_ms()));
        let peers = masternodes(view, None);
        self.say_again(turn, peers.clone());
        let next = peers.iter().find(|peer| Some(**peer) > self.asked).or(peers.first());
        self.asked = next.copied();
        if let (Some(peer), Some(at)) = (self.asked, self.instance.view()) {
            let votes = self.instance.votes();
            let (prepares, commits) = (votes.bitmap(Step::Prepare), votes.bitmap(Step::Commit));
            let message = Message::WantVotes { index: self.index, view: at, prepares, commits };
            turn.out.send(peer, message);
        }
    }
}

pub(super) fn masternodes(view: &View, except: Option<PeerId>) -> Vec<PeerId> {
    let of_use = view.peers.ready().filter(|peer| peer.masternode && Some(peer.id) != except);
    of_use.map(|peer| peer.id).collect()
}

pub(super) fn pass_on(turn: &mut Turn, view: &View, from: PeerId, message: Message) {
    turn.out.broadcast(masternodes(view, Some(from)), message);
}
