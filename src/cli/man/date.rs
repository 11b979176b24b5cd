//! The day of the commit that this binary was made of, for the foot of the page.

const DAY_SECONDS: u64 = 86_400;

/// The day as `2026-01-31`; nothing when the build did not know it.
pub fn built() -> String {
    let seconds: u64 = env!("HYPERNODE_BUILT").parse().expect("build.rs writes a number");
    if seconds == 0 { String::new() } else { day(seconds / DAY_SECONDS) }
}

/// A day from 1970 on by its number.
fn day(number: u64) -> String {
    let (mut year, mut rest) = (1970, number);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if rest < length {
            break;
        }
        rest -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", rest + 1)
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_date() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_603_200, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds / DAY_SECONDS), date);
        }
    }
}
