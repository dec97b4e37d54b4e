//! Strange requests by name: what clients and attackers send that two servers, or two ways through one, might read differently.

use super::scene::{Ending, Scene, Setting};

const NO_LINES: &str = "";

/// `GET /a` with the key and these header lines.
pub(crate) fn get(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: @H\r\nAuthorization: Bearer @K\r\n{lines}\r\n")
}

/// `POST /a` with the key, these header lines and this body.
pub(crate) fn post(lines: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: @H\r\nAuthorization: Bearer @K\r\n{lines}\r\n{body}")
}

/// `GET` of a target, with the key.
pub(crate) fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: @H\r\nAuthorization: Bearer @K\r\n\r\n")
}

/// A request line of its own, with host and key.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: @H\r\nAuthorization: Bearer @K\r\n\r\n")
}

/// A request with this host, or these host lines, and the key.
fn hosts(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\n{lines}Authorization: Bearer @K\r\n\r\n")
}

/// A request with nothing of a key but these lines.
fn keyed(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: @H\r\n{lines}\r\n")
}

/// All of them.
pub(crate) fn all() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (name, request) in request_lines() {
        scenes.push(Scene::new(&format!("request line: {name}"), request));
    }
    for value in TARGETS {
        scenes.push(Scene::new(&format!("target {value}"), target(value)));
    }
    for (name, lines) in HOSTS {
        scenes.push(Scene::new(&format!("host: {name}"), hosts(lines)));
    }
    for (name, lines, body) in FRAMINGS {
        scenes.push(Scene::new(&format!("framing: {name}"), post(lines, body)));
    }
    for (name, lines) in FIELDS {
        scenes.push(Scene::new(&format!("field: {name}"), get(lines)));
    }
    for (name, bytes) in RAW_FIELDS {
        let request = [get(NO_LINES).trim_end().as_bytes(), b"\r\n", *bytes, b"\r\n\r\n"].concat();
        scenes.push(Scene::new(&format!("field: {name}"), request));
    }
    for (name, lines) in CREDENTIALS {
        scenes.push(Scene::new(&format!("credential: {name}"), keyed(lines)));
        let everywhere = Scene::new(&format!("credential, every place: {name}"), keyed(lines));
        scenes.push(everywhere.under(Setting::EveryPlace));
    }
    for (name, request) in pipelines() {
        scenes.push(Scene::new(&format!("pipeline: {name}"), request));
    }
    for (name, request) in broken_off() {
        for (ending, how) in [(Ending::Silence, "silence"), (Ending::Closed, "an end")] {
            scenes.push(Scene::new(&format!("broken off by {how}: {name}"), &request).ending(ending));
        }
    }
    scenes
}

fn request_lines() -> Vec<(&'static str, String)> {
    let long = |bytes: usize| target(&format!("/{}", "x".repeat(bytes)));
    vec![
        ("plain", line("GET /a HTTP/1.1")),
        ("lower-case method", line("get /a HTTP/1.1")),
        ("unknown method", line("BREW /a HTTP/1.1")),
        ("method with odd characters", line("G!E#T /a HTTP/1.1")),
        ("method with a colon", line("GE:T /a HTTP/1.1")),
        ("method with a parenthesis", line("GE(T /a HTTP/1.1")),
        ("no method", line(" /a HTTP/1.1")),
        ("long method", line(&format!("{} /a HTTP/1.1", "M".repeat(300)))),
        ("TRACE", line("TRACE /a HTTP/1.1")),
        ("CONNECT", line("CONNECT @H:80 HTTP/1.1")),
        ("CONNECT of a path", line("CONNECT /a HTTP/1.1")),
        ("HEAD", line("HEAD /a HTTP/1.1")),
        ("DELETE", line("DELETE /a HTTP/1.1")),
        ("OPTIONS of all", line("OPTIONS * HTTP/1.1")),
        ("OPTIONS of a path", line("OPTIONS /a HTTP/1.1")),
        ("PRI", line("PRI * HTTP/2.0")),
        ("HTTP/1.0", line("GET /a HTTP/1.0")),
        ("HTTP/1.0 that keeps", line("GET /a HTTP/1.0\r\nConnection: keep-alive")),
        ("HTTP/1.0 HEAD", line("HEAD /a HTTP/1.0")),
        ("HTTP/1.2", line("GET /a HTTP/1.2")),
        ("HTTP/2.0", line("GET /a HTTP/2.0")),
        ("HTTP/0.9", "GET /a\r\n".to_owned()),
        ("HTTP/0.9 with fields", line("GET /a")),
        ("lower-case version", line("GET /a http/1.1")),
        ("version with leading zero", line("GET /a HTTP/01.1")),
        ("version of two digits", line("GET /a HTTP/1.10")),
        ("no version number", line("GET /a HTTP/")),
        ("word behind", line("GET /a HTTP/1.1 x")),
        ("space behind", line("GET /a HTTP/1.1 ")),
        ("two spaces", line("GET  /a HTTP/1.1")),
        ("two spaces before the version", line("GET /a  HTTP/1.1")),
        ("tab", line("GET\t/a HTTP/1.1")),
        ("space in the target", line("GET /a b HTTP/1.1")),
        ("NUL in the target", line("GET /a\0b HTTP/1.1")),
        ("bare CR in the target", line("GET /a\rb HTTP/1.1")),
        (
            "bare LF behind",
            "GET /a HTTP/1.1\nHost: @H\r\nAuthorization: Bearer @K\r\n\r\n".to_owned(),
        ),
        (
            "only LFs",
            "GET /a HTTP/1.1\nHost: @H\nAuthorization: Bearer @K\n\n".to_owned(),
        ),
        ("empty lines before", format!("\r\n\r\n{}", line("GET /a HTTP/1.1"))),
        (
            "many empty lines before",
            format!("{}{}", "\r\n".repeat(50), line("GET /a HTTP/1.1")),
        ),
        ("a bare LF before", format!("\n{}", line("GET /a HTTP/1.1"))),
        ("a bare CR before", format!("\r{}", line("GET /a HTTP/1.1"))),
        ("a space before", format!(" {}", line("GET /a HTTP/1.1"))),
        ("long target", long(2_000)),
        ("target at the limit", long(8 * 1024 - 1)),
        ("target over the limit", long(8 * 1024)),
        ("target over the head", long(40_000)),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n".to_owned()),
        ("nothing but line ends", "\r\n\r\n\r\n".to_owned()),
        ("a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
    ]
}

pub(crate) const TARGETS: &[&str] = &[
    "/",
    "/a/b/",
    "/a?x=1",
    "/a?",
    "/?",
    "/a?b=?//",
    "/a%20b",
    "/%61",
    "/a;v=1",
    "/a;v=1/b",
    "/a/;/b",
    "/~a!$&'()*+,=:@",
    "/a?x=%2F..%2f&y",
    "//a",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/a/..",
    "/a/.",
    "/..;/a",
    "/a/..;/b",
    "/a%2Fb",
    "/a%5Cb",
    "/a\\b",
    "/%2e%2e/b",
    "/%2E/b",
    "/a%3Fb",
    "/a%23b",
    "/a%00b",
    "/a%0d%0ab",
    "/a%zz",
    "/a%2",
    "/a%252e",
    "/a#f",
    "/a?x#f",
    "/\u{e4}",
    "/a?x=\u{e4}",
    "/a?\"<>^`{|}",
    "/a\"<>^`{|}",
    "*",
    "a",
    "?x",
    "a.example:80",
    "http://@H/a?b=1",
    "HTTP://@H/a",
    "http://@J/a",
    "http://@H",
    "http://@H?x=1",
    "https://@H/a",
    "ftp://@H/a",
    "http:/a",
    "http:///a",
    "http://user@@H/a",
    "http://@H:80/a",
    "http://other/a",
    "http://@H/a#f",
    "http://@H//a",
    "//@H/a",
    "/a?api_key=@K",
    "/http://@H/a",
    "http://@H\\a",
    "/a?x=/../..",
    "/.well-known/x",
    "/...",
    "/a/...",
    "/a.",
    "/-",
    "/%",
    "/a%c3%a4",
    "/a%ff",
    "/a?%",
    "/a?%00",
    "/a&b=1",
    "/a:b",
];

pub(crate) const HOSTS: &[(&str, &str)] = &[
    ("none", ""),
    ("twice the same", "Host: @H\r\nHost: @H\r\n"),
    ("two", "Host: @H\r\nHost: other\r\n"),
    ("two, in two cases", "Host: @H\r\nhost: other\r\n"),
    ("empty", "Host: \r\n"),
    ("empty without a space", "Host:\r\n"),
    ("upper case", "Host: @J\r\n"),
    ("with a port", "Host: @H:80\r\n"),
    ("with an empty port", "Host: @H:\r\n"),
    ("with a port too large", "Host: @H:99999\r\n"),
    ("with a word for a port", "Host: @H:x\r\n"),
    ("with two ports", "Host: @H:80:80\r\n"),
    ("with a final dot", "Host: @H.\r\n"),
    ("with two final dots", "Host: @H..\r\n"),
    ("a dot", "Host: .\r\n"),
    ("a list", "Host: @H, other\r\n"),
    ("with a user", "Host: user@@H\r\n"),
    ("with a path", "Host: @H/a\r\n"),
    ("with a query", "Host: @H?a\r\n"),
    ("with a space inside", "Host: @H other\r\n"),
    ("with a tab behind", "Host: @H\t\r\n"),
    ("with spaces around", "Host:    @H   \r\n"),
    ("an address", "Host: 127.0.0.1\r\n"),
    ("an IPv6 address", "Host: [::1]:80\r\n"),
    ("an IPv6 address with a zone", "Host: [fe80::1%25eth0]\r\n"),
    ("an open bracket", "Host: [::1\r\n"),
    ("a closed bracket", "Host: ::1]\r\n"),
    ("with an underscore", "Host: a_b\r\n"),
    ("not ASCII", "Host: \u{e4}\r\n"),
    ("escaped", "Host: %61\r\n"),
    ("with a space before the colon", "Host : @H\r\n"),
    ("nobody's", "Host: nobody\r\n"),
    (
        "beside its alias",
        "Host: @H\r\nHost_: other\r\nX-Forwarded-Host: other\r\n",
    ),
];

pub(crate) const FRAMINGS: &[(&str, &str, &str)] = &[
    ("a length", "Content-Length: 4\r\n", "body"),
    ("no length", "", ""),
    ("length 0", "Content-Length: 0\r\n", ""),
    ("a short length", "Content-Length: 2\r\n", "body"),
    (
        "TE.CL",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\nGET /s HTTP/1.1\r\nHost: @H\r\n\r\n",
    ),
    (
        "CL.TE",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "0\r\n\r\nGET /s HTTP/1.1\r\nHost: @H\r\n\r\n",
    ),
    (
        "TE.CL with a zero length",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ),
    ("length with a plus", "Content-Length: +4\r\n", "body"),
    ("length with a minus", "Content-Length: -4\r\n", "body"),
    ("length with zeros", "Content-Length: 0004\r\n", "body"),
    ("hexadecimal length", "Content-Length: 0x4\r\n", "body"),
    ("length with a point", "Content-Length: 4.0\r\n", "body"),
    ("length with an underscore", "Content-Length: 4_0\r\n", "body"),
    ("empty length", "Content-Length: \r\n", ""),
    ("length of 2^63", "Content-Length: 9223372036854775808\r\n", ""),
    ("length of 2^64", "Content-Length: 18446744073709551616\r\n", "body"),
    ("length of 2^64 + 4", "Content-Length: 18446744073709551620\r\n", "body"),
    ("length list", "Content-Length: 4, 4\r\n", "body"),
    ("length list that differs", "Content-Length: 4, 5\r\n", "body"),
    ("length twice", "Content-Length: 4\r\nContent-Length: 4\r\n", "body"),
    ("two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n", "body"),
    ("length with spaces around", "Content-Length:    4   \r\n", "body"),
    ("length with a tab", "Content-Length:\t4\r\n", "body"),
    ("length with a space inside", "Content-Length: 1 2\r\n", "body"),
    ("space before the colon of a length", "Content-Length : 4\r\n", "body"),
    ("length in an alias", "Content_Length: 4\r\n", "body"),
    ("chunks", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"),
    (
        "many chunks",
        "Transfer-Encoding: chunked\r\n",
        "1\r\nb\r\n1\r\no\r\n2\r\ndy\r\n0\r\n\r\n",
    ),
    ("no chunks", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    (
        "chunks in capitals",
        "Transfer-Encoding: CHUNKED\r\n",
        "4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunks with an extension",
        "Transfer-Encoding: chunked\r\n",
        "4;a=b;c=\"d\"\r\nbody\r\n0;e\r\n\r\n",
    ),
    (
        "chunks with an LF in an extension",
        "Transfer-Encoding: chunked\r\n",
        "4;a\nb\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunks with a long extension",
        "Transfer-Encoding: chunked\r\n",
        concat!("4;", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "\r\nbody\r\n0\r\n\r\n"),
    ),
    (
        "chunks with a space before the extension",
        "Transfer-Encoding: chunked\r\n",
        "4 ;a\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunks with a space behind the size",
        "Transfer-Encoding: chunked\r\n",
        "4 \r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunks with a space before the size",
        "Transfer-Encoding: chunked\r\n",
        " 4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunks with zeros",
        "Transfer-Encoding: chunked\r\n",
        "0004\r\nbody\r\n000\r\n\r\n",
    ),
    (
        "chunks with many zeros",
        "Transfer-Encoding: chunked\r\n",
        "0000000000000000000000004\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size with 0x",
        "Transfer-Encoding: chunked\r\n",
        "0x4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size with a plus",
        "Transfer-Encoding: chunked\r\n",
        "+4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size with a minus",
        "Transfer-Encoding: chunked\r\n",
        "-4\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size that overflows",
        "Transfer-Encoding: chunked\r\n",
        "10000000000000004\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size of 2^63",
        "Transfer-Encoding: chunked\r\n",
        "8000000000000000\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "empty chunk size",
        "Transfer-Encoding: chunked\r\n",
        "\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk size that is a word",
        "Transfer-Encoding: chunked\r\n",
        "size\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk that ends in LF",
        "Transfer-Encoding: chunked\r\n",
        "4\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk data that ends in LF",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\n0\r\n\r\n",
    ),
    (
        "chunk data that is too long",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbodyx\r\n0\r\n\r\n",
    ),
    (
        "chunk data that is too short",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nbody\r\n0\r\n\r\n",
    ),
    (
        "chunk data that is followed by CR only",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\r0\r\n\r\n",
    ),
    (
        "a last chunk with LF",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\r\n0\n\n",
    ),
    (
        "a last chunk without its blank line",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\r\n0\r\n",
    ),
    (
        "trailers",
        "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n",
        "4\r\nbody\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    (
        "trailers that nobody announced",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    (
        "an identity header in the trailers",
        "Transfer-Encoding: chunked\r\n",
        "0\r\nX-Wacht-Key-ID: 9\r\n\r\n",
    ),
    (
        "a length in the trailers",
        "Transfer-Encoding: chunked\r\n",
        "0\r\nContent-Length: 9\r\n\r\n",
    ),
    (
        "malformed trailers",
        "Transfer-Encoding: chunked\r\n",
        "0\r\nno colon\r\n\r\n",
    ),
    (
        "folded trailers",
        "Transfer-Encoding: chunked\r\n",
        "0\r\nX-T: 1\r\n 2\r\n\r\n",
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "chunked in a list twice",
        "Transfer-Encoding: chunked, chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "identity, chunked",
        "Transfer-Encoding: identity, chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n",
        "0\r\n\r\n",
    ),
    ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
    ("gzip", "Transfer-Encoding: gzip\r\n", "0\r\n\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n", ""),
    ("xchunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    (
        "chunked with a comma behind",
        "Transfer-Encoding: chunked,\r\n",
        "0\r\n\r\n",
    ),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
    (
        "chunked with a parameter",
        "Transfer-Encoding: chunked;q=1\r\n",
        "0\r\n\r\n",
    ),
    ("empty coding", "Transfer-Encoding: \r\n", ""),
    ("chunked with a tab", "Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"),
    (
        "chunked with a vertical tab",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "chunked in a folded line",
        "Transfer-Encoding:\r\n chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "coding with a space before the colon",
        "Transfer-Encoding : chunked\r\n",
        "0\r\n\r\n",
    ),
    ("coding in an alias", "Transfer_Encoding: chunked\r\n", "0\r\n\r\n"),
    (
        "coding behind a bare LF",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ),
    (
        "coding behind a bare CR",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ),
    ("expectation", "Expect: 100-continue\r\nContent-Length: 4\r\n", "body"),
    (
        "expectation in capitals",
        "Expect: 100-CONTINUE\r\nContent-Length: 4\r\n",
        "body",
    ),
    ("unknown expectation", "Expect: 200-ok\r\nContent-Length: 4\r\n", "body"),
    ("expectation without a body", "Expect: 100-continue\r\n", ""),
];

pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("empty value", "X-A:\r\n"),
    ("spaces for a value", "X-A:    \r\n"),
    ("spaces around", "X-A: \t b \t \r\n"),
    ("twice", "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n"),
    ("no colon", "X-A\r\n"),
    ("no name", ": b\r\n"),
    ("a space in the name", "X A: b\r\n"),
    ("a space before the colon", "X-A : b\r\n"),
    ("a tab before the colon", "X-A\t: b\r\n"),
    ("a space before the name", " X-A: b\r\n"),
    ("folded", "X-A: b\r\n c\r\n"),
    ("folded with a tab", "X-A: b\r\n\tc\r\n"),
    ("folded before any field", "\r\n X-A: b\r\n"),
    ("odd characters in the name", "X!#$%&'*+.^_`|~A: b\r\n"),
    ("a slash in the name", "X/A: b\r\n"),
    ("a parenthesis in the name", "X(A: b\r\n"),
    ("a quoted value", "X-A: \"b, c\"\r\n"),
    ("colons in the value", "X-A: b:c: d\r\n"),
    ("identity", "X-Wacht-Key-ID: 9\r\n"),
    ("identity in lower case", "x-wacht-permissions: admin\r\n"),
    ("identity in capitals", "X-WACHT-KEY-ID: 9\r\n"),
    ("identity with underscores", "X_Wacht_Key_ID: 9\r\n"),
    ("identity with dots", "X.Wacht.Key.ID: 9\r\n"),
    ("identity with odd characters", "X~Wacht!Key: 9\r\n"),
    ("identity of the future", "X-Wacht-Anything: 9\r\n"),
    (
        "what only looks like identity",
        "X-Watch-Key-ID: 9\r\nXWacht-Key-ID: 9\r\nX-Wachtmeister: 9\r\n",
    ),
    ("nothing behind the prefix", "X-Wacht-: 9\r\nX-Wacht: 9\r\n"),
    ("forwarded for", "X-Forwarded-For: 6.6.6.6\r\n"),
    (
        "forwarded for, twice",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n",
    ),
    ("forwarded for, empty", "X-Forwarded-For:\r\n"),
    ("forwarded for, nonsense", "X-Forwarded-For: \u{e4}, x, ,\r\n"),
    ("forwarded for, an alias", "X_Forwarded_For: 6.6.6.6\r\n"),
    (
        "forwarded host and more",
        "X-Forwarded-Host: e\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Port: 1\r\n",
    ),
    ("forwarded host, empty", "X-Forwarded-Host:\r\nX-Forwarded-Proto:\r\n"),
    ("forwarded", "Forwarded: for=6.6.6.6;host=e;proto=https\r\n"),
    (
        "what tells of another path",
        "X-Original-URL: /b\r\nX-Rewrite-URL: /b\r\nX-Real-IP: 6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\n",
    ),
    ("request id", "X-Request-ID: mine\r\n"),
    ("request id, twice", "X-Request-ID: mine\r\nX-Request-ID: yours\r\n"),
    ("request id, malformed", "X-Request-ID: two words\r\n"),
    ("request id, an alias", "X_Request_ID: mine\r\n"),
    ("limits", "RateLimit: 1\r\nX-RateLimit-Limit: 1\r\n"),
    ("close", "Connection: close\r\n"),
    ("close in capitals", "Connection: CLOSE\r\n"),
    ("close among others", "Connection: x, close\r\nX: 1\r\n"),
    (
        "close in a second line",
        "Connection: keep-alive\r\nConnection: close\r\n",
    ),
    (
        "close, then keep-alive",
        "Connection: close\r\nConnection: keep-alive\r\n",
    ),
    ("close and keep-alive", "Connection: close, keep-alive\r\n"),
    ("keep-alive", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"),
    ("keep-alive in odd case", "Connection: Keep-Alive\r\n"),
    ("empty connection", "Connection:\r\n"),
    ("commas for a connection", "Connection: ,,,\r\n"),
    ("malformed connection", "Connection: a b\r\n"),
    ("many options", "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m\r\n"),
    ("nine options", "Connection: a,b,c,d,e,f,g,h,i\r\nA: 1\r\n"),
    ("proxy connection", "Proxy-Connection: keep-alive\r\n"),
    ("nominated", "Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\n"),
    ("nominated identity", "Connection: X-Wacht-Key-ID\r\n"),
    ("nominated id", "Connection: X-Request-ID\r\n"),
    (
        "nominated forwarding",
        "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto\r\n",
    ),
    ("nominated host", "Connection: Host\r\n"),
    ("nominated length", "Connection: Content-Length\r\n"),
    ("nominated coding", "Connection: close, Transfer-Encoding\r\n"),
    ("nominated key", "Connection: Authorization\r\n"),
    ("nominated cookie", "Connection: Cookie\r\nCookie: a=1\r\n"),
    ("TE", "TE: trailers\r\nConnection: TE\r\n"),
    ("TE that nobody nominated", "TE: gzip\r\n"),
    ("proxy authorization", "Proxy-Authorization: Basic eA==\r\n"),
    ("proxy authenticate", "Proxy-Authenticate: Basic\r\n"),
    (
        "upgrade to a WebSocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
    ),
    (
        "upgrade to h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    ),
    ("upgrade that nobody nominated", "Upgrade: websocket\r\n"),
    ("upgrade to two", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
    (
        "upgrade twice",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ),
    (
        "upgrade with a length",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
    ),
    ("upgrade without a name", "Connection: Upgrade\r\nUpgrade:\r\n"),
    ("length on a GET", "Content-Length: 0\r\n"),
    ("gRPC", "Content-Type: application/grpc+proto\r\nTE: trailers\r\n"),
    ("cookies", "Cookie: a=1\r\nCookie: b=2\r\n"),
    ("range", "Range: bytes=0-1\r\nIf-Range: x\r\n"),
    ("date", "Date: yesterday\r\n"),
    ("encodings", "Accept-Encoding: gzip, br\r\nContent-Encoding: gzip\r\n"),
    ("trailer", "Trailer: X-T\r\n"),
    ("via", "Via: 1.1 other\r\nMax-Forwards: 0\r\n"),
    ("method override", "X-HTTP-Method-Override: DELETE\r\n"),
];

const RAW_FIELDS: &[(&str, &[u8])] = &[
    ("NUL in the value", b"X-A: b\0c"),
    ("NUL in the name", b"X-\0A: b"),
    ("byte 0x80 in the value", b"X-A: \x80\xff"),
    ("byte 0x80 in the name", b"X-\x80: b"),
    ("control in the value", b"X-A: b\x01c"),
    ("DEL in the value", b"X-A: b\x7fc"),
    ("bare CR in the value", b"X-A: b\rc"),
    ("bare CR at the end", b"X-A: b\r"),
    ("vertical tab and form feed", b"X-A: \x0b\x0c"),
    ("UTF-8", "X-A: \u{e4}\u{2615}".as_bytes()),
];

pub(crate) const CREDENTIALS: &[(&str, &str)] = &[
    ("none", ""),
    ("bearer", "Authorization: Bearer @K\r\n"),
    ("lower-case scheme", "Authorization: bearer @K\r\n"),
    ("upper-case scheme", "AUTHORIZATION: BEARER @K\r\n"),
    ("spaces between", "Authorization: Bearer    @K\r\n"),
    ("tab between", "Authorization: Bearer\t@K\r\n"),
    ("spaces behind", "Authorization: Bearer @K   \r\n"),
    ("no space", "Authorization: Bearer@K\r\n"),
    ("empty", "Authorization: Bearer\r\n"),
    ("empty field", "Authorization:\r\n"),
    ("a second word", "Authorization: Bearer @K x\r\n"),
    ("a list", "Authorization: Bearer @K, Bearer @L\r\n"),
    ("quoted", "Authorization: Bearer \"@K\"\r\n"),
    ("another scheme", "Authorization: Token @K\r\n"),
    ("the key alone", "Authorization: @K\r\n"),
    ("basic", "Authorization: Basic dXNlcjpwdw==\r\n"),
    (
        "basic beside a header",
        "Authorization: Basic dXNlcjpwdw==\r\nX-API-Key: @K\r\n",
    ),
    ("a header", "X-API-Key: @K\r\n"),
    ("a header in lower case", "x-api-key: @K\r\n"),
    ("a header with spaces", "X-API-Key:   @K   \r\n"),
    ("an empty header", "X-API-Key:\r\n"),
    (
        "an empty header beside a bearer",
        "X-API-Key:\r\nAuthorization: Bearer @K\r\n",
    ),
    ("an alias of the header", "X_API_Key: @K\r\n"),
    (
        "an alias of the header beside it",
        "X-API-Key: @K\r\nX.API.Key: @K\r\nX-API-Keys: 1\r\n",
    ),
    ("twice the same", "Authorization: Bearer @K\r\nX-API-Key: @K\r\n"),
    (
        "twice the same bearer",
        "Authorization: Bearer @K\r\nAuthorization: Bearer @K\r\n",
    ),
    ("two keys", "Authorization: Bearer @K\r\nX-API-Key: @L\r\n"),
    (
        "two bearers",
        "Authorization: Bearer @K\r\nAuthorization: Bearer @L\r\n",
    ),
    (
        "a key and nonsense",
        "Authorization: Bearer @K\r\nX-API-Key: nonsense\r\n",
    ),
    ("nonsense", "Authorization: Bearer nonsense\r\n"),
    ("one character more", "Authorization: Bearer @Kx\r\n"),
    ("revoked", "Authorization: Bearer @R\r\n"),
    ("unknown", "Authorization: Bearer @U\r\n"),
    ("a cookie", "Cookie: a=1; session=@K; b=2\r\n"),
    ("a quoted cookie", "Cookie: session=\"@K\"\r\n"),
    (
        "a cookie beside a bearer",
        "Authorization: Bearer @K\r\nCookie: session=@K\r\n",
    ),
    (
        "a cookie with another key",
        "Authorization: Bearer @K\r\nCookie: session=@L\r\n",
    ),
    ("two cookies", "Cookie: session=@K\r\nCookie: session=@K; c=3\r\n"),
    (
        "a nominated bearer",
        "Authorization: Bearer @K\r\nConnection: Authorization\r\n",
    ),
    ("a nominated header", "X-API-Key: @K\r\nConnection: X-API-Key\r\n"),
];

fn pipelines() -> Vec<(&'static str, String)> {
    let (get, body) = (get(NO_LINES), post("Content-Length: 4\r\n", "body"));
    let junk = "GET /a HTTP/1.1\r\nHost: @H\r\nAuthorization: Bearer junk\r\n\r\n";
    vec![
        ("two", get.repeat(2)),
        ("ten", get.repeat(10)),
        ("with bodies", body.repeat(3)),
        ("a body between", format!("{get}{body}{get}")),
        (
            "chunks between",
            format!(
                "{get}{}{get}",
                post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n")
            ),
        ),
        ("empty lines between", format!("{get}\r\n\r\n{get}")),
        ("a body and a line end", format!("{body}\r\n{get}")),
        ("a bare LF between", format!("{get}\n{get}")),
        ("refused first", format!("{junk}{get}")),
        ("refused between", format!("{get}{junk}{junk}{get}")),
        (
            "refused with a body",
            format!("{}{get}", post("Content-Length: 4\r\n", "body").replace("@K", "junk")),
        ),
        (
            "refused with chunks",
            format!(
                "{}{get}",
                post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n").replace("@K", "junk")
            ),
        ),
        (
            "refused with a large body",
            format!(
                "{}{get}",
                post("Content-Length: 70000\r\n", &"x".repeat(70_000)).replace("@K", "junk")
            ),
        ),
        (
            "refused with an expectation",
            format!(
                "{}{get}",
                post("Expect: 100-continue\r\nContent-Length: 4\r\n", "body").replace("@K", "junk")
            ),
        ),
        (
            "refused and closed",
            format!("{}{get}", junk.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
        ),
        ("no route, then one", format!("{}{get}", get.replace("@H", "nobody"))),
        ("HEAD between", format!("{get}{}{get}", get.replace("GET", "HEAD"))),
        (
            "refused HEAD between",
            format!("{get}{}{get}", junk.replace("GET", "HEAD")),
        ),
        ("malformed second", format!("{get}GET  / HTTP/1.1\r\n\r\n{get}")),
        ("HTTP/1.0 second", format!("{get}{}{get}", get.replace("1.1", "1.0"))),
        (
            "closing second",
            format!("{get}{}{get}", super::requests::get("Connection: close\r\n")),
        ),
        (
            "an upgrade between",
            format!(
                "{get}{}{get}",
                super::requests::get("Connection: Upgrade\r\nUpgrade: websocket\r\n")
            ),
        ),
        ("another key each", format!("{get}{}{get}", get.replace("@K", "@L"))),
        (
            "a large body",
            format!("{}{get}", post("Content-Length: 300000\r\n", &"x".repeat(300_000))),
        ),
        (
            "a large head",
            format!(
                "{}{get}",
                super::requests::get(&format!("X-A: {}\r\n", "x".repeat(20_000)))
            ),
        ),
        (
            "a head too large",
            format!(
                "{}{get}",
                super::requests::get(&format!("X-A: {}\r\n", "x".repeat(40_000)))
            ),
        ),
        ("a hundred fields", super::requests::get(&"X-A: b\r\n".repeat(98))),
        (
            "a hundred and one fields",
            super::requests::get(&"X-A: b\r\n".repeat(99)),
        ),
    ]
}

fn broken_off() -> Vec<(&'static str, String)> {
    vec![
        ("nothing", String::new()),
        ("a letter", "G".to_owned()),
        ("a line end", "\r\n".to_owned()),
        ("the request line", "GET /a HTTP/1.1\r\n".to_owned()),
        ("a head without its end", "GET /a HTTP/1.1\r\nHost: @H\r\n".to_owned()),
        ("a body without its end", post("Content-Length: 9\r\n", "body")),
        ("no byte of a body", post("Content-Length: 9\r\n", "")),
        (
            "chunks without their end",
            post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n"),
        ),
        (
            "a chunk without its end",
            post("Transfer-Encoding: chunked\r\n", "9\r\nbody"),
        ),
        (
            "a refused body without its end",
            post("Content-Length: 9\r\n", "body").replace("@K", "junk"),
        ),
        ("a second head", format!("{}GET /b HTTP/1.1\r\n", get(NO_LINES))),
    ]
}
