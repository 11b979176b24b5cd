//! Lengths of time as people write them: `2s`, `500ms`, `3m`; and as they read them.

use std::time::Duration;

use super::number::whole;

/// A duration from its text: a whole number and its unit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(format!("{text:?} lacks its unit: {text}ms, {text}s, {text}m or {text}h"));
        }
        _ => return Err(format!("{text:?} is not a duration such as 500ms, 2s, 3m or 1h")),
    };
    let ms = whole(number)?.checked_mul(unit_ms).ok_or(format!("{text} is too long"))?;
    Ok(Duration::from_millis(ms))
}

/// Milliseconds, short and for people: `850 ms`, `42 s`, `3 min`, `5 h 10 min`, `12 days`.
pub fn words(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The same where milliseconds matter: `1850 ms`.
pub fn precise(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { words(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        let ms = |text: &str| parse(text).map(|duration| duration.as_millis()).ok();
        assert_eq!(ms("2s"), Some(2_000));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("3m"), Some(180_000));
        assert_eq!(ms("1h"), Some(3_600_000));
        for bad in
            ["", "2", "s", "+2s", "-2s", "2.5s", "2 s", "2S", "2sec", "99999999999999999999s"]
        {
            assert_eq!(ms(bad), None, "{bad:?}");
        }
        assert_eq!(ms("18446744073709551615m"), None);
    }

    #[test]
    fn people_read_the_largest_units() {
        let cases = [(0, "0 ms"), (999, "999 ms"), (61_000, "61 s"), (180_000, "3 min")];
        for (ms, expected) in cases {
            assert_eq!(words(ms), expected);
        }
        assert_eq!(words(18_600_000), "5 h 10 min");
        assert_eq!(words(1_036_800_000), "12 days");
    }
}
