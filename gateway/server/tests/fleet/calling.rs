//! Calls to the control APIs: each change is asked for until it is known what became of it, and every try is written down.
//!
//! Whoever drives a lane owns its app: no two calls about one app are under way at once. Decides what to do next by dice.

use super::book::{Book, Key};
use super::cluster::TOKEN;
use super::dice::Dice;
use super::history::{Act, AppNo, Event, KeyNo, Outcome, Recorder};
use super::places::Places;
use super::setup::{APPS_MAX, slug};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;

/// How many keys a lane keeps alive, about.
const LIVE_KEYS: usize = 30;

/// What an answer says.
struct Told {
    status: u16,
    body: Value,
    revision: u64,
}

/// What came of one try.
enum Try {
    /// Nobody was there to take it.
    NotSent,
    /// It was sent, and no whole answer came.
    NoAnswer,
    /// It was answered.
    Told(Told),
}

/// A caller of the control APIs. Copies share the client and the gate.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    places: Arc<Places>,
    book: Arc<Book>,
    recorder: Arc<Recorder>,
    /// Held for reading while a call is under way, for writing by who must have none.
    pub gate: Arc<RwLock<()>>,
}

impl Caller {
    /// A caller of whatever control API is up.
    pub fn new(client: reqwest::Client, places: Arc<Places>, book: Arc<Book>, recorder: Arc<Recorder>) -> Caller {
        Caller {
            client,
            places,
            book,
            recorder,
            gate: Arc::new(RwLock::new(())),
        }
    }

    /// Makes an app, in one of the slugs that the gateways' route names.
    pub async fn make_app(&self) -> AppNo {
        let app = self.book.next_app();
        assert!(app.0 < APPS_MAX, "the gateways' route names more apps");
        let body = json!({"app_slug": slug(app.0), "name": slug(app.0), "key_prefix": "sk"});
        loop {
            match self.post("POST", "/api-auth/apps", body.clone()).await {
                Try::Told(Told { status: 201 | 409, .. }) => return app,
                Try::Told(Told { status, body, .. }) if status < 500 => panic!("an app is not made: {status} {body}"),
                _ => pause().await,
            }
        }
    }

    /// Makes a key. Tries whose answer was lost leave keys that nobody knows. `None`: there is no such app, any more.
    pub async fn make_key(&self, app: AppNo) -> Option<KeyNo> {
        let path = format!("/api-auth/apps/{}/keys", slug(app.0));
        loop {
            let gate = self.gate.read().await;
            let start = self.recorder.now();
            match self.post("POST", &path, json!({"name": "fleet"})).await {
                Try::Told(Told {
                    status: 201,
                    body,
                    revision,
                }) => {
                    let key = self.enter(&body, app);
                    self.note(
                        start,
                        Act::Create { key, app },
                        Outcome::Done { revision, fleet: false },
                    );
                    return Some(key);
                }
                Try::Told(Told { status: 404, .. }) => return None,
                Try::Told(Told { status, body, .. }) if status < 500 => panic!("a key is not made: {status} {body}"),
                _ => {}
            }
            drop(gate);
            pause().await;
        }
    }

    /// Revokes a key.
    pub async fn revoke(&self, key: KeyNo, fleet: bool) {
        let entry = self.book.key(key);
        self.book.strike(key);
        let path = format!("/api-auth/apps/{}/keys/{}/revoke", slug(entry.app.0), entry.id);
        self.settle(
            |_| Act::Revoke { key },
            "POST",
            &path,
            json!({"reason": "fleet"}),
            fleet,
        )
        .await;
    }

    /// Rotates a key.
    pub async fn rotate(&self, key: KeyNo, fleet: bool) {
        let entry = self.book.key(key);
        self.book.strike(key);
        let path = format!("/api-auth/apps/{}/keys/{}/rotate", slug(entry.app.0), entry.id);
        let act = |told: Option<&Told>| Act::Rotate {
            old: key,
            new: told.map(|told| self.enter(&told.body, entry.app)),
            app: entry.app,
        };
        self.settle(act, "POST", &path, json!({}), fleet).await;
    }

    /// Switches an app off or on.
    pub async fn switch(&self, app: AppNo, on: bool, fleet: bool) {
        let act = if on { Act::AppOn(app) } else { Act::AppOff(app) };
        let path = format!("/api-auth/apps/{}", slug(app.0));
        self.settle(|_| act, "PATCH", &path, json!({"is_active": on}), fleet)
            .await;
    }

    /// Deletes an app.
    pub async fn delete_app(&self, app: AppNo, fleet: bool) {
        self.book.strike_app(app);
        let path = format!("/api-auth/apps/{}", slug(app.0));
        self.settle(|_| Act::AppDelete(app), "DELETE", &path, Value::Null, fleet)
            .await;
    }

    /// Does one thing to a lane's app that the dice choose. Where `keeps_app`, the app itself is let alone: what is valid for a moment
    /// only is hardly ever known to be.
    pub async fn act(&self, lane: &mut AppNo, keeps_app: bool, dice: &Dice) {
        let app = *lane;
        let live = self.book.live(app);
        let fleet = dice.chance(15);
        match dice.within(0..100) {
            0..=39 => self.make_key_or_app(lane).await,
            40..=69 if live.len() > 2 => self.revoke(*dice.pick(&live), fleet).await,
            70..=83 if live.len() > 2 => self.rotate(*dice.pick(&live), fleet).await,
            84..=92 if !keeps_app => {
                self.switch(app, false, fleet).await;
                tokio::time::sleep(dice.millis(0..150)).await;
                self.switch(app, true, false).await;
            }
            93..=94 if !keeps_app => {
                self.delete_app(app, fleet).await;
                *lane = self.make_app().await;
            }
            _ if live.len() < LIVE_KEYS => self.make_key_or_app(lane).await,
            _ => self.revoke(*dice.pick(&live), fleet).await,
        }
    }

    /// An older copy of the store may not know the lane's app.
    async fn make_key_or_app(&self, lane: &mut AppNo) {
        if self.make_key(*lane).await.is_none() {
            *lane = self.make_app().await;
        }
    }

    /// Sends a call until it is known that it was done, and writes every try down.
    async fn settle(&self, act: impl Fn(Option<&Told>) -> Act, method: &str, path: &str, body: Value, fleet: bool) {
        let path = if fleet {
            format!("{path}?wait=fleet")
        } else {
            path.to_owned()
        };
        let mut perhaps_done = false;
        loop {
            let gate = self.gate.read().await;
            let start = self.recorder.now();
            match self.post(method, &path, body.clone()).await {
                Try::Told(told) if (200..300).contains(&told.status) => {
                    let outcome = Outcome::Done {
                        revision: told.revision,
                        fleet,
                    };
                    self.note(start, act(Some(&told)), outcome);
                    return;
                }
                Try::Told(Told { status: 404 | 409, .. }) if perhaps_done => {
                    self.note(start, act(None), Outcome::Already);
                    return;
                }
                Try::Told(told) if told.status < 500 => {
                    self.recorder
                        .fault(format!("{method} {path} was answered {} {}", told.status, told.body));
                    self.note(start, act(None), Outcome::NotDone);
                    return;
                }
                Try::NotSent => {}
                Try::NoAnswer | Try::Told(_) => {
                    self.note(start, act(None), Outcome::Unknown);
                    perhaps_done = true;
                }
            }
            drop(gate);
            pause().await;
        }
    }

    /// One try.
    async fn post(&self, method: &str, path: &str, body: Value) -> Try {
        let doors = self.places.controls();
        let start = self.recorder.now();
        let Some(door) = doors.get(usize::try_from(start).unwrap_or(0) % doors.len().max(1)) else {
            return Try::NotSent;
        };
        let mut request = self
            .client
            .request(method.parse().expect("a method"), format!("http://{door}{path}"))
            .bearer_auth(TOKEN);
        if !body.is_null() {
            request = request.json(&body);
        }
        match request.send().await {
            Ok(answer) => read(answer).await.map_or(Try::NoAnswer, Try::Told),
            Err(error) if error.is_connect() => Try::NotSent,
            Err(_) => Try::NoAnswer,
        }
    }

    fn enter(&self, body: &Value, app: AppNo) -> KeyNo {
        let text = |name: &str| body[name].as_str().expect("a key with its secret").to_owned();
        self.book.enter(Key {
            secret: text("secret"),
            id: text("id"),
            app,
            is_ended: false,
        })
    }

    fn note(&self, start: u64, act: Act, outcome: Outcome) {
        let span = self.recorder.since(start);
        self.recorder.note(Event::Call { span, act, outcome });
    }
}

/// An answer, if all of it comes.
async fn read(answer: reqwest::Response) -> Option<Told> {
    let status = answer.status().as_u16();
    let header = answer.headers().get("portcullis-revision");
    let in_header = header.and_then(|value| value.to_str().ok()?.parse().ok());
    let text = answer.text().await.ok()?;
    let body: Value = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).ok()?
    };
    let revision = &body["revision"];
    let in_body = revision.as_u64().or_else(|| revision.as_str()?.parse().ok());
    Some(Told {
        status,
        revision: in_body.or(in_header).unwrap_or(0),
        body,
    })
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
