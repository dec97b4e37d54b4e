//! A scene: what a client sends, byte for byte, and what the upstream behind the gateway answers.
//!
//! Knows no socket and no gateway. Words that differ between two gateways stand in it as marks.

use std::time::Duration;

/// The host of the scene's own route; with an upper-case `H` where the mark is `@J`.
pub(crate) const HOST_MARK: &str = "@H";
/// The key that opens every route.
pub(crate) const KEY_MARK: &str = "@K";
/// Another key that does.
pub(crate) const SECOND_KEY_MARK: &str = "@L";
/// A key that was revoked.
pub(crate) const REVOKED_KEY_MARK: &str = "@R";
/// A key with the right checksum that was never issued.
pub(crate) const UNKNOWN_KEY_MARK: &str = "@U";

/// How the gateways are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Setting {
    /// As by default, but with short times.
    Plain,
    /// The client is a trusted proxy.
    Trusted,
    /// The key may stand in every place there is.
    EveryPlace,
    /// The key is forwarded too.
    KeptCredential,
    /// Small bounds on heads, targets and bodies.
    Small,
    /// No request is left of the limit.
    UsedUp,
    /// The older headers tell of limits too.
    Legacy,
    /// A missing key is asked for, the key needs a right that it lacks, and connections serve two requests.
    Strict,
}

/// What follows the scene's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once a plain request, whose answer tells that the connection still works and where the scene's requests ended.
    Plain,
    /// Nothing: the gateway loses patience.
    Silence,
    /// The end of the stream.
    Closed,
}

/// When an upstream answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// After the whole request.
    Read,
    /// After its head.
    HeadRead,
}

/// What an upstream does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for the next request.
    Keep,
    /// It closes the connection.
    Close,
}

/// One answer of the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) when: When,
    pub(crate) then: Then,
}

/// One exchange, or several on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) setting: Setting,
    /// What the client sends, in so many writes.
    pub(crate) request: Vec<Vec<u8>>,
    pub(crate) ending: Ending,
    /// What the upstream answers, request by request; `ok` after the last.
    pub(crate) replies: Vec<Reply>,
}

/// The time after which a gateway of a scene gives up on a silent client.
pub(crate) const PATIENCE: Duration = Duration::from_millis(600);

impl Scene {
    /// A scene with these bytes in one write.
    pub(crate) fn new(name: &str, request: impl AsRef<[u8]>) -> Scene {
        Scene {
            name: name.to_owned(),
            setting: Setting::Plain,
            request: vec![request.as_ref().to_vec()],
            ending: Ending::Plain,
            replies: Vec::new(),
        }
    }

    pub(crate) fn under(mut self, setting: Setting) -> Scene {
        self.setting = setting;
        self
    }

    pub(crate) fn ending(mut self, ending: Ending) -> Scene {
        self.ending = ending;
        self
    }

    /// The next answer of the upstream, in one write.
    pub(crate) fn answered(self, answer: impl AsRef<[u8]>) -> Scene {
        self.replied(&[answer.as_ref()], When::Read, Then::Keep)
    }

    /// The next answer of the upstream, after which it closes.
    pub(crate) fn answered_and_closed(self, answer: impl AsRef<[u8]>) -> Scene {
        self.replied(&[answer.as_ref()], When::Read, Then::Close)
    }

    pub(crate) fn replied(mut self, pieces: &[&[u8]], when: When, then: Then) -> Scene {
        self.replies.push(Reply {
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
            when,
            then,
        });
        self
    }

    /// How much both ends send.
    pub(crate) fn bytes(&self) -> usize {
        let replies = self.replies.iter().flat_map(|reply| &reply.pieces);
        self.request.iter().chain(replies).map(Vec::len).sum()
    }
}

/// Replaces every mark by its word.
pub(crate) fn filled_in(bytes: &[u8], words: &[(&str, &str)]) -> Vec<u8> {
    words.iter().fold(bytes.to_vec(), |bytes, (mark, word)| {
        replaced(&bytes, mark.as_bytes(), word.as_bytes())
    })
}

/// Replaces every occurrence of `from`, which must not be empty.
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        if rest.starts_with(from) {
            result.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            result.push(*byte);
            rest = &rest[1..];
        }
    }
    result
}
