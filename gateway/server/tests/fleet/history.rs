//! All that happened in one run: every call and its answer, every request and its answer, every report of a gateway, every fault.
//!
//! Judges nothing; the checker does. All times are microseconds of the machine's one monotonic clock, the same that the processes
//! under test read, so that they compare without any slack.

use portcullis_verify::Clock;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Microseconds of `CLOCK_BOOTTIME`, as [`Clock`] counts them.
pub type Us = u64;

/// When something was begun, and when its outcome was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Before the first byte was sent.
    pub start: Us,
    /// After the last byte of the answer came, or it was given up.
    pub end: Us,
}

/// A key, by the order in which the test made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyNo(pub usize);

/// An app, by the order in which the test made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppNo(pub usize);

/// A gateway, by its place in the fleet. It stays the same when the process is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayNo(pub usize);

/// A call that changes what is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A key is made beneath an app.
    Create {
        /// The new key.
        key: KeyNo,
        /// Its app.
        app: AppNo,
    },
    /// A key is revoked.
    Revoke {
        /// The key.
        key: KeyNo,
    },
    /// A key is rotated without grace: `old` ends where `new` begins.
    Rotate {
        /// The key that ends.
        old: KeyNo,
        /// The key that takes its place. `None`: the answer, and with it the new secret, was lost.
        new: Option<KeyNo>,
        /// The app of both.
        app: AppNo,
    },
    /// An app is switched off.
    AppOff(AppNo),
    /// An app is switched on.
    AppOn(AppNo),
    /// An app is deleted, for good.
    AppDelete(AppNo),
}

/// What became of an [`Act`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered 2xx.
    Done {
        /// The revision of the answer; 0 where the answer carried none.
        revision: u64,
        /// It had been asked to wait for the whole fleet.
        fleet: bool,
    },
    /// It was answered that it was so already: an earlier try, whose answer was lost, had been done.
    Already,
    /// It was answered that it was not done.
    NotDone,
    /// No answer came, or one that leaves it open: it may have been done, then or at any time up to the end of the span, and no
    /// later, because whoever had it under way is dead or has answered.
    Unknown,
}

/// What a gateway answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status, and the `reason` of a refusal.
    Status(u16, String),
    /// No answer: the process was not there, or was stopped, or ended.
    Nothing,
}

impl Answer {
    /// The request was let through.
    pub fn admitted(&self) -> bool {
        matches!(self, Answer::Status(200, _))
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A call to a control API.
    Call {
        /// When.
        span: Span,
        /// Which.
        act: Act,
        /// What came of it.
        outcome: Outcome,
    },
    /// A request with a key to a gateway.
    Request {
        /// When.
        span: Span,
        /// To whom.
        gateway: GatewayNo,
        /// How often that gateway had been started before.
        life: u32,
        /// With which key.
        key: KeyNo,
        /// What came.
        answer: Answer,
        /// It was made at the end, when everything had been healed and every gateway had caught up.
        is_last: bool,
    },
    /// What a gateway says of itself.
    Report {
        /// When.
        span: Span,
        /// Who.
        gateway: GatewayNo,
        /// How often it had been started before.
        life: u32,
        /// The revision up to which it has applied every change. `None`: it says none.
        applied: Option<u64>,
        /// How long ago it knew that it had heard of everything, in microseconds. `None`: it says never.
        staleness: Option<Us>,
    },
    /// A process said that the other end broke the protocol, or that it broke itself.
    Complaint {
        /// When it was read.
        at: Us,
        /// Who.
        who: String,
        /// The line of its log.
        line: String,
    },
    /// The store was copied, while no process had it open.
    BackedUp {
        /// When.
        at: Us,
    },
    /// The last copy was put back in the place of the store; until this moment no process had it open.
    Restored {
        /// When.
        at: Us,
    },
    /// A fault began or ended: for the reader of a history, the rules do not look at it.
    Fault {
        /// When.
        at: Us,
        /// What.
        what: String,
    },
}

impl Event {
    /// When it began.
    pub fn start(&self) -> Us {
        match self {
            Event::Call { span, .. } | Event::Request { span, .. } | Event::Report { span, .. } => span.start,
            Event::BackedUp { at } | Event::Restored { at } | Event::Complaint { at, .. } | Event::Fault { at, .. } => {
                *at
            }
        }
    }
}

/// A history while it is being written.
pub struct Recorder {
    clock: Clock,
    events: Mutex<Vec<Event>>,
    /// Requests and done calls among them.
    counts: Mutex<(usize, usize)>,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Recorder {
        Recorder {
            clock: Clock::system(),
            events: Mutex::new(Vec::new()),
            counts: Mutex::new((0, 0)),
        }
    }

    /// The time.
    pub fn now(&self) -> Us {
        self.clock.now().monotonic_us
    }

    /// Since `start` until now.
    pub fn since(&self, start: Us) -> Span {
        Span { start, end: self.now() }
    }

    /// Writes an event down.
    pub fn note(&self, event: Event) {
        {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.0 += usize::from(matches!(event, Event::Request { .. }));
            let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. });
            counts.1 += usize::from(matches!(&event, Event::Call { outcome, .. } if is_done(outcome)));
        }
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Writes down that a fault begins or ends now.
    pub fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(Event::Fault { at: self.now(), what });
    }

    /// How many requests, and how many calls that were done, have been written down.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
    }

    /// All events, by when they began.
    pub fn history(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(Event::start);
        events
    }
}

/// A line for a person, with times in milliseconds since `zero`.
pub fn line(event: &Event, zero: Us) -> String {
    struct Since(Us, Us);
    impl fmt::Display for Since {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let us = self.0.saturating_sub(self.1);
            write!(f, "{:>7}.{:03}", us / 1_000, us % 1_000)
        }
    }
    let span = |span: &Span| format!("{} – {}", Since(span.start, zero), Since(span.end, zero));
    match event {
        Event::Call {
            span: when,
            act,
            outcome,
        } => format!("{}  {act:?} → {outcome:?}", span(when)),
        Event::Request {
            span: when,
            gateway,
            life,
            key,
            answer,
            is_last,
        } => {
            let last = if *is_last { " (last)" } else { "" };
            format!(
                "{}  gateway {} life {life}: key {} → {answer:?}{last}",
                span(when),
                gateway.0,
                key.0
            )
        }
        Event::Report {
            span: when,
            gateway,
            life,
            applied,
            staleness,
        } => {
            format!(
                "{}  gateway {} life {life} has applied {applied:?}, was fresh {staleness:?} µs ago",
                span(when),
                gateway.0
            )
        }
        Event::Complaint { at, who, line } => format!("{}  {who} complains: {line}", Since(*at, zero)),
        Event::BackedUp { at } => format!("{}  the store was copied", Since(*at, zero)),
        Event::Restored { at } => format!("{}  the copy was put back", Since(*at, zero)),
        Event::Fault { at, what } => format!("{}  {what}", Since(*at, zero)),
    }
}
