//! One copy of what is known of an app, shared by all of its keys.
//!
//! Decides when two records mean the same: when they are equal, whatever was read when. Knows no keys; fills ask it.

use crate::{AppId, AppRecord};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Apps remembered before the first look for those that nobody uses any more.
const FIRST_PRUNING: usize = 64;

/// The apps in use.
#[derive(Debug, Default)]
pub(crate) struct SharedApps(Mutex<Apps>);

#[derive(Debug, Default)]
struct Apps {
    newest: HashMap<AppId, Weak<AppRecord>>,
    prune_at: usize,
}

impl SharedApps {
    /// What a record says of its app.
    pub(crate) fn of(&self, app: &AppRecord) -> Arc<AppRecord> {
        let mut apps = self.0.lock();
        let newest = apps.newest.get(&app.id).and_then(Weak::upgrade);
        if let Some(same) = newest.filter(|newest| **newest == *app) {
            return same;
        }
        let own = Arc::new(app.clone());
        apps.newest.insert(app.id, Arc::downgrade(&own));
        if apps.newest.len() >= apps.prune_at.max(FIRST_PRUNING) {
            apps.newest.retain(|_, app| app.strong_count() > 0);
            apps.prune_at = apps.newest.len() * 2;
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyId;
    use crate::lookup::scripted_source::record;

    fn app(id: i64, slug: &str) -> AppRecord {
        AppRecord {
            id: AppId(id),
            slug: slug.to_owned(),
            ..record(KeyId(1)).app
        }
    }

    #[test]
    fn keys_of_an_app_share_it_until_it_changes() {
        let shared = SharedApps::default();
        let first = shared.of(&app(1, "a"));
        assert!(Arc::ptr_eq(&first, &shared.of(&app(1, "a"))));
        assert!(!Arc::ptr_eq(&first, &shared.of(&app(2, "a"))));
        let changed = shared.of(&app(1, "b"));
        assert_eq!((changed.slug.as_str(), first.slug.as_str()), ("b", "a"));
        // What was read before the change is held to what it says.
        assert_eq!(shared.of(&app(1, "a")).slug, "a");
    }

    #[test]
    fn apps_that_nobody_uses_are_forgotten() {
        let shared = SharedApps::default();
        let held = shared.of(&app(0, "a"));
        for id in 1..10_000 {
            drop(shared.of(&app(id, "a")));
        }
        assert!(shared.0.lock().newest.len() <= FIRST_PRUNING);
        assert!(Arc::ptr_eq(&held, &shared.of(&app(0, "a"))));
    }
}
