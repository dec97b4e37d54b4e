use super::{GATHERED_BYTES_MAX, Outgoing};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Keeps the length of each write, of which it takes so much, and everything that it took.
struct Taker {
    at_most: usize,
    offered: Vec<usize>,
    taken: Vec<u8>,
}

impl Taker {
    fn new(at_most: usize) -> Taker {
        Taker {
            at_most,
            offered: Vec::new(),
            taken: Vec::new(),
        }
    }
}

impl AsyncWrite for Taker {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.at_most);
        self.offered.push(bytes.len());
        self.taken.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn bytes(length: usize, salt: usize) -> Vec<u8> {
    let low = |n: usize| u8::try_from(n % 251).unwrap();
    (0..length).map(|n| low(n + salt)).collect()
}

#[tokio::test]
async fn what_is_short_leaves_together_and_in_order() {
    const MAX: usize = GATHERED_BYTES_MAX;
    let check = async |written: &[usize], offered: &[usize]| {
        let mut outgoing = Outgoing::new(Taker::new(usize::MAX));
        let mut expected = Vec::new();
        for (salt, &length) in written.iter().enumerate() {
            outgoing.write_all(&bytes(length, salt)).await.unwrap();
            expected.extend(bytes(length, salt));
        }
        outgoing.flush().await.unwrap();
        assert_eq!(outgoing.get_ref().offered, offered, "{written:?}");
        assert!(outgoing.get_ref().taken == expected, "{written:?}");
    };
    check(&[], &[]).await;
    check(&[0], &[]).await;
    check(&[100], &[100]).await;
    check(&[100, 1024, 9], &[1133]).await;
    check(&[100, MAX - 100], &[MAX]).await;
    check(&[100, MAX - 99, 5], &[100, MAX - 94]).await;
    check(&[MAX], &[MAX]).await;
    check(&[100, 3 * MAX, 7], &[100, 3 * MAX, 7]).await;
}

#[tokio::test]
async fn memory_is_held_only_while_something_waits() {
    for at_most in [1, 10, usize::MAX] {
        let mut outgoing = Outgoing::new(Taker::new(at_most));
        for salt in 0..3 {
            assert_eq!(outgoing.gathered.capacity(), 0, "{at_most} at a time");
            outgoing.write_all(&bytes(90, salt)).await.unwrap();
            assert!(outgoing.get_ref().taken.len() == 90 * salt, "nothing left yet");
            outgoing.flush().await.unwrap();
            assert!(outgoing.get_ref().taken.ends_with(&bytes(90, salt)));
        }
        outgoing.shutdown().await.unwrap();
        assert_eq!(outgoing.gathered.capacity(), 0, "{at_most} at a time");
    }
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_broken() {
    let mut outgoing = Outgoing::new(Taker::new(0));
    outgoing.write_all(b"abc").await.unwrap();
    assert_eq!(outgoing.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
}
