//! Keys that nobody issued: of the wrong checksum, which costs the gateway nothing, and of the right one.

use std::hash::{BuildHasher, Hasher, RandomState};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes keys; each is new.
pub(crate) struct Forge(u64);

impl Forge {
    pub(crate) fn new() -> Forge {
        Forge(RandomState::new().build_hasher().finish() | 1)
    }

    /// A key of the right shape whose checksum is right only if `is_sound`.
    pub(crate) fn key(&mut self, is_sound: bool) -> String {
        let mut key = String::from("sk_");
        for _ in 0..37 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            key.push(digit(self.0 % 62));
        }
        let sum = u64::from(crc32(key.as_bytes())) ^ u64::from(!is_sound);
        for place in (0..6).rev() {
            key.push(digit(sum / 62_u64.pow(place) % 62));
        }
        key
    }
}

fn digit(value: u64) -> char {
    char::from(DIGITS[usize::try_from(value).expect("below 62")])
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}
