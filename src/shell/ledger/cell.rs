//! Numbers in the cells of a ledger, which may be anything.

use rusqlite::types::ValueRef;

use crate::types::clock::Timestamp;
use crate::types::pow::{COIN, units_of_decimal, units_of_whole};

/// Characters of a bad cell that are shown.
const SHOWN_MAX: usize = 40;
/// Below this many units a number of at most 15 digits is behind a cell, and no other one of that length.
const EXACT_MAX: f64 = 1e15;
/// Units in a millisecond, where the number is one of seconds.
const UNITS_IN_MS: i128 = COIN / 1_000;

/// The units in a cell that should hold an amount, or what it holds instead.
pub fn units(cell: ValueRef<'_>) -> Result<i128, String> {
    let units = match cell {
        ValueRef::Integer(coins) => units_of_whole(coins),
        ValueRef::Real(coins) => units_of_real(coins),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(units_of_decimal),
        ValueRef::Null | ValueRef::Blob(_) => None,
    };
    units.ok_or_else(|| show(cell))
}

/// The shortest decimal that is read back as this number, times 10^8.
fn units_of_real(coins: f64) -> Option<i128> {
    if !coins.is_finite() {
        return None;
    }
    let units = (coins * 1e8).round();
    // A decimal of at most 15 digits, of which a double holds no two: it is the shortest one.
    #[allow(clippy::cast_possible_truncation, reason = "a whole number below 10^15")]
    if units.abs() < EXACT_MAX && units / 1e8 == coins {
        return Some(i128::from(units as i64));
    }
    units_of_decimal(&format!("{coins:e}"))
}

/// A time in seconds; nothing for what is none.
pub fn time(cell: ValueRef<'_>) -> Option<Timestamp> {
    let ms = units(cell).ok()? / UNITS_IN_MS;
    u64::try_from(ms).ok().map(Timestamp)
}

/// Text of a cell as far as it can be shown.
fn show(cell: ValueRef<'_>) -> String {
    match cell {
        ValueRef::Null => "nothing".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:e}"),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN_MAX)]);
            format!("{:?}", text.chars().take(SHOWN_MAX).collect::<String>())
        }
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_gives_what_the_long_way_gives() {
        let mut rng = crate::types::rng::Rng::from_text("cells");
        for _ in 0..20_000 {
            let length = 1 + u32::try_from(rng.below(18)).unwrap();
            let digits = rng.below(10_u64.pow(length));
            let text = format!("{digits}e-{}", rng.below(20));
            let coins: f64 = text.parse().unwrap();
            assert_eq!(units_of_real(coins), units_of_decimal(&format!("{coins:e}")), "{text}");
        }
        for (coins, units) in
            [(0.1, Some(10_000_000)), (-0.0, Some(0)), (0.1 + 0.2, Some(30_000_000))]
        {
            assert_eq!(units_of_real(coins), units);
        }
        for coins in [f64::NAN, f64::INFINITY, 1e308, -1e12] {
            assert_eq!(units_of_real(coins), None);
        }
    }

    #[test]
    fn cells_that_hold_no_amount_are_shown() {
        let shown = |cell| units(cell).expect_err("no amount");
        assert_eq!(shown(ValueRef::Null), "nothing");
        assert_eq!(shown(ValueRef::Text(b"NaN")), "\"NaN\"");
        assert_eq!(shown(ValueRef::Blob(&[0; 7])), "7 bytes");
        assert_eq!(shown(ValueRef::Real(1e308)), "1e308");
        assert_eq!(shown(ValueRef::Integer(i64::MIN)), i64::MIN.to_string());
        assert!(shown(ValueRef::Text(&[b'x'; 10_000])).len() < 50);
        assert!(shown(ValueRef::Text(&[0xff; 100])).chars().count() < 50);
        assert_eq!(units(ValueRef::Text(b"12.5")), Ok(1_250_000_000));
        assert_eq!(time(ValueRef::Real(1_534_716_000.25)), Some(Timestamp(1_534_716_000_250)));
        assert_eq!(time(ValueRef::Integer(-1)), None);
    }
}
