use super::*;

const LINE: &str = "GET /a/b?c=d HTTP/1.1\r\n";
const HOST: &str = "Host: example.com\r\n";

fn head(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}{fields}\r\n").into_bytes()
}

#[test]
fn a_plain_head_is_read_whole() {
    let mut bytes = head(
        "POST /a/b?c=d HTTP/1.1\r\n",
        "Host: Example.com:80\r\nauthorization: Bearer k\r\nContent-Length: 5\r\nX-Empty:\r\nConnection: Close\r\n",
    );
    let length = bytes.len();
    bytes.extend_from_slice(b"hello, and what follows");
    let head = parse(&bytes).expect("a plain head");
    assert_eq!(
        (head.method, head.target, head.path()),
        (Method::Post, "/a/b?c=d", "/a/b")
    );
    assert_eq!((head.host, head.body_bytes, head.closes), ("Example.com:80", 5, true));
    assert_eq!(head.length, length);
    assert_eq!(head.request_line, b"POST /a/b?c=d HTTP/1.1\r\n");
    let read: Vec<_> = head
        .fields
        .iter()
        .map(|field| (field.name, field.value, field.kind))
        .collect();
    assert_eq!(
        read,
        [
            (b"Host".as_slice(), b"Example.com:80".as_slice(), FieldKind::Other),
            (b"authorization", b"Bearer k", FieldKind::Authorization),
            (b"Content-Length", b"5", FieldKind::Other),
            (b"X-Empty", b"", FieldKind::Other),
            (b"Connection", b"Close", FieldKind::Dropped),
        ]
    );
    let lines: Vec<u8> = head.fields.iter().flat_map(|field| field.line.to_vec()).collect();
    assert_eq!([head.request_line, &lines, b"\r\n"].concat(), bytes[..length]);
}

#[test]
fn what_is_not_whole_or_not_plain_is_left_to_others() {
    let check = |line: &str, fields: &str, is_plain: bool| {
        let bytes = head(line, fields);
        assert_eq!(
            parse(&bytes).is_some(),
            is_plain,
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    };
    for line in [
        LINE,
        "HEAD / HTTP/1.1\r\n",
        "DELETE /%61;v=1/*?a[]=b HTTP/1.1\r\n".replace("[]", "").as_str(),
        "OPTIONS /a HTTP/1.1\r\n",
    ] {
        check(line, HOST, true);
    }
    for line in [
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / http/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET /  HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "\r\nGET / HTTP/1.1\r\n",
        "get / HTTP/1.1\r\n",
        "CONNECT / HTTP/1.1\r\n",
        "TRACE / HTTP/1.1\r\n",
        "PRI / HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
        "GET http://example.com/ HTTP/1.1\r\n",
        "GET /#a HTTP/1.1\r\n",
        "GET /a\\b HTTP/1.1\r\n",
        "GET /\"a\" HTTP/1.1\r\n",
        "GET /<a> HTTP/1.1\r\n",
        "GET /ä HTTP/1.1\r\n",
        "GET /a\u{7f} HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1 \r\n",
        "GET /\r\n",
        "\r\n",
    ] {
        check(line, HOST, false);
    }
    for fields in [
        "Content-Length: 0\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Connection: keep-alive\r\n",
        "TE: trailers\r\n",
        "Trailer: x\r\n",
        "X-Tab: a\tb\r\n",
        "Content-Type: application/json\r\n",
    ] {
        check(LINE, &format!("{HOST}{fields}"), true);
    }
    for fields in [
        "",
        "Host: example.com\r\nHost: example.com\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\ntransfer-encoding: identity\r\n",
        "Host: a\r\nUpgrade: websocket\r\n",
        "Host: a\r\nExpect: 100-continue\r\n",
        "Host: a\r\nConnection: upgrade\r\n",
        "Host: a\r\nConnection: close, x\r\n",
        "Host: a\r\nConnection:\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: 1,1\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 18446744073709551616\r\n",
        "Host: a\r\nContent-Type: Application/GRPC+proto\r\n",
        "Host: a\r\nX_Underscore: b\r\n",
        "Host: a\r\nX.Dot: b\r\n",
        "Host : a\r\n",
        " Host: a\r\n",
        "Host: a\r\n folded\r\n",
        "Host: a\r\nNoColon\r\n",
        "Host: a\r\n: empty\r\n",
        "Host: a\r\nX-Nul: a\0b\r\n",
        "Host: a\r\nX-Return: a\rb\r\n",
        "Host: a\r\nX-Feed: a\nb\r\n",
        "Host: a\r\nX-Del: a\u{7f}\r\n",
        "Host: a\r\r\n",
        "Host: a\n",
        "Host: \u{80}\n",
    ] {
        check(LINE, fields, false);
    }
    let whole = head(LINE, HOST);
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_none(), "{length}");
    }
}

#[test]
fn fields_are_told_apart_in_any_case() {
    let check = |name: &str, expected: FieldKind| {
        for name in [name.to_owned(), name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
            let bytes = head(LINE, &format!("{HOST}{name}: a\r\n"));
            let head = parse(&bytes).expect("a plain head");
            assert_eq!(head.fields[1].kind, expected, "{name}");
        }
    };
    for name in [
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "TE",
        "Trailer",
        "HTTP2-Settings",
    ] {
        check(name, FieldKind::Dropped);
    }
    for name in ["X-Wacht-Key-ID", "X-Wacht-Anything", "X-Wacht-"] {
        check(name, FieldKind::Dropped);
    }
    check("X-Request-ID", FieldKind::RequestId);
    check("X-Forwarded-For", FieldKind::Forwarding(Forwarding::For));
    check("X-Forwarded-Proto", FieldKind::Forwarding(Forwarding::Proto));
    check("X-Forwarded-Host", FieldKind::Forwarding(Forwarding::Host));
    check("Forwarded", FieldKind::Forwarding(Forwarding::Standard));
    for name in [
        "X-Forwarded-Port",
        "X-Forwarded",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Cluster-Client-IP",
    ] {
        check(name, FieldKind::Forwarding(Forwarding::Other));
    }
    for name in [
        "Cookie",
        "Accept",
        "X-Wachtel",
        "X-Api-Key",
        "Via",
        "XForwarded-For",
        "Content-Type",
    ] {
        check(name, FieldKind::Other);
    }
}

proptest::proptest! {
    #[test]
    fn what_is_read_is_what_pingoras_reader_reads(
        fields in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[ -~\t]{0,20}"), 0..8),
        target in "/[a-z0-9%;=&?/._~!$'()*+,:@-]{0,30}",
    ) {
        let mut text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in &fields {
            text.push_str(&format!("{name}:{value}\r\n"));
        }
        text.push_str("\r\n");
        let mut room = [httparse::EMPTY_HEADER; 16];
        let mut reference = httparse::Request::new(&mut room);
        if let Some(head) = parse(text.as_bytes()) {
            proptest::prop_assert!(reference.parse(text.as_bytes()).unwrap().is_complete());
            proptest::prop_assert_eq!(Some(head.target), reference.path);
            let ours: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
            let theirs: Vec<_> = reference.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            proptest::prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn strangers_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let _ = parse(&[LINE.as_bytes(), &bytes, b"\r\n\r\n"].concat());
    }
}
