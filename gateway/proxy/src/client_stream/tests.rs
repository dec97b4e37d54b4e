use super::{BodyLength, ClientStream, HeadFault, head_end};
use crate::transport::{Socket, Transport};
use bytes::BytesMut;
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn pair() -> (TcpStream, ClientStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let id = socket.as_raw_fd();
    (
        client,
        ClientStream::new(Transport::Plain(Socket::new(socket, BytesMut::new())), id, peer, None),
    )
}

async fn nothing_comes(stream: &mut ClientStream) -> bool {
    tokio::time::timeout(Duration::from_millis(100), stream.read(&mut [0; 64]))
        .await
        .is_err()
}

#[test]
fn a_head_ends_at_its_blank_line() {
    let check = |text: &str, expect: Result<Option<usize>, HeadFault>| {
        for scanned in 0..text.len().min(expect.ok().flatten().unwrap_or(0)) {
            assert_eq!(head_end(text.as_bytes(), scanned.min(3)), expect, "{text:?}");
        }
        assert_eq!(head_end(text.as_bytes(), 0), expect, "{text:?}");
    };
    check("", Ok(None));
    check("GET / HTTP/1.1\r\n", Ok(None));
    check("GET / HTTP/1.1\r\n\r", Ok(None));
    check("A\r\n\r\n", Ok(Some(5)));
    check("A\r\nB\r\n\r\nrest\n", Ok(Some(8)));
    check("A\n\n", Err(HeadFault::BareLineFeed));
    check("A\r\nB\n\r\n", Err(HeadFault::BareLineFeed));
    check("A\r\n\n", Err(HeadFault::BareLineFeed));
}

#[tokio::test]
async fn a_head_that_came_in_pieces_is_found_wherever_it_was_cut() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..head.len() {
        let (mut client, mut stream) = pair().await;
        client.write_all(&head[..cut]).await.unwrap();
        assert!(poll_fn(|cx| stream.poll_more(cx)).await.unwrap() > 0);
        client.write_all(&head[cut..]).await.unwrap();
        stream.head_arrives(1000).await.unwrap();
        let mut read = vec![0; 100];
        let length = stream.read(&mut read).await.unwrap();
        assert_eq!(&read[..length], head, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_reader_gets_one_request_and_not_the_next() {
    let (mut client, mut stream) = pair().await;
    client.write_all(b"\r\nA / B\r\n\r\nbodyC / D\r\n\r\n").await.unwrap();
    stream.head_arrives(1000).await.unwrap();
    let mut buffer = vec![0; 100];
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 9);
    assert!(nothing_comes(&mut stream).await, "the body was not announced yet");
    stream.expect_body(BodyLength::Exactly(4));
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
    assert_eq!(&buffer[..4], b"body");
    assert!(nothing_comes(&mut stream).await, "the body is over");
    stream.head_arrives(1000).await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 9);
    assert_eq!(&buffer[..9], b"C / D\r\n\r\n");
}

#[tokio::test]
async fn a_tunnel_begins_with_what_came_early() {
    let (mut client, mut stream) = pair().await;
    client.write_all(b"A / B\r\n\r\nearly").await.unwrap();
    stream.head_arrives(1000).await.unwrap();
    let mut buffer = vec![0; 100];
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 9);
    assert!(nothing_comes(&mut stream).await);
    stream.becomes_tunnel();
    stream.body_is_complete();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
    assert_eq!(&buffer[..5], b"early");
    client.write_all(b"late").await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
}

#[tokio::test]
async fn the_end_of_the_client_is_told_while_a_request_is_served() {
    let (mut client, mut stream) = pair().await;
    client.write_all(b"A / B\r\n\r\n").await.unwrap();
    stream.head_arrives(1000).await.unwrap();
    let mut buffer = vec![0; 100];
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 9);
    drop(client);
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn a_head_has_a_size() {
    let check = async |text: &str, expect: HeadFault| {
        let (mut client, mut stream) = pair().await;
        client.write_all(text.as_bytes()).await.unwrap();
        drop(client);
        assert_eq!(stream.head_arrives(14).await, Err(expect), "{text:?}");
    };
    check("A\r\nBBBBBBBBBBBB\r\n\r\n", HeadFault::TooLarge).await;
    check("A\r\nBBBBBBBBBBBB", HeadFault::TooLarge).await;
    check("AAAAAAAAAAAAAAA", HeadFault::TargetTooLong).await;
    check("A\r\n", HeadFault::Closed).await;
    check("A\nB", HeadFault::BareLineFeed).await;
    for line in ["A", "A B", "A B C D", "A  B C", "A\tB C", "A \u{1} C", " A B", "A B "] {
        check(&format!("{line}\r\n\r\n"), HeadFault::RequestLine).await;
    }
}

#[tokio::test]
async fn an_idle_connection_of_http2_holds_no_buffer() {
    let (mut client, mut stream) = pair().await;
    client.write_all(b"PRI *, and what follows").await.unwrap();
    assert!(stream.starts_with(b"PRI *").await.unwrap());
    let mut stream = stream.into_http2();
    let mut read = [0; 23];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"PRI *, and what follows");
    assert_eq!(stream.received.capacity(), 0);
    client.write_all(b"more").await.unwrap();
    assert_eq!(stream.read(&mut read).await.unwrap(), 4);
    assert_eq!(stream.received.capacity(), 0);
}
