//! Every request leaves one line that says how it went, and none that says with which key.

use crate::client::ask;
use crate::gateway::start_with;
use crate::upstream::upstream;
use portcullis_config::settings::CredentialPlace;
use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_line_a_request_and_no_key_in_any() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address, crate::upstream::nobody().await], |setup| {
        setup.routes[0].path = "/api".to_owned();
        setup.routes[0]
            .credentials
            .push(CredentialPlace::Query("key".to_owned()));
    })
    .await;
    let unknown = portcullis_verify::Secret::generate("sk_test")
        .unwrap()
        .expose()
        .to_owned();
    for key in [gateway.key.as_str(), &unknown] {
        for _ in 0..2 {
            ask(
                gateway.address,
                format!("GET /api/{key}?key={key} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n"),
            )
            .await;
        }
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("portcullis_proxy::exchange"))
        .collect();
    assert_eq!(ours.len(), 4, "{text}");
    assert!(
        ours.iter()
            .all(|line| line.contains("method=GET") && line.contains("route=\"/api\"")),
        "{text}"
    );
    assert!(
        ours[0].contains("outcome=\"allowed\"") && ours[0].contains("status=200"),
        "{text}"
    );
    assert!(
        ours[0].contains("key_id=1") && ours[0].contains("request_id="),
        "{text}"
    );
    assert!(
        ours[2].contains("outcome=\"key_unknown\"") && ours[2].contains("status=403"),
        "{text}"
    );
    for key in [&gateway.key, &unknown] {
        assert!(!text.contains(key.as_str()), "a key is in the log: {text}");
    }
}
