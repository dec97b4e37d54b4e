//! Two ways lead through the proxy: the gateway's own loop for ordinary requests, and pingora-proxy for the rest. A strange
//! request must get the same answer on either.
//!
//! Each scene is played at two gateways that differ in the setting `gateway.fast_path` only. What reached the upstream, what the
//! client was answered, whether the connection goes on and what was counted must be the same, but for [`compare::ACCEPTED`].

mod answers;
mod compare;
mod generated;
mod observation;
mod pair;
mod recorder;
mod requests;
mod scene;

use pair::Pair;
use portcullis_verify::Clock;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use scene::{Scene, Setting};
use std::collections::HashMap;

/// Scenes that are played at the same time, each at a pair of its own: most of their time goes into waiting.
const STAGES: usize = 6;

/// A difference counts that shows each of so many times: on a busy machine, a gateway may now and then lose patience with an
/// upstream or a client that is merely slow.
const REPEATS: usize = 10;

/// Generated scenes in one round.
const ROUND_SCENES: usize = 240;

/// Plays scenes and tells of every difference.
async fn differences(scenes: &[Scene]) -> Vec<(Scene, String)> {
    let mut by_setting: Vec<&Scene> = scenes.iter().collect();
    by_setting.sort_by_key(|scene| scene.setting);
    let stages = by_setting.chunks(scenes.len().div_ceil(STAGES).max(1)).map(play);
    futures_util::future::join_all(stages).await.concat()
}

/// One scene after the other.
async fn play(scenes: &[&Scene]) -> Vec<(Scene, String)> {
    let mut pairs: HashMap<Setting, Pair> = HashMap::new();
    let mut found = Vec::new();
    for scene in scenes {
        if pairs.get(&scene.setting).is_none_or(Pair::is_worn_out) {
            pairs.insert(scene.setting, Pair::start(scene.setting).await);
        }
        let pair = pairs.get_mut(&scene.setting).unwrap();
        let mut difference = None;
        for _ in 0..REPEATS {
            let (through_pingora, own_loop) = pair.play(scene).await;
            difference = compare::difference(scene, &through_pingora, &own_loop);
            if difference.is_none() {
                break;
            }
        }
        found.extend(difference.map(|difference| ((*scene).clone(), difference)));
    }
    found
}

async fn check(scenes: &[Scene]) {
    let found: Vec<String> = differences(scenes).await.into_iter().map(|(_, words)| words).collect();
    assert!(
        found.is_empty(),
        "{} of {} scenes\n{}",
        found.len(),
        scenes.len(),
        found.concat()
    );
}

#[tokio::test]
async fn strange_requests_meet_the_same_on_either_way() {
    check(&requests::all()).await;
}

#[tokio::test]
async fn strange_answers_meet_the_same_on_either_way() {
    check(&answers::all()).await;
}

/// The scenes of a round: always the same.
fn generated(round: u64) -> Vec<Scene> {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(round),
        ..Config::default()
    });
    let strategy = generated::any_scene();
    let scenes = (0..ROUND_SCENES).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    scenes.collect()
}

/// The simplest scene made of this one that still makes a difference, and the difference.
async fn simplified(mut scene: Scene, mut difference: String) -> String {
    'simpler: loop {
        for simpler in generated::simpler(&scene) {
            if let Some(found) = differences(&[simpler]).await.pop() {
                (scene, difference) = found;
                continue 'simpler;
            }
        }
        return difference;
    }
}

/// One round in a test run, the first or that of `PORTCULLIS_ALIKE_ROUND`; for as many seconds as `PORTCULLIS_ALIKE_SECONDS` says,
/// rounds that nobody has seen.
#[tokio::test]
async fn scenes_that_nobody_thought_of_meet_the_same_on_either_way() {
    let clock = Clock::system();
    let began = clock.now();
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = variable("PORTCULLIS_ALIKE_SECONDS");
    let mut round = match variable("PORTCULLIS_ALIKE_ROUND") {
        Some(round) => round,
        None => seconds.map_or(0, |_| began.wall_us.unsigned_abs()),
    };
    loop {
        let found = differences(&generated(round)).await;
        let count = found.len();
        if let Some((scene, difference)) = found.into_iter().next() {
            panic!(
                "{count} in round {round}, of which one in short: {}",
                simplified(scene, difference).await
            );
        }
        round += 1;
        if clock.now().monotonic_us - began.monotonic_us >= seconds.unwrap_or(0) * 1_000_000 {
            return;
        }
    }
}

#[test]
fn every_accepted_difference_has_a_reason() {
    for accepted in compare::ACCEPTED {
        assert!(accepted.reason.len() > 40, "{}", accepted.what);
    }
}
