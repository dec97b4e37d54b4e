//! Any bytes may stand where a key should: none of them panics, and exactly those of the documented shape are taken.
//!
//! Chance does not hit a checksum, so the bytes are tried a second time with the right one, computed here bit by bit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_verify::PresentedKey;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if bytes.len() <= 200 {
        check(&[bytes, &checksum(bytes)].concat());
    }
});

fn check(bytes: &[u8]) {
    let parsed = PresentedKey::parse(bytes);
    assert_eq!(parsed.is_ok(), is_key(bytes), "{:?}", bytes.escape_ascii().to_string());
    let Ok(key) = parsed else { return };
    for other in [
        &[bytes, b"x"].concat(),
        &[b"x", bytes].concat(),
        &[bytes, b"\n"].concat(),
        &bytes[1..].to_vec(),
    ] {
        assert_ne!(PresentedKey::parse(other).map(|other| other.hash()), Ok(key.hash()));
    }
}

/// The format, as its documentation says it: `[A-Za-z0-9][A-Za-z0-9_]{0,31}`, not ending in `_`; `_`; 37 random characters; 6 of checksum.
fn is_key(bytes: &[u8]) -> bool {
    let Some(prefix_bytes) = bytes.len().checked_sub(44) else {
        return false;
    };
    let (prefix, rest) = bytes.split_at(prefix_bytes);
    let is_base62 = |byte: &u8| byte.is_ascii_alphanumeric();
    (1..=32).contains(&prefix.len())
        && is_base62(&prefix[0])
        && is_base62(&prefix[prefix.len() - 1])
        && prefix.iter().all(|byte| is_base62(byte) || *byte == b'_')
        && rest[0] == b'_'
        && rest[1..].iter().all(is_base62)
        && bytes[bytes.len() - 6..] == checksum(&bytes[..bytes.len() - 6])
}

fn checksum(covered: &[u8]) -> [u8; 6] {
    let mut crc = u32::MAX;
    for byte in covered {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    let mut rest = !crc;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}
