//! The seeded generator of the core and of the simulator: xoshiro256** (Blackman and Vigna, 2018).
//!
//! For jitter and choice only, never for keys.

use super::hash::{Hash, hash};

/// A stream of numbers that its seed decides.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: &Hash) -> Rng {
        Rng([0, 1, 2, 3].map(|index| seed.u64_at(index) | u64::from(index == 0)))
    }

    /// The stream of any text.
    pub fn from_text(text: &str) -> Rng {
        Rng::new(&hash("seed", &[text.as_bytes()]))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let state = &mut self.0;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a product: bias below bound / 2^64, which no use here can notice.
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half of 128 bits")
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below_u32(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("below a bound of 32 bits")
    }

    /// True once in `of` times; never when `of` is 0.
    pub fn one_in(&mut self, of: u64) -> bool {
        of > 0 && self.below(of) == 0
    }

    /// An index of a list of `length` entries.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// Another stream, of this one's next number and a name.
    pub fn fork(&mut self, name: &str) -> Rng {
        Rng::new(&hash("fork", &[&self.next_u64().to_be_bytes(), name.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_stream() {
        let (mut a, mut b) = (Rng::from_text("x"), Rng::from_text("x"));
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            let draw = a.index(10);
            assert_eq!(draw, b.index(10));
            counts[draw] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_ne!(a.next_u64(), Rng::from_text("y").next_u64());
    }
}
