//! Lengths of time as people read them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
