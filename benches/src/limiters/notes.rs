//! What stands under each table: what it measures, and what it does not.
//!
//! Decides nothing. The page puts each note under its table.

pub(super) const CONTENDERS: &str = "\
- **portcullis**: `LocalLimiter::charge`; three rules are charged all or none, and every answer says what is left of each. *Time \
given*: the time was read once for the request, before the limits, as the gateway does. *Reads the clock*: `Clock::now` \
within the measured time (both clocks). *Record cold*: the key's record, one of as many as there are keys, is first read by the charge; everywhere else the record is at hand and \
says whose the request is, as the others are handed a name: no table of records goes through the processor's caches beside the counters.
- **governor**: `RateLimiter` with its default keyed store and its own clock; burst = limit per window, as `Quota::per_minute` sets it. \
Keys are named by `u64` or by 32-byte hash. *Time given*: a clock that is one load from memory. *Half burst, half rate*: the \
setting in which it is strict.
- **two-counter window**: this window of the clock and the one before, weighted by overlap, the request counted in and nothing \
rounded off; **exact log**: every time stamp in a `VecDeque`; **fixed window**: one count per window of the clock. All in dashmap with its \
default hasher, keyed by `u64`, time given.
- **memory floor**: one 64-byte line per subject, in arrays; *atomic* with one `fetch_add` per line, *plain* with a read and a write. No \
hashing, no look-up, no decision.

All but portcullis serve three rules with three checks one after the other: what the first charged stays charged when the third \
refuses. They cannot do all or none.

";

pub(super) const STRICTNESS: &str = "\n\
Manual time, one key, every limiter given the same arrivals; an exact oracle looks at every half-open window. *Over* is the fullest window's admissions \
past the limit. *Short* is how much of the limit was left, at the worst, when a request was refused; what had left the window within the last millionth of its length \
still counts as used there, for every limiter alike. It says nothing of how often either happens in \
traffic that nobody aims at the limiter.\n\n";

pub(super) const BARS: &str = "\n\
The bars are set for two-core machines of this kind. The first ratio holds three rules of ours, clock included, against one governor check, \
clock included; below 1 the three are cheaper. The figures exclude reading the key's record, which the look-up has just done; the tables below have a line with \
it.\n\n";

pub(super) const COST: &str = "\
Every subject had a counter before timing, and no request was refused. Keys and addresses are drawn independently, apps (1 000) follow the key. Requests come in \
batches of 64: what is at hand for them, and then the time, is made ready before anything is timed; so misses on counters count, misses on records do not, but where it says so, and with two threads each \
pauses for a moment after every 64. A gateway does much else between two charges, which leaves less of the tables in its caches than here.\n\n";

pub(super) const REFUSALS: &str = "\n\
Every key and every address has spent its limit; each request is refused. With three rules ours looks at all three, to name the longest wait; the others stop at \
the first that refuses. Ours and \
governor also say when to retry; the others only answer no.\n\n";

pub(super) const CONTENTION: &str = "\n\
Gain is two threads over one; two would be no contention at all, below one means that the second thread slows both down. *The app's*: one rule, 1 000 keys. *Three*: \
key, address and app, keys and addresses uniform; records are read cold by ours, so that nothing but the clock is between two charges. Each thread has a processor \
of its own; figures are requests over the time from when both had begun until the last was done. The memory floor is one \
`fetch_add` per counter: what the machine makes of two threads on one cache line. Real requests leave a counter alone far longer than this loop does.\n\n";

pub(super) const FOOTPRINT: &str = "\
The growth of the resident set of a process of its own while keys are filled, divided by the keys; records, names and requests were there \
before. Hash tables double: the first column is a good point for dashmap just before it doubles, the second is just after. It counts one rule's counters; what an \
allocator keeps for later is in it.\n";
