//! governor's keyed limiter: GCRA over dashmap, set up as its documentation shows.
//!
//! Decides a request with one `check_key` after the other: what an earlier one charged stays charged when a later one refuses. By
//! default it reads its own clock; it is given the time where time must stand still.

use super::contender::{Contender, Request, Rules, Settings};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use portcullis_verify::Moment;
use std::hash::Hash;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much of a rule's limit may come at once, and how much flows back in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// The whole limit at once and the whole limit again over a window: `Quota::per_minute(limit)`.
    Whole,
    /// Half of it at once and half of it over a window: the usual way to make GCRA strict.
    Half,
}

/// What tells keys apart.
pub(crate) trait Name: Hash + Eq + Clone + Send + Sync {
    /// What the tables call it.
    const KIND: &'static str;

    /// A key's name; `hashes` has its hash.
    fn of(key: u32, hashes: &[[u8; 32]]) -> Self;
}

impl Name for u64 {
    const KIND: &'static str = "by u64";

    fn of(key: u32, _: &[[u8; 32]]) -> u64 {
        u64::from(key)
    }
}

impl Name for [u8; 32] {
    const KIND: &'static str = "by 32-byte hash";

    fn of(key: u32, hashes: &[[u8; 32]]) -> [u8; 32] {
        let hash = usize::try_from(key).ok().and_then(|index| hashes.get(index));
        hash.copied().unwrap_or_default()
    }
}

/// A clock that can perhaps be set.
pub(crate) trait Settable: Clock + Clone + Send + Sync {
    /// Sets the clock, if it is one that is told the time.
    fn set(&self, _now: Moment) {}
}

impl Settable for DefaultClock {}

/// A clock that stands still until it is told the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<AtomicU64>);

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

impl Settable for Told {
    fn set(&self, now: Moment) {
        self.0.store(now.monotonic_us.saturating_mul(1_000), Ordering::Relaxed);
    }
}

type Limiter<K, C> = RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One governor per rule.
pub(crate) struct Governed<K: Name, C: Settable> {
    name: String,
    rules: Rules,
    clock: C,
    hashes: Arc<Vec<[u8; 32]>>,
    keys: Limiter<K, C>,
    addresses: Limiter<IpAddr, C>,
    apps: Limiter<u64, C>,
}

impl<K: Name> Governed<K, DefaultClock> {
    /// With its own clock, as it is used.
    pub(crate) fn new(settings: &Settings, hashes: &Arc<Vec<[u8; 32]>>) -> Governed<K, DefaultClock> {
        let name = format!("governor, {}", K::KIND);
        Governed::with_clock(settings, hashes, name, Share::Whole, DefaultClock::default())
    }
}

impl Governed<u64, Told> {
    /// With the time given from outside.
    pub(crate) fn told(settings: &Settings, share: Share) -> Governed<u64, Told> {
        let name = match share {
            Share::Whole => "governor, by u64, time given",
            Share::Half => "governor, half burst, half rate",
        };
        Governed::with_clock(settings, &Arc::default(), name.to_owned(), share, Told::default())
    }
}

impl<K: Name, C: Settable> Governed<K, C> {
    fn with_clock(
        settings: &Settings,
        hashes: &Arc<Vec<[u8; 32]>>,
        name: String,
        share: Share,
        clock: C,
    ) -> Governed<K, C> {
        let [keys, addresses, apps] = settings.limits.map(|limit| quota(limit, settings.window_us, share));
        Governed {
            name,
            rules: settings.rules,
            hashes: Arc::clone(hashes),
            keys: RateLimiter::new(keys, DefaultKeyedStateStore::default(), clock.clone()),
            addresses: RateLimiter::new(addresses, DefaultKeyedStateStore::default(), clock.clone()),
            apps: RateLimiter::new(apps, DefaultKeyedStateStore::default(), clock.clone()),
            clock,
        }
    }
}

fn quota(limit: u32, window_us: u64, share: Share) -> Quota {
    let limit = match share {
        Share::Whole => limit,
        Share::Half => limit / 2,
    };
    let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
    let interval = Duration::from_micros(window_us) / limit.get();
    Quota::with_period(interval)
        .unwrap_or(Quota::per_second(limit))
        .allow_burst(limit)
}

impl<K: Name, C: Settable> Contender for Governed<K, C> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self, request: &Request, _: Moment) -> bool {
        let key = || self.keys.check_key(&K::of(request.key, &self.hashes)).is_ok();
        let address = || {
            self.addresses
                .check_key(&IpAddr::V4(Ipv4Addr::from(request.address)))
                .is_ok()
        };
        let app = || self.apps.check_key(&u64::from(request.app)).is_ok();
        match self.rules {
            Rules::Key => key(),
            Rules::App => app(),
            Rules::Three => key() && address() && app(),
        }
    }

    fn touch(&self, request: &Request) {
        let index = usize::try_from(request.key).unwrap_or(0);
        black_box(self.hashes.get(index).map(|hash| hash[0]));
    }

    fn tell(&self, now: Moment) {
        self.clock.set(now);
    }
}
