//! Maps and sets by address, quicker than those of the standard library: a walk looks every task up several times.
//! Knows nothing of what lies at the addresses.
//!
//! The addresses come from the worker, who must not be able to choose such that all fall into one place: the hash
//! depends on a number that is drawn anew for each map.

use crate::model::Addr;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

pub type AddrMap<V> = HashMap<Addr, V, Seeded>;
pub type AddrSet = HashSet<Addr, Seeded>;

#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for Seeded {
    type Hasher = AddrHasher;

    fn build_hasher(&self) -> AddrHasher {
        AddrHasher(self.0)
    }
}

pub struct AddrHasher(u64);

impl Hasher for AddrHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    /// Both halves of the product, folded: every bit of the address reaches every bit of the hash.
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(word ^ self.0) * u128::from(self.0 | 1 | 1 << 63);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_a_row_fall_into_different_places() {
        let seeded = Seeded::default();
        let places: HashSet<u64> = (0..4096u64).map(|i| seeded.hash_one(Addr(i * 176)) >> 52).collect();
        // 4,096 balls into 4,096 boxes leave a third of them empty.
        assert!(places.len() > 2000, "{}", places.len());
        assert_ne!(seeded.hash_one(Addr(1)), Seeded::default().hash_one(Addr(1)));
    }
}
