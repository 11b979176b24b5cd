//! Lower-case hexadecimal text.

use std::fmt;

/// Why a text is not the hex expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HexError {
    /// A character that is no hex digit, at this position.
    Digit(usize),
    /// This many digits where another number is due.
    Length { found: usize, expected: usize },
    /// An odd number of digits.
    Odd,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HexError::Digit(at) => write!(f, "character {} is not a hex digit", at + 1),
            HexError::Length { found, expected } => {
                write!(f, "{found} hex digits, {expected} are due")
            }
            HexError::Odd => f.write_str("an odd number of hex digits"),
        }
    }
}

impl std::error::Error for HexError {}

/// Two digits a byte.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Bytes of a text of hex digits, upper or lower case.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let mut digits = Vec::with_capacity(text.len());
    for (at, character) in text.chars().enumerate() {
        let digit = character.to_digit(16).ok_or(HexError::Digit(at))?;
        digits.push(u8::try_from(digit).expect("a hex digit is below 16"));
    }
    if digits.len() % 2 == 1 {
        return Err(HexError::Odd);
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let bytes = decode(text)?;
    let found = bytes.len() * 2;
    bytes.try_into().map_err(|_| HexError::Length { found, expected: N * 2 })
}
