//! The sign state: what is signed once is never signed otherwise, a file tells all that its whole copies say, and what
//! is exported is imported as it was. The first byte says which of the three an input is about.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use hypernode::cli::sign_state::document::Document;
use hypernode::shell::guard::newest;
use hypernode::shell::guard::page::{self, Content, FORMAT, PAGE_BYTES, PageError};
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{BlockHash, Hash, hash};
use hypernode::types::key::PublicKey;
use hypernode::types::network::Network;
use hypernode::types::seal::Step;
use hypernode::types::sign::{
    BlockRecord, Doubt, Lock, Place, SignRecord, SignState, Standing, VoteRecord,
};
use libfuzzer_sys::fuzz_target;

const KEY: PublicKey = PublicKey([2; 32]);
const CHECKSUM_AT: usize = PAGE_BYTES - 32;
/// Bytes of a record in an input, and records at most.
const RECORD_BYTES: usize = 7;
const RECORDS_MAX: usize = 40;

thread_local! {
    static NETWORK: Network = Network::test();
}

/// What was signed, by its place.
#[derive(Default)]
struct Signed {
    blocks: BTreeMap<(Round, Slot), BlockHash>,
    votes: BTreeMap<(u64, u32, Step), Option<Hash>>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => records(bytes),
        1 => pages(bytes),
        _ => NETWORK.with(|network| documents(network, &String::from_utf8_lossy(bytes))),
    }
});

/// Signatures and corrections one after another, each written to the file and torn on the way.
fn records(bytes: &[u8]) {
    let (network_id, state, place) = (Hash([1; 32]), SignState::default(), Some(7));
    let mut held = Content { sequence: 0, network_id, public_key: KEY, state, place };
    let mut signed = Signed::default();
    for bytes in bytes.chunks_exact(RECORD_BYTES).take(RECORDS_MAX) {
        let record = record(bytes);
        let Ok(state) = held.state.admit(record) else { continue };
        match record {
            SignRecord::Block(block) => {
                assert_eq!(held.state.standing, Standing::Proven);
                let place = (block.round, block.slot);
                assert_eq!(*signed.blocks.entry(place).or_insert(block.hash), block.hash);
            }
            SignRecord::Vote(vote) => {
                assert_eq!(held.state.standing, Standing::Proven);
                let place = (vote.index, vote.view, vote.step);
                assert_eq!(*signed.votes.entry(place).or_insert(vote.value), vote.value);
            }
            SignRecord::Correction(_) => {}
        }
        assert!(holds(&state, &held.state), "{:?} is less than {:?}", state, held.state);
        assert_eq!(state.admit(record), Ok(state), "the same again changes nothing");
        let next = Content { sequence: held.sequence + 1, state, ..held };
        tear(&held, &next, usize::from(bytes[5]), bytes[6]);
        held = next;
    }
}

/// Whether a state has all that an earlier one had, or later: block, vote, and the lock of the same instance.
fn holds(later: &SignState, earlier: &SignState) -> bool {
    let block = |state: &SignState| state.block.map(|block| (block.round, block.slot));
    let vote = |state: &SignState| state.vote.map(|vote| (vote.index, vote.view, vote.step));
    let index = |state: &SignState| state.vote.map(|vote| vote.index);
    let lock = |state: &SignState| state.vote.and_then(|vote| vote.lock).map(|lock| lock.view);
    let is_locked = index(later) > index(earlier) || lock(later) >= lock(earlier);
    block(later) >= block(earlier) && vote(later) >= vote(earlier) && is_locked
}

/// Five bytes: what it is, where in two numbers, for what, and its lock. Two more say how its write is torn.
fn record(bytes: &[u8]) -> SignRecord {
    let [kind, first, second, value, lock] = [0, 1, 2, 3, 4].map(|at| bytes[at]);
    let value = value % 4;
    let block = BlockRecord {
        round: Round(u64::from(first)),
        slot: Slot(u32::from(second)),
        hash: BlockHash(Hash([value; 32])),
    };
    let steps = [Step::Propose, Step::Prepare, Step::Commit];
    let locked = Lock { view: u32::from(lock / 4), value: Hash([lock % 4; 32]) };
    let vote = VoteRecord {
        index: u64::from(first),
        view: u32::from(second / 3),
        step: steps[usize::from(second % 3)],
        value: (value != 0).then_some(Hash([value; 32])),
        lock: (lock != 0).then_some(locked),
    };
    let standing = match kind / 32 {
        0 => Standing::New,
        1 => Standing::Waiting,
        2 => Standing::Unproven(Doubt::Elsewhere),
        // Most let what follows be signed.
        _ => Standing::Proven,
    };
    let nothing = SignState { standing, ..SignState::default() };
    match kind % 8 {
        0..=2 => SignRecord::Block(block),
        3..=5 => SignRecord::Vote(vote),
        6 => SignRecord::Correction(SignState { block: Some(block), ..nothing }),
        _ => SignRecord::Correction(SignState { vote: Some(vote), ..nothing }),
    }
}

/// A write that ends early in either copy, or a byte that changes later: what is told is what was acknowledged, or what
/// came after it.
fn tear(before: &Content, after: &Content, at: usize, how: u8) {
    let told = |copies: [&[u8]; 2]| newest(Path::new("file"), &copies.concat()).ok();
    let (old, new) = (page::encode(before), page::encode(after));
    let at = at * PAGE_BYTES / 256 + at % 16;
    let torn = [&new[..at], &old[at..]].concat();
    let mut changed = new;
    changed[at] ^= 0x10;
    match how % 4 {
        0 => assert!([Some(*before), Some(*after)].contains(&told([&torn, &old]))),
        1 => assert_eq!(told([&new, &torn]), Some(*after)),
        2 => assert_eq!(told([&changed, &old]), Some(*before)),
        _ => assert_eq!(told([&new, &changed]), Some(*after)),
    }
}

/// Two pages of any bytes, half of the input each: the file says what they say.
fn pages(bytes: &[u8]) {
    let (one, other) = bytes.split_at(bytes.len() / 2);
    let pages = [page_of(one), page_of(other)];
    let decoded = pages.map(|page| page::decode(&page));
    for (page, content) in pages.iter().zip(decoded) {
        let Ok(content) = content else { continue };
        let again = page::encode(&content);
        assert_eq!(page::decode(&again), Ok(content));
        // What stands behind the content says nothing, and the first format is written as the second.
        let end = 16 + usize::from(page[15]) + 256 * usize::from(page[14]);
        if page[8..12] == FORMAT.to_be_bytes() {
            assert_eq!(page[..end], again[..end]);
        }
    }
    let file = pages.concat();
    let found = newest(Path::new("file"), &file);
    match decoded {
        [Err(PageError::Newer(_)), _] | [_, Err(PageError::Newer(_))] => assert!(found.is_err()),
        [Err(PageError::Damaged), Err(PageError::Damaged)] => assert!(found.is_err()),
        [Ok(whole), Err(PageError::Damaged)] | [Err(PageError::Damaged), Ok(whole)] => {
            assert_eq!(found.ok(), Some(whole));
        }
        [Ok(one), Ok(other)] => {
            if let Ok(found) = found {
                assert!(found == one || found == other);
                assert_eq!(found.sequence, one.sequence.max(other.sequence));
                assert_eq!((one.public_key, one.network_id), (other.public_key, other.network_id));
            }
        }
    }
    assert!(newest(Path::new("file"), &file[1..]).is_err());
}

/// A page with its magic, and for an even first byte with a good checksum, since no mutation finds them.
fn page_of(bytes: &[u8]) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[..8].copy_from_slice(b"hn-sign\n");
    let Some((choice, bytes)) = bytes.split_first() else { return page };
    let bytes = &bytes[..bytes.len().min(CHECKSUM_AT - 8)];
    page[8..8 + bytes.len()].copy_from_slice(bytes);
    if choice % 2 == 0 {
        let checksum = hash("sign-state", &[&page[..CHECKSUM_AT]]);
        page[CHECKSUM_AT..].copy_from_slice(&checksum.0);
    }
    page
}

/// Exports, one on each line. `#` stands for the id of the network, and `@` for the key.
fn documents(network: &Network, text: &str) {
    let text = text.replace('#', &network.id().to_string()).replace('@', &KEY.to_string());
    let mut states = Vec::new();
    for line in text.lines() {
        let Ok(document) = Document::parse(line) else { continue };
        let Ok(state) = document.state(network, KEY) else { continue };
        assert_eq!(state.standing, Standing::Proven, "an import says that it is all");
        let printed = Document::new(network, KEY, &state).to_json();
        let again = Document::parse(&printed).and_then(|again| again.state(network, KEY));
        assert_eq!(again, Ok(state));
        states.push(state);
    }
    let [one, other, ..] = states[..] else { return };
    let joined = one.joined(&other);
    assert_eq!(joined.is_ok(), other.joined(&one).is_ok());
    let Ok(joined) = joined else { return };
    for state in [one, other] {
        assert!(holds(&joined, &state));
        let records = [state.block.map(SignRecord::Block), state.vote.map(SignRecord::Vote)];
        for record in records.into_iter().flatten() {
            assert!(matches!(joined.place(&record), Place::Earlier | Place::Same));
        }
    }
}
