//! The promise that a revocation reaches every gateway or the gateway stops trusting what it knows: through every fault on the list,
//! with real processes, judged over the whole history of each run.
//!
//! Two faults are tried elsewhere. One process cannot be given another wall clock than its machine's: what depends on it, expiry and the
//! age of a snapshot from before a reboot, is tested where it is decided, by stepping a clock of the test's own. And a replica that
//! lags cannot serve look-ups: the PostgreSQL store's tests show that one is refused.

mod fleet;
mod support;

use fleet::checker::Judged;
use fleet::fault_proxy::{Direction, Flow};
use fleet::history::Answer;
use fleet::run::Run;
use fleet::setup::{GatewaySetup, Setup};
use std::time::Duration;

const ASKS: GatewaySetup = GatewaySetup {
    preloads: false,
    keeps_snapshot: false,
    serves_stale: false,
    keys_max: None,
};
const HOLDS_ALL: GatewaySetup = GatewaySetup { preloads: true, ..ASKS };
const REMEMBERS: GatewaySetup = GatewaySetup {
    keeps_snapshot: true,
    ..ASKS
};
const HOLDS_ALL_AND_REMEMBERS: GatewaySetup = GatewaySetup {
    preloads: true,
    ..REMEMBERS
};
const SERVES_STALE: GatewaySetup = GatewaySetup {
    serves_stale: true,
    ..ASKS
};

/// One gateway of each kind.
fn each_kind() -> Setup {
    Setup::with(vec![ASKS, HOLDS_ALL_AND_REMEMBERS, SERVES_STALE])
}

/// Runs a fleet through a fault.
async fn check(name: &str, seed: u64, setup: Setup, faults: impl AsyncFnOnce(&mut Run)) -> Judged {
    let mut run = Run::start(name, seed, setup).await;
    run.go_on(Duration::from_millis(300)).await;
    faults(&mut run).await;
    run.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_connections_are_dropped() {
    check("dropped", 1, each_kind(), async |run| {
        for _ in 0..30 {
            let gateway = run.dice.index(3);
            let link = &run.cluster.links[gateway];
            match run.dice.within(0..4) {
                0 => link.set(Direction::ToGateway, Flow::CutAfter(run.dice.within(1..2_000))),
                1 => link.set(Direction::ToControl, Flow::CutAfter(run.dice.within(1..2_000))),
                2 => link.sever(),
                _ => link.cut(),
            }
            run.go_on(run.dice.millis(10..250)).await;
            run.cluster.links[gateway].heal();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_connections_are_half_open() {
    let judged = check("half-open", 2, each_kind(), async |run| {
        for direction in [None, Some(Direction::ToControl), Some(Direction::ToGateway)] {
            for link in &run.cluster.links {
                match direction {
                    None => link.set_both(Flow::Lose),
                    Some(direction) => link.set(direction, Flow::Lose),
                }
            }
            run.say(format!("links lose: {direction:?}"));
            run.outlast_trust().await;
            run.cluster.heal().await;
            run.until_all_are_fresh().await;
        }
    })
    .await;
    assert!(judged.unavailable > 0, "trust ran out: {judged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_news_is_kept_back_and_comes_all_at_once() {
    check("buffered", 3, each_kind(), async |run| {
        for direction in [Direction::ToGateway, Direction::ToControl] {
            for link in &run.cluster.links {
                link.set(direction, Flow::Keep);
            }
            run.say(format!("links keep {direction:?}"));
            run.outlast_trust().await;
            run.cluster.heal().await;
        }
        for _ in 0..12 {
            let gateway = run.dice.index(3);
            run.cluster.links[gateway].set(Direction::ToGateway, Flow::Keep);
            run.go_on(run.dice.millis(20..400)).await;
            run.cluster.links[gateway].heal();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_a_gateway_reads_slowly() {
    check("slow", 4, each_kind(), async |run| {
        for link in &run.cluster.links[..2] {
            link.set(Direction::ToGateway, Flow::Slow(200));
        }
        run.outlast_trust().await;
        for link in &run.cluster.links[..2] {
            link.set(Direction::ToGateway, Flow::Slow(3_000));
        }
        run.outlast_trust().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_control_api_is_replaced_in_the_middle_of_a_replay() {
    check("replaced", 5, each_kind(), async |run| {
        for _ in 0..4 {
            for link in &run.cluster.links {
                link.sever();
            }
            // There is something to replay.
            run.go_on(run.dice.millis(200..500)).await;
            for link in &run.cluster.links {
                link.heal();
                link.set(Direction::ToGateway, Flow::CutAfter(run.dice.within(150..1_500)));
            }
            run.go_on(run.dice.millis(50..200)).await;
            run.cluster.kill_control(0);
            run.cluster.start_control(0).await;
            run.cluster.heal().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_control_api_dies_between_commit_and_answer() {
    let judged = check("killed-after-revoke", 6, each_kind(), async |run| {
        for _ in 0..6 {
            let key = loop {
                let app = run.caller.make_app().await;
                if let Some(key) = run.caller.make_key(app).await {
                    break key;
                }
            };
            let caller = run.caller.clone();
            let revoking = tokio::spawn(async move { caller.revoke(key, false).await });
            run.go_on(Duration::from_micros(run.dice.within(0..12_000))).await;
            run.cluster.kill_control(0);
            run.go_on(run.dice.millis(0..200)).await;
            run.cluster.start_control(0).await;
            revoking.await.expect("it is told what became of it");
        }
    })
    .await;
    assert!(judged.unknown > 0, "answers were lost: {judged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_control_api_is_killed_again_and_again() {
    let judged = check("killed", 7, each_kind(), async |run| {
        for _ in 0..8 {
            run.cluster.kill_control(0);
            run.go_on(run.dice.millis(0..400)).await;
            run.cluster.start_control(0).await;
            run.go_on(run.dice.millis(100..500)).await;
        }
    })
    .await;
    assert!(judged.unknown > 0, "answers were lost: {judged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_gateways_are_killed_again_and_again() {
    let setup = Setup::with(vec![REMEMBERS, HOLDS_ALL_AND_REMEMBERS, HOLDS_ALL]);
    check("gateways-killed", 8, setup, async |run| {
        for round in 0..9 {
            let gateway = round % 3;
            run.cluster.kill_gateway(gateway);
            run.go_on(run.dice.millis(0..200)).await;
            run.cluster.start_gateway(gateway).await;
            run.go_on(run.dice.millis(100..400)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_a_gateway_stands_still_for_longer_than_it_may_trust() {
    check("stopped", 9, each_kind(), async |run| {
        for gateway in 0..3 {
            run.cluster.stop_gateway(gateway);
            run.outlast_trust().await;
            run.cluster.proceed_gateway(gateway);
            run.go_on(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_many_gateways_come_back_at_once() {
    let kinds = [ASKS, HOLDS_ALL, REMEMBERS, HOLDS_ALL_AND_REMEMBERS];
    let setup = Setup::with((0..8).map(|number| kinds[number % 4]).collect());
    check("herd", 10, setup, async |run| {
        for _ in 0..2 {
            run.cluster.kill_control(0);
            run.go_on(run.dice.millis(100..1_500)).await;
            run.cluster.start_control(0).await;
            run.until_all_are_fresh().await;
            run.go_on(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_look_ups_race_revocations() {
    // So few keys fit that nearly every request looks one up.
    let asks = GatewaySetup {
        keys_max: Some(4),
        ..ASKS
    };
    check("racing", 11, Setup::with(vec![asks, asks, ASKS]), async |run| {
        for _ in 0..60 {
            let gateway = run.dice.index(3);
            let direction = *run.dice.pick(&[Direction::ToControl, Direction::ToGateway]);
            run.cluster.links[gateway].set(direction, Flow::Keep);
            run.go_on(run.dice.millis(2..60)).await;
            run.cluster.links[gateway].heal();
            run.go_on(run.dice.millis(2..40)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_a_cache_is_full() {
    let small = |setup| GatewaySetup {
        keys_max: Some(4),
        ..setup
    };
    let setup = Setup::with(
        [ASKS, HOLDS_ALL, REMEMBERS, HOLDS_ALL_AND_REMEMBERS]
            .map(small)
            .to_vec(),
    );
    check("full", 12, setup, async |run| {
        run.go_on(Duration::from_secs(1)).await;
        for gateway in 0..4 {
            run.cluster.links[gateway].cut();
        }
        run.go_on(Duration::from_secs(1)).await;
        run.cluster.kill_gateway(2);
        run.cluster.kill_gateway(3);
        run.cluster.start_gateway(2).await;
        run.cluster.start_gateway(3).await;
        run.go_on(Duration::from_secs(1)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_store_is_restored_from_a_backup() {
    check("restored", 13, each_kind(), async |run| {
        for anew in [true, false] {
            let held = run.hold_calls().await;
            run.cluster.end_control(0).await;
            run.cluster.back_up();
            run.book.back_up();
            run.cluster.start_control(0).await;
            drop(held);
            run.go_on(Duration::from_secs(1)).await;

            let held = run.hold_calls().await;
            run.cluster.kill_control(0);
            run.cluster.restore(anew);
            run.book.restore();
            run.cluster.start_control(0).await;
            drop(held);
            run.until_all_are_fresh().await;
            run.outlast_trust().await;
        }
    })
    .await;
}

/// A fleet whose log forgets soon.
fn forgetful() -> Setup {
    Setup {
        control_settings: "change_log_rows_max = 20".to_owned(),
        ..each_kind()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_log_was_compacted_past_a_sleeping_gateway() {
    check("compacted", 14, forgetful(), async |run| {
        for gateway in 0..3 {
            run.cluster.stop_gateway(gateway);
            run.outlast_trust().await;
            run.cluster.proceed_gateway(gateway);
            run.until_all_are_fresh().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_the_connection_breaks_in_the_middle_of_a_reset() {
    check("broken-reset", 15, forgetful(), async |run| {
        for _ in 0..2 {
            for link in &run.cluster.links {
                link.sever();
            }
            run.outlast_trust().await;
            for step in 1..8 {
                for link in &run.cluster.links {
                    link.heal();
                    link.set(Direction::ToGateway, Flow::CutAfter(60 * step + run.dice.within(0..60)));
                }
                run.go_on(run.dice.millis(50..250)).await;
            }
            run.cluster.heal().await;
            run.until_all_are_fresh().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn though_gateways_restart_while_the_control_api_is_away() {
    // Long enough for processes to start meanwhile.
    let setup = Setup {
        stale_max: Duration::from_secs(8),
        ..Setup::with(vec![ASKS, REMEMBERS, HOLDS_ALL, HOLDS_ALL_AND_REMEMBERS])
    };
    check("restarted", 16, setup, async |run| {
        let app = run.caller.make_app().await;
        let (kept, ended) = (
            run.caller.make_key(app).await.expect("the app is there"),
            run.caller.make_key(app).await.expect("the app is there"),
        );
        for gateway in 0..4 {
            run.until_available(gateway, kept).await;
            run.until_available(gateway, ended).await;
        }
        run.caller.revoke(ended, true).await;
        // What was looked up is on disk within a second.
        run.go_on(Duration::from_millis(1_500)).await;
        let held = run.hold_calls().await;
        run.cluster.kill_control(0);
        for gateway in 0..4 {
            run.cluster.kill_gateway(gateway);
        }
        for gateway in 0..4 {
            run.cluster.start_gateway(gateway).await;
        }
        for (gateway, remembers) in [(0, false), (1, true), (2, false), (3, true)] {
            let place = run.cluster.places.gateway(gateway).expect("it runs");
            let answer = run.asker.ask(gateway, place, kept, false).await;
            assert_eq!(answer.admitted(), remembers, "gateway {gateway}: {answer:?}");
            let answer = run.asker.ask(gateway, place, ended, false).await;
            assert!(
                matches!(answer, Answer::Status(403 | 503, _)),
                "gateway {gateway}: {answer:?}"
            );
        }
        run.outlast_trust().await;
        for gateway in 0..4 {
            let place = run.cluster.places.gateway(gateway).expect("it runs");
            let answer = run.asker.ask(gateway, place, kept, false).await;
            assert!(
                matches!(answer, Answer::Status(503, _)),
                "gateway {gateway}: {answer:?}"
            );
        }
        drop(held);
    })
    .await;
}
