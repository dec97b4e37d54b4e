//! Counters held per subject in dashmap with its default hasher, as most programs would write it.
//!
//! Decides a request with one check after the other: what an earlier check charged stays charged when a later one refuses. Told
//! the time from outside.

use super::contender::{Contender, Request, Rules, Settings};
use super::counters::{Counter, Quota};
use dashmap::DashMap;
use portcullis_verify::Moment;

/// One table of counters per rule.
pub(crate) struct Keyed<C> {
    rules: Rules,
    keys: Table<C>,
    addresses: Table<C>,
    apps: Table<C>,
}

impl<C: Counter> Keyed<C> {
    pub(crate) fn new(settings: &Settings) -> Keyed<C> {
        let [keys, addresses, apps] = settings.limits.map(|limit| Table {
            quota: Quota {
                limit,
                window_us: settings.window_us,
            },
            counters: DashMap::new(),
        });
        Keyed {
            rules: settings.rules,
            keys,
            addresses,
            apps,
        }
    }
}

impl<C: Counter> Contender for Keyed<C> {
    fn name(&self) -> String {
        C::NAME.to_owned()
    }

    fn check(&self, request: &Request, now: Moment) -> bool {
        let now_us = now.monotonic_us;
        match self.rules {
            Rules::Key => self.keys.admit(request.key, now_us),
            Rules::App => self.apps.admit(request.app, now_us),
            Rules::Three => {
                self.keys.admit(request.key, now_us)
                    && self.addresses.admit(request.address, now_us)
                    && self.apps.admit(request.app, now_us)
            }
        }
    }
}

struct Table<C> {
    quota: Quota,
    counters: DashMap<u64, C>,
}

impl<C: Counter> Table<C> {
    fn admit(&self, subject: u32, now_us: u64) -> bool {
        let mut counter = self.counters.entry(u64::from(subject)).or_default();
        counter.admit(&self.quota, now_us)
    }
}
