//! A gateway is as fresh as the ping that was answered, never as the answer.

use crate::control_end::{ControlEnd, at, changes};
use crate::gateway::{START, Setup};
use std::time::Duration;

#[tokio::test]
async fn an_answer_that_took_long_proves_how_things_stood_when_it_was_asked_for() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    let ping = watch.ping().await;
    assert_eq!(gateway.staleness(), None);
    gateway.hands.advance_us(30_000_000);
    watch.pong(ping.number, at(10)).await;
    gateway.handle.synchronised().await.unwrap();
    assert_eq!(gateway.staleness(), Some(Duration::from_secs(30)));
    let note = format!("fresh: 10 at {}", START.monotonic_us);
    assert!(gateway.heard.lock().contains(&note), "the journal hears the same");
    // The next ping says how stale the gateway knows itself to be.
    let mut ping = watch.ping().await;
    while ping.staleness_ms == u64::MAX {
        watch.pong(ping.number, at(10)).await;
        ping = watch.ping().await;
    }
    assert!(ping.staleness_ms >= 29_000 || ping.staleness_ms == 0, "{ping:?}");
}

#[tokio::test]
async fn an_answer_before_the_changes_that_it_covers_proves_nothing() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    let ping = watch.ping().await;
    watch.pong(ping.number, at(11)).await;
    watch.hung_up().await;
    assert_eq!(gateway.staleness(), None);
    let watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(10)));
    let error = gateway.handle.status().last_error.unwrap();
    assert!(error.contains("before the changes"), "{error}");
}

#[tokio::test]
async fn an_answer_to_what_was_never_asked_proves_nothing() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    let ping = watch.ping().await;
    watch.pong(ping.number + 1_000, at(10)).await;
    watch.hung_up().await;
    assert_eq!(gateway.staleness(), None);
    // Nor does an answer of the connection before: numbers begin anew, and no ping has been sent here yet.
    let watch = control.watch().await;
    watch.pong(ping.number, at(10)).await;
    watch.hung_up().await;
    assert_eq!(gateway.staleness(), None);
}

#[tokio::test]
async fn answers_may_be_left_out_but_not_given_twice() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    let first = watch.ping().await;
    gateway.hands.advance_us(5_000_000);
    let second = watch.ping().await;
    watch.say(changes(10, 11, &[])).await;
    // The answer to the later one alone; it may speak of a head that is behind what was told since.
    watch.pong(second.number, at(10)).await;
    gateway.handle.synchronised().await.unwrap();
    assert!(gateway.staleness().unwrap() <= Duration::from_secs(5));
    watch.pong(first.number, at(11)).await;
    watch.hung_up().await;
}
