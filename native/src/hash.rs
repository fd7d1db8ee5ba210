//! A keyed hash of short byte strings: values come from clients, who must not be able to make them collide.
//!
//! Folded multiplication over words of 8 bytes, as in wyhash and foldhash; 64 bits are taken where a table needs 32.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Secret numbers, drawn once per scanner.
#[derive(Clone, Copy)]
pub struct Seed(u64, u64);

impl Seed {
    pub fn random() -> Self {
        let draw = || RandomState::new().build_hasher().finish();
        Seed(draw(), draw() | 1)
    }

    /// Return a number that nobody can foretell from the key.
    #[inline(always)]
    pub fn spread(self, key: u64) -> u64 {
        fold(key ^ self.0, self.1)
    }

    #[inline(always)]
    pub fn hash(self, bytes: &[u8]) -> u32 {
        let mut state = self.0 ^ bytes.len() as u64;
        if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            for words in bytes.chunks_exact(16) {
                if let (Some(left), Some(right)) = (words.first_chunk::<8>(), words.last_chunk::<8>()) {
                    state = fold(u64::from_le_bytes(*left) ^ self.1, u64::from_le_bytes(*right) ^ state);
                }
            }
            // What the pairs of words left over: a word that overlaps them costs less than a tail of unknown length.
            let middle = if bytes.len() > 16 && bytes.len() % 16 > 8 {
                bytes[bytes.len() - 16..].first_chunk::<8>()
            } else {
                Some(first)
            };
            let middle = middle.map_or(0, |word| u64::from_le_bytes(*word));
            state = fold(middle ^ self.1, u64::from_le_bytes(*last) ^ state);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            let word = u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
            state = fold(state ^ word, self.1);
        } else {
            let word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            state = fold(state ^ word, self.1);
        }
        let mixed = fold(state, 0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 32) as u32
    }
}

#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}
