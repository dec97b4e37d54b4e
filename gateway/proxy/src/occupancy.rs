//! Who is connected: how many at once, how many of one address, and whose place a newcomer gets when all are taken.
//!
//! It decides by numbers only and knows neither TLS nor HTTP: [`crate::connection`] says when a request is under way.
//! [`crate::listener`] asks it for a place for every connection that was accepted.

use ipnet::IpNet;
use portcullis_config::settings;
use portcullis_http::client_address;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

#[cfg(test)]
mod tests;

/// While nobody makes room, how often it is looked for again: a request that ends frees nothing but makes one movable.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// One part in so many of all places is cleared at once, so that a flood of newcomers does not have all looked through for each.
const CLEARED_SHARE: usize = 256;
/// While less than this part of all places went to others, a newcomer is not cleared: its request may be on its way. Where
/// everybody is that new, too many come at once, and further ones wait in the listen queue.
const NEW_SHARE: usize = 8;

/// Set in the word of a seat that waits for a request; the rest is how many had come when it began to.
const WAITS: u64 = 1 << 63;
/// The word of a seat that has to go.
const GOES: u64 = u64::MAX;

/// All places, and who has them.
pub(crate) struct Occupancy {
    places: Arc<Semaphore>,
    places_max: usize,
    /// `None` is no limit.
    per_address_max: Option<usize>,
    /// Peers that stand for many clients.
    uncounted: Vec<IpNet>,
    /// How many have come. It dates waiting: cheaper than a clock, and nothing is cleared while nobody comes.
    newcomers: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    seats: HashMap<u64, Arc<Seat>>,
    addresses: HashMap<Subject, usize>,
}

/// Who is counted together: one IPv4 address, or one IPv6 /64, which is what a single client is usually given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// The address has all the connections that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressFull;

/// One connection, as seen by those who look for room.
pub(crate) struct Seat {
    /// [`WAITS`] and since when, [`GOES`], or the number of requests under way.
    word: AtomicU64,
    subject: OnceLock<Subject>,
    task: OnceLock<AbortHandle>,
    occupancy: Arc<Occupancy>,
}

/// A connection's place. Dropping it frees the place.
pub(crate) struct Place {
    seat: Arc<Seat>,
    id: u64,
    permit: Option<OwnedSemaphorePermit>,
}

/// A request under way. Dropping it ends the request.
pub(crate) struct UnderWay<'a>(&'a Seat);

impl Occupancy {
    /// Places as many as the settings say.
    pub(crate) fn new(gateway: &settings::Gateway) -> Arc<Occupancy> {
        let places_max = gateway.connections_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Occupancy {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            per_address_max: Some(gateway.connections_per_address_max).filter(|max| *max > 0),
            uncounted: gateway.trusted_proxies.clone(),
            newcomers: AtomicU64::new(0),
            taken: Mutex::default(),
        })
    }

    /// Enters a newcomer. `peer` is whom it counts for; `None` if that is not known yet.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Place, AddressFull> {
        let since = self.newcomers.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            word: AtomicU64::new(WAITS | since),
            subject: OnceLock::new(),
            task: OnceLock::new(),
            occupancy: Arc::clone(self),
        });
        let mut place = Place {
            seat: Arc::clone(&seat),
            id: since,
            permit: None,
        };
        if let Some(peer) = peer {
            place.belongs_to(peer)?;
        }
        self.taken().seats.insert(place.id, seat);
        place.permit = Arc::clone(&self.places).try_acquire_owned().ok();
        Ok(place)
    }

    /// Has those who wait for a request make room, the longest waiting first and sooner where an address has many.
    /// Gives how many will go.
    pub(crate) fn clear(&self) -> usize {
        let taken = self.taken();
        let now = self.newcomers.load(Ordering::Relaxed);
        let new = u64::try_from(self.places_max / NEW_SHARE).unwrap_or(u64::MAX);
        let mut waiting: Vec<(u64, u64, &Arc<Seat>)> = taken
            .seats
            .values()
            .filter_map(|seat| {
                let word = seat.word.load(Ordering::Relaxed);
                let waits = word != GOES && word & WAITS != 0 && seat.task.get().is_some();
                let waited = now.saturating_sub(word & !WAITS);
                (waits && waited >= new).then(|| (taken.tiresomeness(seat, waited), word, seat))
            })
            .collect();
        let share = self.places_max.div_ceil(CLEARED_SHARE).min(waiting.len());
        if share > 0 && share < waiting.len() {
            waiting.select_nth_unstable_by_key(share - 1, |(weight, _, _)| std::cmp::Reverse(*weight));
        }
        let leaving = waiting.iter().take(share);
        leaving.filter(|(_, word, seat)| seat.is_sent_away(*word)).count()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// How long it has waited, in newcomers, times the order of magnitude of what its address has.
    fn tiresomeness(&self, seat: &Seat, waited: u64) -> u64 {
        let held = seat.subject.get().and_then(|subject| self.addresses.get(subject));
        let magnitude = held.map_or(1, |held| u64::from(held.checked_ilog2().unwrap_or(0)) + 1);
        waited.saturating_mul(magnitude)
    }
}

impl Place {
    /// Says whom the connection counts for, once.
    pub(crate) fn belongs_to(&self, peer: IpAddr) -> Result<(), AddressFull> {
        let occupancy = &self.seat.occupancy;
        if client_address::is_trusted(peer, &occupancy.uncounted) {
            return Ok(());
        }
        let subject = Subject::of(peer);
        let mut taken = occupancy.taken();
        let held = taken.addresses.entry(subject).or_default();
        if occupancy.per_address_max.is_some_and(|max| *held >= max) {
            return Err(AddressFull);
        }
        if self.seat.subject.set(subject).is_ok() {
            *held += 1;
        }
        Ok(())
    }

    /// Waits until there really is room, having others make it. Gives how many others had to go.
    pub(crate) async fn settle(&mut self) -> usize {
        let mut gone = 0;
        while self.permit.is_none() {
            let places = &self.seat.occupancy.places;
            self.permit = Arc::clone(places).try_acquire_owned().ok();
            if self.permit.is_none() {
                gone += self.seat.occupancy.clear();
                let waited = tokio::time::timeout(LOOK_AGAIN, Arc::clone(places).acquire_owned()).await;
                self.permit = waited.ok().and_then(Result::ok);
            }
        }
        gone
    }

    /// The seat, to be told of requests.
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.seat.occupancy.taken();
        taken.seats.remove(&self.id);
        if let Some(subject) = self.seat.subject.get()
            && let Some(held) = taken.addresses.get_mut(subject)
        {
            *held = held.saturating_sub(1);
            if *held == 0 {
                taken.addresses.remove(subject);
            }
        }
    }
}

impl Seat {
    /// Names the task that ends when the seat is cleared. Until then it is not.
    pub(crate) fn is_served_by(&self, task: AbortHandle) {
        // Said once, by whoever started the task.
        let _ = self.task.set(task);
    }

    /// A request begins. `None` if the connection has to go: nothing more is taken from it.
    pub(crate) fn begins(&self) -> Option<UnderWay<'_>> {
        let busier = |word| match word {
            GOES => None,
            _ if word & WAITS != 0 => Some(1),
            _ => Some(word + 1),
        };
        let begun = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, busier);
        begun.is_ok().then_some(UnderWay(self))
    }

    /// Ends the connection at once, whatever is under way on it. True if it was not ending before.
    pub(crate) fn end(&self) -> bool {
        let is_first = self.word.swap(GOES, Ordering::AcqRel) != GOES;
        if let Some(task) = self.task.get() {
            task.abort();
        }
        is_first
    }

    /// Ends the connection if it still waits as it did. True if this call is what ends it.
    fn is_sent_away(&self, word: u64) -> bool {
        let sent = self
            .word
            .compare_exchange(word, GOES, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if sent && let Some(task) = self.task.get() {
            task.abort();
        }
        sent
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let since = self.0.occupancy.newcomers.load(Ordering::Relaxed);
        let quieter = |word| match word {
            GOES => None,
            1 => Some(WAITS | since),
            _ => Some(word.saturating_sub(1)),
        };
        // A seat that has to go stays so.
        let _ = self.0.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, quieter);
    }
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
