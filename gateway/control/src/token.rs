//! Management and gateway tokens: how they are made and under which hash they are known.
//!
//! Knows nothing of where they are stored. A token that an operator chose may have any shape; a generated one has the shape
//! of a key's secret, so that it carries a checksum and is wiped from memory.

use portcullis_store::entity::TokenKind;
use portcullis_verify::Secret;

/// Domain of the hashes: no key's hash can ever equal a token's.
const HASH_CONTEXT: &str = "portcullis 2026 control token hash";
/// Fewest characters of a token that an operator chose.
pub const TOKEN_CHARS_MIN: usize = 16;
/// Most characters of a token.
pub const TOKEN_CHARS_MAX: usize = 512;

/// The hash under which a token is stored and looked up.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    blake3::derive_key(HASH_CONTEXT, token.as_bytes())
}

/// Makes a token with at least 220 random bits: `pcm_…` to manage, `pcg_…` for gateways.
pub fn generate(kind: TokenKind) -> Result<Secret, getrandom::Error> {
    Secret::generate(match kind {
        TokenKind::Management => "pcm",
        TokenKind::Gateway => "pcg",
    })
}

/// Whether a token can be sent in a header and is long enough to be worth hashing.
#[must_use]
pub fn is_acceptable(token: &str) -> bool {
    (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_tokens_are_acceptable_distinct_and_hashed_apart_from_keys() {
        for (kind, prefix) in [(TokenKind::Management, "pcm_"), (TokenKind::Gateway, "pcg_")] {
            let one = generate(kind).unwrap();
            let other = generate(kind).unwrap();
            assert!(one.expose().starts_with(prefix));
            assert!(is_acceptable(one.expose()));
            assert_ne!(hash(one.expose()), hash(other.expose()));
            assert_ne!(
                hash(one.expose()),
                one.hash().0,
                "a key's hash must not open the control API"
            );
        }
    }

    #[test]
    fn only_long_visible_ascii_is_acceptable() {
        let cases = [
            ("", false),
            ("short-token-15c", false),
            ("exactly-16-chars", true),
            ("has a space in the middle", false),
            ("tab\tin-the-middle-of-it", false),
            ("nicht-ganz-ascii-größer", false),
        ];
        for (token, expected) in cases {
            assert_eq!(is_acceptable(token), expected, "{token:?}");
        }
        assert!(is_acceptable(&"x".repeat(TOKEN_CHARS_MAX)));
        assert!(!is_acceptable(&"x".repeat(TOKEN_CHARS_MAX + 1)));
    }
}
