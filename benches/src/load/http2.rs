//! One request over HTTP/2, on a connection that is then left idle.
//!
//! Decides the frames (RFC 9113 §4.1) and compresses the head as browsers do, with a table that both ends keep (RFC 7541 §6.2.1).
//! Refuses to know more of answers than their status and their end. Called where memory of idle connections is measured.

use anyhow::{Context, Result, bail, ensure};

/// What the connection and the one stream begin with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const STREAM: u32 = 1;
const FRAME_HEAD_BYTES: usize = 9;

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// A field of the static table that is looked up whole.
const METHOD_GET: u8 = 0x82;
const SCHEME_HTTP: u8 = 0x86;
const SCHEME_HTTPS: u8 = 0x87;
const STATUS_200: u8 = 0x88;
/// Names in the static table whose new values both ends keep.
const AUTHORITY: u8 = 0x41;
const PATH: u8 = 0x44;
const AUTHORIZATION: u8 = 0x57;

/// "www.example.com" in the Huffman code (RFC 7541 §C.4.1), for which a server needs a buffer of its own.
const HOST: &[u8] = b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";

/// All that a client sends to be answered once.
pub(crate) fn request(path: &str, key: &[u8], is_tls: bool) -> Result<Vec<u8>> {
    let scheme = if is_tls { SCHEME_HTTPS } else { SCHEME_HTTP };
    // Whatever begins with a colon comes first (RFC 9113 §8.3).
    let mut head = [&[METHOD_GET, scheme, AUTHORITY], HOST].concat();
    let bearer = [b"Bearer ", key].concat();
    for (name, value) in [(PATH, path.as_bytes()), (AUTHORIZATION, &bearer)] {
        let length = u8::try_from(value.len()).ok().filter(|length| *length < 127);
        head.extend([name, length.context("a value needs a longer length than this writes")?]);
        head.extend_from_slice(value);
    }
    let mut out = PREFACE.to_vec();
    out.extend(frame(SETTINGS, 0, 0, &[])?);
    out.extend(frame(HEADERS, END_HEADERS | END_STREAM, STREAM, &head)?);
    Ok(out)
}

/// What says that the server's settings were taken.
pub(crate) fn settings_taken() -> Result<Vec<u8>> {
    frame(SETTINGS, ACK, 0, &[])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Vec<u8>> {
    let [0, length @ ..] = u32::try_from(payload.len())?.to_be_bytes() else {
        bail!("a frame is too long");
    };
    let mut bytes = length.to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// What has come of the answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    gathered: Vec<u8>,
    /// The server told its settings.
    pub(crate) has_settings: bool,
    /// The whole answer is here.
    pub(crate) is_whole: bool,
}

impl Answer {
    /// Takes what has arrived. Fails when the answer is any other than a 200.
    pub(crate) fn take(&mut self, arrived: &[u8]) -> Result<()> {
        self.gathered.extend_from_slice(arrived);
        while let Some((&[a, b, c, kind, flags, s, t, u, v], rest)) =
            self.gathered.split_first_chunk::<FRAME_HEAD_BYTES>()
        {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
            let Some(payload) = rest.get(..length) else { break };
            ensure!(
                kind != RST_STREAM && kind != GOAWAY,
                "the server ended a stream or a connection"
            );
            self.has_settings |= kind == SETTINGS && flags & ACK == 0;
            if u32::from_be_bytes([s, t, u, v]) == STREAM {
                ensure!(
                    kind != HEADERS || payload.first() == Some(&STATUS_200),
                    "the answer is no 200"
                );
                // Only heads and bodies carry it.
                self.is_whole |= kind <= HEADERS && flags & END_STREAM != 0;
            }
            self.gathered.drain(..FRAME_HEAD_BYTES + length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frames: &[Vec<u8>], expected: Option<(bool, bool)>) {
        let bytes = frames.concat();
        for cut in 0..=bytes.len() {
            let mut answer = Answer::default();
            let taken = answer
                .take(&bytes[..cut])
                .and_then(|()| answer.take(&bytes[cut..]))
                .is_ok();
            let seen = taken.then_some((answer.has_settings, answer.is_whole));
            assert_eq!(seen, expected, "{frames:?} cut at {cut}");
        }
    }

    #[test]
    fn an_answer_is_whole_at_the_end_of_its_stream() {
        let made = |kind, flags, stream, payload: &[u8]| frame(kind, flags, stream, payload).expect("a short frame");
        let settings = || made(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]);
        let head = |flags| made(HEADERS, END_HEADERS | flags, STREAM, &[STATUS_200, 0x0f]);
        check(&[settings()], Some((true, false)));
        check(&[settings_taken().expect("a short frame")], Some((false, false)));
        check(&[settings(), head(0)], Some((true, false)));
        check(&[settings(), head(END_STREAM)], Some((true, true)));
        check(&[head(0), made(0, 0, STREAM, b"abc"), settings()], Some((true, false)));
        check(&[head(0), made(0, END_STREAM, STREAM, b"abc")], Some((false, true)));
        check(&[made(HEADERS, END_HEADERS, STREAM, &[0x8d])], None);
        check(&[head(0), made(RST_STREAM, 0, STREAM, &[0, 0, 0, 8])], None);
        check(&[settings(), made(GOAWAY, 0, 0, &[0; 8])], None);
    }

    #[test]
    fn a_request_is_a_preface_settings_and_a_head() {
        let bytes = request("/x", b"key", false).expect("short values");
        let frames = bytes.strip_prefix(PREFACE).expect("a preface");
        let head = [b"\x82\x86\x41", HOST, b"\x44\x02/x\x57\x0aBearer key"].concat();
        assert_eq!(frames[..9], [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
        assert_eq!(
            frames[9..18],
            [0, 0, u8::try_from(head.len()).expect("short"), HEADERS, 5, 0, 0, 0, 1]
        );
        assert_eq!(&frames[18..], head);
        assert!(request(&"/".repeat(127), b"key", true).is_err());
    }
}
