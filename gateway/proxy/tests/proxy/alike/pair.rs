//! Two gateways that differ in nothing but the way that requests take through them, and a scene played at both.
//!
//! Decides what is compared and when a scene is over. Knows no scene by name.

use super::observation::{Message, Observation, answers, unmarked};
use super::recorder::{PLAIN_ANSWER, PLAIN_TARGET, Recorder, find};
use super::scene::{
    Ending, HOST_MARK, KEY_MARK, PATIENCE, REVOKED_KEY_MARK, SECOND_KEY_MARK, Scene, Setting, UNKNOWN_KEY_MARK,
    filled_in,
};
use crate::gateway::{Gateway, Setup, eventually, route, start_with};
use portcullis_config::settings::{CredentialPlace, Route};
use portcullis_verify::Secret;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// Scenes that a pair plays: each has a host of its own, so that no connection to an upstream outlives its scene.
pub(crate) const SCENES_MAX: usize = 64;
/// What the host of the mark is in upper case.
const UPPER_HOST_MARK: &str = "@J";
/// Counters that tell how a request ended.
const COUNTERS: [&str; 4] = [
    "portcullis_decisions_total",
    "portcullis_refusals_total",
    "portcullis_upstream_errors_total",
    "portcullis_proxied_seconds_count",
];

/// The two gateways.
pub(crate) struct Pair {
    through_pingora: Side,
    own_loop: Side,
    played: usize,
}

/// One gateway, its upstreams and its words.
struct Side {
    gateway: Gateway,
    recorders: Vec<Recorder>,
    /// For hosts that no scene has.
    elsewhere: Recorder,
    second: String,
    revoked: String,
    unknown: String,
}

impl Pair {
    pub(crate) async fn start(setting: Setting) -> Pair {
        Pair {
            through_pingora: Side::start(setting, false).await,
            own_loop: Side::start(setting, true).await,
            played: 0,
        }
    }

    pub(crate) fn is_worn_out(&self) -> bool {
        self.played >= SCENES_MAX
    }

    /// Plays a scene at both: first what came of it through pingora, then by the gateway's own loop.
    pub(crate) async fn play(&mut self, scene: &Scene) -> (Observation, Observation) {
        let index = self.played % SCENES_MAX;
        self.played += 1;
        tokio::join!(
            self.through_pingora.play(scene, index),
            self.own_loop.play(scene, index)
        )
    }
}

impl Side {
    async fn start(setting: Setting, fast_path: bool) -> Side {
        let mut recorders = Vec::new();
        for _ in 0..SCENES_MAX {
            recorders.push(Recorder::start().await);
        }
        let elsewhere = Recorder::start().await;
        let hosts = recorders.iter().enumerate().map(|(index, r)| (host(index), r.address));
        let routes: Vec<Route> = hosts
            .chain([("*".to_owned(), elsewhere.address)])
            .map(|(host, address)| Route {
                host,
                read_timeout: 2 * PATIENCE,
                ..route(&[address])
            })
            .collect();
        let gateway = start_with(&[], |setup| {
            setup.routes = routes;
            setup.gateway.fast_path = fast_path;
            arrange(setup, setting);
        })
        .await;
        Side {
            second: gateway.issue(|_| {}),
            revoked: gateway.issue(|record| record.revoked_at_us = Some(1)),
            unknown: Secret::generate("sk_test").unwrap().expose().to_owned(),
            gateway,
            recorders,
            elsewhere,
        }
    }

    async fn play(&self, scene: &Scene, index: usize) -> Observation {
        let (host, upper) = (host(index), host(index).to_ascii_uppercase());
        let words = [
            (HOST_MARK, &*host),
            (UPPER_HOST_MARK, &*upper),
            (KEY_MARK, &*self.gateway.key),
            (SECOND_KEY_MARK, &*self.second),
            (REVOKED_KEY_MARK, &*self.revoked),
            (UNKNOWN_KEY_MARK, &*self.unknown),
        ];
        let before = self.counts();
        self.recorders[index].expect(&scene.replies);
        let mut sent: Vec<Vec<u8>> = scene.request.iter().map(|piece| filled_in(piece, &words)).collect();
        if scene.ending == Ending::Plain {
            let plain = format!("GET {PLAIN_TARGET} HTTP/1.1\r\nHost: @H\r\nAuthorization: Bearer @K\r\n\r\n");
            sent.push(filled_in(plain.as_bytes(), &words));
        }

        let stream = TcpStream::connect(self.gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut reading, writing) = stream.into_split();
        let mut received = Vec::new();
        let is_over = async {
            loop {
                if scene.ending == Ending::Plain && find(&received, PLAIN_ANSWER).is_some() {
                    return false;
                }
                if reading.read_buf(&mut received).await.unwrap_or(0) == 0 {
                    return true;
                }
            }
        };
        let (is_closed, _writing) = tokio::join!(
            async {
                tokio::time::timeout(Duration::from_secs(10), is_over)
                    .await
                    .unwrap_or_else(|_| panic!("{}: the connection is neither answered nor closed", scene.name))
            },
            send(writing, &sent, scene.ending),
        );
        drop(reading);
        // The last request is recorded after its answer was sent.
        eventually("the end of every request", || {
            self.gateway.metric("portcullis_requests_in_flight 0")
        })
        .await;

        let (answers, rest) = answers(&unmarked(&received, &words));
        let seen = [self.recorders[index].take(), self.elsewhere.take()].concat();
        let reached = seen.into_iter().map(|mut seen| {
            seen.head = unmarked(&seen.head, &words);
            seen.body = unmarked(&seen.body, &words);
            let mut message = Message::of_request(&seen);
            if super::observation::generated_id(&seen.head).is_some() {
                message
                    .fields
                    .insert("x-request-id".to_owned(), vec!["an id".to_owned()]);
            }
            message
        });
        Observation {
            reached: reached.collect(),
            answers,
            rest,
            is_closed,
            counted: self.grown(&before),
        }
    }

    fn counts(&self) -> BTreeMap<String, f64> {
        let rendered = self.gateway.metrics.render().unwrap();
        let lines = rendered
            .lines()
            .filter(|line| COUNTERS.iter().any(|name| line.starts_with(name)));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
            .collect()
    }

    fn grown(&self, before: &BTreeMap<String, f64>) -> BTreeMap<String, String> {
        self.counts()
            .into_iter()
            .map(|(series, value)| (series.clone(), value - before.get(&series).copied().unwrap_or(0.0)))
            .filter(|(_, grown)| *grown > 0.0)
            .map(|(series, grown)| (series, grown.to_string()))
            .collect()
    }
}

/// No part of an id, which never has a `u`.
fn host(index: usize) -> String {
    format!("hu{index:02}")
}

/// Sends the pieces, each in a write of its own. A gateway that does not want them closes; that is for the reader to see.
async fn send(mut writing: OwnedWriteHalf, pieces: &[Vec<u8>], ending: Ending) -> OwnedWriteHalf {
    for piece in pieces {
        if writing.write_all(piece).await.is_err() {
            break;
        }
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
    if ending == Ending::Closed {
        let _ = writing.shutdown().await;
    }
    writing
}

fn arrange(setup: &mut Setup, setting: Setting) {
    setup.allowance = u32::MAX;
    let gateway = &mut setup.gateway;
    gateway.header_timeout = PATIENCE;
    gateway.body_timeout = PATIENCE;
    gateway.keepalive_timeout = 3 * PATIENCE;
    gateway.workers = Some(1);
    match setting {
        Setting::Plain => {}
        Setting::Trusted => gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()],
        Setting::EveryPlace => {
            for route in &mut setup.routes {
                route.credentials = vec![
                    CredentialPlace::Bearer,
                    CredentialPlace::BasicPassword,
                    CredentialPlace::Header("x-api-key".to_owned()),
                    CredentialPlace::Query("api_key".to_owned()),
                    CredentialPlace::Cookie("session".to_owned()),
                ];
            }
        }
        Setting::KeptCredential => setup.routes.iter_mut().for_each(|route| route.keep_credential = true),
        Setting::Small => {
            gateway.header_bytes_max = 2_000;
            gateway.header_count_max = 10;
            gateway.uri_bytes_max = 500;
            gateway.body_bytes_max = Some(100);
        }
        Setting::UsedUp => setup.allowance = 0,
        Setting::Legacy => setup.legacy_headers = true,
        Setting::Strict => {
            gateway.keepalive_requests = 2;
            for route in &mut setup.routes {
                route.challenge = true;
                route.permissions = vec!["read AND write".parse().unwrap()];
            }
        }
    }
}
