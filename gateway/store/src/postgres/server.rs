//! The server behind a `postgres://` URL: what of the URL is taken, and what every connection is told before its use.
//!
//! Knows no pool and no table. No message and no `Debug` of it has the URL or the password in it.

use crate::StoreError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Row as _};
use std::fmt;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How long a call waits for a connection, and a connection for the server.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// How long a statement waits for its answer. The server gives up a little earlier, and says why.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// PostgreSQL 14, as the server counts.
const VERSION_MIN: i64 = 140_000;
/// What a URL may set beside user, password, host, port and database. Others are refused unread: they may be a part of
/// a password that is not percent-encoded.
const PARAMETERS: [&str; 7] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "options",
    "application_name",
];
const SHAPE: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// Asked once on every new connection. A commit is answered when it is on disk, whatever the server's default; a lost
/// peer is noticed by either side in seconds, so that a dead process holds no lock.
const PREPARE: &str = "SELECT pg_is_in_recovery() AS is_standby,
            current_setting('server_version_num')::bigint AS version,
            set_config('synchronous_commit',
                       CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
                       false),
            set_config('statement_timeout', '8s', false),
            set_config('lock_timeout', '5s', false),
            set_config('idle_in_transaction_session_timeout', '10s', false),
            set_config('tcp_keepalives_idle', '5', false),
            set_config('tcp_keepalives_interval', '2', false),
            set_config('tcp_keepalives_count', '3', false),
            set_config('tcp_user_timeout', '10s', false),
            set_config('jit', 'off', false)";

/// Whether a store's URL is of this database.
pub(crate) fn is_url(url: &str) -> bool {
    authority_and_rest(url).is_some()
}

/// Where the database is, and how to come in.
pub(super) struct Server {
    options: PgConnectOptions,
    place: String,
    /// How often a connection turned out to be dead.
    losses: AtomicU64,
}

/// A connection, and how many had been lost when it was made.
pub(super) struct Connected {
    pub(super) connection: PgConnection,
    losses_before: u64,
}

impl Server {
    /// Reads a URL.
    pub(super) fn of_url(url: &str) -> Result<Server, StoreError> {
        let wrong = |what: &str| StoreError::invalid(format!("the store's URL {what}: it must be {SHAPE}"));
        let rest = authority_and_rest(url).ok_or_else(|| wrong("is not of PostgreSQL"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (_, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.is_empty() {
            return Err(wrong("names no database"));
        }
        if database.contains(['/', '@', ':']) || rest.contains('#') || query.contains(['#', '@']) {
            return Err(wrong(
                "has a character out of its place; in a user or password, percent-encode what is no letter or digit",
            ));
        }
        let known = |parameter: &str| PARAMETERS.contains(&parameter.split('=').next().unwrap_or_default());
        if !query.is_empty() && !query.split('&').all(known) {
            return Err(StoreError::invalid(format!(
                "the store's URL has an unknown parameter: known are {}",
                PARAMETERS.join(", ")
            )));
        }
        let mut options =
            PgConnectOptions::from_str(url).map_err(|_| wrong("cannot be read (user, host, port or a parameter)"))?;
        if options.get_application_name().is_none() {
            options = options.application_name("portcullis");
        }
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let place = format!("postgres {host}:{}/{database}", options.get_port());
        Ok(Server {
            options,
            place,
            losses: AtomicU64::new(0),
        })
    }

    /// Connects, within [`WAIT`], to a server that may be written to.
    pub(super) async fn connect(&self) -> Result<Connected, StoreError> {
        let losses_before = self.losses.load(Ordering::Acquire);
        let attempt = async {
            let mut connection = self.options.connect().await.map_err(|error| self.lost(error))?;
            let row = sqlx::raw_sql(PREPARE)
                .fetch_one(&mut connection)
                .await
                .map_err(|error| self.lost(error))?;
            // It may lag behind the primary for any time, and would tell of dead keys as alive.
            if row.try_get("is_standby")? {
                return Err(self.lost("the server is a standby, and only the primary knows what holds now"));
            }
            if row.try_get::<i64, _>("version")? < VERSION_MIN {
                return Err(self.lost("the server is older than PostgreSQL 14"));
            }
            Ok(Connected {
                connection,
                losses_before,
            })
        };
        timeout(WAIT, attempt)
            .await
            .unwrap_or_else(|_| Err(self.lost("the server does not answer")))
    }

    /// Hears that a connection was dead, or fell silent.
    pub(super) fn note_loss(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a connection that nobody uses is worth a try: one that was made before another one was lost is not, because
    /// what became of the one became of the other, and finding out may take as long as an answer may.
    pub(super) fn is_trusted(&self, connected: &Connected) -> bool {
        connected.losses_before == self.losses.load(Ordering::Acquire)
    }

    /// How to connect, for what connects by itself.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// An error with the server's name.
    pub(super) fn lost(&self, cause: impl fmt::Display) -> StoreError {
        StoreError::unavailable(format!("{}: {cause}", self.place))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.place).finish()
    }
}

fn authority_and_rest(url: &str) -> Option<&str> {
    ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
}
