//! The version of this software as a number: major, minor and patch in 8, 8 and 16 bits.

/// Ours.
pub const OWN: u32 = pack(env!("CARGO_PKG_VERSION"));

/// `major.minor.patch` as a number; digits and dots only.
const fn pack(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut parts = [0_u32; 3];
    let mut part = 0;
    let mut at = 0;
    while at < bytes.len() && part < 3 {
        match bytes[at] {
            b'.' => part += 1,
            digit @ b'0'..=b'9' => parts[part] = parts[part] * 10 + (digit - b'0') as u32,
            _ => break,
        }
        at += 1;
    }
    parts[0] << 24 | parts[1] << 16 | parts[2]
}

/// A version for people.
pub fn text(version: u32) -> String {
    format!("{}.{}.{}", version >> 24, version >> 16 & 0xff, version & 0xffff)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_version_is_packed() {
        assert_eq!(super::pack("1.2.3"), 0x0102_0003);
        assert_eq!(super::pack("0.10.300-beta.4"), 0x000a_012c);
        assert_eq!(super::text(0x000a_012c), "0.10.300");
    }
}
