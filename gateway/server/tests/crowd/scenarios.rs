//! The attacks, one function each: its plan, what may be besides, and what must be true of the gateway afterwards.
//!
//! Reads as a list. Each says which defence it stands for and, where that was tried, how it fails without.

use crate::attacker::{self, Means, Plan, Reads, Tally};
use crate::gateway::Gateway;
use crate::rounds::{self, Outcome, Phase};
use crate::support::signal;
use crate::{as_many_as_files_allow, heavy, is_heavy, upstream};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tokio::runtime::Runtime;

const MIB: u64 = 1024;

/// What an attack needs to be run.
pub(crate) struct Ground<'a> {
    runtime: &'a Runtime,
    upstream: SocketAddr,
}

type Scenario = fn(&Ground<'_>) -> Result<Outcome, String>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("junk_keys", junk_keys),
    ("unknown_keys", unknown_keys),
    (
        "unknown_keys_while_the_control_api_is_away",
        unknown_keys_while_the_control_api_is_away,
    ),
    ("slow_heads", slow_heads),
    ("slow_bodies", slow_bodies),
    ("idle_hoard", idle_hoard),
    ("idle_hoard_past_all_places", idle_hoard_past_all_places),
    ("idle_http2_hoard", idle_http2_hoard),
    ("rapid_reset", rapid_reset),
    ("provoked_resets", provoked_resets),
    ("empty_data", empty_data),
    ("continuation_flood", continuation_flood),
    ("giant_heads", giant_heads),
    ("endless_bodies", endless_bodies),
    ("slow_readers", slow_readers),
    ("silent_upstream", silent_upstream),
    ("dripping_upstream", dripping_upstream),
    ("reconnect_storm", reconnect_storm),
    ("handshake_storm", handshake_storm),
    ("one_address_with_all_connections", one_address_with_all_connections),
];

/// Runs all, or those with this in their names, and prints a line for each. True if all held.
pub(crate) fn run_all(runtime: &Runtime, wanted: Option<&str>) -> bool {
    let ground = Ground {
        runtime,
        upstream: upstream::start(),
    };
    let mut all_held = true;
    for (name, scenario) in SCENARIOS {
        if wanted.is_some_and(|wanted| !name.contains(wanted)) {
            continue;
        }
        let start = Instant::now();
        let held = std::panic::catch_unwind(AssertUnwindSafe(|| scenario(&ground)));
        let (word, text) = match held {
            Ok(Ok(outcome)) => ("ok", outcome.to_string()),
            Ok(Err(fault)) => ("FAILED", fault),
            Err(_) => ("FAILED", "it panicked, see above".to_owned()),
        };
        println!(
            "crowd {name} ... {word} in {:.1} s: {text}",
            start.elapsed().as_secs_f64()
        );
        all_held &= word == "ok";
    }
    all_held
}

impl Ground<'_> {
    fn gateway(&self, settings: &str) -> Gateway {
        self.runtime.block_on(Gateway::start(self.upstream, settings))
    }

    /// Alternates with nothing besides.
    fn attack(&self, gateway: &Gateway, plan: &Plan, growth_max_mib: u64) -> Result<Outcome, String> {
        rounds::alternate(
            gateway,
            &mut gateway.customer(),
            plan,
            growth_max_mib * MIB,
            &mut |_| {},
        )
    }

    /// Alternates; the attack is in force once a gauge of the gateway stands at so much.
    fn attack_until(
        &self,
        gateway: &Gateway,
        plan: &Plan,
        growth_max_mib: u64,
        (gauge, label): (&str, &str),
    ) -> Result<Outcome, String> {
        let enough = f64::from(u32::try_from(plan.connections).unwrap_or(u32::MAX));
        let mut settle = |phase| {
            if phase == Phase::InForce {
                self.runtime.block_on(gateway.stands_at(gauge, label, enough));
            }
        };
        rounds::alternate(
            gateway,
            &mut gateway.customer(),
            plan,
            growth_max_mib * MIB,
            &mut settle,
        )
    }

    /// The sum of a metric's series.
    fn metric(&self, gateway: &Gateway, name: &str, label: &str) -> f64 {
        self.runtime.block_on(gateway.metric(name, label))
    }

    /// Connections that were turned away for a reason; at least one must have been.
    fn turned_away(&self, gateway: &Gateway, reason: &str, at_least: f64) -> Result<(), String> {
        let counted = self.runtime.block_on(gateway.turned_away(reason));
        must(counted >= at_least, || {
            format!("turned away for {reason}: {counted}, expected {at_least}")
        })
    }
}

fn must(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

fn plan(target: SocketAddr, connections: usize, sources: usize, means: Means) -> Plan {
    Plan {
        target,
        connections: as_many_as_files_allow(connections),
        sources,
        means,
    }
}

fn get(key: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n")
}

fn requests(key: &str, per_second: u32) -> Means {
    Means::Requests {
        request: get(key, "/"),
        per_second,
        closes: false,
    }
}

fn hold(opening: String, drip: &[u8], every_ms: u64, reads: Reads) -> Means {
    Means::Hold {
        opening: opening.into_bytes(),
        drip: drip.to_vec(),
        every_ms,
        reads,
    }
}

fn shown_out(outcome: &Outcome) -> Result<(), String> {
    must(outcome.tally.shown_out > 0, || {
        format!("nobody was shown out: {outcome}")
    })
}

/// What so many connections may weigh, in MiB, at so much for each, and some more for whatever else goes on.
fn held(connections: usize, each_kib: u64) -> u64 {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    8 + connections.saturating_mul(each_kib).div_ceil(MIB)
}

/// How many answers began with this digit.
fn answers(tally: &Tally, digit: usize) -> u64 {
    tally.answered[digit]
}

/// The checksum refuses them: nothing is looked up.
/// Without the checksum, 485 were looked up.
fn junk_keys(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let fills = || ground.metric(&gateway, "portcullis_cache_fills_total", "");
    let before = fills();
    let outcome = ground.attack(&gateway, &plan(gateway.plain, 32, 8, requests("{junk}", 1_000)), 32)?;
    must(fills() - before <= 1.0, || {
        format!("{} look-ups for junk", fills() - before)
    })?;
    let malformed = ground.metric(
        &gateway,
        "portcullis_decisions_total",
        "outcome=\"key_malformed\",surface=\"proxy\"",
    );
    must(malformed >= 500.0, || format!("{malformed} counted as malformed"))?;
    Ok(outcome)
}

/// What could be a key is looked up so often for an address, and then not at all.
/// Without the throttle, 3,757 were, of 464 allowed.
fn unknown_keys(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let start = Instant::now();
    let outcome = ground.attack(&gateway, &plan(gateway.plain, 32, 4, requests("{unknown}", 1_000)), 32)?;
    let fills = ground.metric(&gateway, "portcullis_cache_fills_total", "");
    // Four addresses with a burst of 50 and one a second, and a quarter as much for what comes again; what is under way when
    // an allowance ends comes on top.
    let allowed = 2.0 * 4.0 * (50.0 + start.elapsed().as_secs_f64());
    must(fills <= allowed, || {
        format!("{fills} look-ups for strangers, {allowed:.0} allowed")
    })?;
    let throttled = ground.metric(&gateway, "portcullis_decisions_total", "too_many_failures");
    must(throttled >= 500.0, || format!("{throttled} throttled"))?;
    Ok(outcome)
}

/// Known keys are served; unknown ones are refused without waiting for one another.
/// With one look-up at a time, each client is refused once a round.
fn unknown_keys_while_the_control_api_is_away(ground: &Ground<'_>) -> Result<Outcome, String> {
    let (control, gateway) = ground.runtime.block_on(Gateway::elsewhere(ground.upstream));
    let plan = plan(gateway.plain, 64, 64, requests("{unknown}", 1_000));
    let mut away = |phase| match phase {
        Phase::Quiet => signal(control.pid(), "CONT"),
        Phase::Attack => signal(control.pid(), "STOP"),
        Phase::InForce => {}
    };
    let outcome = rounds::alternate(&gateway, &mut gateway.customer(), &plan, 32 * MIB, &mut away)?;
    let refused = ground.metric(&gateway, "portcullis_decisions_total", "control_unavailable");
    // At once, that is more often than a look-up that is waited for allows.
    must(refused >= 1_000.0, || {
        format!("{refused} were told that the control API is away: {outcome}")
    })?;
    Ok(outcome)
}

/// A head has a time in all, however it drips.
/// Without an end to that time nobody is shown out.
fn slow_heads(ground: &Ground<'_>) -> Result<Outcome, String> {
    // As it comes when many are meant; else shorter, so that fewer do as much in less time.
    let (settings, connections) = match is_heavy() {
        true => ("", 10_000),
        false => ("header_timeout = \"700ms\"", 400),
    };
    let gateway = ground.gateway(settings);
    let means = hold(
        "GET / HTTP/1.1\r\nhost: x\r\n".to_owned(),
        b"a: b\r\n",
        300,
        Reads::Some,
    );
    let outcome = ground.attack(
        &gateway,
        &plan(gateway.plain, connections, 10, means),
        held(connections, 32),
    )?;
    must(is_heavy() || answers(&outcome.tally, 4) > 0, || {
        format!("nobody was told: {outcome}")
    })?;
    let least = if is_heavy() { 0.0 } else { 400.0 };
    ground.turned_away(&gateway, "slow_head", least)?;
    Ok(outcome)
}

/// A body that never pauses for long and never ends has a least pace.
/// Without it nobody is shown out.
fn slow_bodies(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("body_timeout = \"400ms\"");
    let head = format!(
        "POST /swallow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        gateway.bad.secret
    );
    let means = hold(head, b"a", 300, Reads::Some);
    let outcome = ground.attack(
        &gateway,
        &plan(gateway.plain, heavy(20), 10, means),
        held(heavy(20), 160),
    )?;
    ground.turned_away(&gateway, "slow_body", 20.0)?;
    Ok(outcome)
}

/// Connections that were used once and are kept weigh little.
/// With a buffer left to each, they weigh more than twice as much.
fn idle_hoard(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = hold(get("{junk}", "/"), b"", 0, Reads::Awaited);
    ground.attack(
        &gateway,
        &plan(gateway.plain, heavy(2_000), 10, means),
        held(heavy(2_000), 12),
    )
}

/// Those that wait for a request make room for newcomers.
/// Without that, they stay until their own time is over.
fn idle_hoard_past_all_places(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("connections_max = 500");
    let means = hold(String::new(), b"", 0, Reads::Some);
    let outcome = ground.attack(&gateway, &plan(gateway.plain, 560, 10, means), held(560, 20))?;
    ground.turned_away(&gateway, "made_room", 120.0)?;
    Ok(outcome)
}

/// The same over HTTP/2, where a connection that has no stream is idle.
/// Where such a one counts as busy, newcomers get no answer.
fn idle_http2_hoard(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("connections_max = 500");
    let outcome = ground.attack(
        &gateway,
        &plan(gateway.h2c, 560, 10, attacker::idle_http2()),
        held(560, 100),
    )?;
    ground.turned_away(&gateway, "made_room", 120.0)?;
    Ok(outcome)
}

/// Who opens streams only to reset them is shown out (CVE-2023-44487).
/// Without that count nobody is shown out for it.
fn rapid_reset(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = attacker::resets(&gateway.bad.secret, false, 200);
    let outcome = ground.attack(&gateway, &plan(gateway.h2c, 1, 1, means), 32)?;
    ground.turned_away(&gateway, "resets", 1.0)?;
    Ok(outcome)
}

/// Nor may anybody have the gateway reset them (CVE-2025-8671).
/// The count of `rapid_reset` or that of our own resets is enough; without both nobody is shown out.
fn provoked_resets(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = attacker::resets(&gateway.bad.secret, true, 250);
    let outcome = ground.attack(&gateway, &plan(gateway.h2c, 1, 1, means), 32)?;
    shown_out(&outcome)?;
    Ok(outcome)
}

/// A body of nothing is bounded by its frames (RUSTSEC-2026-0258).
fn empty_data(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = attacker::empty_data(&gateway.bad.secret, 200);
    let outcome = ground.attack(&gateway, &plan(gateway.h2c, 1, 1, means), 32)?;
    shown_out(&outcome)?;
    Ok(outcome)
}

/// A head has its size in HTTP/2 too (RUSTSEC-2024-0332).
/// Without it nobody is shown out.
fn continuation_flood(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = attacker::continuations(&gateway.bad.secret, 60);
    let outcome = ground.attack(&gateway, &plan(gateway.h2c, 2, 2, means), 16)?;
    let each = outcome.tally.sent / outcome.tally.shown_out.max(1);
    must(outcome.tally.shown_out > 0 && each <= 100, || {
        format!("{each} frames of 4 KiB each before the end: {outcome}")
    })?;
    Ok(outcome)
}

/// A head has its size.
/// Without it they are served.
fn giant_heads(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let fields = format!("a: {}\r\n", "b".repeat(1_000)).repeat(64);
    let means = Means::Requests {
        request: get(&gateway.bad.secret, "/").replacen("\r\n", &format!("\r\n{fields}"), 1),
        per_second: 100,
        closes: false,
    };
    let outcome = ground.attack(&gateway, &plan(gateway.plain, 32, 8, means), 32)?;
    let refused = ground.metric(&gateway, "portcullis_refusals_total", "header_too_large");
    must(refused >= 50.0, || format!("{refused} refused as too large"))?;
    must(answers(&outcome.tally, 2) == 0, || {
        format!("some were served: {outcome}")
    })?;
    Ok(outcome)
}

/// Bodies pass through and are not gathered.
/// Where they are gathered, memory grows by more than its cap.
fn endless_bodies(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let head = format!(
        "POST /swallow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        gateway.bad.secret
    );
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    let means = Means::Flood {
        opening: head.into_bytes(),
        flood: attacker::Flood::Bytes(chunk.into_bytes()),
        per_second: 2_000,
    };
    ground.attack(&gateway, &plan(gateway.plain, 16, 8, means), 24)
}

/// An answer that its client does not take is not held, and its connection not for ever.
/// Without the time that a client may take nothing, nobody is shown out; where answers are gathered, the customer and memory feel it.
fn slow_readers(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("body_timeout = \"300ms\"\nkeepalive_timeout = \"300ms\"");
    let means = hold(get(&gateway.bad.secret, "/large"), b"", 200, Reads::Nothing);
    let outcome = ground.attack(&gateway, &plan(gateway.plain, heavy(6), 6, means), 32)?;
    shown_out(&outcome)?;
    ground.turned_away(&gateway, "slow_reader", 12.0)?;
    Ok(outcome)
}

/// An upstream that says nothing holds those who wait for it and nobody else.
/// Where requests share 50 turns, newcomers get no answer; where waiting is asking again and again, p99 is felt.
fn silent_upstream(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = hold(get(&gateway.bad.secret, "/silent"), b"", 0, Reads::Some);
    let plan = plan(gateway.plain, heavy(300), 10, means);
    let waiting = ("portcullis_requests_in_flight", "");
    ground.attack_until(&gateway, &plan, held(plan.connections, 160), waiting)
}

/// One that says little, likewise.
/// Where requests share 50 turns, newcomers get no answer.
fn dripping_upstream(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = hold(get(&gateway.bad.secret, "/drip"), b"", 0, Reads::Awaited);
    ground.attack(
        &gateway,
        &plan(gateway.plain, heavy(100), 10, means),
        held(heavy(100), 320),
    )
}

/// Connections come and go.
/// Where a place is not given back, newcomers get no answer.
fn reconnect_storm(ground: &Ground<'_>) -> Result<Outcome, String> {
    // Fewer places than connections that come and go.
    let gateway = ground.gateway("connections_max = 200");
    let means = Means::Requests {
        request: get("{junk}", "/"),
        per_second: 300,
        closes: true,
    };
    ground.attack(&gateway, &plan(gateway.plain, 64, 16, means), 32)
}

/// Handshakes take turns.
/// Without turns, p99 is felt.
fn handshake_storm(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("");
    let means = Means::Handshakes { per_second: 100 };
    ground.attack(&gateway, &plan(gateway.tls, 64, 16, means), 32)
}

/// One address has its share and no more.
/// Without that share nobody is turned away.
fn one_address_with_all_connections(ground: &Ground<'_>) -> Result<Outcome, String> {
    let gateway = ground.gateway("connections_per_address_max = 500");
    let means = hold(String::new(), b"", 0, Reads::Some);
    let outcome = ground.attack(&gateway, &plan(gateway.plain, 700, 1, means), held(500, 20))?;
    ground.turned_away(&gateway, "address_full", 400.0)?;
    Ok(outcome)
}
