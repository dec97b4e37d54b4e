//! What a caller presents as a key: its shape, its checksum, its hash.
//!
//! Refuses junk without any look-up and keeps nothing of what it read but the hash. Knows no stored key; whether one with
//! this hash exists is asked in [`crate::lookup`]. [`crate::Secret`] makes keys of the same format.
//!
//! `{prefix}_{37 random base62 characters}{6 base62 characters of CRC-32 over everything before them}`. The checksum is no
//! security boundary, the 220 random bits are: it keeps typing errors and random junk away from the store.

mod hashing;

use crate::KeyHash;
pub(crate) use hashing::hash;

/// Longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 32;

pub(crate) const RANDOM_BYTES: usize = 37;
pub(crate) const CHECKSUM_BYTES: usize = 6;
const TAIL_BYTES: usize = RANDOM_BYTES + CHECKSUM_BYTES;

/// Shortest key: one byte of prefix, the separator, the tail.
const KEY_BYTES_MIN: usize = 1 + 1 + TAIL_BYTES;
/// Longest key. Anything longer is refused without being read.
const KEY_BYTES_MAX: usize = PREFIX_BYTES_MAX + 1 + TAIL_BYTES;

pub(crate) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A credential of the right shape and with the right checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey {
    hash: KeyHash,
}

/// The credential is no key of ours: wrong shape or wrong checksum. Says no more, so that nothing of it can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed API key")]
pub struct MalformedKey;

impl PresentedKey {
    /// Checks the shape and the checksum of `text` and hashes it. Allocates nothing; reads nothing of what is too long.
    ///
    /// The whole of `text` must be the key: a byte before or after it, white space included, makes it malformed.
    pub fn parse(text: &[u8]) -> Result<PresentedKey, MalformedKey> {
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&text.len()) {
            return Err(MalformedKey);
        }
        let (head, tail) = text.split_at(text.len() - TAIL_BYTES);
        let Some((b'_', prefix)) = head.split_last() else {
            return Err(MalformedKey);
        };
        let (covered, presented_checksum) = text.split_at(text.len() - CHECKSUM_BYTES);
        if !is_prefix(prefix) || !tail.iter().all(u8::is_ascii_alphanumeric) || presented_checksum != checksum(covered)
        {
            return Err(MalformedKey);
        }
        Ok(PresentedKey { hash: hash(text) })
    }

    /// The hash under which the key is stored, if it is.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        self.hash
    }
}

/// Whether keys may start with this: `[A-Za-z0-9][A-Za-z0-9_]{0,31}`, not ending in `_`.
#[must_use]
pub fn is_prefix(prefix: &[u8]) -> bool {
    let (Some(first), Some(last)) = (prefix.first(), prefix.last()) else {
        return false;
    };
    prefix.len() <= PREFIX_BYTES_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && prefix.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// CRC-32 (IEEE) of `covered` as six base62 digits, the most significant first.
pub(crate) fn checksum(covered: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut rest = crc32fast::hash(covered);
    let mut digits = [b'0'; CHECKSUM_BYTES];
    for digit in digits.iter_mut().rev() {
        let value = usize::try_from(rest % 62).unwrap_or(0);
        *digit = BASE62[value];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use proptest::prelude::*;

    /// A key made outside this crate's code, with its hash: the format can not drift without this test noticing.
    const KNOWN: (&str, &str) = (
        "sk_live_0aZ9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kPzOyN2R47sL",
        "43c0a2f377c351163262191df9005cd9f3b95b883e12e7544be1558f727bf0fa",
    );

    fn check(text: &[u8], expected: bool) {
        assert_eq!(
            PresentedKey::parse(text).is_ok(),
            expected,
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }

    /// A well-formed key with this prefix, whether or not the prefix is allowed.
    fn well_summed(prefix: &str) -> Vec<u8> {
        let mut key = format!("{prefix}_{}", "a".repeat(RANDOM_BYTES)).into_bytes();
        let sum = checksum(&key);
        key.extend_from_slice(&sum);
        key
    }

    #[test]
    fn format_is_pinned() {
        let parsed = PresentedKey::parse(KNOWN.0.as_bytes()).unwrap();
        let hex: String = parsed.hash().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, KNOWN.1);
    }

    #[test]
    fn prefixes() {
        for (prefix, expected) in [
            ("a", true),
            ("0", true),
            ("sk_live", true),
            ("a__b", true),
            ("A1_b2", true),
            (&"p".repeat(32), true),
            ("", false),
            ("_", false),
            ("_a", false),
            ("a_", false),
            ("a-b", false),
            ("a b", false),
            ("ä", false),
            ("a.b", false),
            (&"p".repeat(33), false),
        ] {
            assert_eq!(is_prefix(prefix.as_bytes()), expected, "{prefix:?}");
            check(&well_summed(prefix), expected);
        }
    }

    #[test]
    fn anything_around_a_good_key_makes_it_malformed() {
        let good = well_summed("sk_live");
        check(&good, true);
        for (before, after) in [
            ("", " "),
            (" ", ""),
            ("", "\n"),
            ("", "\r\n"),
            ("\t", ""),
            ("", "\0"),
            ("", "a"),
            ("a", ""),
            ("", "_"),
            ("_", ""),
            ("\"", "\""),
            ("", "=="),
            ("Bearer ", ""),
            ("", ","),
        ] {
            check(&[before.as_bytes(), &good, after.as_bytes()].concat(), false);
        }
        for at in 1..good.len() {
            let mut spaced = good.clone();
            spaced.insert(at, b' ');
            check(&spaced, false);
        }
        check(&[good.as_slice(), good.as_slice()].concat(), false);
        check(b"", false);
        check(&[0xff; 60], false);
        check(&[b'a'; 60], false);
        check(&vec![b'a'; 50 * 1024 * 1024], false);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let good = well_summed("sk_live");
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut changed = good.clone();
                changed[at] = byte;
                check(&changed, byte == good[at]);
            }
        }
    }

    #[test]
    fn checksums_that_do_not_fit_thirty_two_bits_are_refused() {
        let mut key = well_summed("a");
        let at = key.len() - CHECKSUM_BYTES;
        key[at..].copy_from_slice(b"zzzzzz");
        check(&key, false);
    }

    proptest! {
        #[test]
        fn strangers_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = PresentedKey::parse(&bytes);
        }

        #[test]
        fn what_is_generated_parses(prefix in "[A-Za-z0-9]([A-Za-z0-9_]{0,30}[A-Za-z0-9])?") {
            let secret = Secret::generate(&prefix).unwrap();
            let parsed = PresentedKey::parse(secret.expose().as_bytes()).unwrap();
            prop_assert_eq!(parsed.hash(), secret.hash());
        }
    }
}
