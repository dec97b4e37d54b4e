//! What a gateway and its control API say to each other, one JSON object a line.
//!
//! Shapes only: who may say what is decided by the control API, what follows from it by the gateway. Both ends use these types, and
//! ignore fields they do not know, so that either end may be the newer one. No message holds a secret: keys travel as hashes.
//!
//! All calls carry `Authorization: Bearer <gateway token>`, which binds them to one deployment and perhaps to some of its apps.

pub use portcullis_record::usage::{Recorded, USAGE_ROWS_MAX, UsageBatch, UsageOutcome, UsageRow};

use portcullis_verify::{AppId, Change, ChangeKind, DeploymentId, KeyHash, KeyId, KeyRecord, SchemeId, Version};
use serde::{Deserialize, Serialize};

/// `POST`, HTTP/2: the request's body is a stream of [`FromGateway`], the answer's one of [`FromControl`].
pub const WATCH: &str = "/gateway/v1/watch";
/// `POST` [`LookUp`] → [`LookedUp`].
pub const LOOK_UP: &str = "/gateway/v1/keys/look-up";
/// `GET ?after=ID&limit=N&app_id=ID` → [`KeyPage`]. All parameters may be left out.
pub const KEYS: &str = "/gateway/v1/keys";
/// `POST` [`UsageBatch`] → [`Recorded`].
pub const USAGE: &str = "/gateway/v1/usage";

/// Most hashes in one [`LookUp`].
pub const LOOK_UP_MAX: usize = 256;
/// Most keys in one [`KeyPage`], and how many there are when nothing is asked for.
pub const PAGE_MAX: u32 = 1_000;
/// Longest line of either end, in bytes. Whoever reads a longer one hangs up.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A line of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGateway {
    /// The first line, always and once.
    Hello(Hello),
    /// Any time after [`FromControl::Welcome`].
    Ping(Ping),
}

/// Who watches, and from where on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// 32 hexadecimal digits, drawn when the process started.
    pub gateway_id: String,
    /// What its operator calls it; the host's name unless set.
    pub name: String,
    /// Its version of Portcullis.
    pub version: String,
    /// After how many milliseconds without news it stops trusting what it holds.
    pub stale_max_ms: u64,
    /// It goes on serving even then (`on_stale = "serve"`).
    pub serves_stale: bool,
    /// It has applied every change up to here. `None`: it holds nothing.
    pub applied: Option<Version>,
}

/// A question whose answer tells the gateway that it is up to date, and a report of how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// Counted up by the gateway on each connection.
    pub number: u64,
    /// It has applied every change up to here, and written that down where it keeps a snapshot.
    pub applied: Version,
    /// How long ago, in milliseconds, it last knew that it was up to date.
    pub staleness_ms: u64,
}

/// A line of the control API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromControl {
    /// The first line, always and once.
    Welcome(Welcome),
    /// What happened between `applied` and `to` cannot be told: everything held must be read at `to` or later before it is used again.
    /// Changes go on from `to`.
    Reset {
        /// The head of the log.
        to: Version,
    },
    /// The next changes.
    Changes(Changes),
    /// The answer to a [`Ping`].
    Pong(Pong),
}

/// Whom a token makes a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The deployment whose keys it may know.
    pub deployment_id: DeploymentId,
    /// Its name.
    pub deployment_name: String,
    /// The slugs of the apps whose keys it may know. Empty: all of the deployment.
    pub apps: Vec<String>,
}

/// A run of the log: all of `epoch` after revision `after`, up to and including `through`.
///
/// A gateway that is not exactly at `after` has missed something and must connect again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The history.
    pub epoch: u64,
    /// The revision that the run follows.
    pub after: u64,
    /// The revision that the run leads to; greater than `after`.
    pub through: u64,
    /// Those of the run that concern the deployment, in order. What is not listed touches no key of it.
    pub changes: Vec<ChangeLine>,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLine {
    /// Where it stands.
    pub revision: u64,
    /// What may be stale.
    pub touches: Touches,
}

/// What a change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touches {
    /// A key was created.
    KeyCreated(HashText),
    /// A key was revoked, rotated or edited.
    KeyChanged(HashText),
    /// Every key of an app.
    App(AppId),
    /// Every key that a scheme limits.
    Scheme(SchemeId),
}

/// All changes up to `at` were sent before this line, and `at` was the head of the log when it was read, after the ping had come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// That of the ping.
    pub number: u64,
    /// The head of the log.
    pub at: Version,
}

/// Which keys have these hashes?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookUp {
    /// At most [`LOOK_UP_MAX`].
    pub hashes: Vec<HashText>,
}

/// What is known of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookedUp {
    /// The version of the snapshot that was read.
    pub as_of: Version,
    /// In the order of the question. `None`: no key that this gateway may know has the hash.
    pub records: Vec<Option<KeyRecord>>,
}

/// Some of the keys that a gateway may know, by rising id. Revoked and expired ones are left out, unless they still have a grace period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The version of the snapshot that was read: this page's own.
    pub as_of: Version,
    /// The keys.
    pub keys: Vec<PagedKey>,
    /// What to ask for as `after` next. `None`: there are no more.
    pub next: Option<KeyId>,
}

/// One key of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PagedKey {
    /// Its hash.
    pub hash: HashText,
    /// What is known of it.
    pub record: KeyRecord,
}

/// A key hash as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HashText(pub KeyHash);

impl std::fmt::Debug for HashText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<HashText> for String {
    fn from(hash: HashText) -> String {
        blake3::Hash::from_bytes(hash.0.0).to_hex().as_str().to_owned()
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key hash must be 64 hexadecimal digits")]
pub struct NotAHash;

impl TryFrom<String> for HashText {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<HashText, NotAHash> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NotAHash)?;
        Ok(HashText(KeyHash(*hash.as_bytes())))
    }
}

impl Touches {
    /// What a change of the log touches, as it is sent. `None`: nothing that a gateway holds.
    #[must_use]
    pub fn of(kind: ChangeKind) -> Option<Touches> {
        match kind {
            ChangeKind::KeyCreated(hash) => Some(Touches::KeyCreated(HashText(hash))),
            ChangeKind::KeyChanged(hash) => Some(Touches::KeyChanged(HashText(hash))),
            ChangeKind::AppChanged(app) => Some(Touches::App(app)),
            ChangeKind::SchemeChanged(scheme) => Some(Touches::Scheme(scheme)),
            ChangeKind::TokenRevoked(_) | ChangeKind::NoKey => None,
        }
    }
}

impl ChangeLine {
    /// The change, as the verifier hears it.
    #[must_use]
    pub fn change(self, epoch: u64, deployment_id: DeploymentId) -> Change {
        Change {
            version: Version {
                epoch,
                revision: self.revision,
            },
            deployment_id,
            kind: match self.touches {
                Touches::KeyCreated(hash) => ChangeKind::KeyCreated(hash.0),
                Touches::KeyChanged(hash) => ChangeKind::KeyChanged(hash.0),
                Touches::App(app) => ChangeKind::AppChanged(app),
                Touches::Scheme(scheme) => ChangeKind::SchemeChanged(scheme),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_they_are_written_and_unknown_fields_are_ignored() {
        let hash = HashText(KeyHash([0xab; 32]));
        let line = FromControl::Changes(Changes {
            epoch: u64::MAX >> 1,
            after: 1,
            through: 3,
            changes: vec![ChangeLine {
                revision: 2,
                touches: Touches::KeyChanged(hash),
            }],
        });
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(&"ab".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<FromControl>(&text).unwrap(), line);
        let newer = text.replacen("\"after\"", "\"more\":{},\"after\"", 1);
        assert_eq!(serde_json::from_str::<FromControl>(&newer).unwrap(), line);
    }

    #[test]
    fn what_is_not_a_hash_is_refused() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(66)] {
            assert!(
                serde_json::from_value::<HashText>(serde_json::json!(text)).is_err(),
                "{text}"
            );
        }
    }
}
