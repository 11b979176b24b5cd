//! Whole numbers from arguments and files, strictly: digits and nothing else (`u16::parse` takes `+6969`).

/// A whole number.
pub fn whole(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is not a whole number"));
    }
    text.parse().map_err(|_| format!("{text} is too large"))
}

/// A whole number of at least 1.
pub fn positive(text: &str) -> Result<u64, String> {
    match whole(text)? {
        0 => Err("at least 1 is due".to_owned()),
        number => Ok(number),
    }
}

/// A number of things in words: `1 message`, `2 messages`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Unix time in seconds, with up to three decimals; in milliseconds.
pub fn unix_ms(text: &str) -> Result<u64, String> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let error = || format!("{text:?} is not a unix time in seconds");
    if decimals.is_empty() || decimals.len() > 3 {
        return Err(error());
    }
    let ms = whole(&format!("{decimals:0<3}")).map_err(|_| error())?;
    let seconds = whole(seconds).map_err(|_| error())?;
    seconds.checked_mul(1000).and_then(|total| total.checked_add(ms)).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_make_a_number() {
        assert_eq!(whole("6969"), Ok(6969));
        assert_eq!(whole("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "+6969", "-1", " 1", "1_000", "0x10", "1.0", "18446744073709551616", "٣"] {
            assert!(whole(bad).is_err(), "{bad:?}");
        }
        assert!(positive("0").is_err());
    }

    #[test]
    fn unix_time_may_have_decimals() {
        assert_eq!(unix_ms("1534716000"), Ok(1_534_716_000_000));
        assert_eq!(unix_ms("1534716000.0"), Ok(1_534_716_000_000));
        assert_eq!(unix_ms("1534716000.25"), Ok(1_534_716_000_250));
        for bad in ["", ".", "1.", ".5", "-1", "1.2345", "1.+5", "1e9", "18446744073709551615"] {
            assert!(unix_ms(bad).is_err(), "{bad:?}");
        }
    }
}
