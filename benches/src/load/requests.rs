//! What the load generator sends: one request over and over, with another key each time.
//!
//! Decides which key comes when, before anything is measured, so that drawing costs a read in order. Knows nothing of answers.

use crate::limiters::draws::{Dice, Spread, Subjects, scatter};
use anyhow::{Context, Result, ensure};
use portcullis_verify::{KeyHash, Secret};
use std::sync::Arc;

/// Draws before they are repeated.
const DRAWS: usize = 1_000_000;
/// What follows the prefix of a key.
const SECRET_BYTES: usize = 44;
/// What every key begins with.
pub(crate) const PREFIX: &str = "sk_live";

/// Keys of one length, one after the other.
pub(crate) struct Keys {
    text: Vec<u8>,
    width: usize,
    /// Their hashes, in the same order.
    pub(crate) hashes: Vec<KeyHash>,
}

impl Keys {
    /// Makes so many new ones.
    pub(crate) fn generate(count: usize) -> Result<Keys> {
        let mut keys = Keys {
            text: Vec::new(),
            width: 0,
            hashes: Vec::with_capacity(count),
        };
        for _ in 0..count {
            let secret = Secret::generate(PREFIX).context("the system gives no randomness")?;
            keys.text.extend_from_slice(secret.expose().as_bytes());
            keys.width = secret.expose().len();
            keys.hashes.push(secret.hash());
        }
        ensure!(keys.text.len() == count * keys.width, "keys differ in length");
        Ok(keys)
    }

    /// The same, with a checksum that does not hold.
    pub(crate) fn with_wrong_checksums(mut self) -> Keys {
        for key in self.text.chunks_exact_mut(self.width) {
            if let Some(last) = key.last_mut() {
                *last = if *last == b'0' { b'1' } else { b'0' };
            }
        }
        self
    }

    /// The first so many.
    pub(crate) fn first(&self, count: usize) -> Keys {
        Keys {
            text: self.text.get(..count * self.width).unwrap_or_default().to_vec(),
            width: self.width,
            hashes: self.hashes.get(..count).unwrap_or_default().to_vec(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.hashes.len()
    }

    /// The key with this number, from 0.
    pub(crate) fn key(&self, number: usize) -> &[u8] {
        self.text
            .get(number * self.width..(number + 1) * self.width)
            .unwrap_or_default()
    }

    /// All of them as text, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.text
            .chunks_exact(self.width.max(1))
            .map(|key| std::str::from_utf8(key).unwrap_or_default())
    }
}

/// Numbers of keys, in the order in which they are sent.
#[derive(Clone)]
pub(crate) struct Order(Arc<[u32]>);

impl Order {
    /// The first key again and again.
    pub(crate) fn one() -> Order {
        Order([0].into())
    }

    /// Each of the first so many keys once, in no order that memory could profit from.
    pub(crate) fn each(count: u32) -> Order {
        Order((0..count).map(|rank| scatter(rank, count)).collect())
    }

    /// The first so many keys, drawn at random.
    pub(crate) fn drawn(count: u32, spread: Spread) -> Order {
        let subjects = Subjects::new(count, spread);
        let mut dice = Dice::new(0x9e37_79b9_7f4a_7c15);
        Order((0..DRAWS).map(|_| subjects.draw(&mut dice)).collect())
    }

    /// How many draws there are before they are repeated.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A request without its key.
#[derive(Clone)]
pub(crate) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Template {
    /// A GET of `path` with the key as bearer.
    pub(crate) fn get(path: &str) -> Template {
        Template {
            before: format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer ").into_bytes(),
            after: b"\r\n\r\n".to_vec(),
        }
    }

    /// A POST of so many bytes to `path` with the key as bearer.
    pub(crate) fn post(path: &str, bytes: usize) -> Template {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {bytes}\r\nAuthorization: Bearer "
        );
        Template {
            before: head.into_bytes(),
            after: [b"\r\n\r\n".as_slice(), &vec![b'x'; bytes]].concat(),
        }
    }

    /// A question to the decision API, as the published clients ask it.
    pub(crate) fn decision() -> Template {
        let before = "{\"principal\":{\"type\":\"api_key\",\"value\":\"";
        let after = "\"},\"resource\":\"/v1/things\",\"method\":\"GET\",\"client_ip\":\"127.0.0.1\"}";
        let length = before.len() + PREFIX.len() + SECRET_BYTES + after.len();
        let head = format!(
            "POST /v1/authz/check HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        Template {
            before: (head + before).into_bytes(),
            after: after.as_bytes().to_vec(),
        }
    }
}

/// An endless row of requests.
#[derive(Clone)]
pub(crate) struct Requests {
    template: Template,
    keys: Arc<Keys>,
    order: Order,
    next: usize,
}

impl Requests {
    /// `template` with `keys` in `order`.
    pub(crate) fn new(template: Template, keys: &Arc<Keys>, order: &Order) -> Requests {
        Requests {
            template,
            keys: Arc::clone(keys),
            order: order.clone(),
            next: 0,
        }
    }

    /// How many there are before they are repeated.
    pub(crate) fn order_len(&self) -> usize {
        self.order.len()
    }

    /// Begins elsewhere in the order, so that no slice repeats another.
    pub(crate) fn from(mut self, start: usize) -> Requests {
        self.next = start % self.order.len().max(1);
        self
    }

    /// Writes the next one over what is in `out`.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        let number = self.order.0.get(self.next).copied().unwrap_or(0);
        self.next = if self.next + 1 < self.order.len() {
            self.next + 1
        } else {
            0
        };
        out.clear();
        out.extend_from_slice(&self.template.before);
        out.extend_from_slice(self.keys.key(usize::try_from(number).unwrap_or(0)));
        out.extend_from_slice(&self.template.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::PresentedKey;
    use std::collections::BTreeSet;

    #[test]
    fn keys_open_and_those_with_wrong_checksums_do_not() {
        let keys = Keys::generate(50).expect("randomness");
        for (text, hash) in keys.texts().zip(&keys.hashes) {
            let presented = PresentedKey::parse(text.as_bytes()).expect("a good key");
            assert_eq!(presented.hash(), *hash);
        }
        for text in keys.with_wrong_checksums().texts() {
            assert!(PresentedKey::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_question_is_as_long_as_it_says() {
        let keys = Arc::new(Keys::generate(1).expect("randomness"));
        let mut out = Vec::new();
        Requests::new(Template::decision(), &keys, &Order::one()).write(&mut out);
        let text = String::from_utf8(out).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
        let _: serde_json::Value = serde_json::from_str(body).expect("JSON");
    }

    #[test]
    fn each_key_is_sent_once_in_a_round() {
        let keys = Arc::new(Keys::generate(100).expect("randomness"));
        let mut requests = Requests::new(Template::get("/x"), &keys, &Order::each(100)).from(250);
        let mut out = Vec::new();
        let sent: BTreeSet<Vec<u8>> = (0..100)
            .map(|_| {
                requests.write(&mut out);
                out.clone()
            })
            .collect();
        assert_eq!(sent.len(), 100);
        assert!(out.starts_with(b"GET /x HTTP/1.1\r\n") && out.ends_with(b"\r\n\r\n"));
    }
}
