//! Requests to the gateways, and what the gateways say of themselves, all written down.
//!
//! Connections are kept alive, as callers of an API do. A request that takes long is left to itself, and the asker goes on beside it over
//! another connection: a gateway that stands still must be asked meanwhile.

use super::book::Book;
use super::dice::Dice;
use super::history::{Answer, Event, GatewayNo, KeyNo, Recorder};
use super::places::{Place, Places};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After so long a request is left to itself.
const PATIENT_FOR: Duration = Duration::from_millis(150);
/// Between two reports of a gateway.
const REPORT_EVERY: Duration = Duration::from_millis(25);

/// Who asks the gateways. Copies share everything.
#[derive(Clone)]
pub struct Asker {
    places: Arc<Places>,
    book: Arc<Book>,
    recorder: Arc<Recorder>,
    client: reqwest::Client,
}

impl Asker {
    /// An asker that takes connections from `client`.
    pub fn new(client: reqwest::Client, places: Arc<Places>, book: Arc<Book>, recorder: Arc<Recorder>) -> Asker {
        Asker {
            places,
            book,
            recorder,
            client,
        }
    }

    /// Asks one gateway for keys that the dice choose, until `stop`. `pause_ms` is the longest time between two requests.
    pub async fn ask_on(self, gateway: usize, dice: Dice, pause_ms: u64, stop: CancellationToken) {
        let mut left = JoinSet::new();
        while !stop.is_cancelled() {
            if let (Some(place), Some(key)) = (self.places.gateway(gateway), self.book.draw(&dice)) {
                let asker = self.clone();
                let mut request = tokio::spawn(async move { asker.ask(gateway, place, key, false).await });
                if tokio::time::timeout(PATIENT_FOR, &mut request).await.is_err() {
                    left.spawn(request);
                }
            }
            tokio::time::sleep(dice.millis(0..pause_ms)).await;
            while left.try_join_next().is_some() {}
        }
        // Those that are still under way get their answer, or none.
        left.join_all().await;
    }

    /// One request. Its answer is written down and given back.
    pub async fn ask(&self, gateway: usize, place: Place, key: KeyNo, is_last: bool) -> Answer {
        let secret = self.book.key(key).secret;
        let start = self.recorder.now();
        let answer = self.send(place, &secret).await;
        self.recorder.note(Event::Request {
            span: self.recorder.since(start),
            gateway: GatewayNo(gateway),
            life: place.life,
            key,
            answer: answer.clone(),
            is_last,
        });
        answer
    }

    /// One request that is not written down.
    pub async fn send(&self, place: Place, secret: &str) -> Answer {
        let sent = self
            .client
            .get(format!("http://{}/", place.proxy))
            .bearer_auth(secret)
            .send();
        let Ok(answer) = sent.await else {
            return Answer::Nothing;
        };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else {
            return Answer::Nothing;
        };
        let reason = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("reason")?.as_str()?.to_owned()));
        Answer::Status(status, reason.unwrap_or_default())
    }

    /// Writes down what a gateway says of itself, until `stop`.
    pub async fn report_on(self, gateway: usize, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(place) = self.places.gateway(gateway) {
                self.report(gateway, place).await;
            }
            tokio::time::sleep(REPORT_EVERY).await;
        }
    }

    /// One report: the revision that has been applied, and how stale the gateway knows itself.
    pub async fn report(&self, gateway: usize, place: Place) -> Option<Report> {
        let start = self.recorder.now();
        let sent = self.client.get(format!("http://{}/metrics", place.admin)).send();
        let metrics = sent.await.ok()?.text().await.ok()?;
        let span = self.recorder.since(start);
        let report = read(&metrics);
        self.recorder.note(Event::Report {
            span,
            gateway: GatewayNo(gateway),
            life: place.life,
            applied: report.applied,
            staleness: report.staleness,
        });
        Some(report)
    }
}

/// What a gateway says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The revision up to which it has applied every change.
    pub applied: Option<u64>,
    /// How long ago it knew that it had heard of everything, in microseconds.
    pub staleness: Option<u64>,
}

/// Reads a report from metrics in Prometheus' text format.
pub fn read(metrics: &str) -> Report {
    let value = |name: &str| {
        let mut lines = metrics.lines();
        let text = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        text.parse::<f64>().ok().filter(|value| *value >= 0.0)
    };
    // Whole numbers below 2⁵³ come through unchanged.
    let whole = |value: f64| format!("{value:.0}").parse::<u64>().ok();
    Report {
        applied: value("portcullis_sync_applied_revision").and_then(whole),
        staleness: value("portcullis_sync_staleness_seconds").and_then(|seconds| whole((seconds * 1e6).ceil())),
    }
}
