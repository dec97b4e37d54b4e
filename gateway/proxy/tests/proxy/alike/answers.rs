//! Strange answers of an upstream by name: what broken and hostile upstreams send that two readers might end elsewhere.

use super::requests::{get, post};
use super::scene::{Ending, Scene, Setting, Then, When};

/// All of them.
pub(crate) fn all() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (name, answer) in ANSWERS {
        let named = |how: &str| format!("answer{how}: {name}");
        scenes.push(Scene::new(&named(""), get("")).answered(answer));
        scenes.push(Scene::new(&named(", then closed"), get("")).answered_and_closed(answer));
        let head = get("").replace("GET", "HEAD");
        scenes.push(Scene::new(&named(" to HEAD"), head).answered(answer));
        let old = get("").replace("HTTP/1.1", "HTTP/1.0");
        scenes.push(Scene::new(&named(" to HTTP/1.0"), old).answered_and_closed(answer));
    }
    for (name, answer) in RAW_ANSWERS {
        scenes.push(Scene::new(&format!("answer: {name}"), get("")).answered(answer));
    }
    let large = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok",
        "X-A: b\r\n".repeat(200)
    );
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 2\r\n\r\nok",
        "x".repeat(100_000)
    );
    let endless = format!("HTTP/1.1 200 OK\r\nX-A: {}", "x".repeat(2_000_000));
    for (name, answer) in [
        ("large", large),
        ("many fields", many),
        ("a long field", long),
        ("a head without end", endless),
    ] {
        scenes.push(Scene::new(&format!("answer: {name}"), get("")).answered_and_closed(answer));
    }
    scenes.extend(timed());
    scenes.extend(set_up_otherwise());
    scenes
}

/// Answers that come before the request is whole, in pieces, or never.
fn timed() -> Vec<Scene> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const REFUSED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let body = post("Content-Length: 4\r\n", "body");
    let half = post("Content-Length: 9\r\n", "body");
    let waiting = post("Expect: 100-continue\r\nContent-Length: 4\r\n", "body");
    let early = |name: &str, request: &str, answer: &[u8], then| {
        Scene::new(name, request).replied(&[answer], When::HeadRead, then)
    };
    vec![
        early("answer before the body", &body, OK, Then::Keep),
        early("answer before the body, then closed", &body, OK, Then::Close),
        early("answer before half a body", &half, REFUSED, Then::Keep).ending(Ending::Silence),
        early("answer before half a body, then closed", &half, REFUSED, Then::Close).ending(Ending::Silence),
        early(
            "go on",
            &waiting,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Then::Keep,
        ),
        early("do not go on", &waiting, REFUSED, Then::Keep),
        early(
            "go on, unasked",
            &body,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Then::Keep,
        ),
        Scene::new("no answer", get("")).answered_and_closed(""),
        Scene::new("no answer to a POST", &body).answered_and_closed(""),
        Scene::new("no answer and no end", get("")).answered(""),
        Scene::new("half an answer and no end", get("")).answered("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Scene::new("half a head and no end", get("")).answered("HTTP/1.1 200 OK\r\nContent-"),
        Scene::new("two answers to two requests", get("").repeat(2))
            .answered("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
            .answered("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
        Scene::new("two answers to one request", get("")).answered([OK, OK].concat()),
        Scene::new("an answer and a half to one request", get("")).answered([OK, b"HTTP/1.1 2"].concat()),
    ]
}

/// Plain and strange requests under every other setting.
fn set_up_otherwise() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let theirs = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRateLimit: 1\r\nX-RateLimit-Limit: 1\r\nX-RateLimit-Reset: 1\r\nRetry-After: 1\r\n\r\nok";
    let forwarded = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Request-ID: from-the-edge\r\n\
                     X_Forwarded_Host: forged\r\nX-Forwarded-Prefix: /p\r\n";
    for setting in [
        Setting::Plain,
        Setting::Trusted,
        Setting::EveryPlace,
        Setting::KeptCredential,
        Setting::Small,
        Setting::UsedUp,
        Setting::Legacy,
        Setting::Strict,
    ] {
        for (name, request) in [
            ("plain", get("")),
            ("HEAD", get("").replace("GET", "HEAD")),
            ("three", get("").repeat(3)),
            ("no key", get("").replace("Authorization: Bearer @K\r\n", "")),
            ("a body", post("Content-Length: 4\r\n", "body")),
            ("a body of 100", post("Content-Length: 100\r\n", &"x".repeat(100))),
            ("a body of 101", post("Content-Length: 101\r\n", &"x".repeat(101))),
            (
                "chunks of 101",
                post(
                    "Transfer-Encoding: chunked\r\n",
                    &format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)),
                ),
            ),
            (
                "a target of 500",
                get("").replace("/a", &format!("/{}", "x".repeat(499))),
            ),
            (
                "a target of 501",
                get("").replace("/a", &format!("/{}", "x".repeat(500))),
            ),
            (
                "a target of 3000",
                get("").replace("/a", &format!("/{}", "x".repeat(3_000))),
            ),
            ("ten fields", get(&"X: y\r\n".repeat(8))),
            ("eleven fields", get(&"X: y\r\n".repeat(9))),
            ("a head of 3000", get(&format!("X: {}\r\n", "x".repeat(3_000)))),
            ("what a proxy says", get(forwarded)),
            (
                "what a proxy says twice",
                get(
                    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\nX-Forwarded-Proto: a\r\nX-Forwarded-Proto: b\r\n",
                ),
            ),
            (
                "what a proxy says badly",
                get("X-Forwarded-For: \u{e4}\r\nX-Request-ID: two words\r\nForwarded: for=x\r\n"),
            ),
            (
                "the key in the query",
                "GET /a?x=1&api_key=@K&y HTTP/1.1\r\nHost: @H\r\n\r\n".to_owned(),
            ),
            (
                "the key escaped in the query",
                "GET /a?api%5Fkey=@K HTTP/1.1\r\nHost: @H\r\n\r\n".to_owned(),
            ),
            (
                "the key in the query of a URL",
                "GET http://@H?api_key=@K HTTP/1.1\r\nHost: @H\r\n\r\n".to_owned(),
            ),
            (
                "two keys in the query",
                "GET /a?api_key=@K&api_key=@L HTTP/1.1\r\nHost: @H\r\n\r\n".to_owned(),
            ),
        ] {
            scenes.push(
                Scene::new(&format!("set up otherwise: {name}"), request)
                    .under(setting)
                    .answered(theirs),
            );
        }
    }
    scenes
}

const ANSWERS: &[(&str, &str)] = &[
    ("plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    ("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
    (
        "a reason of its own",
        "HTTP/1.1 200 Fine By Me\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("an unknown status", "HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("status 999", "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("status 600", "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("status 99", "HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("status 099", "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("status 1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (
        "HTTP/1.0 that keeps",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("HTTP/1.0 without a length", "HTTP/1.0 200 OK\r\n\r\nok"),
    (
        "HTTP/1.0 with chunks",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    ("HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("until the end", "HTTP/1.1 200 OK\r\n\r\nok"),
    (
        "until the end, closing",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ),
    (
        "closing",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "keeping",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "more than its length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npoisoned!",
    ),
    ("less than its length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
    (
        "length twice",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("length list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ),
    ("length with a plus", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("length with zeros", "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok"),
    ("empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    (
        "length of 2^64",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
    ),
    (
        "length that is a word",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    ),
    (
        "chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunks in capitals",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunks with an extension",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0;c\r\n\r\n",
    ),
    (
        "chunks with trailers",
        "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    (
        "chunks and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npoisoned!",
    ),
    (
        "chunks without their end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ),
    (
        "chunk without its size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunk size that overflows",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunk size with a plus",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunk that ends in LF",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    ),
    (
        "chunk that is too long",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
    ),
    (
        "chunks and a length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("204", "HTTP/1.1 204 No Content\r\n\r\n"),
    (
        "204 with a length",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "204 with chunks",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    ("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
    (
        "304 with a length",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    ),
    (
        "304 with a body",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "304 with chunks",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "head of an answer to HEAD",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    ),
    (
        "head of an answer to HEAD, in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("head without any length", "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n"),
    (
        "100",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "103",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: x\r\nX: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "102 thrice",
        "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "103 with a length",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("103 and nothing more", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    (
        "101 that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ),
    (
        "hop by hop",
        "HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\nProxy-Connection: x\r\nTE: x\r\nTrailer: x\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "nominated length",
        "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "nominated id",
        "HTTP/1.1 200 OK\r\nConnection: x-request-id, close\r\nX-Request-ID: theirs\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "limits of its own",
        "HTTP/1.1 200 OK\r\nRateLimit: 1\r\nratelimit-policy: 2\r\nRateLimit-Remaining: 3\r\nX-RateLimit-Limit: 4\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "date and server",
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: x\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "cookies",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nset-cookie: c=3\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "empty values",
        "HTTP/1.1 200 OK\r\nX-A:\r\nX-B:   \r\nX-C: \t d \t \r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "an event stream",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n",
    ),
    ("no colon", "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nok"),
    (
        "a space in a name",
        "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a space before a colon",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "a length with a space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    ),
    (
        "folded",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "folded at once",
        "HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    (
        "a bare LF between fields",
        "HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "empty lines before",
        "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("no answer at all", "nonsense\r\n\r\n"),
    ("HTTP/0.9", "ok"),
];

const RAW_ANSWERS: &[(&str, &[u8])] = &[
    (
        "NUL in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "NUL in a name",
        b"HTTP/1.1 200 OK\r\nX-\0A: b\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "byte 0x80 in a value",
        b"HTTP/1.1 200 OK\r\nX-A: \x80\xff\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "control in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\x01c\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "DEL in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\x7fc\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "bare CR in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "bytes in the reason",
        b"HTTP/1.1 200 \x80\x01\r\nContent-Length: 2\r\n\r\nok",
    ),
];
