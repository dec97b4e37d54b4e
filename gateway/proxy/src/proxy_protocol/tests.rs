use super::{Announced, parse, read};
use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

fn v2(version_command: u8, family: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([version_command, family]);
    header.extend(u16::try_from(length).unwrap().to_be_bytes());
    header.extend(payload);
    header
}

const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];

#[test]
fn headers_that_the_specification_allows() {
    let check = |bytes: &[u8], expect: &str| {
        let expect = match expect {
            "local" => Announced::Local,
            address => Announced::Client(address.parse().unwrap()),
        };
        assert_eq!(parse(bytes), Ok(Some((expect, bytes.len()))), "{bytes:?}");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{bytes:?} cut at {cut}");
        }
        let longer = [bytes, b"GET"].concat();
        assert_eq!(
            parse(&longer),
            Ok(Some((expect, bytes.len()))),
            "what follows is not read"
        );
    };
    check(b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n", "203.0.113.9:8080");
    check(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255:65535",
    );
    check(b"PROXY TCP6 2001:db8::7 ::1 0 80\r\n", "[2001:db8::7]:0");
    check(b"PROXY UNKNOWN\r\n", "local");
    check(b"PROXY UNKNOWN whatever this is\r\n", "local");
    check(&v2(0x21, 0x11, 12, &V4), "203.0.113.9:8080");
    check(&v2(0x20, 0x00, 0, &[]), "local");
    check(&v2(0x20, 0x11, 12, &V4), "local");
    check(&v2(0x21, 0x00, 3, &[1, 2, 3]), "local");
    check(&v2(0x21, 0x11, 15, &[&V4[..], &[4, 0, 0]].concat()), "203.0.113.9:8080");
}

#[test]
fn everything_else_is_refused() {
    let check = |bytes: &[u8]| assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
    check(b"GET / HTTP/1.1\r\n");
    check(b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n");
    check(b"PROXY\r\n");
    check(b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n");
    check(b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n");
    check(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n");
    check(b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n");
    check(b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n");
    check(b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n");
    check(b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 1\r\n");
    check(b"PROXY TCP4 ::1 ::1 1 1\r\n");
    check(b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n");
    check(b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n");
    check(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat());
    check(&v2(0x11, 0x11, 12, &V4));
    check(&v2(0x22, 0x11, 12, &V4));
    check(&v2(0x21, 0x12, 12, &V4));
    check(&v2(0x21, 0x31, 216, &[0; 216]));
    check(&v2(0x21, 0x11, 11, &V4[..11]));
    check(&v2(0x21, 0x11, 5000, &V4));
}

#[tokio::test]
async fn a_header_is_read_in_pieces_and_the_rest_is_left() {
    let (mut sender, mut receiver) = tokio::io::duplex(64);
    tokio::spawn(async move {
        for byte in b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n" {
            sender.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        sender.write_all(b"GET").await.unwrap();
    });
    let mut ahead = BytesMut::new();
    let announced = read(&mut receiver, &mut ahead).await.unwrap();
    assert_eq!(announced, Announced::Client("203.0.113.9:8080".parse().unwrap()));
    assert!(b"GET".starts_with(&ahead[..]));
}

proptest! {
    /// No bytes make the parser panic, and what it takes lies within what it was given.
    #[test]
    fn strangers_bytes_are_harmless(start in 0..3, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let prefix: &[u8] = match start {
            0 => b"",
            1 => b"PROXY TCP4 ",
            _ => b"\r\n\r\n\0\r\nQUIT\n\x21",
        };
        let bytes = [prefix, &rest].concat();
        if let Ok(Some((_, length))) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
