//! The PoW ledger as the rules see it: addresses, exact amounts, rows grouped into blocks (`docs/protocol.md` §5).
//!
//! No SQL and no floating point here: the shell turns cells into these values.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Timestamp;
use super::hash::Hash;
use super::hex;

/// Units in a coin: amounts are whole numbers of them.
pub const COIN: i128 = 100_000_000;
/// No amount is larger, either way: 10^11 coins.
pub const AMOUNT_MAX: i128 = 100_000_000_000 * COIN;
/// Bytes of the longest data field that is read.
pub const DATA_MAX: usize = 16 * 1024;
/// Decimals of an amount.
const DECIMALS: i64 = 8;
/// Characters of the longest number looked at: 1e308 written out has 309 digits.
const NUMBER_TEXT_MAX: usize = 400;
/// Values of lower-case hex digits, by character: a first read of a ledger looks at a hundred million of them.
const DIGITS: [u8; 256] = {
    let (mut values, mut value) = ([NO_DIGIT; 256], 0);
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};
/// Above all digits.
const NO_DIGIT: u8 = 0xf0;

/// An address on the PoW ledger that can register: 56 lower-case hex digits. Others hold coins too, and never matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowAddress(pub [u8; 28]);

/// A block of the ledger: all rows of one height, whatever its sign, in ledger order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowBlock {
    pub height: u64,
    /// Tells it from another block of its height.
    pub id: Hash,
    /// Of its first row with a reward and a height above zero: when it was mined. Null for a block that nobody mined.
    pub mined_at: Option<Timestamp>,
    /// The position of its last row in the ledger file.
    pub last_row: i64,
    /// An amount that is none: nothing is known of the ledger from here on.
    pub damage: Option<String>,
    pub rows: Vec<PowRow>,
}

/// A block of the ledger, for telling whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub height: u64,
    pub id: Hash,
    /// The position of its last row in the ledger file.
    pub last_row: i64,
}

/// A row, as far as registrations go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowRow {
    /// Null when the text is no address that can register.
    pub sender: Option<PowAddress>,
    pub recipient: Option<PowAddress>,
    /// Amount and fee, which leave the sender, in units.
    pub sent: i128,
    /// Amount and reward, which reach the recipient, in units.
    pub received: i128,
    /// What it asks of the registry; boxed, for it is rare.
    pub order: Option<Box<Order>>,
}

/// A row that registers or unregisters, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Below zero in mirror rows, which never count.
    pub height: i64,
    pub sender: String,
    pub kind: OrderKind,
    pub data: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    Register,
    Unregister,
}

impl PowBlock {
    /// What it is known by.
    pub fn mark(&self) -> Mark {
        Mark { height: self.height, id: self.id, last_row: self.last_row }
    }
}

impl PowAddress {
    /// Exactly 56 lower-case hex digits.
    pub fn parse(text: &str) -> Option<PowAddress> {
        let digits: &[u8; 56] = text.as_bytes().try_into().ok()?;
        let (mut bytes, mut all) = ([0; 28], 0);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        (all < 16).then_some(PowAddress(bytes))
    }

    /// The first eight bytes as one number, of which few addresses share one.
    fn head(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// By their bytes, as derived. Balances are looked up by it: comparing numbers is quicker than comparing memory.
impl Ord for PowAddress {
    fn cmp(&self, other: &PowAddress) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PowAddress {
    fn partial_cmp(&self, other: &PowAddress) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl OrderKind {
    /// The operation that asks for it, whole and in this case.
    pub fn parse(operation: &str) -> Option<OrderKind> {
        [OrderKind::Register, OrderKind::Unregister]
            .into_iter()
            .find(|kind| kind.operation() == operation)
    }

    /// What stands in the ledger's column `operation`.
    pub fn operation(self) -> &'static str {
        match self {
            OrderKind::Register => "hypernode:register",
            OrderKind::Unregister => "hypernode:unregister",
        }
    }
}

/// Units of a whole number of coins; nothing when it is too large.
pub fn units_of_whole(coins: i64) -> Option<i128> {
    let units = i128::from(coins) * COIN;
    (units.abs() <= AMOUNT_MAX).then_some(units)
}

/// Units of a decimal number such as `-12.5` or `1.5e-7`, rounded half to even; nothing when it is no number or too
/// large.
pub fn units_of_decimal(text: &str) -> Option<i128> {
    if text.len() > NUMBER_TEXT_MAX {
        return None;
    }
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // So many of the digits count as whole units.
    let kept = i64::try_from(whole.len()).ok()? + exponent + DECIMALS;
    let mut units: i128 = 0;
    let (mut next, mut rest_is_zero) = (0, true);
    for (at, digit) in digits.iter().map(|byte| i128::from(byte - b'0')).enumerate() {
        let place = i64::try_from(at).ok()? - kept;
        match place {
            ..0 => units = units * 10 + digit,
            0 => next = digit,
            1.. => rest_is_zero &= digit == 0,
        }
        if units > AMOUNT_MAX {
            return None;
        }
    }
    let missing = kept - i64::try_from(digits.len()).ok()?;
    if missing > 0 && units > 0 {
        let scale = 10_i128.checked_pow(u32::try_from(missing).ok()?)?;
        units = units.checked_mul(scale)?;
    }
    if next > 5 || next == 5 && (!rest_is_zero || units % 2 == 1) {
        units += 1;
    }
    (units <= AMOUNT_MAX).then_some(if negative { -units } else { units })
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// An amount as people write it: `12.5`.
pub fn coins(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) = (units.abs() / COIN, units.abs() % COIN);
    let text = format!("{sign}{whole}.{fraction:08}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for PowAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for PowAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PowAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PowAddress, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let error = || serde::de::Error::custom("56 lower-case hex digits are due");
            PowAddress::parse(&text).ok_or_else(error)
        } else {
            <[u8; 28]>::deserialize(deserializer).map(PowAddress)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_units_exactly() {
        for (text, units) in [
            ("0", 0),
            ("-0.0", 0),
            ("1", COIN),
            ("0.01", 1_000_000),
            ("1e-2", 1_000_000),
            ("1.5E+1", 15 * COIN),
            ("9999.99", 999_999_000_000),
            ("30000.02", 3_000_002_000_000),
            ("-12.5", -1_250_000_000),
            ("+7.", 7 * COIN),
            (".5", 50_000_000),
            // Half to even, and more than half.
            ("0.000000005", 0),
            ("0.000000015", 2),
            ("0.0000000050000001", 1),
            ("0.00000001499", 1),
            ("1e-300", 0),
            ("1e11", AMOUNT_MAX),
            ("0e999", 0),
            ("00000000000000000000000000000000000000000000000012", 12 * COIN),
        ] {
            assert_eq!(units_of_decimal(text), Some(units), "{text}");
        }
        let no_numbers =
            ["", "-", ".", "NaN", "inf", "1e", "1e12345", "0x10", "1 ", "1,5", "--1", "1e1e1"];
        let too_large = ["1e12", "1e308", "100000000000.00000001", "-1e11000"];
        for text in no_numbers.iter().chain(&too_large) {
            assert_eq!(units_of_decimal(text), None, "{text}");
        }
        assert_eq!(units_of_decimal(&"1".repeat(401)), None);
        assert_eq!(units_of_whole(100_000_000_001), None);
        assert_eq!(units_of_whole(i64::MIN), None);
        assert_eq!(units_of_whole(-3), Some(-3 * COIN));
        for (units, text) in
            [(0, "0"), (-1, "-0.00000001"), (1_250_000_000, "12.5"), (10 * COIN, "10")]
        {
            assert_eq!(coins(units), text);
        }
    }

    #[test]
    fn addresses_are_in_the_order_of_their_bytes() {
        let mut rng = crate::types::rng::Rng::from_text("order");
        for _ in 0..1_000 {
            // Few values, so that they differ at any place or nowhere.
            let start = rng.index(28);
            let [a, b] = [(); 2].map(|()| {
                let byte = |at| if at < start { 7 } else { 255 * u8::from(rng.one_in(2)) };
                std::array::from_fn(byte)
            });
            assert_eq!(PowAddress(a).cmp(&PowAddress(b)), a.cmp(&b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn an_address_has_56_lower_case_digits_and_nothing_else() {
        let good = "8e3f9ecacda19f7f7b5953593781a1961e672b8244ab01f13a6d11ed";
        assert_eq!(PowAddress::parse(good).map(|it| it.to_string()).as_deref(), Some(good));
        let long = format!("{good}0");
        for bad in ["", "8e", &good.to_uppercase(), &long, &good[1..], &good.replace('8', "g")] {
            assert_eq!(PowAddress::parse(bad), None, "{bad}");
        }
    }
}
