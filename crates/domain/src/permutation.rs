//! The keyed permutations that make counters and ids into codes.
//!
//! Both are alternating Feistel networks on a mixed-radix domain `Z_L × Z_R` with AES-128 as the round
//! function. Neighbouring inputs share nothing an outsider could see, every input has one output and
//! the other way round, and there is no cycle walking: the domain is hit exactly.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Block};

use crate::limits::{CODE_LEN, CODE_SPACE};

/// Known attacks on small balanced networks need fewer than 8 to 10; the rest is margin.
const ROUNDS: u8 = 12;
/// `62^7 = 2^7 · 31^7` splits into `2·31^4` and `2^6·31^3`, which differ by 3 %.
const CODE_LEFT: u64 = 1_847_042;
const CODE_RIGHT: u64 = 1_906_624;
const _: () = assert!(CODE_LEFT * CODE_RIGHT == CODE_SPACE, "the factors must cover the codes exactly");
const HALF_64: u64 = 1 << 32;
/// Characters of a code that carries 64 bits. Keeps the round functions of the two permutations apart.
const CODE_LEN_64: usize = 11;

/// A permutation of `[0, 62^7)`. Two epochs, or two keys, are unrelated permutations.
#[derive(Clone)]
pub struct Permutation(Feistel<CODE_LEFT, CODE_RIGHT>);

/// A permutation of all 64-bit numbers, for codes made of link ids.
#[derive(Clone)]
pub struct Permutation64(Feistel<HALF_64, HALF_64>);

impl std::fmt::Debug for Permutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permutation(…)")
    }
}

impl std::fmt::Debug for Permutation64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permutation64(…)")
    }
}

impl Permutation {
    pub fn new(key: [u8; 16], epoch: u32) -> Self {
        Self(Feistel::new(key, CODE_LEN, epoch))
    }

    /// Numbers from `62^7` on are no codes and stay what they are.
    pub fn encode(&self, counter: u64) -> u64 {
        if counter < CODE_SPACE { self.0.encode(counter) } else { counter }
    }

    /// Undoes [`Self::encode`].
    pub fn decode(&self, permuted: u64) -> u64 {
        if permuted < CODE_SPACE { self.0.decode(permuted) } else { permuted }
    }
}

impl Permutation64 {
    pub fn new(key: [u8; 16], epoch: u32) -> Self {
        Self(Feistel::new(key, CODE_LEN_64, epoch))
    }

    pub fn encode(&self, value: u64) -> u64 {
        self.0.encode(value)
    }

    /// Undoes [`Self::encode`].
    pub fn decode(&self, permuted: u64) -> u64 {
        self.0.decode(permuted)
    }
}

/// A permutation of `[0, LEFT · RIGHT)`; the factors are at most `2^32`, so that nothing overflows.
#[derive(Clone)]
struct Feistel<const LEFT: u64, const RIGHT: u64> {
    cipher: Aes128Enc,
    /// What every round's input begins with, the round number missing.
    prefix: [u8; 8],
}

impl<const LEFT: u64, const RIGHT: u64> Feistel<LEFT, RIGHT> {
    const FITS: () = assert!(LEFT > 0 && LEFT <= HALF_64 && RIGHT > 0 && RIGHT <= HALF_64);

    fn new(key: [u8; 16], code_len: usize, epoch: u32) -> Self {
        let () = Self::FITS;
        let mut prefix = [0; 8];
        prefix[1] = u8::try_from(code_len).unwrap_or(u8::MAX);
        prefix[2..6].copy_from_slice(&epoch.to_be_bytes());
        Self { cipher: Aes128Enc::new(&key.into()), prefix }
    }

    fn encode(&self, value: u64) -> u64 {
        let (mut left, mut right) = (value / RIGHT, value % RIGHT);
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                left = (left + self.round(round, right, LEFT)) % LEFT;
            } else {
                right = (right + self.round(round, left, RIGHT)) % RIGHT;
            }
        }
        left * RIGHT + right
    }

    fn decode(&self, value: u64) -> u64 {
        let (mut left, mut right) = (value / RIGHT, value % RIGHT);
        for round in (0..ROUNDS).rev() {
            if round % 2 == 0 {
                left = (left + LEFT - self.round(round, right, LEFT)) % LEFT;
            } else {
                right = (right + RIGHT - self.round(round, left, RIGHT)) % RIGHT;
            }
        }
        left * RIGHT + right
    }

    /// The first 64 bits of `AES_k(round ‖ code length ‖ epoch ‖ value)`, scaled down to `[0, modulus)`.
    /// Scaling by multiplication is biased by less than `2^-32`, and by nothing for powers of two.
    fn round(&self, round: u8, value: u64, modulus: u64) -> u64 {
        let mut block = Block::default();
        block[..8].copy_from_slice(&self.prefix);
        block[0] = round;
        block[8..].copy_from_slice(&value.to_be_bytes());
        self.cipher.encrypt_block(&mut block);
        let random = block[..8].iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        u64::try_from((u128::from(random) * u128::from(modulus)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
