//! A gateway that lost its control API comes back to it, wherever it was.

use crate::control_end::{ControlEnd, at, changes};
use crate::gateway::Setup;
use portcullis_sync::follower::Phase;
use portcullis_sync::message::Touches;
use portcullis_verify::AppId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn after_a_restart_of_the_control_api_changes_go_on_where_they_ended() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    gateway.take_heard();
    let address = control.stop().await;
    let status = gateway
        .until_status(|status| {
            let error = status.last_error.as_deref();
            error.is_some_and(|error| error.contains("cannot connect"))
        })
        .await;
    assert_eq!(status.phase, Phase::Connecting);
    let mut control = ControlEnd::start_at(address).await;
    let mut watch = control.watch().await;
    assert_eq!(watch.hello.applied, Some(at(10)));
    watch.welcome().await;
    watch.say(changes(10, 12, &[(11, Touches::App(AppId(3)))])).await;
    watch.until_acknowledged(at(12)).await;
    assert_eq!(gateway.take_heard(), ["first: 11", "second: 11", "written: 10 to 12"]);
    gateway
        .until_status(|status| matches!(status.phase, Phase::Following { .. }))
        .await;
}

#[tokio::test]
async fn a_refusal_is_told_for_what_it_is_and_ends_when_it_is_taken_back() {
    async fn check(status: u16, cause: &str) {
        let mut control = ControlEnd::start().await;
        control.answer_watches(status);
        let gateway = Setup::new(control.url()).start();
        let lost = gateway.until_status(|status| status.reconnects >= 2).await;
        let error = lost.last_error.unwrap();
        assert!(error.contains(cause), "{status}: {error}");
        assert_eq!(lost.phase, Phase::Connecting);
        control.answer_watches(200);
        let mut watch = control.watch().await;
        watch.welcome().await;
        watch.reset(at(1)).await;
        watch.until_acknowledged(at(1)).await;
        gateway.handle.synchronised().await.unwrap();
    }
    tokio::join!(
        check(401, "unknown or was revoked"),
        check(403, "a gateway token is needed"),
        check(404, "no control API of Portcullis, or an older one"),
        check(405, "no control API of Portcullis, or an older one"),
        check(429, "answered 429"),
        check(503, "answered 503"),
    );
}

#[tokio::test]
async fn a_refused_token_is_tried_again_at_leisure() {
    let control = ControlEnd::start().await;
    control.answer_watches(401);
    let setup = Setup {
        stale_max: Duration::from_secs(16),
        ..Setup::new(control.url())
    };
    let gateway = setup.start();
    gateway.until_status(|status| status.reconnects == 1).await;
    // The longest pause is two seconds; half of it, at least, is waited for each time.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(control.asked(), 1);
    gateway.until_status(|status| status.reconnects == 2).await;
}

#[tokio::test]
async fn whoever_does_not_speak_http2_is_told_from_whoever_is_not_there() {
    async fn check(greeting: &'static [u8], cause: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut preface = [0; 24];
                    stream.read_exact(&mut preface).await.unwrap();
                    stream.write_all(greeting).await.unwrap();
                    // Until the gateway has had enough.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        });
        let gateway = Setup::new(url).start();
        let lost = gateway.until_status(|status| status.last_error.is_some()).await;
        let error = lost.last_error.unwrap();
        assert!(error.contains(cause), "{greeting:?}: {error}");
    }
    tokio::join!(
        check(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            "does not speak HTTP/2"
        ),
        check(b"\x15\x03\x01\x00\x02\x02\x46", "does not speak HTTP/2"),
        check(b"", "no answer"),
    );
}

#[tokio::test]
async fn a_welcome_that_does_not_fit_ends_the_watch_until_it_fits() {
    let mut control = ControlEnd::start().await;
    let fits = Arc::new(AtomicBool::new(false));
    let does_fit = Arc::clone(&fits);
    let setup = Setup {
        stale_max: Duration::from_millis(100),
        on_welcome: Arc::new(move |welcome| {
            assert_eq!(welcome.deployment_name, "default");
            match does_fit.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err("routes name another deployment".to_owned()),
            }
        }),
        ..Setup::new(control.url())
    };
    let gateway = setup.start();
    let watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.hung_up().await;
    let lost = gateway.until_status(|status| status.last_error.is_some()).await;
    assert!(lost.last_error.unwrap().contains("routes name another deployment"));
    assert!(gateway.take_heard().is_empty(), "nothing is applied before it fits");
    assert_eq!(gateway.handle.welcome(), None);
    fits.store(true, Ordering::SeqCst);
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
}

#[tokio::test]
async fn a_gateway_that_shuts_down_hangs_up() {
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(10)).await;
    watch.until_acknowledged(at(10)).await;
    let handle = gateway.handle.clone();
    drop(gateway);
    watch.hung_up().await;
    assert!(
        handle
            .applied_changes()
            .wait_for(|applied| *applied == Some(at(11)))
            .await
            .is_err()
    );
}
