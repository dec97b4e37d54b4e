//! `/api-auth/limits`: where the rate limits of a key, an app or an address stand in this process.
//!
//! Decides which rules concern whom, and names counters by what the caller's deployment knows: what it does not know is not
//! shown. The limiter looks; nothing is charged.

use crate::auth::Tenant;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::path::WhoseLimits;
use crate::router::Api;
use crate::wire::{self, CountedNames, CounterStanding, ErrorBody, LimitsAnswer, RuleStanding};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use portcullis_limits::{CounterUsage, RuleUsage, Whose};
use portcullis_store::StoreError;
use portcullis_store::entity::{Scheme, SchemeRef};
use portcullis_verify::{AppId, DeploymentId, KeyId, Mode, Moment, RuleSet, SchemeRecord};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Most counters shown of one rule.
const COUNTERS_MAX: usize = 20;
/// Most counters of a default rule that are looked at for those of the caller's deployment: all deployments share these rules.
const CANDIDATES_MAX: usize = 1_000;
/// Most schemes shown besides those that hold for what was asked about.
const SCHEMES_MAX: usize = 100;

/// Shows where the rate limits of a key, an app or an address stand now.
///
/// Exactly one of the three parameters is given. Of a key: the rules that hold for it (its scheme's, else its app's, else the
/// gateway's default rules); a rotated key is counted together with the key that replaced it. Of an app: the rules that count it as
/// a whole or by address, its own and those of any other scheme under which its keys are counted now. Of an address: every rule by
/// which it is counted now. What is shown are the counters of the process that answers: with `portcullis serve`, the gateway's in
/// the same process. A gateway elsewhere has counters of its own, which are not in this answer.
#[utoipa::path(
    get,
    path = "/api-auth/limits",
    tag = "rate-limit schemes",
    params(
        ("key_id" = Option<String>, Query, description = "A key's id, in whatever state the key is."),
        ("app_slug" = Option<String>, Query, description = "An app's slug."),
        ("address" = Option<String>, Query, description = "A client's address; an IPv6 address stands for its /64."),
    ),
    responses(
        (status = 200, body = LimitsAnswer, description = "Where they stand; an address that nothing counts has no limits."),
        (status = 404, body = ErrorBody, description = "This deployment has no such key or app, or this process is no gateway and counts nothing."),
    )
)]
pub(crate) async fn show_limits(
    State(api): State<Api>,
    tenant: Tenant,
    whose: WhoseLimits,
) -> Result<Json<LimitsAnswer>, ApiError> {
    let question = match whose {
        WhoseLimits::Key(id) => Question::of_key(&api, tenant.id(), id).await?,
        WhoseLimits::App(slug) => Question::of_app(&api, tenant.id(), &slug).await?,
        WhoseLimits::Address(address) => Question::of_address(&api, tenant.id(), address).await?,
    };
    if !api.is_gateway() {
        return Err(ApiError::refused(
            ErrorCode::NoCounters,
            "This control API admits no requests, so that it has no counters to show: each gateway counts for itself.",
        ));
    }
    question.answer(&api).await.map(Json)
}

/// Rules, and the slug of their scheme; `None` for the default rules.
struct NamedRules {
    scheme: Option<String>,
    rules: Arc<RuleSet>,
}

/// Which counters are looked at, and what is known beforehand of whom they count.
struct Question {
    deployment_id: DeploymentId,
    whose: Whose,
    sets: Vec<NamedRules>,
    /// The first so many sets hold for what was asked about, and are shown whatever counts in them.
    sets_that_hold: usize,
    /// The keys by whose lineages counters are named; `None` for a key of another deployment.
    keys: HashMap<KeyId, Option<CountedNames>>,
    apps: HashMap<AppId, String>,
    key: Option<(KeyId, String)>,
    app_slug: Option<String>,
    address: Option<IpAddr>,
}

impl Question {
    async fn of_key(api: &Api, deployment_id: DeploymentId, id: KeyId) -> Result<Question, ApiError> {
        let key = match api.store().get_key(deployment_id, id).await {
            Err(StoreError::NotFound { .. }) => {
                return Err(ApiError::refused(
                    ErrorCode::NoSuchKey,
                    "This deployment has no key with this id.",
                ));
            }
            key => key?,
        };
        // A scheme that the app has too is counted with the app's; that of a deleted app counts for nobody any more.
        let is_keys_own = key.scheme_is_own
            && match api.store().get_app(deployment_id, &key.app_slug).await {
                Ok(app) => {
                    app.id != key.app_id
                        || app.scheme.map(|scheme| scheme.id) != key.scheme.as_ref().map(|scheme| scheme.id)
                }
                Err(StoreError::NotFound { .. }) => true,
                Err(error) => return Err(error.into()),
            };
        let names = CountedNames {
            key_id: Some(key.lineage_id.0),
            key_name: Some(key.name.clone()),
            app_slug: Some(key.app_slug.clone()),
        };
        Ok(Question {
            deployment_id,
            whose: Whose::Key {
                lineage_id: key.lineage_id,
                app_id: key.app_id,
                deployment_id,
            },
            sets: vec![rules_that_hold(api, key.scheme, is_keys_own)],
            sets_that_hold: 1,
            keys: HashMap::from([(key.lineage_id, Some(names))]),
            apps: HashMap::from([(key.app_id, key.app_slug.clone())]),
            key: Some((key.id, key.name)),
            app_slug: Some(key.app_slug),
            address: None,
        })
    }

    async fn of_app(api: &Api, deployment_id: DeploymentId, slug: &str) -> Result<Question, ApiError> {
        let app = api.store().get_app(deployment_id, slug).await?;
        let own = rules_that_hold(api, app.scheme, false);
        let others = api.store().list_schemes(deployment_id).await?.into_iter();
        let others: Vec<NamedRules> = others
            .map(NamedRules::from)
            .filter(|other| other.rules.scheme_id != own.rules.scheme_id)
            .collect();
        Ok(Question {
            deployment_id,
            whose: Whose::App(app.id),
            sets: std::iter::once(own).chain(others).collect(),
            sets_that_hold: 1,
            keys: HashMap::new(),
            apps: HashMap::from([(app.id, app.slug.clone())]),
            key: None,
            app_slug: Some(app.slug),
            address: None,
        })
    }

    async fn of_address(api: &Api, deployment_id: DeploymentId, address: IpAddr) -> Result<Question, ApiError> {
        let apps = api.store().list_apps(deployment_id, true).await?;
        let schemes = api.store().list_schemes(deployment_id).await?;
        Ok(Question {
            deployment_id,
            whose: Whose::Address { address, deployment_id },
            sets: schemes
                .into_iter()
                .map(NamedRules::from)
                .chain([rules_that_hold(api, None, false)])
                .collect(),
            sets_that_hold: 0,
            keys: HashMap::new(),
            apps: apps.into_iter().map(|app| (app.id, app.slug)).collect(),
            key: None,
            app_slug: None,
            address: Some(address),
        })
    }

    async fn answer(mut self, api: &Api) -> Result<LimitsAnswer, ApiError> {
        let now = api.clock().now();
        let at =
            Timestamp::from_microsecond(now.wall_us).map_err(|_| ApiError::Internal("the clock is out of range"))?;
        let sets = std::mem::take(&mut self.sets);
        let usages = look(api, &sets, self.whose, now).await?;
        let mut limits = Vec::new();
        let (mut schemes, mut is_cut_short) = (0, false);
        for (index, (set, usages)) in sets.iter().zip(usages).enumerate() {
            let mut of_set = Vec::new();
            for usage in usages {
                let standing = self.standing(api, set, &usage, now).await?;
                of_set.extend(standing.filter(|standing| index < self.sets_that_hold || standing.is_in_use()));
            }
            schemes += usize::from(index >= self.sets_that_hold && !of_set.is_empty());
            if schemes > SCHEMES_MAX {
                is_cut_short = true;
                break;
            }
            limits.extend(of_set);
        }
        let (key_id, key_name) = self.key.unzip();
        Ok(LimitsAnswer {
            key_id: key_id.map(wire::id),
            key_name,
            app_slug: self.app_slug,
            address: self.address.map(wire::address),
            at,
            limits,
            is_cut_short,
        })
    }

    /// One rule with those of its counters that are this deployment's.
    async fn standing(
        &mut self,
        api: &Api,
        set: &NamedRules,
        usage: &RuleUsage,
        now: Moment,
    ) -> Result<Option<RuleStanding>, ApiError> {
        let Some(rule) = set.rules.rules.get(usage.rule) else {
            return Ok(None);
        };
        // Other deployments have keys and apps under the default rules, too.
        let is_mixed = set.scheme.is_none() && self.sets_that_hold == 0;
        let candidates = if is_mixed { CANDIDATES_MAX } else { COUNTERS_MAX };
        let mut standing = RuleStanding::of(set.scheme.clone(), rule);
        for counter in usage.counters.iter().take(candidates) {
            if let Some(names) = self.names(api, rule.mode, counter).await? {
                standing
                    .counters
                    .push(CounterStanding::of(counter, rule.limit, names, now));
            }
        }
        standing.counters_total = if is_mixed {
            standing.counters.len()
        } else {
            usage.counters_total
        };
        standing.counters.truncate(COUNTERS_MAX);
        standing.is_overflowing = usage.is_overflowing;
        Ok(Some(standing))
    }

    /// Whom a counter counts; `None` when it is nobody of this deployment.
    async fn names(&mut self, api: &Api, mode: Mode, counter: &CounterUsage) -> Result<Option<CountedNames>, ApiError> {
        match mode {
            Mode::PerIp => Ok((counter.owner == self.deployment_id.0).then(CountedNames::default)),
            Mode::PerApp | Mode::PerAppAndIp => Ok(self.apps.get(&AppId(counter.owner)).map(|slug| CountedNames {
                app_slug: Some(slug.clone()),
                ..CountedNames::default()
            })),
            Mode::PerKey | Mode::PerKeyAndIp => {
                let id = KeyId(counter.owner);
                if let Some(known) = self.keys.get(&id) {
                    return Ok(known.clone());
                }
                let names = match api.store().get_key(self.deployment_id, id).await {
                    Ok(key) => Some(CountedNames {
                        key_id: Some(id.0),
                        key_name: Some(key.name),
                        app_slug: Some(key.app_slug),
                    }),
                    Err(StoreError::NotFound { .. }) => None,
                    Err(error) => return Err(error.into()),
                };
                self.keys.insert(id, names.clone());
                Ok(names)
            }
        }
    }
}

/// A scheme that keys have by themselves.
impl From<Scheme> for NamedRules {
    fn from(scheme: Scheme) -> Self {
        let record = SchemeRecord {
            id: scheme.id,
            is_keys_own: true,
            rules: scheme.rules,
        };
        NamedRules {
            rules: Arc::new(RuleSet::of_record(&record)),
            scheme: Some(scheme.slug),
        }
    }
}

/// The rules of a key or app with this scheme, or with none.
fn rules_that_hold(api: &Api, scheme: Option<SchemeRef>, is_keys_own: bool) -> NamedRules {
    match scheme {
        Some(scheme) => {
            let record = SchemeRecord {
                id: scheme.id,
                is_keys_own,
                rules: scheme.rules,
            };
            NamedRules {
                rules: Arc::new(RuleSet::of_record(&record)),
                scheme: Some(scheme.slug),
            }
        }
        None => NamedRules {
            scheme: None,
            rules: Arc::clone(api.default_rules()),
        },
    }
}

/// Asks the limiter, off the async workers: there may be a million counters to look through.
async fn look(api: &Api, sets: &[NamedRules], whose: Whose, now: Moment) -> Result<Vec<Vec<RuleUsage>>, ApiError> {
    let limiter = Arc::clone(api.limiter());
    let rules: Vec<Arc<RuleSet>> = sets.iter().map(|set| Arc::clone(&set.rules)).collect();
    let counters_max = match whose {
        Whose::Address { .. } => CANDIDATES_MAX,
        Whose::Key { .. } | Whose::App(_) => COUNTERS_MAX,
    };
    let looking = tokio::task::spawn_blocking(move || {
        let rules: Vec<&RuleSet> = rules.iter().map(Arc::as_ref).collect();
        limiter.usage(&rules, whose, counters_max, now)
    });
    looking
        .await
        .map_err(|_| ApiError::Internal("looking at the counters panicked"))
}
