use super::{Upgrade, body_length, check_nominations, host, upgrade};
use crate::client_stream::BodyLength;
use bytes::Bytes;
use http::Version;
use pingora_http::RequestHeader;

fn request(method: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build(method, b"/", None).unwrap();
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    request
}

#[test]
fn a_host_is_one_name() {
    let check = |value: &str, expect: Option<&str>| {
        let request = request("GET", &[("Host", value)]);
        assert_eq!(host(&request).ok().as_deref(), expect, "{value}");
    };
    check("example.com", Some("example.com"));
    check("Example.COM:8080", Some("example.com"));
    check("example.com.", Some("example.com"));
    check("example.com:", Some("example.com"));
    check("under_score.example", Some("under_score.example"));
    check("192.0.2.1:80", Some("192.0.2.1"));
    check("[2001:DB8::1]:80", Some("[2001:db8::1]"));
    for refused in [
        "", ":80", ".", "a b", "a,b", "a/b", "a\\b", "a:80:80", "a:123456", "a:8x", "[::1", "::1", "[]", "[g]",
        "a%20b", "ä",
    ] {
        check(refused, None);
    }
    assert!(host(&request("GET", &[])).is_err());
    assert!(host(&request("GET", &[("Host", "a"), ("Host", "a")])).is_err());
}

#[test]
fn an_authority_must_not_contradict_the_host() {
    let check = |field: Option<&str>, expect: bool| {
        let mut request = request("GET", &[]);
        request.set_uri("http://a.example:80/".parse().unwrap());
        if let Some(field) = field {
            request.append_header("Host", field).unwrap();
        }
        assert_eq!(host(&request).is_ok(), expect, "{field:?}");
    };
    check(None, true);
    check(Some("a.example:80"), true);
    check(Some("a.example"), false);
    check(Some("b.example"), false);
}

#[test]
fn a_body_has_one_length() {
    let check = |fields: &[(&'static str, &str)], raw_head: &'static str, expect: Result<Option<BodyLength>, ()>| {
        let mut request = request("POST", fields);
        request.set_version(Version::HTTP_11);
        let length = body_length(&request, || Some(Bytes::from_static(raw_head.as_bytes()))).map_err(|_| ());
        assert_eq!(length, expect, "{fields:?} {raw_head:?}");
    };
    check(&[], "", Ok(None));
    check(&[("Content-Length", "0")], "", Ok(Some(BodyLength::Exactly(0))));
    check(
        &[("Content-Length", "18446744073709551615")],
        "",
        Ok(Some(BodyLength::Exactly(u64::MAX))),
    );
    check(&[("Content-Length", "18446744073709551616")], "", Err(()));
    check(&[("Content-Length", "")], "", Err(()));
    check(&[("Content-Length", "-1")], "", Err(()));
    check(&[("Content-Length", "1,1")], "", Err(()));
    check(&[("Content-Length", "1"), ("Content-Length", "1")], "", Err(()));
    check(
        &[("Transfer-Encoding", "Chunked")],
        "POST / HTTP/1.1\r\n",
        Ok(Some(BodyLength::Chunked)),
    );
    check(
        &[("Transfer-Encoding", "chunked")],
        "POST / HTTP/1.1\r\ncontent-LENGTH: 1\r\n",
        Err(()),
    );
    check(
        &[("Transfer-Encoding", "chunked"), ("Content-Length", "1")],
        "",
        Err(()),
    );
    check(
        &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        "",
        Err(()),
    );
    check(&[("Transfer-Encoding", "gzip, chunked")], "", Err(()));
    check(&[("Transfer-Encoding", "chunked;q=1")], "", Err(()));
}

#[test]
fn without_the_raw_head_a_coding_is_refused() {
    let mut request = request("POST", &[("Transfer-Encoding", "chunked")]);
    request.set_version(Version::HTTP_11);
    assert!(body_length(&request, || None).is_err());
}

#[test]
fn only_a_websocket_handshake_is_an_upgrade() {
    let check = |method: &str, version: Version, fields: &[(&'static str, &str)], expect: Upgrade| {
        let mut request = request(method, fields);
        request.set_version(version);
        assert_eq!(upgrade(&request), expect, "{method} {fields:?}");
    };
    let proper = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")];
    check("GET", Version::HTTP_11, &proper, Upgrade::WebSocket);
    check("GET", Version::HTTP_11, &[], Upgrade::None);
    check("POST", Version::HTTP_11, &proper, Upgrade::Ignored);
    check("GET", Version::HTTP_10, &proper, Upgrade::Ignored);
    check("GET", Version::HTTP_11, &[("Upgrade", "websocket")], Upgrade::Ignored);
    check(
        "GET",
        Version::HTTP_11,
        &[("Connection", "upgrade"), ("Upgrade", "h2c")],
        Upgrade::Ignored,
    );
    check(
        "GET",
        Version::HTTP_11,
        &[("Connection", "upgrade"), ("Upgrade", "websocket, h2c")],
        Upgrade::Ignored,
    );
}

#[test]
fn a_nomination_takes_nothing_away_that_a_proxy_said_and_changes_no_length() {
    let check = |fields: &[&str], expect: Option<&[&str]>| {
        let mut request = request("GET", &[]);
        for field in fields {
            request.append_header("Connection", *field).unwrap();
        }
        let left = check_nominations(&mut request).ok().map(|()| {
            let left = request.headers.get_all("connection").iter();
            left.map(|field| field.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(
            left.as_deref(),
            expect
                .map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
                .as_deref()
        );
    };
    check(&["keep-alive, Upgrade"], Some(&["keep-alive, Upgrade"]));
    check(&["close, X-Custom"], Some(&["close, X-Custom"]));
    check(&["close, X-Forwarded-For", "host,x-a"], Some(&["close, x-a"]));
    check(&["X-FORWARDED-PROTO"], Some(&[""]));
    check(&["close, Content-Length"], None);
    check(&["transfer-encoding"], None);
    check(&["\"x-forwarded-for\""], None);
    check(&[":authority"], None);
    check(&["a,b,c,d,e,f,g,h,i"], Some(&["a,b,c,d,e,f,g,h,i"]));
    check(&["a,b,c,d,e,f,g,h,i,j"], None);
}
