use super::*;
use proptest::prelude::*;

/// What a body says, given in pieces of this many bytes, and whether it ended; `None` if it is no chunked body.
fn decode(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, bool, usize)> {
    let (mut coding, mut out, mut waiting, mut used) = (Chunks::begin(), Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        let taken = coding.take(&waiting, &mut out).ok()?;
        waiting.drain(..taken);
        used += taken;
        if coding.is_done() {
            break;
        }
    }
    Some((out, coding.is_done(), used))
}

#[test]
fn bodies() {
    let check = |body: &str, expected: Option<(&str, bool)>| {
        for piece in [1, 2, 3, 7, 1000] {
            let decoded = decode(body.as_bytes(), piece).map(|(out, done, _)| (String::from_utf8(out).unwrap(), done));
            let expected = expected.map(|(text, done)| (text.to_owned(), done));
            assert_eq!(decoded, expected, "{body:?} in pieces of {piece}");
        }
    };
    check("5\r\nhello\r\n0\r\n\r\n", Some(("hello", true)));
    check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Some(("hello world", true)));
    check("00A\r\n0123456789\r\n0\r\n\r\n", Some(("0123456789", true)));
    check("0\r\n\r\n", Some(("", true)));
    check(
        "5;name=\"a;b\"\r\nhello\r\n0;last\r\nTrailer: dropped\r\n\r\n",
        Some(("hello", true)),
    );
    check("5 ;a\r\nhello\r\n0\r\n\r\n", Some(("hello", true)));
    check("5\r\nhello\r\n", Some(("hello", false)));
    check("5\r\nhel", Some(("hel", false)));
    check("", Some(("", false)));
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5 5\r\nhello\r\n",
        "g\r\n",
        "1000000000000000\r\n",
        "5\r\nhello\r\n0\r\nTrailer: a\n\r\n",
    ] {
        check(body, None);
    }
}

#[test]
fn nothing_between_chunks_grows_without_bound() {
    let endless_line = format!("5;{}", "a".repeat(LINE_BYTES_MAX));
    assert_eq!(decode(endless_line.as_bytes(), 1000), None);
    let endless_trailer = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX));
    assert_eq!(decode(endless_trailer.as_bytes(), 1000), None);
}

#[test]
fn what_follows_the_last_chunk_is_left_alone() {
    let (body, is_done, used) = decode(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", 1000).unwrap();
    assert_eq!((body.as_slice(), is_done, used), (b"a".as_slice(), true, 11));
}

proptest! {
    #[test]
    fn our_chunks_say_what_was_put_in(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6), cut in 1_usize..50) {
        let mut coded = Vec::new();
        for piece in &pieces {
            let start = begin_chunk(&mut coded);
            coded.extend_from_slice(piece);
            end_chunk(&mut coded, start);
        }
        coded.extend_from_slice(LAST_CHUNK);
        let (out, is_done, used) = decode(&coded, cut).unwrap();
        prop_assert_eq!(out, pieces.concat());
        prop_assert!(is_done);
        prop_assert_eq!(used, coded.len());
    }

    #[test]
    fn strangers_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
        let _ = decode(&bytes, cut);
    }
}
