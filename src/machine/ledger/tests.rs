//! A follower, told of blocks by hand: what it knows of a round and when, what it takes back, what it goes on from.
//!
//! Rounds last an hour and blocks ten minutes: block 6 is mined when round 1 starts, which is what counts for round 2.

mod kept;

use super::*;
use crate::types::address::Address;
use crate::types::pow::{COIN, Order, OrderKind, PowRow};

const CONTROLLER: PowAddress = PowAddress([0xcc; 28]);
const BLOCK_MS: u64 = 600_000;

/// The main network with depth 2, step 3 and this controller; with another one from a round on.
fn network(later: Option<(u64, PowAddress, u64)>) -> Rc<Network> {
    let file = include_str!("../../../config/main.toml");
    let (head, entry) = file.split_once("[[parameters]]").expect("there is one entry");
    let entry_of = |from: u64, controller: PowAddress, depth: u64| {
        let (values, _) = entry.split_once("[parameters.values.ledger]").expect("they are last");
        let values = values.replace("from_round = 0", &format!("from_round = {from}"));
        format!(
            "[[parameters]]{values}[parameters.values.ledger]\ndepth = {depth}\nstep = 3\n\
             first_height = 1\ncontroller = \"{controller}\"\n"
        )
    };
    let later = later.map(|(from, controller, depth)| entry_of(from, controller, depth));
    let text = format!("{head}{}{}", entry_of(0, CONTROLLER, 2), later.unwrap_or_default());
    Rc::new(Network::parse(&text).expect("a valid file"))
}

fn owner(number: u8) -> PowAddress {
    PowAddress([number; 28])
}

fn order(sender: PowAddress, kind: OrderKind, (ip, key): (u8, u8)) -> PowRow {
    let address = Address::of_bytes(&[key; 32], 0x19);
    let data = format!("8.8.8.{ip}:6969:{address}");
    let order = Order { height: 1, sender: sender.to_string(), kind, data };
    PowRow { order: Some(Box::new(order)), ..pay(sender, 0) }
}

fn register(who: u8, ip: u8, key: u8) -> PowRow {
    order(owner(who), OrderKind::Register, (ip, key))
}

fn unregister(who: PowAddress, ip: u8, key: u8) -> PowRow {
    order(who, OrderKind::Unregister, (ip, key))
}

/// Coins that come from nowhere, or go there.
fn pay(recipient: PowAddress, coins: i128) -> PowRow {
    let received = coins * COIN;
    PowRow { sender: None, recipient: Some(recipient), sent: 0, received, order: None }
}

/// A block of a branch, mined ten minutes after the one below.
fn block(height: u64, branch: u8, rows: Vec<PowRow>) -> PowBlock {
    PowBlock {
        height,
        id: hash("sample", &[&height.to_be_bytes(), &[branch]]),
        mined_at: Some(network(None).clock.origin.plus(height * BLOCK_MS)),
        last_row: i64::try_from(height).unwrap(),
        damage: None,
        rows,
    }
}

/// Blocks 1 to `last`: owner 1 comes in block 3, owner 2 in block 4.
fn blocks(last: u64) -> Vec<PowBlock> {
    let rows = |height| match height {
        1 => vec![pay(owner(1), 10_000), pay(owner(2), 20_000)],
        3 => vec![register(1, 1, 1)],
        4 => vec![register(2, 2, 2)],
        _ => Vec::new(),
    };
    (1..=last).map(|height| block(height, 0, rows(height))).collect()
}

/// Blocks that nobody mined, made quickly.
fn fillers(heights: std::ops::RangeInclusive<u64>) -> Vec<PowBlock> {
    let id = |height: u64| hash("filler", &[&height.to_be_bytes()]);
    let one = block(1, 0, Vec::new());
    heights
        .map(|height| PowBlock { height, id: id(height), mined_at: None, ..one.clone() })
        .collect()
}

fn tell(follower: &mut Follower, blocks: Vec<PowBlock>) -> Vec<Applied> {
    let after = follower.tip().map(|mark| mark.id);
    follower.hear(&LedgerNews::Blocks { after, blocks, end: true })
}

fn following(blocks: Vec<PowBlock>) -> Follower {
    let mut follower = Follower::new(network(None));
    tell(&mut follower, blocks);
    follower
}

/// Takes so many blocks back.
fn take_back(follower: &mut Follower, count: usize) {
    for _ in 0..count {
        let id = follower.tip().expect("a block to take back").id;
        follower.hear(&LedgerNews::Gone { id });
    }
}

/// Owners of a round's registry, by their number.
fn owners(follower: &Follower, round: u64) -> Option<Vec<u8>> {
    match follower.registry_of(Round(round)) {
        Known::Registry(hns) => {
            assert!(hns.is_sorted_by_key(|hn| hn.address));
            let mut owners: Vec<u8> = hns.iter().map(|hn| hn.owner.0[0]).collect();
            owners.sort_unstable();
            Some(owners)
        }
        Known::NotYet => None,
    }
}

#[test]
fn a_registry_is_known_once_a_block_is_later_than_the_start_of_the_round_before() {
    let mut follower = following(blocks(6));
    assert_eq!(follower.height_of(Round(2)), None, "block 6 is mined at its start, not later");
    assert_eq!(follower.height_of(Round(0)), None);
    assert_eq!(owners(&follower, 1), Some(Vec::new()), "before the first block there is nobody");
    tell(&mut follower, vec![block(7, 0, Vec::new())]);
    // 6 less 2, down to 3.
    assert_eq!(follower.height_of(Round(2)), Some(3));
    assert_eq!(owners(&follower, 2), Some(vec![1]), "owner 2 came in block 4");
    assert_eq!(owners(&follower, 3), None);
    tell(&mut follower, (8..=13).map(|height| block(height, 0, Vec::new())).collect());
    assert_eq!(follower.height_of(Round(3)), Some(9));
    assert_eq!(owners(&follower, 3), Some(vec![1, 2]));
    assert_eq!(owners(&follower, 2), Some(vec![1]));
    // A block that nobody mined tells no time.
    let mut late = following(blocks(6));
    tell(&mut late, fillers(7..=20));
    assert_eq!(late.height_of(Round(2)), None);
    tell(&mut late, vec![block(21, 0, Vec::new())]);
    assert_eq!(late.height_of(Round(2)), Some(3));
}

#[test]
fn blocks_below_the_first_step_register_nobody() {
    let early = |height| vec![pay(owner(1), 10_000), register(1, height, 1)];
    let mut follower = following(vec![block(1, 0, early(1))]);
    tell(&mut follower, fillers(2..=3));
    tell(&mut follower, vec![block(7, 0, Vec::new())]);
    assert_eq!(owners(&follower, 2), Some(Vec::new()));
}

#[test]
fn what_is_not_read_to_its_end_or_not_followed_says_nothing() {
    let mut follower = Follower::new(network(None));
    assert_eq!(owners(&follower, 1), None);
    follower.hear(&LedgerNews::Blocks { after: None, blocks: blocks(7), end: false });
    assert_eq!(owners(&follower, 2), None);
    let revision = follower.revision();
    tell(&mut follower, Vec::new());
    assert_eq!(owners(&follower, 2), Some(vec![1]));
    assert_ne!(follower.revision(), revision);
    // News of another place are dropped.
    let revision = follower.revision();
    let stale = follower.hear(&LedgerNews::Blocks { after: None, blocks: blocks(9), end: true });
    assert_eq!((stale, follower.tip()), (Vec::new(), Some(blocks(7)[6].mark())));
    follower.hear(&LedgerNews::Gone { id: blocks(6)[5].id });
    assert_eq!(follower.tip(), Some(blocks(7)[6].mark()));
    assert_eq!(follower.revision(), revision);
    // Where HNs are listed no ledger is asked.
    let listed = network(None).to_toml().replace("\"ledger\"", "\"list\"");
    let mut follower = Follower::new(Rc::new(Network::parse(&listed).expect("a valid file")));
    tell(&mut follower, blocks(7));
    assert_eq!(owners(&follower, 2), None);
}

#[test]
fn a_fault_hides_what_is_known_until_blocks_come_again() {
    let mut follower = following(blocks(7));
    let revision = follower.revision();
    follower.hear(&LedgerNews::Fault(LedgerFault::Locked));
    assert_eq!(follower.fault(), Some(&LedgerFault::Locked));
    assert_eq!(owners(&follower, 2), None);
    assert_eq!(follower.revision(), revision + 1);
    follower.hear(&LedgerNews::Fault(LedgerFault::Locked));
    assert_eq!(follower.revision(), revision + 1, "nothing new");
    tell(&mut follower, Vec::new());
    assert_eq!((follower.fault(), owners(&follower, 2)), (None, Some(vec![1])));
    assert_eq!(follower.revision(), revision + 2);
}

#[test]
fn nothing_counts_from_a_damaged_block_on_until_a_good_one_stands_there() {
    let mut follower = following(blocks(6));
    let damaged = PowBlock { damage: Some("no amount".into()), ..block(7, 0, Vec::new()) };
    let behind = block(8, 0, vec![unregister(owner(1), 1, 1)]);
    let told = tell(&mut follower, vec![damaged.clone(), behind.clone()]);
    assert_eq!(told, Vec::new());
    assert_eq!(follower.damage(), Some((7, "no amount")));
    assert_eq!(follower.tip(), Some(blocks(6)[5].mark()));
    assert_eq!(owners(&follower, 2), None, "the time of a damaged block does not count");
    let revision = follower.revision();
    tell(&mut follower, vec![damaged.clone(), behind]);
    assert_eq!(follower.revision(), revision, "it is the same damage");
    // Another block in its place, with nothing below it changed.
    tell(&mut follower, vec![block(7, 1, Vec::new())]);
    assert_eq!(follower.damage(), None);
    assert_eq!(owners(&follower, 2), Some(vec![1]));
    // And when it goes and nothing comes.
    let mut follower = following(blocks(6));
    tell(&mut follower, vec![damaged]);
    let revision = follower.revision();
    tell(&mut follower, Vec::new());
    assert_eq!((follower.damage(), follower.revision()), (None, revision + 1));
}
