//! Gateways and their tokens as answers show them, and what a change says of the gateways that decide by it.

use crate::bounds;
use crate::fault::{Bounded, Broken, Fault, Faults};
use crate::field::Field;
use crate::gateways::{Enforcement, Known};
use crate::wire;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use portcullis_store::entity::Token;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most apps that a token may be kept to.
const APPS_MAX: usize = 256;

/// A gateway that follows this control API.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gateway {
    /// What its process drew when it started, 32 hexadecimal digits.
    id: String,
    /// What its operator calls it.
    name: String,
    /// Its version of Portcullis.
    version: String,
    /// Where it connects from.
    address: String,
    /// Whether it is connected now.
    connected: bool,
    /// The last change that it said to decide by.
    applied_revision: String,
    /// How many changes it is behind, of all deployments.
    lag: u64,
    /// How long ago, in milliseconds, it last knew that it was up to date.
    staleness_ms: u64,
    /// After how many milliseconds it stops trusting what it holds.
    stale_max_ms: u64,
    /// What it does then: `refuse` or `serve`.
    on_stale: &'static str,
    /// When it was last heard.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// The token it uses.
    token_id: String,
    /// The deployment it serves.
    deployment_id: String,
}

impl From<Known> for Gateway {
    fn from(known: Known) -> Gateway {
        let Known { row, lag, staleness_ms } = known;
        Gateway {
            id: row.gateway_id,
            name: row.name,
            version: row.version,
            address: row.address,
            connected: row.is_connected,
            applied_revision: wire::id(row.applied.revision),
            lag,
            staleness_ms,
            stale_max_ms: row.stale_max_ms,
            on_stale: if row.serves_stale { "serve" } else { "refuse" },
            last_seen_at: row.seen_at,
            token_id: wire::id(row.token_id),
            deployment_id: wire::id(row.deployment_id),
        }
    }
}

/// The gateways of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayList {
    /// By name.
    pub(crate) gateways: Vec<Gateway>,
    /// The last change of the change log.
    pub(crate) revision: String,
}

/// Asks for a gateway token.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct CreateGatewayTokenRequest {
    /// A name for people, up to 255 characters.
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// The slugs of the apps whose keys it may know, up to 256; they need not exist yet. Left out or empty: all of the deployment.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    apps: Field<Vec<String>>,
}

impl CreateGatewayTokenRequest {
    /// The name and the apps.
    pub(crate) fn validate(self) -> Result<(String, Vec<String>), Vec<Fault>> {
        let mut faults = Faults::default();
        let name = faults.required("name", self.name, bounds::name);
        let apps = faults.optional("apps", self.apps, slugs).unwrap_or_default();
        faults.or(name.map(|name| (name, apps)))
    }
}

fn slugs(slugs: Vec<String>) -> Bounded<Vec<String>> {
    if slugs.len() > APPS_MAX {
        return Err(Broken::whole(format!("must have at most {APPS_MAX} entries")));
    }
    let mut broken = Vec::new();
    let mut bounded = Vec::with_capacity(slugs.len());
    for (index, slug) in slugs.into_iter().enumerate() {
        match bounds::slug(slug) {
            Ok(slug) => bounded.push(slug),
            Err(faults) => broken.extend(faults.into_iter().map(|fault| Broken::entry(index, fault.what))),
        }
    }
    if broken.is_empty() { Ok(bounded) } else { Err(broken) }
}

/// A gateway token, without the token itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayToken {
    /// Its id, a 64-bit integer.
    id: String,
    /// The deployment that it opens.
    deployment_id: String,
    /// Its name for people.
    name: String,
    /// The slugs of the apps whose keys it may know. Empty: all of the deployment.
    apps: Vec<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<Token> for GatewayToken {
    fn from(token: Token) -> GatewayToken {
        GatewayToken {
            id: wire::id(token.id),
            deployment_id: wire::id(token.deployment_id),
            name: token.name,
            apps: token.apps,
            created_at: token.created_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// The gateway tokens of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayTokenList {
    /// All of them, oldest first.
    pub(crate) tokens: Vec<GatewayToken>,
}

/// A gateway token with the token itself, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct GatewayTokenWithSecret {
    #[serde(flatten)]
    token: GatewayToken,
    /// The token. Only its hash is stored.
    secret: String,
}

impl GatewayTokenWithSecret {
    /// The one answer that holds `secret`.
    pub(crate) fn new(token: Token, secret: &str) -> GatewayTokenWithSecret {
        GatewayTokenWithSecret {
            token: token.into(),
            secret: secret.to_owned(),
        }
    }
}

/// How far a change has come when it is answered. With `?wait=fleet`, `enforced` and `unenforced` are all there are.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Enforced {
    /// The change's number in the change log.
    revision: String,
    /// How many gateways decide by it, or refuse every key until they do.
    enforced: usize,
    /// How many gateways count: those that may hold keys of this deployment.
    gateways: usize,
    /// How many have not confirmed it and go on serving without news (`on_stale = "serve"`).
    unenforced: usize,
}

impl From<Enforcement> for Enforced {
    fn from(enforcement: Enforcement) -> Enforced {
        Enforced {
            revision: wire::id(enforcement.version.revision),
            enforced: enforcement.enforced,
            gateways: enforcement.gateways,
            unenforced: enforcement.unenforced,
        }
    }
}

impl Enforced {
    /// The same, for an answer without a body.
    pub(crate) fn headers(&self) -> HeaderMap {
        let number = |number: usize| HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX));
        let mut headers = HeaderMap::new();
        if let Ok(revision) = HeaderValue::from_str(&self.revision) {
            headers.insert("portcullis-revision", revision);
        }
        headers.insert("portcullis-enforced", number(self.enforced));
        headers.insert("portcullis-gateways", number(self.gateways));
        headers.insert("portcullis-unenforced", number(self.unenforced));
        headers
    }
}
