//! A small random number generator, so that the simulated fleet is the same for the same seed.
//!
//! SplitMix64: not for secrets. The numbers a seed gives never change, or the demo's tests and figures would.

/// A stream of numbers determined by its seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `low..high`; `low` where the range is empty.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.saturating_sub(low);
        if width <= 0 {
            return low;
        }
        low + (self.bits() % width.unsigned_abs()) as i64
    }

    /// An index below `len`; 0 where `len` is 0.
    pub fn below(&mut self, len: usize) -> usize {
        if len == 0 { 0 } else { (self.bits() % len as u64) as usize }
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }
}

/// A number that looks random and depends on nothing but `parts`: names and commits are made of it.
pub fn hash(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0x51_7c_c1_b7_27_22_0a_95, |state, part| mix(state ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15))))
}

/// Forty hexadecimal digits that look like a git commit and depend on nothing but `parts`.
pub fn commit(parts: &[u64]) -> String {
    let first = hash(parts);
    let second = mix(first ^ 0x01);
    let third = mix(first ^ 0x02) >> 32;
    format!("{first:016x}{second:016x}{third:08x}")
}

/// The finalizer of SplitMix64: every input bit flips half of the output bits.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_another_seed_another() {
        let take = |seed| {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.bits()).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert_eq!(Random::new(0).bits(), 0xe220_a839_7b1d_cdaf, "the published first number of SplitMix64");
    }

    #[test]
    fn commits_have_forty_digits_and_differ() {
        let commits: std::collections::BTreeSet<_> = (0..1000).map(|n| commit(&[1, n])).collect();
        assert_eq!(commits.len(), 1000);
        assert!(commits.iter().all(|c| c.len() == 40 && c.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn ranges_are_kept_even_when_empty() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| (3..9).contains(&random.between(3, 9))));
        assert_eq!(random.between(5, 5), 5);
        assert_eq!(random.below(0), 0);
    }
}
