//! Our types as malachite's machines want them. Nothing is signed.

use std::convert::Infallible;
use std::fmt;

use hypernode::types::hash::Hash;
use informalsystems_malachitebft_core_types as core;
use informalsystems_malachitebft_core_types::{NilOrVal, Round, SignedExtension, VoteType};

/// One height of voters by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctx;

/// The height: all is about one index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(u64);

/// A voter, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u16);

/// A value, which is its own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub Hash);

/// A voter and its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator(pub Position, pub u64);

/// All voters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators(pub Vec<Validator>);

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub view: u32,
    pub value: Value,
    pub prepared: Round,
    pub voter: Position,
}

/// A prevote or precommit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub view: u32,
    pub kind: VoteType,
    pub value: NilOrVal<Hash>,
    pub voter: Position,
}

/// What is not used: parts of proposals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part;

/// No signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned;

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Index {
    const ZERO: Index = Index(0);
    const INITIAL: Index = Index(1);

    fn increment_by(&self, n: u64) -> Index {
        Index(self.0 + n)
    }

    fn decrement_by(&self, n: u64) -> Option<Index> {
        self.0.checked_sub(n).map(Index)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl core::Address for Position {}

impl core::Value for Value {
    type Id = Hash;

    fn id(&self) -> Hash {
        self.0
    }
}

impl core::Validator<Ctx> for Validator {
    fn address(&self) -> &Position {
        &self.0
    }

    fn public_key(&self) -> &() {
        &()
    }

    fn voting_power(&self) -> u64 {
        self.1
    }
}

impl core::ValidatorSet<Ctx> for Validators {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.iter().map(|validator| validator.1).sum()
    }

    fn get_by_address(&self, address: &Position) -> Option<&Validator> {
        self.0.get(usize::from(address.0))
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

impl core::ProposalPart<Ctx> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

impl core::Proposal<Ctx> for Proposal {
    fn height(&self) -> Index {
        Index::default()
    }

    fn round(&self) -> Round {
        Round::new(self.view)
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.prepared
    }

    fn validator_address(&self) -> &Position {
        &self.voter
    }
}

impl core::Vote<Ctx> for Vote {
    fn height(&self) -> Index {
        Index::default()
    }

    fn round(&self) -> Round {
        Round::new(self.view)
    }

    fn value(&self) -> &NilOrVal<Hash> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Hash> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Position {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Ctx>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Ctx>> {
        None
    }

    fn extend(self, _: SignedExtension<Ctx>) -> Vote {
        self
    }
}

impl core::SigningScheme for Unsigned {
    type DecodingError = Infallible;
    type Signature = ();
    type PublicKey = ();
    type PrivateKey = ();

    fn decode_signature(_: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn encode_signature((): &()) -> Vec<u8> {
        Vec::new()
    }
}

fn view(round: Round) -> u32 {
    round.as_u32().expect("votes are of a view")
}

impl core::Context for Ctx {
    type Address = Position;
    type Height = Index;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Unsigned;

    fn select_proposer<'a>(&self, all: &'a Validators, _: Index, _: Round) -> &'a Validator {
        &all.0[0]
    }

    fn new_proposal(
        &self,
        _: Index,
        round: Round,
        value: Value,
        prepared: Round,
        voter: Position,
    ) -> Proposal {
        Proposal { view: view(round), value, prepared, voter }
    }

    fn new_prevote(&self, _: Index, round: Round, value: NilOrVal<Hash>, voter: Position) -> Vote {
        Vote { view: view(round), kind: VoteType::Prevote, value, voter }
    }

    fn new_precommit(
        &self,
        _: Index,
        round: Round,
        value: NilOrVal<Hash>,
        voter: Position,
    ) -> Vote {
        Vote { view: view(round), kind: VoteType::Precommit, value, voter }
    }
}
