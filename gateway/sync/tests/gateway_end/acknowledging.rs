//! What is acknowledged has been heard by every sink and is written down.

use crate::control_end::{ControlEnd, TOKEN, at, changes};
use crate::gateway::Setup;
use portcullis_sync::follower::Phase;
use portcullis_sync::message::{HashText, Touches};
use portcullis_verify::{AppId, KeyHash, SchemeId};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_new_gateway_says_who_it_is_and_distrusts_all_it_holds_where_the_log_goes_on() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    assert_eq!(watch.authorization, format!("Bearer {TOKEN}"));
    let hello = &watch.hello;
    assert_eq!((hello.name.as_str(), hello.version.as_str()), ("edge-1", "9.9.9"));
    assert_eq!(
        (hello.gateway_id.len(), hello.stale_max_ms, hello.applied),
        (32, 2_000, None)
    );
    watch.welcome().await;
    watch.reset(at(10)).await;
    let ping = watch.ping().await;
    assert_eq!((ping.number, ping.applied, ping.staleness_ms), (1, at(10), u64::MAX));
    assert_eq!(
        gateway.take_heard(),
        ["first: all at 10", "second: all at 10", "written: all at 10"]
    );
    assert_eq!(gateway.handle.status().phase, Phase::CatchingUp);
    assert_eq!(gateway.handle.welcome().unwrap().deployment_name, "default");
    watch.pong(1, at(10)).await;
    gateway.handle.synchronised().await.unwrap();
    assert!(matches!(gateway.handle.status().phase, Phase::Following { .. }));
    assert_eq!(gateway.staleness(), Some(Duration::ZERO));
}

#[tokio::test]
async fn changes_are_heard_in_order_by_all_then_written_then_acknowledged_at_once() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    gateway.take_heard();
    let hash = HashText(KeyHash([1; 32]));
    let run = [
        (11, Touches::KeyCreated(hash)),
        (13, Touches::App(AppId(3))),
        (14, Touches::Scheme(SchemeId(4))),
    ];
    watch.say(changes(10, 15, &run)).await;
    watch.until_acknowledged(at(15)).await;
    let expected = [
        "first: 11",
        "second: 11",
        "first: 13",
        "second: 13",
        "first: 14",
        "second: 14",
        "written: 10 to 15",
    ];
    assert_eq!(gateway.take_heard(), expected);
    assert_eq!(gateway.handle.applied(), Some(at(15)));
    // What concerns others only is acknowledged all the same.
    watch.say(changes(15, 900, &[])).await;
    watch.until_acknowledged(at(900)).await;
    assert_eq!(gateway.take_heard(), ["written: 15 to 900"]);
}

#[tokio::test]
async fn what_could_not_be_written_is_enforced_but_not_acknowledged_and_told_again() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    gateway.take_heard();
    gateway.disk.is_broken.store(true, Ordering::SeqCst);
    let run = [(11, Touches::App(AppId(3)))];
    watch.say(changes(10, 11, &run)).await;
    watch.hung_up().await;
    assert_eq!(gateway.take_heard(), ["first: 11", "second: 11"]);
    assert_eq!(gateway.handle.applied(), Some(at(10)));
    let status = gateway.until_status(|status| status.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("no space left"));
    let mut watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(10)));
    gateway.disk.is_broken.store(false, Ordering::SeqCst);
    watch.welcome().await;
    watch.say(changes(10, 11, &run)).await;
    watch.until_acknowledged(at(11)).await;
    assert_eq!(gateway.take_heard(), ["first: 11", "second: 11", "written: 10 to 11"]);
}

#[tokio::test]
async fn nothing_is_acknowledged_or_taken_for_fresh_while_it_is_being_written() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    gateway.take_heard();
    gateway.disk.stick(true);
    watch.say(changes(10, 11, &[(11, Touches::App(AppId(3)))])).await;
    while gateway.heard.lock().iter().all(|line| line != "second: 11") {
        tokio::task::yield_now().await;
    }
    gateway.hands.advance_us(500_000);
    // An answer that covers what is not written yet comes behind it.
    while let Some(ping) = watch.ping_within(Duration::from_millis(150)).await {
        assert_eq!(ping.applied, at(10));
        watch.pong(ping.number, at(11)).await;
    }
    assert_eq!(gateway.handle.applied(), Some(at(10)));
    assert!(gateway.staleness().unwrap() >= Duration::from_millis(500));
    gateway.disk.stick(false);
    watch.until_acknowledged(at(11)).await;
}

#[tokio::test]
async fn no_more_than_two_pings_are_under_way_and_a_third_follows_the_answer() {
    let mut control = ControlEnd::start().await;
    let _gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    let (first, second) = (watch.ping().await, watch.ping().await);
    assert_eq!((first.number, second.number), (1, 2));
    watch.say(changes(10, 11, &[])).await;
    // Several times as long as pings are apart.
    assert_eq!(watch.ping_within(Duration::from_millis(300)).await, None);
    watch.pong(1, at(11)).await;
    let third = watch.ping().await;
    assert_eq!((third.number, third.applied), (3, at(11)));
}

#[tokio::test]
async fn a_gateway_with_a_snapshot_goes_on_from_it() {
    let mut control = ControlEnd::start().await;
    let setup = Setup {
        applied: Some(at(40)),
        ..Setup::new(control.url())
    };
    let gateway = setup.start();
    let mut watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(40)));
    watch.welcome().await;
    assert_eq!(watch.ping().await.applied, at(40));
    watch.say(changes(40, 41, &[(41, Touches::App(AppId(3)))])).await;
    watch.until_acknowledged(at(41)).await;
    assert_eq!(gateway.take_heard(), ["first: 41", "second: 41", "written: 40 to 41"]);
}
