//! Registration as `docs/protocol.md` §5 has it, slowly: everything is text, and for each block all rows are summed from
//! the first one on. Nothing of `hypernode::rules` is used here.

use std::collections::{BTreeMap, BTreeSet};

use blake2::digest::consts::U4;
use blake2::{Blake2b, Digest};

/// Units of 10,000 coins.
const COLLATERAL: i128 = 10_000 * 100_000_000;

/// How a decimal number lies in its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole number as an integer, another as a double.
    Plain,
    Real,
    Text,
    /// Text such as `125e-1`.
    Exponent,
    Null,
    Blob,
}

/// A cell that should hold a number.
#[derive(Debug, Clone)]
pub struct Money {
    pub text: String,
    pub form: Form,
}

#[derive(Debug, Clone)]
pub struct Row {
    /// Below zero in mirror rows.
    pub height: i64,
    /// Milliseconds.
    pub time: u64,
    pub sender: String,
    pub recipient: String,
    pub amount: Money,
    pub fee: Money,
    pub reward: Money,
    pub operation: String,
    pub data: String,
    pub hash: String,
}

/// What counts on the network.
#[derive(Debug, Clone)]
pub struct Law {
    pub public_only: bool,
    pub prefix: u8,
    pub first_height: i64,
    pub controller: String,
    pub depth: u64,
    pub step: u64,
    /// Start of round 0 and length of a round.
    pub origin_ms: u64,
    pub round_ms: u64,
}

/// Somebody registered, word for word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hn {
    pub owner: String,
    pub ip: String,
    pub port: String,
    pub address: String,
    pub weight: i128,
    pub reward: String,
    pub since: u64,
}

/// What a block did; nothing is kept of one that did nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deeds {
    pub verdicts: Vec<&'static str>,
    pub dropped: Vec<Hn>,
}

/// All that a ledger comes to.
#[derive(Debug, Default)]
pub struct Truth {
    pub deeds: BTreeMap<u64, Deeds>,
    /// The registry after each block, by owner.
    pub after: BTreeMap<u64, Vec<Hn>>,
    /// Of the newest block, where they are not zero.
    pub balances: BTreeMap<String, i128>,
    /// The block from which on nothing counts.
    pub damage: Option<u64>,
    /// Mined blocks with their times.
    mined: Vec<(u64, u64)>,
}

/// A decimal number in units of 1e-8, half to even; nothing when it is no number or too large.
fn decimal(text: &str) -> Option<i128> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    assert!(fraction.len() <= 12, "no finer one is drawn");
    let fine: i128 = format!("{whole}{fraction:0<12}").parse().ok()?;
    let (units, rest) = (fine / 10_000, fine % 10_000);
    let up = rest > 5_000 || rest == 5_000 && units % 2 == 1;
    let units = units + i128::from(up);
    (units <= 10_i128.pow(11 + 8)).then_some(sign * units)
}

fn units(money: &Money) -> Option<i128> {
    match money.form {
        Form::Null | Form::Blob => None,
        Form::Plain | Form::Real | Form::Text | Form::Exponent => decimal(&money.text),
    }
}

fn is_person(text: &str) -> bool {
    text.len() == 56 && text.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'))
}

fn is_number(text: &str, most: u32) -> bool {
    let digits = !text.is_empty() && text.chars().all(|it| it.is_ascii_digit());
    let strict = text == "0" || !text.starts_with('0');
    digits && strict && text.len() <= 5 && text.parse::<u32>().is_ok_and(|number| number <= most)
}

fn is_ip(text: &str, public_only: bool) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() != 4 || !parts.iter().all(|part| is_number(part, 255)) {
        return false;
    }
    let (a, b): (u8, u8) = (parts[0].parse().expect("a byte"), parts[1].parse().expect("a byte"));
    let special = matches!(
        (a, b),
        (0 | 10 | 127 | 224.., _) | (100, 64..128) | (169, 254) | (172, 16..32) | (192, 168)
    );
    !(public_only && special)
}

fn is_address(text: &str, prefix: u8) -> bool {
    let Ok(bytes) = bs58::decode(text).into_vec() else { return false };
    bytes.len() == 25
        && bytes[0] == prefix
        && Blake2b::<U4>::digest(&bytes[..21])[..] == bytes[21..]
}

/// The three parts and the options of a data field.
type Data<'a> = ([&'a str; 3], Vec<(&'a str, &'a str)>);

fn parse(data: &str) -> Option<Data<'_>> {
    let mut fields: Vec<&str> = data.split(',').collect();
    let parts: Vec<&str> = fields.remove(0).split(':').collect();
    let parts: [&str; 3] = parts.try_into().ok()?;
    let mut options = Vec::new();
    for field in fields {
        let halves: Vec<&str> = field.split('=').collect();
        let [key, value] = halves.try_into().ok()?;
        if options.iter().any(|(other, _)| *other == key) {
            return None;
        }
        options.push((key, value));
    }
    Some((parts, options))
}

fn option<'a>(options: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    options.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
}

/// What an address holds after a height, of all rows that there are.
fn balance(rows: &[Row], person: &str, height: u64) -> i128 {
    let mut sum = 0;
    for row in rows.iter().filter(|row| row.height.unsigned_abs() <= height) {
        let of = |money| units(money).expect("no damage up to here");
        if row.recipient == person {
            sum += of(&row.amount) + of(&row.reward);
        }
        if row.sender == person {
            sum -= of(&row.amount) + of(&row.fee);
        }
    }
    sum
}

fn register(
    (law, rows, height): (&Law, &[Row], u64),
    row: &Row,
    hns: &mut Vec<Hn>,
) -> &'static str {
    let Some(([ip, port, address], options)) = parse(&row.data) else { return "bad_data" };
    let weight = (balance(rows, &row.sender, height) / COLLATERAL).min(3);
    let reward = option(&options, "reward").unwrap_or(&row.sender);
    if !is_person(&row.sender) {
        "bad_sender"
    } else if option(&options, "source").is_some_and(|source| source != row.sender) {
        "bad_source"
    } else if !is_ip(ip, law.public_only) {
        "bad_ip"
    } else if !is_number(port, 65_535) || port == "0" {
        "bad_port"
    } else if !is_address(address, law.prefix) {
        "bad_address"
    } else if !is_person(reward) {
        "bad_reward"
    } else if hns.iter().any(|hn| hn.owner == row.sender) {
        "sender_taken"
    } else if hns.iter().any(|hn| hn.ip == ip) {
        "ip_taken"
    } else if hns.iter().any(|hn| hn.address == address) {
        "address_taken"
    } else if weight < 1 {
        "no_collateral"
    } else {
        hns.push(Hn {
            owner: row.sender.clone(),
            ip: ip.to_owned(),
            port: port.to_owned(),
            address: address.to_owned(),
            weight,
            reward: reward.to_owned(),
            since: height,
        });
        "ok"
    }
}

fn unregister(law: &Law, row: &Row, hns: &mut Vec<Hn>) -> &'static str {
    let Some((parts, options)) = parse(&row.data) else { return "bad_data" };
    if option(&options, "source").is_some_and(|source| source != row.sender) {
        return "bad_source";
    }
    let fits = |hn: &Hn| [&*hn.ip, &hn.port, &hn.address] == parts;
    let found = if row.sender == law.controller {
        hns.iter().position(fits)
    } else {
        let own = hns.iter().position(|hn| hn.owner == row.sender);
        if own.is_some_and(|own| !fits(&hns[own])) {
            return "mismatch";
        }
        own
    };
    let Some(found) = found else { return "not_registered" };
    hns.remove(found);
    "ok"
}

/// Goes through a ledger whose rows stand in this order.
pub fn replay(law: &Law, rows: &[Row]) -> Truth {
    let mut truth = Truth::default();
    let mut hns: Vec<Hn> = Vec::new();
    let heights: BTreeSet<u64> = rows.iter().map(|row| row.height.unsigned_abs()).collect();
    let persons: BTreeSet<&String> = rows
        .iter()
        .flat_map(|row| [&row.sender, &row.recipient])
        .filter(|it| is_person(it))
        .collect();
    let mut last = None;
    for height in heights {
        let block: Vec<&Row> =
            rows.iter().filter(|row| row.height.unsigned_abs() == height).collect();
        let is_good = |row: &&Row| {
            [&row.amount, &row.fee, &row.reward].into_iter().all(|it| units(it).is_some())
        };
        if !block.iter().all(is_good) {
            truth.damage = Some(height);
            break;
        }
        last = Some(height);
        let mut deeds = Deeds::default();
        hns.sort();
        let (kept, dropped) = hns
            .into_iter()
            .partition(|hn| balance(rows, &hn.owner, height) >= hn.weight * COLLATERAL);
        (hns, deeds.dropped) = (kept, dropped);
        for row in &block {
            let counts = row.height >= law.first_height;
            deeds.verdicts.extend(match row.operation.as_str() {
                "hypernode:register" if counts => {
                    Some(register((law, rows, height), row, &mut hns))
                }
                "hypernode:unregister" if counts => Some(unregister(law, row, &mut hns)),
                _ => None,
            });
        }
        let has_reward = |row: &&&Row| row.height > 0 && units(&row.reward) > Some(0);
        truth.mined.extend(block.iter().find(has_reward).map(|row| (height, row.time)));
        if deeds != Deeds::default() {
            truth.deeds.insert(height, deeds);
        }
        hns.sort();
        truth.after.insert(height, hns.clone());
    }
    let balances =
        last.iter().flat_map(|at| persons.iter().map(|it| ((*it).clone(), balance(rows, it, *at))));
    truth.balances = balances.filter(|(_, units)| *units != 0).collect();
    truth
}

impl Truth {
    /// The registry after all blocks.
    pub fn registry(&self) -> Vec<Hn> {
        self.after.values().next_back().cloned().unwrap_or_default()
    }

    /// The registry of a round, when it is known.
    pub fn registry_of(&self, law: &Law, round: u64) -> Option<Vec<Hn>> {
        let start = law.origin_ms + round.checked_sub(1)? * law.round_ms;
        if !self.mined.iter().any(|(_, at)| *at > start) {
            return None;
        }
        let before = self.mined.iter().filter(|(_, at)| *at <= start);
        let last = before.map(|(height, _)| *height).max().unwrap_or(0);
        let settled = last.saturating_sub(law.depth) / law.step * law.step;
        let after = self.after.range(..=settled).next_back();
        Some(after.map_or(Vec::new(), |(_, hns)| hns.clone()))
    }
}
