//! The promise that several control APIs on one PostgreSQL database are as one: whichever of them a change is made at, and whichever
//! of them a gateway hears it from, a revocation holds.

mod fleet;
mod support;

use fleet::fault_proxy::{Direction, Flow};
use fleet::run::Run;
use fleet::setup::{GatewaySetup, Setup};
use portcullis_postgres_server::PostgresServer;
use std::time::Duration;

const ASKS: GatewaySetup = GatewaySetup {
    preloads: false,
    keeps_snapshot: false,
    serves_stale: false,
    keys_max: None,
};
const HOLDS_ALL: GatewaySetup = GatewaySetup {
    preloads: true,
    keeps_snapshot: true,
    ..ASKS
};

/// Runs two control APIs and three gateways through a fault.
async fn check(name: &str, seed: u64, faults: impl AsyncFnOnce(&mut Run, &PostgresServer)) {
    let server = tokio::task::block_in_place(PostgresServer::start);
    let database = tokio::task::block_in_place(|| server.create_database());
    let setup = Setup::with(vec![ASKS, HOLDS_ALL, ASKS]).sharing(2, database);
    let mut run = Run::start(name, seed, setup).await;
    run.go_on(Duration::from_millis(300)).await;
    faults(&mut run, &server).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_change_between_them_in_the_middle_of_a_replay() {
    check("switched", 21, async |run, _| {
        for round in 0..10 {
            for gateway in 0..3 {
                run.cluster.links[gateway].sever();
            }
            run.go_on(run.dice.millis(50..400)).await;
            for gateway in 0..3 {
                let link = &run.cluster.links[gateway];
                link.heal();
                link.set(Direction::ToGateway, Flow::CutAfter(run.dice.within(100..1_500)));
            }
            run.go_on(run.dice.millis(20..200)).await;
            for gateway in 0..3 {
                run.cluster.links[gateway].heal();
                run.cluster.lead(gateway, (round + gateway) % 2);
            }
            run.go_on(run.dice.millis(50..300)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_them_may_be_killed() {
    check("one-killed", 22, async |run, _| {
        for round in 0..6 {
            let (dead, alive) = (round % 2, (round + 1) % 2);
            run.cluster.kill_control(dead);
            run.go_on(run.dice.millis(0..300)).await;
            for gateway in 0..3 {
                run.cluster.lead(gateway, alive);
            }
            run.go_on(run.dice.millis(200..500)).await;
            run.cluster.start_control(dead).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_database_may_be_killed() {
    check("database-killed", 23, async |run, server| {
        for _ in 0..3 {
            run.say("the database is killed");
            tokio::task::block_in_place(|| server.kill());
            run.go_on(run.dice.millis(100..2_500)).await;
            tokio::task::block_in_place(|| server.restart());
            run.say("the database runs");
            run.until_all_are_fresh().await;
            run.go_on(Duration::from_millis(500)).await;
        }
    })
    .await;
}
