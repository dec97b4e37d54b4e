//! The promise that a revocation holds under any mixture of faults: runs drawn from seeds, judged over their whole history.
//!
//! `PORTCULLIS_SEED=n` runs one seed again. `PORTCULLIS_FLEET_SECONDS=n` goes through seed after seed for so long, with up to 16
//! gateways.

mod fleet;
mod support;

use fleet::dice::Dice;
use fleet::mixture;
use fleet::run::{Run, long_run, seed};
use fleet::setup::Setup;
use portcullis_postgres_server::PostgresServer;
use std::time::Duration;

/// One run: so many gateways, so long a time of faults; on SQLite, or with two control APIs on a database of this server.
async fn check(name: &str, own_seed: u64, gateways: usize, time: Duration, server: Option<&PostgresServer>) {
    let seed = seed(own_seed);
    // Other dice than the run's own: those are thrown for the workload.
    let gateways = mixture::any_gateways(gateways, &Dice::new(!seed));
    let mut setup = Setup::with(gateways);
    if let Some(server) = server {
        setup = setup.sharing(2, tokio::task::block_in_place(|| server.create_database()));
    }
    let mut run = Run::start(name, own_seed, setup).await;
    mixture::mix(&mut run, time).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaks_no_promise_to_a_few_gateways() {
    check("mixture-of-three", 101, 3, Duration::from_secs(12), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaks_no_promise_to_more_gateways() {
    check("mixture-of-six", 102, 6, Duration::from_secs(12), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaks_no_promise_in_run_after_run() {
    let clock = portcullis_verify::Clock::system();
    let now = || Duration::from_micros(clock.now().monotonic_us);
    let begun = now();
    // Without a long time there is one short run more.
    let time = long_run().unwrap_or_default();
    let server = tokio::task::block_in_place(PostgresServer::start);
    let mut seed = 1_000;
    loop {
        let gateways = if time.is_zero() {
            2
        } else {
            1 + Dice::new(seed).index(16)
        };
        let lasts = if time.is_zero() { 6 } else { 30 };
        // The first on PostgreSQL, then in turn.
        let server = seed.is_multiple_of(2).then_some(&server);
        check("mixture", seed, gateways, Duration::from_secs(lasts), server).await;
        seed += 1;
        if now() - begun >= time {
            return;
        }
    }
}
