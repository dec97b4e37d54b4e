//! Whatever the other end does wrong, nothing is applied that should not be, and the gateway comes back for what it has not got.

use crate::control_end::{ControlEnd, EPOCH, Watch, at, changes, welcome};
use crate::gateway::{Gateway, Setup};
use portcullis_sync::message::{Changes, FromControl, LINE_BYTES_MAX, Touches};
use portcullis_verify::{AppId, Version};
use std::time::Duration;

/// A gateway that has applied everything up to 10, and its watch.
async fn following(control: &mut ControlEnd) -> (Gateway, Watch) {
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    gateway.handle.synchronised().await.unwrap();
    gateway.take_heard();
    (gateway, watch)
}

fn text(line: &FromControl) -> String {
    format!("{}\n", serde_json::to_string(line).unwrap())
}

#[tokio::test]
async fn a_line_that_cannot_be_ends_the_watch_and_changes_nothing() {
    let app = Touches::App(AppId(3));
    let other_history = FromControl::Changes(Changes {
        epoch: EPOCH + 1,
        after: 10,
        through: 11,
        changes: Vec::new(),
    });
    let cases: Vec<(&str, String, &str)> = vec![
        ("a gap", text(&changes(11, 12, &[(12, app)])), "missing"),
        ("told twice", text(&changes(9, 10, &[(10, app)])), "missing"),
        ("another history", text(&other_history), "another history"),
        ("backwards", text(&changes(10, 9, &[])), "lead nowhere"),
        ("nothing", text(&changes(10, 10, &[])), "lead nowhere"),
        ("beyond its end", text(&changes(10, 11, &[(12, app)])), "out of order"),
        (
            "before its start",
            text(&changes(10, 12, &[(10, app), (11, app)])),
            "out of order",
        ),
        (
            "out of order",
            text(&changes(10, 13, &[(12, app), (11, app)])),
            "out of order",
        ),
        (
            "twice in one",
            text(&changes(10, 13, &[(12, app), (12, app)])),
            "out of order",
        ),
        ("a second welcome", text(&welcome()), "second welcome"),
        ("no JSON", "ceci n'est pas\n".to_owned(), "cannot be read"),
        ("no message", "{\"moo\":1}\n".to_owned(), "cannot be read"),
        ("an empty line", "\n".to_owned(), "cannot be read"),
        ("too long", "x".repeat(LINE_BYTES_MAX + 2), "more than may be"),
    ];
    let mut control = ControlEnd::start().await;
    let (gateway, mut watch) = following(&mut control).await;
    for (name, line, cause) in cases {
        let before = gateway.handle.status().reconnects;
        for piece in line.as_bytes().chunks(16_000) {
            watch.send(piece.to_vec()).await;
        }
        let status = gateway.until_status(|status| status.reconnects > before).await;
        let error = status.last_error.unwrap();
        assert!(error.contains(cause), "{name}: {error}");
        watch = control.watch().await;
        assert_eq!(watch.hello.applied, Some(at(10)), "{name}");
        assert!(gateway.take_heard().is_empty(), "{name}");
        watch.welcome().await;
        watch.until_acknowledged(at(10)).await;
    }
}

#[tokio::test]
async fn nothing_counts_before_the_welcome() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let watch = control.watch().await;
    watch.reset(at(10)).await;
    watch.hung_up().await;
    let watch = control.watch().await;
    assert_eq!(watch.hello.applied, None);
    watch.welcome().await;
    // Nothing is held that changes could follow.
    watch.say(changes(0, 11, &[])).await;
    watch.hung_up().await;
    assert_eq!(control.watch().await.hello.applied, None);
    assert!(gateway.take_heard().is_empty());
}

#[tokio::test]
async fn a_line_that_was_begun_and_not_ended_was_never_said() {
    let mut control = ControlEnd::start().await;
    let (gateway, watch) = following(&mut control).await;
    let line = text(&changes(10, 11, &[(11, Touches::App(AppId(3)))]));
    // All but the line's end.
    watch.send(line.as_bytes()[..line.len() - 1].to_vec()).await;
    drop(watch);
    let watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(10)));
    assert!(gateway.take_heard().is_empty());
    let error = gateway.handle.status().last_error.unwrap();
    assert!(error.contains("cut short"), "{error}");
    watch.break_off().await;
    let watch = control.watch().await;
    let error = gateway.handle.status().last_error.unwrap();
    assert!(error.contains("broke"), "{error}");
    assert_eq!(watch.hello.applied, Some(at(10)));
}

#[tokio::test]
async fn a_line_may_come_byte_by_byte() {
    let mut control = ControlEnd::start().await;
    let (gateway, mut watch) = following(&mut control).await;
    for byte in text(&changes(10, 11, &[(11, Touches::App(AppId(3)))])).into_bytes() {
        watch.send(vec![byte]).await;
    }
    watch.until_acknowledged(at(11)).await;
    assert_eq!(gateway.take_heard(), ["first: 11", "second: 11", "written: 10 to 11"]);
}

#[tokio::test]
async fn a_reset_in_the_middle_leads_to_another_history() {
    let mut control = ControlEnd::start().await;
    let (gateway, mut watch) = following(&mut control).await;
    let to = Version { epoch: 99, revision: 3 };
    watch.reset(to).await;
    watch.until_acknowledged(to).await;
    assert_eq!(
        gateway.take_heard(),
        ["first: all at 3", "second: all at 3", "written: all at 3"]
    );
    watch.break_off().await;
    assert_eq!(control.watch().await.hello.applied, Some(to));
}

#[tokio::test]
async fn who_does_not_read_is_still_listened_to() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    // Not one ping is read from here on. Until the first answer, progress is a sign of life.
    for revision in 10..60 {
        watch
            .say(changes(
                revision,
                revision + 1,
                &[(revision + 1, Touches::App(AppId(3)))],
            ))
            .await;
    }
    gateway.until_applied(at(60)).await;
    assert_eq!(gateway.handle.status().reconnects, 0);
}

#[tokio::test]
async fn an_end_that_goes_silent_is_left() {
    let mut control = ControlEnd::start().await;
    let (gateway, watch) = following(&mut control).await;
    // It reads, but answers nothing.
    watch.hung_up().await;
    let status = gateway.until_status(|status| status.reconnects == 1).await;
    assert!(status.last_error.unwrap().contains("no answer for 1s"));
    let watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(10)));
    // Nor does one count that never says welcome.
    watch.hung_up().await;
    gateway.until_status(|status| status.reconnects == 2).await;
}

#[tokio::test]
async fn changes_without_an_answer_are_no_sign_of_life_for_ever() {
    let mut control = ControlEnd::start().await;
    let (gateway, watch) = following(&mut control).await;
    for revision in 10.. {
        watch.say(changes(revision, revision + 1, &[])).await;
        tokio::select! {
            biased;
            _ = gateway.until_status(|status| status.reconnects == 1) => break,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        assert!(revision < 200, "it goes on for ever");
    }
    assert!(gateway.handle.applied().unwrap().revision > 11, "they were applied");
}
