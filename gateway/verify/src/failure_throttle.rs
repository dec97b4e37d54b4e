//! May this address ask for a key that is not known here? Keeps guessing from becoming load on the key source.
//!
//! Asked only when a look-up would have to leave the cache, and charged only when the answer was that there is no such key: good
//! keys never spend anything, and a key remembered as unknown is answered from memory, unasked and uncharged, because it costs
//! the source nothing. It knows addresses and no keys: which keys pass even so is [`source_gate`]'s to say. Called by it, and by the
//! control API for its tokens.
//!
//! Memory is bounded: an address gets an entry with its first failure and loses it when the failure is forgotten. When there are
//! as many entries as there may be, further addresses share hashed ones, which is stricter for them and never laxer.

mod fingerprints;
pub(crate) mod source_gate;
#[cfg(test)]
mod tests;

use crate::Clock;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many failures an address has, and how many addresses are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureSettings {
    /// Failures in a row before the address is throttled; 1 to 1 000 000, others go to the nearest.
    pub burst: u32,
    /// Failures per minute that it gets back; at least 1.
    pub per_minute: u32,
    /// Addresses with an entry of their own.
    pub addresses_max: usize,
}

/// Above this the throttle's arithmetic in nanoseconds could overflow.
const BURST_MAX: u32 = 1_000_000;
/// Entries shared by the addresses that found no room.
const SHARED_ENTRIES: usize = 1024;

/// Counts failed look-ups by address.
pub struct FailureThrottle {
    limiter: RateLimiter<Attempt, Entries, GovernorClock, NoOpMiddleware<Nanos>>,
}

impl FailureThrottle {
    /// A throttle that has seen no failure.
    #[must_use]
    pub fn new(settings: FailureSettings, clock: Clock) -> FailureThrottle {
        let burst = NonZeroU32::new(settings.burst.min(BURST_MAX)).unwrap_or(NonZeroU32::MIN);
        let per_minute = NonZeroU32::new(settings.per_minute).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        FailureThrottle {
            limiter: RateLimiter::new(quota, Entries::new(settings.addresses_max), GovernorClock(clock)),
        }
    }

    /// Whether the address may ask; otherwise how many microseconds it must wait. An unknown address always may.
    pub fn check(&self, address: Option<IpAddr>) -> Result<(), u64> {
        let Some(address) = address else { return Ok(()) };
        self.limiter
            .check_key(&Attempt {
                subject: Subject::of(address),
                spends: false,
            })
            .map_err(|refusal| {
                let wait = refusal.wait_time_from(governor::clock::Clock::now(self.limiter.clock()));
                u64::try_from(wait.as_nanos().div_ceil(1_000))
                    .unwrap_or(u64::MAX)
                    .max(1)
            })
    }

    /// Charges the address for having asked for a key that does not exist.
    pub fn record_failure(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            // A refusal here is a failure that began before the address was throttled: nothing is left to charge.
            let _ = self.limiter.check_key(&Attempt {
                subject: Subject::of(address),
                spends: true,
            });
        }
    }

    /// Drops the entries of addresses whose failures are forgotten.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
    }

    /// Addresses with an entry of their own.
    #[must_use]
    pub fn addresses(&self) -> u64 {
        u64::try_from(self.limiter.len()).unwrap_or(u64::MAX)
    }
}

/// Who is counted together: one IPv4 address, or one IPv6 /64, which is what a single client is usually given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Subject {
    fn of(address: IpAddr) -> Subject {
        match address.to_canonical() {
            IpAddr::V4(address) => Subject::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Subject::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// What is asked of the governor: to look, or to look and spend. It only offers the second; [`Entries`] tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Attempt {
    subject: Subject,
    spends: bool,
}

/// The governor's states, bounded.
struct Entries {
    own: DashMap<Subject, InMemoryState>,
    own_count: AtomicUsize,
    own_max: usize,
    shared: Box<[InMemoryState]>,
    hasher: RandomState,
}

impl Entries {
    fn new(own_max: usize) -> Entries {
        Entries {
            own: DashMap::new(),
            own_count: AtomicUsize::new(0),
            own_max,
            shared: (0..SHARED_ENTRIES).map(|_| InMemoryState::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn shared(&self, subject: Subject) -> &InMemoryState {
        let [low, high, ..] = self.hasher.hash_one(subject).to_le_bytes();
        &self.shared[usize::from(u16::from_le_bytes([low, high])) % SHARED_ENTRIES]
    }

    fn is_full(&self) -> bool {
        self.own_count.load(Ordering::Relaxed) >= self.own_max
    }

    /// Counts one more entry, unless there are as many as there may be.
    fn reserve(&self) -> bool {
        self.own_count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < self.own_max).then_some(count + 1)
            })
            .is_ok()
    }

    /// Asks without spending: the governor's answer is handed out as an error, which it takes for a refusal and stores nothing.
    fn peek<T, E>(state: &InMemoryState, decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
        match state.measure_and_replace(&NotKeyed::NonKey, |arrival| {
            Err::<(std::convert::Infallible, Nanos), _>(decide(arrival))
        }) {
            Ok(never) => match never {},
            Err(answer) => answer.map(|(outcome, _)| outcome),
        }
    }
}

impl StateStore for Entries {
    type Key = Attempt;

    fn measure_and_replace<T, F, E>(&self, attempt: &Attempt, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let subject = attempt.subject;
        if let Some(state) = self.own.get(&subject) {
            return match attempt.spends {
                true => state.measure_and_replace(&NotKeyed::NonKey, decide),
                false => Entries::peek(&state, decide),
            };
        }
        if !attempt.spends {
            return match self.is_full() {
                true => Entries::peek(self.shared(subject), decide),
                false => decide(None).map(|(outcome, _)| outcome),
            };
        }
        match self.own.entry(subject) {
            Entry::Occupied(entry) => entry.get().measure_and_replace(&NotKeyed::NonKey, decide),
            Entry::Vacant(entry) if self.reserve() => entry
                .insert(InMemoryState::default())
                .measure_and_replace(&NotKeyed::NonKey, decide),
            Entry::Vacant(_) => self.shared(subject).measure_and_replace(&NotKeyed::NonKey, decide),
        }
    }
}

impl ShrinkableKeyedStateStore<Attempt> for Entries {
    fn retain_recent(&self, drop_below: Nanos) {
        self.own.retain(|_, state| {
            let is_recent = Entries::peek(state, |arrival| {
                Ok::<_, std::convert::Infallible>((arrival.is_some_and(|at| at > drop_below), Nanos::default()))
            });
            if is_recent == Ok(false) {
                self.own_count.fetch_sub(1, Ordering::Relaxed);
            }
            is_recent == Ok(true)
        });
    }

    fn len(&self) -> usize {
        self.own_count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Our clock, as the governor wants it.
#[derive(Debug, Clone)]
struct GovernorClock(Clock);

impl governor::clock::Clock for GovernorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now().monotonic_us.saturating_mul(1_000))
    }
}
