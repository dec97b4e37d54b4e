//! What a limiter must do to be compared, and the loop that times it.
//!
//! Decides what is inside the measured time and what is not. Knows no limiter; every one of them implements [`Contender`], and
//! the tables ask through it.

use portcullis_verify::{Clock, Moment};
use std::hint::black_box;

/// Whom a request counts, as indexes into the population.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: u32,
    pub(crate) address: u32,
    pub(crate) app: u32,
}

/// Which counters a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The key's.
    Key,
    /// The app's.
    App,
    /// The key's, the address's and the app's.
    Three,
}

/// What a contender is set up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) rules: Rules,
    /// Requests per window of a key, an address and an app.
    pub(crate) limits: [u32; 3],
    pub(crate) window_us: u64,
    /// Keys that exist. Key `k` belongs to app `k % apps`.
    pub(crate) keys: u32,
    pub(crate) apps: u32,
}

impl Settings {
    /// Limits so wide that nothing is refused.
    pub(crate) fn wide(rules: Rules, keys: u32, apps: u32) -> Settings {
        Settings {
            rules,
            limits: [i32::MAX.unsigned_abs(); 3],
            window_us: 60_000_000,
            keys,
            apps,
        }
    }

    /// One key under this limit.
    pub(crate) fn one_key(limit: u32, window_us: u64) -> Settings {
        Settings {
            rules: Rules::Key,
            limits: [limit; 3],
            window_us,
            keys: 1,
            apps: 1,
        }
    }

    /// The request of a key from an address.
    pub(crate) fn request(&self, key: u32, address: u32) -> Request {
        Request {
            key,
            address,
            app: key % self.apps,
        }
    }
}

/// A limiter under comparison.
pub(crate) trait Contender: Send + Sync {
    /// What the tables call it.
    fn name(&self) -> String;

    /// Whether the request is admitted at `now`, and charged if so. Limiters with a clock of their own do not look at `now`.
    fn check(&self, request: &Request, now: Moment) -> bool;

    /// Reads what whoever calls a limiter has just had in hand, such as the key's name.
    fn touch(&self, _request: &Request) {}

    /// Sets the clock of a limiter that cannot be handed the time with a request.
    fn tell(&self, _now: Moment) {}

    /// Serves the requests in order, as [`in_batches`] does.
    fn serve(&self, requests: &[Request], clock: &Clock) -> Served {
        let begin = |(): &mut (), batch: &[Request], now| {
            batch.iter().for_each(|request| self.touch(request));
            self.tell(now);
        };
        in_batches(requests, clock, &mut (), begin, |(), _, request, now| {
            self.check(request, now)
        })
    }
}

/// Serves the requests in order, in batches. To `begin` a batch, with the time of its requests, is no part of the measured time; to
/// `check` each is: with what is in `hand`, its place in the batch, itself, and the time.
pub(crate) fn in_batches<H>(
    requests: &[Request],
    clock: &Clock,
    hand: &mut H,
    begin: impl Fn(&mut H, &[Request], Moment),
    check: impl Fn(&H, usize, &Request, Moment) -> bool,
) -> Served {
    let mut served = Served::default();
    for batch in requests.chunks(BATCH) {
        let now = clock.now();
        begin(hand, batch, now);
        let start = instant();
        for (place, request) in batch.iter().enumerate() {
            served.admitted += u64::from(check(hand, place, black_box(request), now));
        }
        served.seconds += start.elapsed().as_secs_f64();
        served.requests += batch.len();
    }
    served
}

/// Requests between two readings of the clock: few enough that what is in hand for each stays in the processor's first caches, many
/// enough that the reading costs each of them about a nanosecond.
pub(crate) const BATCH: usize = 64;

/// What [`Contender::serve`] did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) requests: usize,
    pub(crate) admitted: u64,
    pub(crate) seconds: f64,
}

impl Served {
    /// Adds another stretch of serving.
    pub(crate) fn add(&mut self, other: Served) {
        self.requests += other.requests;
        self.admitted += other.admitted;
        self.seconds += other.seconds;
    }

    /// Nanoseconds per request.
    pub(crate) fn nanoseconds(&self) -> f64 {
        self.seconds * 1e9 / self.requests as f64
    }
}

/// Reads the time to measure with.
#[expect(clippy::disallowed_methods, reason = "a bench is what measures time")]
pub(super) fn instant() -> std::time::Instant {
    std::time::Instant::now()
}
