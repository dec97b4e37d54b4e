//! A new key in the clear, between its generation and the one answer that shows it.
//!
//! Knows nothing of where keys are stored. The control API makes one per creation and rotation, stores its hash and forgets it;
//! it can be read only through [`Secret::expose`], and is wiped from memory when dropped.

use crate::KeyHash;
use crate::presented_key::{self, BASE62, CHECKSUM_BYTES, RANDOM_BYTES};
use zeroize::Zeroizing;

/// Length of [`Secret::suffix`], in characters.
const SUFFIX_BYTES: usize = 8;

/// A whole API key in the clear.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Makes a key that starts with `prefix`, from the operating system's generator.
    ///
    /// `prefix` must pass [`presented_key::is_prefix`]; a key with another prefix would be refused wherever it is presented.
    pub fn generate(prefix: &str) -> Result<Secret, getrandom::Error> {
        debug_assert!(
            presented_key::is_prefix(prefix.as_bytes()),
            "a key with this prefix would open nothing"
        );
        // The exact capacity: growing would leave a copy of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + RANDOM_BYTES + CHECKSUM_BYTES));
        text.push_str(prefix);
        text.push('_');
        push_random_base62(&mut text, RANDOM_BYTES)?;
        let checksum = presented_key::checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(Secret(text))
    }

    /// The key itself. Whoever calls this is answerable for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash under which it is stored.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        presented_key::hash(self.0.as_bytes())
    }

    /// The last eight characters, by which people tell keys apart. Six of them are the checksum: they give little away.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.0.get(self.0.len() - SUFFIX_BYTES..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Appends `count` characters, each of the 62 equally likely: six random bits each, and the two values too many are thrown away.
fn push_random_base62(text: &mut String, count: usize) -> Result<(), getrandom::Error> {
    let mut missing = count;
    let mut random = Zeroizing::new([0_u8; 64]);
    while missing > 0 {
        getrandom::fill(random.as_mut_slice())?;
        for byte in random.iter() {
            if missing == 0 {
                break;
            }
            if let Some(character) = BASE62.get(usize::from(byte & 0x3f)) {
                text.push(char::from(*character));
                missing -= 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn has_the_documented_shape() {
        let secret = Secret::generate("sk_live").unwrap();
        let text = secret.expose();
        assert_eq!(text.len(), "sk_live".len() + 1 + 43);
        assert!(text.starts_with("sk_live_"));
        assert!(text.ends_with(secret.suffix()));
        assert_eq!(secret.suffix().len(), 8);
        assert_eq!(text.len(), secret.0.capacity(), "it never grew");
    }

    #[test]
    fn debug_tells_nothing() {
        let secret = Secret::generate("sk").unwrap();
        let shown = format!("{secret:?}");
        assert_eq!(shown, "Secret(…)");
    }

    #[test]
    fn secrets_differ_and_use_every_character_evenly() {
        let mut seen = HashSet::new();
        let mut counts: HashMap<char, u32> = HashMap::new();
        for _ in 0..4_000 {
            let secret = Secret::generate("k").unwrap();
            assert!(seen.insert(secret.hash()));
            for character in secret.expose()[2..2 + RANDOM_BYTES].chars() {
                *counts.entry(character).or_default() += 1;
            }
        }
        // 148 000 draws: 2 387 of each are expected, with a standard deviation of 48. A biased modulo would be off by a quarter.
        assert_eq!(counts.len(), 62);
        for (character, count) in counts {
            assert!((2_387 - 400..=2_387 + 400).contains(&count), "{character}: {count}");
        }
    }
}
