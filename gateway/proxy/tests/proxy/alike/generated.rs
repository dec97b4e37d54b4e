//! Scenes that nobody thought of: requests and answers made of the named ones and of what they are made of, spliced and damaged.
//!
//! Knows what bytes are worth trying, not what should come of them.

use super::answers;
use super::requests::{self, CREDENTIALS, FIELDS, FRAMINGS, HOSTS, TARGETS};
use super::scene::{Ending, Reply, Scene, Setting, Then, When};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What damages a message best: what ends things, separates them, or says how long they are.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b",",
    b";",
    b"=",
    b"?",
    b"#",
    b"/",
    b"//",
    b"/../",
    b"\\",
    b"%",
    b"%2f",
    b"%00",
    b"\"",
    b"_",
    b"-",
    b"+",
    b"0",
    b"1",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: @H\r\n\r\n",
    b"\r\n folded",
    b"Content-Length: 4\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: ",
    b"Host: other\r\n",
    b"X-Wacht-Key-ID: 9\r\n",
    b"X_Forwarded_For: 6.6.6.6\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b"Authorization: Bearer @L\r\n",
    b"@K",
];

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "get", "TRACE", "BREW",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0",
];
const SETTINGS: &[Setting] = &[
    Setting::Plain,
    Setting::Plain,
    Setting::Trusted,
    Setting::EveryPlace,
    Setting::KeptCredential,
    Setting::Small,
    Setting::UsedUp,
    Setting::Legacy,
    Setting::Strict,
];

/// Any scene.
pub(crate) fn any_scene() -> impl Strategy<Value = Scene> {
    let requests = proptest::collection::vec(damaged(request()), 1..4);
    let replies = proptest::collection::vec(reply(), 0..3);
    let cuts = proptest::collection::vec(any::<Index>(), 0..5);
    (requests, replies, cuts, select(SETTINGS)).prop_map(|(requests, replies, cuts, setting)| Scene {
        name: "generated".to_owned(),
        setting,
        request: cut(&requests.concat(), &cuts),
        ending: Ending::Plain,
        replies,
    })
}

/// A named request, or one of the same parts.
fn request() -> BoxedStrategy<Vec<u8>> {
    let named: Vec<Vec<u8>> = requests::all()
        .into_iter()
        .filter(|scene| scene.ending == Ending::Plain && scene.bytes() < 3_000)
        .map(|scene| scene.request.concat())
        .collect();
    prop_oneof![select(named), composed()].boxed()
}

fn composed() -> impl Strategy<Value = Vec<u8>> {
    let host = prop_oneof![4 => Just("Host: @H\r\n"), 1 => select(HOSTS).prop_map(|(_, lines)| lines)];
    let key = prop_oneof![
        4 => Just("Authorization: Bearer @K\r\n"),
        1 => select(CREDENTIALS).prop_map(|(_, lines)| lines),
    ];
    let target = prop_oneof![2 => Just("/a"), 1 => select(TARGETS)];
    let fields = proptest::collection::vec(select(FIELDS).prop_map(|(_, lines)| lines), 0..4);
    let framing = proptest::option::of(select(FRAMINGS));
    (select(METHODS), target, select(VERSIONS), host, key, fields, framing).prop_map(
        |(method, target, version, host, key, fields, framing)| {
            let (_, lines, body) = framing.unwrap_or_default();
            let fields = fields.concat();
            format!("{method} {target} {version}\r\n{host}{fields}{key}{lines}\r\n{body}").into_bytes()
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    let named: Vec<Vec<u8>> = answers::all()
        .into_iter()
        .filter(|scene| scene.bytes() < 3_000)
        .flat_map(|scene| scene.replies)
        .map(|reply| reply.pieces.concat())
        .collect();
    let cuts = proptest::collection::vec(any::<Index>(), 0..3);
    let when = prop_oneof![5 => Just(When::Read), 1 => Just(When::HeadRead)];
    let then = prop_oneof![2 => Just(Then::Keep), 1 => Just(Then::Close)];
    (damaged(select(named)), cuts, when, then).prop_map(|(bytes, cuts, when, then)| Reply {
        pieces: cut(&bytes, &cuts),
        when,
        then,
    })
}

/// The same, and as often damaged in a place or two.
fn damaged(bytes: impl Strategy<Value = Vec<u8>> + 'static) -> impl Strategy<Value = Vec<u8>> {
    let damage = (
        any::<Index>(),
        0..4_usize,
        prop_oneof![3 => Just(0), 1 => 0..6_usize],
        select(TOKENS),
    );
    let none_or_some = prop_oneof![Just(0..1_usize), Just(1..3)];
    let damages = none_or_some.prop_flat_map(move |count| proptest::collection::vec(damage.clone(), count));
    (bytes, damages).prop_map(|(mut bytes, damages)| {
        for (at, kind, length, token) in damages {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            match kind {
                0 => drop(bytes.splice(at..end, token.iter().copied())),
                1 => drop(bytes.splice(at..at, token.iter().copied())),
                2 => drop(bytes.drain(at..end)),
                _ => {
                    let twice = bytes[at..].iter().take(20 * length).copied().collect::<Vec<u8>>();
                    drop(bytes.splice(at..at, twice));
                }
            }
        }
        bytes
    })
}

fn cut(bytes: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(bytes[start..place].to_vec());
        start = place;
    }
    pieces
}

/// Scenes a little simpler than this one, for finding out what in it matters.
pub(crate) fn simpler(scene: &Scene) -> Vec<Scene> {
    let whole = scene.request.concat();
    let mut simpler = Vec::new();
    let mut push = |request: Vec<Vec<u8>>, replies: Vec<Reply>, setting| {
        simpler.push(Scene {
            request,
            replies,
            setting,
            ..scene.clone()
        });
    };
    if scene.setting != Setting::Plain {
        push(scene.request.clone(), scene.replies.clone(), Setting::Plain);
    }
    if scene.request.len() > 1 {
        push(vec![whole.clone()], scene.replies.clone(), scene.setting);
    }
    for index in 0..scene.replies.len() {
        let mut fewer = scene.replies.clone();
        fewer.remove(index);
        push(scene.request.clone(), fewer, scene.setting);
        for shorter in without_parts(&scene.replies[index].pieces.concat()) {
            let mut replies = scene.replies.clone();
            replies[index].pieces = vec![shorter];
            push(scene.request.clone(), replies, scene.setting);
        }
    }
    for shorter in without_parts(&whole) {
        push(vec![shorter], scene.replies.clone(), scene.setting);
    }
    simpler
}

/// The bytes without a half, a quarter, a line.
fn without_parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut shorter = Vec::new();
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for size in [bytes.len() / 2, bytes.len() / 4].into_iter().filter(|size| *size > 20) {
        parts.extend(
            (0..bytes.len())
                .step_by(size)
                .map(|start| (start, (start + size).min(bytes.len()))),
        );
    }
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        parts.push((start, start + line.len()));
        start += line.len();
    }
    for (start, end) in parts {
        shorter.push([&bytes[..start], &bytes[end..]].concat());
    }
    shorter
}
