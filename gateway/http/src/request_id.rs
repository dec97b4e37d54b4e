//! Names a request: a fresh id for each, or the one that a trusted peer gave it.
//!
//! An id is for finding a request in logs. It is unique, but no secret and no proof of anything.
//! The proxy and the decision API take one per request, before anything can fail.

use http::HeaderValue;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

#[cfg(test)]
mod tests;

/// Longest id taken from a peer, in bytes.
pub const ACCEPTED_BYTES_MAX: usize = 128;

const GENERATED_BYTES: usize = 26;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The id of one request: visible ASCII that needs no escaping in a header, in JSON or in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Generated([u8; GENERATED_BYTES]),
    Accepted(Box<str>),
}

/// A fresh id: 128 random bits in 26 characters of Crockford's base 32, lower case.
#[must_use]
pub fn generate() -> RequestId {
    let (mut high, mut low) = (next_random(), next_random());
    let mut text = [b'0'; GENERATED_BYTES];
    // Thirteen characters of five bits hold each half; the first of them carries the four bits left over.
    for index in (0..13).rev() {
        text[index] = ALPHABET[usize::from(high.to_le_bytes()[0] & 31)];
        text[index + 13] = ALPHABET[usize::from(low.to_le_bytes()[0] & 31)];
        high >>= 5;
        low >>= 5;
    }
    RequestId(Form::Generated(text))
}

/// The id that a trusted peer gave, if it is one that can be kept: 1 to 128 letters, digits and `-_.:+/=@`.
#[must_use]
pub fn accept(text: &str) -> Option<RequestId> {
    let sane = !text.is_empty()
        && text.len() <= ACCEPTED_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&byte));
    sane.then(|| RequestId(Form::Accepted(text.into())))
}

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Generated(text) => std::str::from_utf8(text).unwrap_or_default(),
            Form::Accepted(text) => text,
        }
    }

    /// The id as ASCII.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Generated(text) => text,
            Form::Accepted(text) => text.as_bytes(),
        }
    }

    /// Appends the id as a header line: `x-request-id: …` and the end of the line.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"x-request-id: ");
        out.extend_from_slice(self.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// The id as the value of `X-Request-ID`.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RequestId({})", self.as_str())
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

/// 256 bits from the operating system; from the hasher's keys, which come from there too, when it cannot be asked.
fn seed() -> [u64; 4] {
    let mut state = [0_u64; 4];
    for word in &mut state {
        *word = getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0_u8));
    }
    // The all-zero state is the one that never leaves itself.
    state[0] |= 1;
    state
}

/// One step of xoshiro256++ (Blackman, Vigna 2019), a state per thread: a few nanoseconds, nothing shared.
fn next_random() -> u64 {
    STATE.with(|cell| {
        let mut state = cell.get();
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        cell.set(state);
        result
    })
}
