//! The promise that guessing is throttled by address, and that only the guesser feels it.
//!
//! One address, as of an office or a mobile network: a neighbour who sends keys that do not exist as fast as he can, all the while,
//! and others whose keys are good: known, never seen yet, just made, or forgotten because their app was edited.

mod support;

use portcullis_verify::Secret;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::upstream::Upstream;
use support::{Server, client, route};
use tokio::task::JoinHandle;

/// A neighbour who does not rest. Dropping him ends it.
struct Neighbour {
    guesses: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Neighbour {
    fn moves_in(server: &Server) -> Neighbour {
        let guesses = Arc::new(AtomicU64::new(0));
        let (count, client, url) = (Arc::clone(&guesses), client(), server.url("/"));
        let task = tokio::spawn(async move {
            loop {
                let guess = Secret::generate("sk").expect("randomness");
                let answer = client.get(&url).bearer_auth(guess.expose()).send().await;
                let status = answer.expect("an answer").status().as_u16();
                assert!(matches!(status, 403 | 429), "a guess was answered {status}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Neighbour { guesses, task }
    }

    /// Waits until he has made so many more guesses.
    async fn goes_on(&self, guesses: u64) {
        assert!(!self.task.is_finished(), "the neighbour has stopped");
        let until = self.guesses.load(Ordering::Relaxed) + guesses;
        support::eventually("the neighbour goes on", async || {
            (self.guesses.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(server: &Server, key: &str) -> (u16, Option<u64>) {
    let request = client().get(server.url("/")).bearer_auth(key);
    let answer = request.send().await.expect("an answer");
    let retry_after = answer.headers().get("retry-after");
    let retry_after = retry_after.map(|value| value.to_str().expect("ASCII").parse().expect("seconds"));
    (answer.status().as_u16(), retry_after)
}

async fn sample(server: &Server, name: &str) -> u64 {
    let request = client().get(format!("http://{}/metrics", server.admin));
    let metrics = request.send().await.expect("an answer").text().await.expect("a body");
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.expect("the sample is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_keys_open_their_route_behind_the_address_of_a_neighbour_who_guesses_without_a_pause() {
    let upstream = Upstream::start().await;
    // So little comes back that what the neighbour leaves to others is none of it.
    let config = format!(
        "[failures]\nburst = 10\nper_minute = 1\n{}",
        route(upstream.address, &["api"])
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let (known, unseen, other) = (api.key("api").await, api.key("api").await, api.key("api").await);
    let elsewhere = api.key("api").await;
    // After a restart the process has seen none of them.
    let server = server.kill_and_restart().await;
    let api = server.api();
    assert_eq!(send(&server, &known.secret).await.0, 200);

    let neighbour = Neighbour::moves_in(&server);
    neighbour.goes_on(100).await;
    assert_eq!(sample(&server, "portcullis_throttled_addresses").await, 1);
    let refused = "portcullis_decisions_total{outcome=\"too_many_failures\",surface=\"proxy\"}";
    assert!(
        sample(&server, refused).await >= 80,
        "the metric counts what is refused"
    );
    let asked = sample(&server, "portcullis_cache_fills_total").await;
    neighbour.goes_on(100).await;
    let more = sample(&server, "portcullis_cache_fills_total").await - asked;
    assert!(more <= 5, "the source was asked {more} times for a hundred guesses");

    assert_eq!(send(&server, &known.secret).await.0, 200, "a key in memory");
    for (what, key) in [("a key that was never seen", &unseen), ("another", &other)] {
        let (status, retry_after) = send(&server, &key.secret).await;
        assert_eq!(status, 429, "{what}: its first try cannot be told from a guess");
        assert!(retry_after.is_some_and(|seconds| seconds >= 1), "{what}");
        neighbour.goes_on(20).await;
        assert_eq!(send(&server, &key.secret).await.0, 200, "{what}: its second try can");
        assert_eq!(send(&server, &key.secret).await.0, 200, "{what}: and it is known now");
    }
    // The decision API has the same gate, for the address that it is told.
    let ask = async |address: &str| {
        let check = json!({"principal": {"type": "api_key", "value": elsewhere.secret}, "resource": "/", "method": "GET",
            "client_ip": address});
        let request = client()
            .post(format!("http://{}/v1/authz/check", server.authz))
            .json(&check);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(ask("127.0.0.1").await, 429);
    assert_eq!(ask("192.0.2.1").await, 200, "from elsewhere it opens at once");
    assert_eq!(ask("127.0.0.1").await, 200, "and once it is known, from there too");
    let made = api.key("api").await;
    assert_eq!(send(&server, &made.secret).await.0, 200, "a key that was just made");
    let edit = json!({"name": "renamed"});
    api.must("PATCH", "/api-auth/apps/api", Some(edit)).await;
    neighbour.goes_on(20).await;
    for key in [&known, &unseen, &other, &made] {
        assert_eq!(send(&server, &key.secret).await.0, 200, "a key that is read again");
    }
    // Good is not for ever: what is revoked is refused, neighbour or not.
    api.revoke("api", &made.id).await;
    assert_eq!(send(&server, &made.secret).await.0, 403);
    neighbour.goes_on(20).await;
}
