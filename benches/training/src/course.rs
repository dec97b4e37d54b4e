//! The course: what is asked, how often, and what must be answered.
//!
//! The shares are those of a gateway in production: nearly everything is a good request to a small answer, the rest is what must
//! be cheap too. Called by `main`.

use crate::connection::{Connection, Way};
use crate::gateway::{Addresses, Gateway};
use crate::request::{self, Payload};
use crate::stock::{self, Stock};
use crate::upstream;
use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Keys of the open app.
const KEYS: usize = 300;

/// Requests of one kind, by so many connections side by side.
#[derive(Clone)]
struct Leg {
    name: &'static str,
    way: Way,
    path: &'static str,
    keys: Keys,
    payload: Payload,
    connections: usize,
    /// For each connection.
    requests: usize,
    /// One of these must be answered.
    statuses: &'static [u16],
    /// Every request has a connection of its own.
    reconnects: bool,
}

/// Which keys are presented.
#[derive(Debug, Clone, Copy)]
enum Keys {
    Good,
    Limited,
    Unknown,
    Junk,
    None,
}

/// A usual request: with a good key, to a small answer, over a connection that is kept.
const USUAL: Leg = Leg {
    name: "small answers",
    way: Way::Plain,
    path: "/bytes/1024",
    keys: Keys::Good,
    payload: Payload::Nothing,
    connections: 32,
    requests: 1_500,
    statuses: &[200],
    reconnects: false,
};

#[rustfmt::skip]
fn legs() -> Vec<Leg> {
    vec![
        USUAL,
        Leg { name: "empty answers", path: "/", connections: 16, requests: 400, statuses: &[204], ..USUAL },
        Leg { name: "with a permission", path: "/users/42", connections: 16, requests: 400, statuses: &[204], ..USUAL },
        Leg { name: "larger answers", path: "/bytes/65536", connections: 8, requests: 300, ..USUAL },
        Leg { name: "large answers", path: "/bytes/1048576", connections: 4, requests: 20, ..USUAL },
        Leg { name: "answers in chunks", path: "/chunks/32768", connections: 8, requests: 200, ..USUAL },
        Leg { name: "small bodies", payload: Payload::Whole(300), connections: 16, requests: 400, ..USUAL },
        Leg { name: "larger bodies", payload: Payload::Whole(65_536), connections: 8, requests: 100, ..USUAL },
        Leg { name: "bodies in chunks", payload: Payload::Chunked(32_768), connections: 8, requests: 100, ..USUAL },
        Leg { name: "over TLS", way: Way::Tls, connections: 16, requests: 800, ..USUAL },
        Leg { name: "over HTTP/2 and TLS", way: Way::TlsHttp2, connections: 16, requests: 600, ..USUAL },
        Leg { name: "over HTTP/2", way: Way::Http2, connections: 8, requests: 200, ..USUAL },
        Leg { name: "short connections", connections: 8, requests: 100, reconnects: true, ..USUAL },
        Leg { name: "short TLS connections", way: Way::Tls, connections: 8, requests: 40, reconnects: true, ..USUAL },
        Leg { name: "junk", keys: Keys::Junk, connections: 16, requests: 600, statuses: &[403], ..USUAL },
        Leg { name: "no key", keys: Keys::None, connections: 8, requests: 200, statuses: &[403], ..USUAL },
        Leg { name: "unknown keys", keys: Keys::Unknown, connections: 8, requests: 300, statuses: &[403, 429], ..USUAL },
        Leg { name: "limited keys", path: "/limited", keys: Keys::Limited, connections: 8, requests: 500, statuses: &[204, 429], ..USUAL },
    ]
}

/// Walks the whole course, or one of so many parts of it: on the usual path, with everything through pingora-proxy, and at a gateway
/// elsewhere.
///
/// # Errors
/// When something is not answered as it should be.
pub(crate) async fn walk(program: &Path, whole: usize) -> Result<()> {
    let upstream = upstream::start().await?;
    for (fast_path, share) in [(true, whole), (false, 6 * whole)] {
        say(&format!("serve, fast_path = {fast_path}"))?;
        let gateway = Gateway::serve(program, upstream, fast_path).await?;
        let stock = Arc::new(Stock::make(&gateway.at, KEYS.div_ceil(whole)).await?);
        for leg in legs() {
            go(&gateway.at, &stock, &leg, share).await?;
        }
        decide(&gateway.at, &stock, 4_000_usize.div_ceil(share)).await?;
        administer(&gateway.at, 150_usize.div_ceil(share)).await?;
        if fast_path {
            say("gateway elsewhere")?;
            let follower = Gateway::follow(program, upstream, gateway.at.control).await?;
            go(&follower.at, &stock, &USUAL, 8 * whole).await?;
            follower.end().await?;
        }
        gateway.end().await?;
    }
    Ok(())
}

/// Walks one leg, or one of so many parts of it.
async fn go(at: &Addresses, stock: &Arc<Stock>, leg: &Leg, share: usize) -> Result<()> {
    say(&format!("  {}", leg.name))?;
    let mut walkers = Vec::new();
    for walker in 0..leg.connections {
        let (at, stock, leg) = (at.clone(), Arc::clone(stock), leg.clone());
        walkers.push(tokio::spawn(async move {
            knock(&at, &stock, &leg, walker, leg.requests.div_ceil(share)).await
        }));
    }
    for walker in walkers {
        walker.await?.with_context(|| leg.name)?;
    }
    Ok(())
}

async fn knock(at: &Addresses, stock: &Stock, leg: &Leg, walker: usize, requests: usize) -> Result<()> {
    // Guessers have addresses of their own, so that only they are held back.
    let from = match leg.keys {
        Keys::Unknown => u8::try_from(walker).unwrap_or(0).saturating_add(100),
        Keys::Good | Keys::Limited | Keys::Junk | Keys::None => 1,
    };
    let mut connection = Connection::open(at, leg.way, from).await?;
    for number in 0..requests {
        if number > 0 && (leg.reconnects || connection.is_closed()) {
            connection = Connection::open(at, leg.way, from).await?;
        }
        let key = leg.keys.pick(stock, walker * 7_919 + number * 31);
        let asked = request::with_key(leg.way, number, leg.path, key, leg.payload)?;
        let (status, _) = connection.send(asked).await?;
        ensure!(leg.statuses.contains(&status), "answered {status}");
    }
    Ok(())
}

impl Keys {
    fn pick(self, stock: &Stock, number: usize) -> Option<&str> {
        let keys = match self {
            Keys::Good => &stock.good,
            Keys::Limited => &stock.limited,
            Keys::Unknown => &stock.unknown,
            Keys::Junk => &stock.junk,
            Keys::None => return None,
        };
        keys.get(number.checked_rem(keys.len())?).map(String::as_str)
    }
}

/// Asks the decision API, as a proxy and as a server would.
async fn decide(at: &Addresses, stock: &Stock, requests: usize) -> Result<()> {
    say("  decision API")?;
    let mut connection = Connection::open(at, Way::Authz, 1).await?;
    for number in 0..requests {
        let key = Keys::Good.pick(stock, number).context("there are keys")?;
        let asked = if number.is_multiple_of(4) {
            request::with_key(Way::Authz, number, "/v1/forward-auth", Some(key), Payload::Nothing)?
        } else {
            let body = json!({
                "principal": {"type": "api_key", "value": key},
                "resource": "/v1/users", "method": "GET", "client_ip": "192.0.2.7", "required_permissions": ["users:read"],
            });
            request::json(Way::Authz, Method::POST, "/v1/authz/check", None, Some(&body))?
        };
        let (status, answer) = connection.send(asked).await?;
        // Without the headers of an original request, forward-auth has nothing to decide about.
        let expected: &[u16] = if number.is_multiple_of(4) { &[200, 400] } else { &[200] };
        ensure!(
            expected.contains(&status),
            "the decision API answered {status}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// Uses the control API as backends do, and looks at the metrics as a monitor does.
async fn administer(at: &Addresses, rounds: usize) -> Result<()> {
    say("  control API")?;
    let mut api = Connection::open(at, Way::Control, 1).await?;
    let mut monitor = Connection::open(at, Way::Admin, 1).await?;
    for number in 0..rounds {
        let wish = json!({"name": format!("Guest {number}")});
        let made = stock::call(&mut api, Method::POST, "/api-auth/apps/open/keys", Some(&wish)).await?;
        let (id, secret) = (&made["id"], &made["secret"]);
        let id = id.as_str().context("a key has an id")?;
        stock::call(
            &mut api,
            Method::POST,
            "/api-auth/verify",
            Some(&json!({"key": secret})),
        )
        .await?;
        let rotated = format!("/api-auth/apps/open/keys/{id}/rotate");
        let made = stock::call(&mut api, Method::POST, &rotated, None).await?;
        let id = made["id"].as_str().context("a key has an id")?;
        let revoked = format!("/api-auth/apps/open/keys/{id}/revoke");
        stock::call(&mut api, Method::POST, &revoked, Some(&json!({"reason": "left"}))).await?;
        for path in ["/api-auth/apps", "/api-auth/apps/open", "/api-auth/rate-limit-schemes"] {
            stock::call(&mut api, Method::GET, path, None).await?;
        }
        if number.is_multiple_of(10) {
            stock::call(&mut api, Method::GET, "/api-auth/apps/open/keys", None).await?;
            let asked = request::json(Way::Admin, Method::GET, "/metrics", None, None)?;
            let (status, _) = monitor.send(asked).await?;
            ensure!(status == 200, "the metrics were answered {status}");
        }
    }
    Ok(())
}

fn say(what: &str) -> Result<()> {
    writeln!(std::io::stdout(), "train: {what}")?;
    Ok(())
}
