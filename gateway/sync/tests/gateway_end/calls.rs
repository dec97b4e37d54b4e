//! Calls share one connection, which is made when it is needed and made anew when it broke.

use crate::control_end::{ControlEnd, TOKEN, at, soon};
use portcullis_sync::message::{HashText, KeyPage, LookUp, LookedUp, Recorded, UsageBatch};
use portcullis_sync::{Link, LinkError, LinkSetupError};
use portcullis_verify::{AppId, KeyHash, KeyId};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(10);

fn question() -> LookUp {
    LookUp {
        hashes: vec![HashText(KeyHash([1; 32]))],
    }
}

fn nothing() -> LookedUp {
    LookedUp {
        as_of: at(3),
        records: vec![None],
    }
}

fn link(control: &ControlEnd) -> Arc<Link> {
    Arc::new(Link::new(&control.url(), TOKEN).unwrap())
}

/// Asks, and lets the control end answer by `answer`.
async fn ask(
    link: &Arc<Link>,
    control: &mut ControlEnd,
    answer: impl FnOnce(crate::control_end::Call),
) -> Result<LookedUp, LinkError> {
    let asking = Arc::clone(link);
    let asked = tokio::spawn(async move { asking.look_up(&question(), LONG).await });
    answer(control.call().await);
    soon(asked).await.unwrap()
}

#[tokio::test]
async fn each_question_is_asked_as_the_protocol_has_it() {
    let mut control = ControlEnd::start().await;
    let link = link(&control);
    let found = ask(&link, &mut control, |call| {
        assert_eq!(call.path, "/gateway/v1/keys/look-up");
        assert_eq!(call.authorization, format!("Bearer {TOKEN}"));
        assert_eq!(serde_json::from_slice::<LookUp>(&call.body).unwrap(), question());
        call.answer_json(&nothing());
    });
    assert_eq!(found.await.unwrap(), nothing());
    for (after, app, path) in [
        (None, None, "/gateway/v1/keys?limit=50"),
        (Some(KeyId(9)), None, "/gateway/v1/keys?limit=50&after=9"),
        (
            Some(KeyId(9)),
            Some(AppId(4)),
            "/gateway/v1/keys?limit=50&after=9&app_id=4",
        ),
    ] {
        let page = KeyPage {
            as_of: at(3),
            keys: Vec::new(),
            next: None,
        };
        let (asking, expected) = (Arc::clone(&link), page.clone());
        let asked = tokio::spawn(async move { asking.keys(after, app, 50, LONG).await });
        let call = control.call().await;
        assert_eq!(call.path, path);
        call.answer_json(&page);
        assert_eq!(asked.await.unwrap().unwrap(), expected);
    }
    let batch = UsageBatch {
        batch_id: "0".repeat(32),
        rows: Vec::new(),
    };
    let (asking, sent) = (Arc::clone(&link), batch.clone());
    let asked = tokio::spawn(async move { asking.report(&sent, LONG).await });
    let call = control.call().await;
    assert_eq!(call.path, "/gateway/v1/usage");
    assert_eq!(serde_json::from_slice::<UsageBatch>(&call.body).unwrap(), batch);
    call.answer_json(&Recorded { is_new: true });
    assert!(asked.await.unwrap().unwrap().is_new);
    assert_eq!(control.connections(), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_told_for_what_it_is() {
    let mut control = ControlEnd::start().await;
    let link = link(&control);
    for (status, expected) in [
        (401, LinkError::TokenRefused),
        (403, LinkError::Forbidden),
        (404, LinkError::NotControl),
        (503, LinkError::Refused(http::StatusCode::SERVICE_UNAVAILABLE)),
    ] {
        let answered = ask(&link, &mut control, |call| call.refuse(status)).await;
        assert_eq!(answered, Err(expected), "{status}");
    }
    for body in ["", "{", "{}", "[]", "null"] {
        let answered = ask(&link, &mut control, |call| call.answer(body)).await;
        assert!(
            matches!(answered, Err(LinkError::Unreadable(_))),
            "{body}: {answered:?}"
        );
    }
    let two = LookedUp {
        records: vec![None, None],
        ..nothing()
    };
    let answered = ask(&link, &mut control, |call| call.answer_json(&two)).await;
    assert!(matches!(answered, Err(LinkError::Unreadable(_))), "{answered:?}");
    let endless = vec![b' '; 33 << 20];
    let answered = ask(&link, &mut control, |call| call.answer(endless)).await;
    assert_eq!(answered, Err(LinkError::TooLong));
    assert_eq!(control.connections(), 1, "none of it is the connection's fault");
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_costs_no_call() {
    let mut control = ControlEnd::start().await;
    let link = link(&control);
    ask(&link, &mut control, |call| call.answer_json(&nothing()))
        .await
        .unwrap();
    let address = control.stop().await;
    let mut control = ControlEnd::start_at(address).await;
    ask(&link, &mut control, |call| call.answer_json(&nothing()))
        .await
        .unwrap();
    assert_eq!(control.connections(), 1);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time_and_the_next_takes_another_connection() {
    let mut control = ControlEnd::start().await;
    let link = link(&control);
    let patience = Duration::from_millis(100);
    let question = question();
    let (timed_out, held) = tokio::join!(link.look_up(&question, patience), control.call());
    assert_eq!(timed_out, Err(LinkError::TimedOut(patience)));
    ask(&link, &mut control, |call| call.answer_json(&nothing()))
        .await
        .unwrap();
    assert_eq!(control.connections(), 2);
    held.answer_json(&nothing());
}

#[tokio::test]
async fn calls_at_the_same_time_share_the_connection_and_its_making() {
    let mut control = ControlEnd::start().await;
    let link = link(&control);
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let link = Arc::clone(&link);
            tokio::spawn(async move { link.look_up(&question(), LONG).await })
        })
        .collect();
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(control.call().await);
    }
    for call in calls {
        call.answer_json(&nothing());
    }
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(control.connections(), 1);
}

#[tokio::test]
async fn who_waits_for_a_connection_that_cannot_be_made_hears_of_it_with_the_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let link = Arc::new(Link::new(&format!("http://{address}"), TOKEN).unwrap());
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let link = Arc::clone(&link);
            tokio::spawn(async move { link.look_up(&question(), LONG).await })
        })
        .collect();
    for asked in asked {
        let failed = asked.await.unwrap();
        assert!(matches!(failed, Err(LinkError::Connect(_))), "{failed:?}");
    }
}

#[test]
fn what_cannot_be_a_link_is_refused_and_the_token_is_not_shown() {
    assert!(matches!(Link::new("ftp://control", TOKEN), Err(LinkSetupError::Url(_))));
    let error = Link::new("http://control", "bad\ntoken").unwrap_err();
    assert!(matches!(error, LinkSetupError::Token), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("bad"));
    let link = Link::new("http://control", TOKEN).unwrap();
    assert!(!format!("{link:?}").contains(TOKEN), "{link:?}");
}
