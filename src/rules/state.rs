//! What the blocks of a chain change between seals: what it holds of messages and evidence, which secrets are due, who
//! forged in the present round, and which seal is the anchor of which round.
//!
//! `apply` and `undo` are exact inverses: after a reorganisation the state is what it would be had the other chain come
//! first (`docs/protocol.md` §7: at most one message per key in a chain).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::rules::beacon::{COMMITMENT_ROUNDS, is_commitment};
use crate::rules::sealed::{Anchor, Commitment, SealedState};
use crate::types::block::{Header, SealRef};
use crate::types::clock::Round;
use crate::types::evidence::{Offence, OffenceKind};
use crate::types::hash::Hash;
use crate::types::key::PublicKey;
use crate::types::tx::{Body, Statement, Tx, TxKey};

/// Rounds after two blocks of a slot, and seals after two votes of a step, in which blocks may prove them (§7).
pub const OFFENCE_SPAN: u64 = 24;

/// The state after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Of the last block.
    round: Round,
    anchors: Anchors,
    /// Of the last two rounds.
    statements: BTreeSet<Statement>,
    /// Those that a later block could prove again.
    offences: BTreeSet<Offence>,
    /// For the present round and the next two.
    commitments: BTreeMap<(Round, PublicKey), Hash>,
    /// Of the present round.
    forgers: BTreeSet<PublicKey>,
}

/// The seals that the rounds at the end of a chain rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Anchors {
    /// Named by the last block: the anchor of all rounds to come.
    named: SealRef,
    /// Of the last block's round.
    present: SealRef,
    /// Of the round before that.
    before: SealRef,
}

/// What `undo` needs beside the block itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    round: Round,
    anchors: Anchors,
    statements: Vec<Statement>,
    offences: Vec<Offence>,
    commitments: Vec<Commitment>,
    /// Those of the round before, when the block began a round.
    forgers: Option<Vec<PublicKey>>,
    /// Whether the forger had no block in the round yet.
    first: bool,
}

impl ChainState {
    /// The state of a chain that ends in this round without messages, and names this seal.
    pub fn new(round: Round, named: SealRef) -> ChainState {
        ChainState {
            round,
            anchors: Anchors { named, present: named, before: named },
            statements: BTreeSet::new(),
            offences: BTreeSet::new(),
            commitments: BTreeMap::new(),
            forgers: BTreeSet::new(),
        }
    }

    /// The state of the chain without blocks.
    pub fn genesis(anchor: &Anchor) -> ChainState {
        ChainState::from_sealed(&anchor.state, anchor.seal, anchor.seal)
    }

    /// The state after a sealed block that names the seal `named`, in a round whose anchor is `present`. Who forged in
    /// the round does not matter any more: its seal has closed it.
    pub fn from_sealed(state: &SealedState, named: SealRef, present: SealRef) -> ChainState {
        let commitments = state.commitments.iter();
        ChainState {
            anchors: Anchors { named, present, before: present },
            statements: state.statements.iter().copied().collect(),
            offences: state.offences.iter().copied().collect(),
            commitments: commitments.map(|it| ((it.round, it.public_key), it.commitment)).collect(),
            ..ChainState::new(state.round, named)
        }
    }

    /// Round of the last block.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The seal that the last block names.
    pub fn named(&self) -> SealRef {
        self.anchors.named
    }

    /// The anchor of a round on this chain: the seal named by the last block before it. Rounds before the last two are
    /// over, and have the answer of the older one.
    pub fn anchor_of(&self, round: Round) -> SealRef {
        if round > self.round {
            self.anchors.named
        } else if round == self.round {
            self.anchors.present
        } else {
            self.anchors.before
        }
    }

    /// Whether a block of the chain holds a message of this key.
    pub fn holds(&self, key: &TxKey) -> bool {
        match key {
            TxKey::Statement(statement) => self.statements.contains(statement),
            TxKey::Offence(offence) => self.offences.contains(offence),
        }
    }

    /// What a block of this forger in this round must reveal: the secret behind this commitment. Nothing is due from a
    /// forger that committed to nothing, nor after its first block of the round.
    pub fn due_reveal(&self, round: Round, forger: &PublicKey) -> Option<&Hash> {
        let again = round == self.round && self.forgers.contains(forger);
        self.commitments.get(&(round, *forger)).filter(|_| !again)
    }

    /// Takes in a block. What no later block can repeat or meet is forgotten.
    pub fn apply(&mut self, header: &Header, messages: &[Tx]) -> Undo {
        let mut undo = Undo {
            round: self.round,
            anchors: self.anchors,
            statements: Vec::new(),
            offences: Vec::new(),
            commitments: Vec::new(),
            forgers: None,
            first: false,
        };
        if header.round > self.round {
            self.begin_round(header.round, &mut undo);
        }
        self.anchors.named = header.seal;
        undo.first = self.forgers.insert(header.forger);
        for message in messages {
            match message.key() {
                TxKey::Statement(statement) => self.statements.insert(statement),
                TxKey::Offence(offence) => self.offences.insert(offence),
            };
            if let Some((key, commitment)) = commitment_of(message) {
                self.commitments.insert(key, commitment);
            }
        }
        let over = |offence: &Offence| !may_be_proven(&offence.kind, header.round, &header.seal);
        undo.offences = self.offences.iter().copied().filter(over).collect();
        for offence in &undo.offences {
            self.offences.remove(offence);
        }
        undo
    }

    /// Takes the last block back.
    pub fn undo(&mut self, header: &Header, messages: &[Tx], undo: Undo) {
        self.offences.extend(undo.offences);
        for message in messages {
            match message.key() {
                TxKey::Statement(statement) => self.statements.remove(&statement),
                TxKey::Offence(offence) => self.offences.remove(&offence),
            };
            if let Some((key, _)) = commitment_of(message) {
                self.commitments.remove(&key);
            }
        }
        self.statements.extend(undo.statements);
        let commitments = undo.commitments.into_iter();
        self.commitments.extend(commitments.map(|it| ((it.round, it.public_key), it.commitment)));
        if undo.first {
            self.forgers.remove(&header.forger);
        }
        if let Some(forgers) = undo.forgers {
            self.forgers = forgers.into_iter().collect();
        }
        self.anchors = undo.anchors;
        self.round = undo.round;
    }

    fn begin_round(&mut self, round: Round, undo: &mut Undo) {
        let before = self.anchor_of(Round(round.0 - 1));
        self.anchors = Anchors { named: self.anchors.named, present: self.anchors.named, before };
        // Messages are valid in blocks of their round and the next: those of rounds before `round` − 1 are over.
        let kept = self.statements.iter().find(|it| it.round.next() >= round).copied();
        let keep = kept.map_or_else(BTreeSet::new, |first| self.statements.split_off(&first));
        undo.statements = std::mem::replace(&mut self.statements, keep).into_iter().collect();
        let keep = self.commitments.split_off(&(round, PublicKey([0; 32])));
        let over = std::mem::replace(&mut self.commitments, keep).into_iter();
        undo.commitments = over.map(Commitment::from).collect();
        undo.forgers = Some(std::mem::take(&mut self.forgers).into_iter().collect());
        self.round = round;
    }
}

impl From<((Round, PublicKey), Hash)> for Commitment {
    fn from(((round, public_key), commitment): ((Round, PublicKey), Hash)) -> Commitment {
        Commitment { round, public_key, commitment }
    }
}

/// The commitment that a message makes, by the round in which it is due and its key.
pub(super) fn commitment_of(message: &Tx) -> Option<((Round, PublicKey), Hash)> {
    match &message.body {
        Body::Heartbeat { commitment, .. } => {
            let due = Round(message.round.0.saturating_add(COMMITMENT_ROUNDS));
            is_commitment(commitment).then_some(((due, message.sender), *commitment))
        }
        Body::TestReport { .. } | Body::Equivocation(_) => None,
    }
}

/// Whether a block of this round that names this seal, or a later one, comes early enough after an offence to prove it.
pub fn may_be_proven(offence: &OffenceKind, round: Round, seal: &SealRef) -> bool {
    match offence {
        OffenceKind::Blocks { round: of } => round.0 <= of.0.saturating_add(OFFENCE_SPAN),
        OffenceKind::Votes { index } => seal.index < index.saturating_add(OFFENCE_SPAN),
    }
}
