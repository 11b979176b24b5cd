//! Records one by one, in the order of the tree: whether each is what was written, can be read, and fits to the others.
//! The chain: header hash, parent, messages; the seals: their numbers, what they bring, and the blocks that they seal.
//! Signatures and rules are not checked again: what is stored has passed them, and hashes hold it together since.

use std::collections::BTreeMap;

use super::value;
use super::walk::Flaws;
use crate::machine::halt::HaltRecord;
use crate::machine::records::{
    DutyRecord, MainRecord, StoredHeader, StoredSeal, Table, duty_key, evidence_key, index_key,
    parse, parse_duty_key, parse_point_key, point_key, pool_key, rival_key,
};
use crate::machine::rivals::Rival;
use crate::rules::sealed::SealedState;
use crate::types::block::{Point, genesis_of, messages_root};
use crate::types::clock::Height;
use crate::types::evidence::Evidence;
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::hex;
use crate::types::seal::{Quorum, registry_digest, voters_digest};
use crate::types::tx::Tx;

/// What is known of the records so far.
#[derive(Debug, Default)]
pub(super) struct Review {
    network: Option<Hash>,
    /// The block of the best chain before those of `height`.
    tip: Option<Point>,
    height: u64,
    main: Option<BlockHash>,
    headers: BTreeMap<BlockHash, Links>,
    bodies: BTreeMap<BlockHash, Hash>,
    /// By index, from 1 on. 72 bytes each: 12 MB for a year of the main network.
    seals: Vec<Sealed>,
    registry_at: u64,
    voters_at: u64,
    /// The newest seal whose state is held: its block is on the best chain.
    adopted: u64,
    /// Seals below the block that is looked at.
    passed: usize,
}

/// What a header says of others.
#[derive(Debug)]
struct Links {
    previous: BlockHash,
    messages_root: Hash,
}

/// What is kept of a seal.
#[derive(Debug)]
struct Sealed {
    height: u64,
    block: BlockHash,
    state: Hash,
}

type Verdict = Result<(), String>;

impl Review {
    /// Of a database of this network, as far as it is known.
    pub(super) fn of(&mut self, network: Option<Hash>) {
        self.network = network;
    }

    /// Looks at one record.
    pub(super) fn record(&mut self, table: Table, key: &[u8], stored: &[u8], flaws: &mut Flaws) {
        let verdict = match value::unseal(table, key, stored) {
            None => Err("it is not what was written: its checksum differs".to_owned()),
            Some(value) => self.look(table, key, value, flaws),
        };
        if let Err(why) = verdict {
            flaws.add(table.name(), Some(name(table, key)), why);
        }
    }

    /// Looks at what only the last record completes.
    pub(super) fn finish(&mut self, flaws: &mut Flaws) {
        self.close(flaws);
        let tip = self.tip.map_or(0, |tip| tip.height.0);
        let adopted = usize::try_from(self.adopted).unwrap_or(usize::MAX).min(self.seals.len());
        for at in self.passed..adopted {
            if self.seals[at].height > tip {
                let why = format!(
                    "its block is at height {}, the chain ends at {tip}",
                    self.seals[at].height
                );
                flaws.add(Table::Seals.name(), Some(format!("index {}", at + 1)), why);
            }
        }
    }

    fn look(&mut self, table: Table, key: &[u8], value: &[u8], flaws: &mut Flaws) -> Verdict {
        match table {
            Table::Headers | Table::Bodies | Table::Main => {
                let height = key.first_chunk().map(|height| u64::from_be_bytes(*height));
                let height = height.ok_or("its key has no height")?;
                if height != self.height {
                    self.close(flaws);
                    self.height = height;
                }
                self.block(table, key, value)
            }
            Table::Seals => self.seal(key, value),
            Table::States => self.state(key, value),
            Table::Pool => {
                let tx: Tx = read(value)?;
                same(pool_key(tx.round, &tx.id()), key)
            }
            Table::Duties => {
                let _: DutyRecord = read(value)?;
                let (round, slot) = parse_duty_key(key).ok_or("its key is no slot")?;
                same(duty_key(round, slot), key)
            }
            Table::Prepared => {
                let quorum: Quorum = read(value)?;
                same(index_key(quorum.checkpoint.index), key)
            }
            Table::Evidence => match parse::<Rival>(value) {
                Some(rival) => same(rival_key(rival.certificate.checkpoint.index), key),
                None => same(evidence_key(&read::<Evidence>(value)?.offence()), key),
            },
            Table::Halt => read::<HaltRecord>(value).map(|_| ()),
        }
    }

    fn block(&mut self, table: Table, key: &[u8], value: &[u8]) -> Verdict {
        if table == Table::Main {
            let record: MainRecord = read(value)?;
            self.main = Some(record.hash);
            return same(self.height.to_be_bytes().to_vec(), key);
        }
        let point = parse_point_key(key).ok_or("its key is no height and hash")?;
        if table == Table::Bodies {
            let messages: Vec<Tx> = read(value)?;
            let ids: Vec<TxId> = messages.iter().map(Tx::id).collect();
            self.bodies.insert(point.hash, messages_root(&ids));
            return Ok(());
        }
        let stored: StoredHeader = read(value)?;
        let header = &stored.header.header;
        if point_key(&stored.header.point()) != key {
            return Err("its hash or height is that of another header".to_owned());
        }
        let links = Links { previous: header.previous, messages_root: header.messages_root };
        self.headers.insert(point.hash, links);
        Ok(())
    }

    fn seal(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let stored: StoredSeal = read(value)?;
        let checkpoint = *stored.checkpoint();
        same(index_key(checkpoint.index), key)?;
        let due = self.seals.len() as u64 + 1;
        if checkpoint.index != due {
            return Err(format!("seal {due} is missing before it"));
        }
        let (height, block, state) = (checkpoint.height.0, checkpoint.block, checkpoint.state);
        let is_lower = self.seals.last().is_some_and(|last| height < last.height);
        self.seals.push(Sealed { height, block, state });
        if let Some(registry) = &stored.seal.registry {
            self.registry_at = due;
            if registry_digest(registry) != checkpoint.registry {
                return Err("its registry is not the one that it names".to_owned());
            }
        }
        if let Some(voters) = &stored.seal.voters {
            self.voters_at = due;
            if voters_digest(voters) != checkpoint.voters {
                return Err("its voters are not those that it names".to_owned());
            }
        }
        if is_lower {
            return Err("it is below the seal before it".to_owned());
        }
        if (stored.registry_at, stored.voters_at) != (self.registry_at, self.voters_at) {
            return Err("it names other seals for its registry or voters than there are".to_owned());
        }
        Ok(())
    }

    fn state(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let state: SealedState = read(value)?;
        let index = key.try_into().map(u64::from_be_bytes).map_err(|_| "its key is no index")?;
        let at = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        let seal = at.and_then(|at| self.seals.get(at)).ok_or("there is no seal for it")?;
        if state.digest() != seal.state {
            return Err("it is not the state that its seal names".to_owned());
        }
        self.adopted = index;
        Ok(())
    }

    /// The records of a height are all there.
    fn close(&mut self, flaws: &mut Flaws) {
        let headers = std::mem::take(&mut self.headers);
        let bodies = std::mem::take(&mut self.bodies);
        let at = |hash: BlockHash| Point { height: Height(self.height), hash };
        for (hash, links) in &headers {
            let why = match bodies.get(hash) {
                None => "it is missing",
                Some(root) if *root != links.messages_root => "not the messages of its header",
                Some(_) => continue,
            };
            let key = name(Table::Bodies, &point_key(&at(*hash)));
            flaws.add(Table::Bodies.name(), Some(key), why);
        }
        let Some(hash) = self.main.take() else { return };
        let point = at(hash);
        let key = || Some(name(Table::Main, &point.height.0.to_be_bytes()));
        let genesis = self.network.map(|network| genesis_of(&network));
        let due = self.tip.map_or(1, |tip| tip.height.0 + 1);
        if self.height != due {
            flaws.add(Table::Main.name(), key(), format!("height {due} is missing before it"));
        } else {
            match headers.get(&hash) {
                None => flaws.add(Table::Main.name(), key(), "its header is missing"),
                Some(links) => {
                    let parent = self.tip.or(genesis).map(|parent| parent.hash);
                    if parent.is_some_and(|parent| parent != links.previous) {
                        let why = "its parent is not the block before it";
                        flaws.add(Table::Main.name(), key(), why);
                    }
                }
            }
        }
        self.tip = Some(point);
        self.compare_with_seals(point, flaws);
    }

    fn compare_with_seals(&mut self, point: Point, flaws: &mut Flaws) {
        while let Some(seal) = self.seals.get(self.passed) {
            if seal.height > point.height.0 || self.passed as u64 >= self.adopted {
                break;
            }
            if seal.height == point.height.0 && seal.block != point.hash {
                let key = format!("index {}", self.passed + 1);
                let why = format!("it seals another block than that of height {}", seal.height);
                flaws.add(Table::Seals.name(), Some(key), why);
            }
            self.passed += 1;
        }
    }
}

fn read<T: serde::Serialize + serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    parse(value).ok_or_else(|| "it cannot be read".to_owned())
}

fn same(due: Vec<u8>, key: &[u8]) -> Verdict {
    if due == key { Ok(()) } else { Err("its key is that of another record".to_owned()) }
}

/// A key as people speak of it.
fn name(table: Table, key: &[u8]) -> String {
    let Some((number, rest)) = key.split_first_chunk() else { return hex::encode(key) };
    let (number, rest) = (u64::from_be_bytes(*number), hex::encode(rest));
    match table {
        Table::Main => format!("height {number}"),
        Table::Headers | Table::Bodies => format!("height {number}, {rest}"),
        Table::Pool | Table::Duties => format!("round {number}, {rest}"),
        Table::Seals | Table::States | Table::Prepared => format!("index {number}"),
        Table::Evidence | Table::Halt => hex::encode(key),
    }
}
