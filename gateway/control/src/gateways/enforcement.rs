//! Which gateways already decide by a change, and how to wait until all do.
//!
//! Whoever is found in the registry after the commit must have applied the change, or must have refused everything by itself for
//! want of news; whoever is not found there gets no answer to a ping that does not cover the change (see [`super::live`]). So what
//! is answered here holds for gateways of other control processes, and of those that were killed, too.

use crate::error::ApiError;
use crate::gateways::fleet::Fleet;
use crate::gateways::live::Reported;
use crate::gateways::registry::{after, left, wall};
use crate::router::Api;
use portcullis_store::StoreError;
use portcullis_verify::{DeploymentId, Moment, Version};
use std::collections::HashMap;
use std::time::Duration;

/// How often the registry is read for gateways of other control processes.
const POLL: Duration = Duration::from_millis(40);
/// The shortest pause between two looks at those that are waited for.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a registry that cannot be read is asked again.
const UNREADABLE_MAX: Duration = Duration::from_secs(10);

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enforcement {
    /// The change.
    pub(crate) version: Version,
    /// Gateways that decide by it, or refuse everything until they do.
    pub(crate) enforced: usize,
    /// Gateways that count.
    pub(crate) gateways: usize,
    /// Gateways that have not confirmed it and go on serving without news.
    pub(crate) unenforced: usize,
}

/// A gateway that may still decide by what held before the change.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    has_applied: bool,
    serves_stale: bool,
    stale_max: Duration,
    /// It is connected to this process, which hears at once how far it is.
    is_here: bool,
    /// When it will have refused by itself, were it never heard of again.
    trusts_until_us: u64,
}

impl Awaited {
    /// From when on it refuses, if it has not applied what was committed at `committed`.
    fn refuses_at(&self, committed: Moment) -> u64 {
        after(committed, self.stale_max).min(self.trusts_until_us)
    }
}

/// A change that was committed before `committed`, and whose gateways it concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) deployment_id: DeploymentId,
    pub(crate) version: Version,
    pub(crate) committed: Moment,
}

impl Change {
    /// How far it has come by now.
    pub(crate) async fn standing(self, api: &Api) -> Enforcement {
        let fleet = api.fleet();
        let awaited = match self.awaited(api).await {
            Ok(awaited) => awaited,
            Err(error) => {
                // The change is made; that only the gateways of this process are counted is no reason to hide its outcome.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the registry of gateways cannot be read"
                );
                let mut awaited = HashMap::new();
                self.add_here(fleet, &mut awaited);
                awaited
            }
        };
        self.sum(api, awaited.values())
    }

    /// Waits until every gateway has applied it or refuses.
    ///
    /// # Errors
    /// [`ApiError::NotConfirmed`] when the registry of gateways cannot be read.
    pub(crate) async fn everywhere(self, api: &Api) -> Result<Enforcement, ApiError> {
        let fleet = api.fleet();
        let mut word = fleet.word();
        let give_up_us = after(self.committed, UNREADABLE_MAX);
        // From here on nobody can join who matters.
        let mut awaited = loop {
            match self.awaited(api).await {
                Ok(awaited) => break awaited,
                Err(_) if fleet.now().monotonic_us < give_up_us => tokio::time::sleep(POLL).await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the registry of gateways cannot be read"
                    );
                    return Err(self.not_confirmed());
                }
            }
        };
        loop {
            word.borrow_and_update();
            self.look_here(fleet, &mut awaited);
            let now = fleet.now();
            let open = awaited
                .values()
                .filter(|awaited| !awaited.has_applied && now.monotonic_us < awaited.refuses_at(self.committed));
            let (mut next, mut is_any, mut is_elsewhere) = (POLL, false, false);
            for open in open {
                is_any = true;
                is_elsewhere |= !open.is_here;
                next = next.min(left(open.refuses_at(self.committed), now));
            }
            if !is_any {
                return Ok(self.sum(api, awaited.values()));
            }
            tokio::select! {
                _ = word.changed() => {}
                () = tokio::time::sleep(next) => {}
            }
            // Thousands may report at once.
            tokio::time::sleep(PAUSE).await;
            if is_elsewhere && let Ok(found) = self.awaited(api).await {
                for (gateway_id, found) in found {
                    if let Some(awaited) = awaited.get_mut(&gateway_id) {
                        awaited.has_applied |= found.has_applied;
                    }
                }
            }
        }
    }

    fn not_confirmed(self) -> ApiError {
        ApiError::NotConfirmed {
            revision: self.version.revision,
            key_id: None,
        }
    }

    /// All gateways that count now, by id.
    async fn awaited(self, api: &Api) -> Result<HashMap<String, Awaited>, StoreError> {
        let fleet = api.fleet();
        let now = fleet.now();
        let rows = api.store().list_gateways(self.deployment_id, wall(now)).await?;
        let rows = rows.into_iter().map(|row| {
            let counts_for = row.counts_until.duration_since(wall(now));
            let counts_for = Duration::try_from(counts_for).unwrap_or_default();
            let awaited = Awaited {
                has_applied: row.applied.covers(self.version),
                serves_stale: row.serves_stale,
                stale_max: Duration::from_millis(row.stale_max_ms),
                is_here: false,
                trusts_until_us: after(now, counts_for),
            };
            (row.gateway_id, awaited)
        });
        let mut awaited = rows.collect();
        self.add_here(fleet, &mut awaited);
        Ok(awaited)
    }

    /// Adds the gateways of this process, which may have joined since their rows were read.
    fn add_here(self, fleet: &Fleet, awaited: &mut HashMap<String, Awaited>) {
        let now = fleet.now();
        for live in fleet.of(self.deployment_id) {
            let here = self.awaited_here(live.reported());
            if now.monotonic_us < here.trusts_until_us {
                awaited.entry(live.gateway_id.clone()).or_insert(here);
            }
        }
        self.look_here(fleet, awaited);
    }

    /// Adds what this process knows better than the registry: how far its own connections are.
    fn look_here(self, fleet: &Fleet, awaited: &mut HashMap<String, Awaited>) {
        for live in fleet.of(self.deployment_id) {
            if let Some(awaited) = awaited.get_mut(&live.gateway_id) {
                let here = self.awaited_here(live.reported());
                awaited.has_applied |= here.has_applied;
                awaited.is_here = here.is_here;
                awaited.stale_max = awaited.stale_max.max(here.stale_max);
                awaited.trusts_until_us = awaited.trusts_until_us.max(here.trusts_until_us);
            }
        }
    }

    fn awaited_here(self, reported: Reported) -> Awaited {
        Awaited {
            has_applied: reported.applied.covers(self.version),
            serves_stale: reported.serves_stale,
            stale_max: reported.stale_max,
            is_here: reported.is_connected,
            trusts_until_us: if reported.is_connected {
                u64::MAX
            } else {
                reported.trusts_until_us
            },
        }
    }

    fn sum<'a>(self, api: &Api, awaited: impl Iterator<Item = &'a Awaited>) -> Enforcement {
        let now = api.fleet().now();
        // In `serve` this process is a gateway too, and its tailer has applied the change.
        let own = usize::from(api.is_gateway());
        let mut sum = Enforcement {
            version: self.version,
            enforced: own,
            gateways: own,
            unenforced: 0,
        };
        for awaited in awaited {
            sum.gateways += 1;
            if awaited.has_applied {
                sum.enforced += 1;
            } else if awaited.serves_stale {
                sum.unenforced += 1;
            } else if now.monotonic_us >= awaited.refuses_at(self.committed) {
                sum.enforced += 1;
            }
        }
        sum
    }
}
