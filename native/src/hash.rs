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

    #[inline(always)]
    pub fn hash(self, bytes: &[u8]) -> u32 {
        let length = bytes.len();
        let mut state = self.0 ^ length as u64;
        if length >= 8 {
            for word in bytes.chunks_exact(8).filter_map(|word| word.first_chunk::<8>()) {
                state = fold(state ^ u64::from_le_bytes(*word), self.1);
            }
            // The last 8 bytes overlap what was read; that costs less than reading a tail of unknown length.
            if let Some(last) = bytes.last_chunk::<8>() {
                state = fold(state ^ u64::from_le_bytes(*last), self.1);
            }
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
