//! Reads the PROXY protocol header, versions 1 and 2, that a load balancer puts before a connection's first byte.
//!
//! Strict and bounded: a connection whose header is not exactly one that the specification allows is closed, because its
//! real client is then nobody we know. Decides nothing about trust: a listener asks for it or it does not.
//! Source: haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 and 2.2.

use bytes::{Buf, BytesMut};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

#[cfg(test)]
mod tests;

/// Longest header of version 1, with its line end.
const V1_BYTES_MAX: usize = 107;
/// Longest payload of version 2 that is read; addresses take 36 bytes, the rest is type-length-values.
const V2_PAYLOAD_BYTES_MAX: usize = 4096;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// What a header says of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// The client's address.
    Client(SocketAddr),
    /// The connection is the load balancer's own (a health check), or of a family without addresses: the TCP peer stands.
    Local,
}

/// Reads one header. Bytes after it stay in `ahead`.
pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin), ahead: &mut BytesMut) -> io::Result<Announced> {
    loop {
        if let Some((announced, length)) = parse(ahead).map_err(invalid)? {
            ahead.advance(length);
            return Ok(announced);
        }
        if socket.read_buf(ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn invalid(fault: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// The header at the start of `bytes` and its length; `None` when more is needed.
fn parse(bytes: &[u8]) -> Result<Option<(Announced, usize)>, &'static str> {
    if bytes.starts_with(V2_SIGNATURE) {
        parse_v2(bytes)
    } else if V2_SIGNATURE.starts_with(bytes) || b"PROXY ".starts_with(bytes) {
        Ok(None)
    } else if bytes.starts_with(b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err("the connection does not start with a PROXY protocol header")
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Announced, usize)>, &'static str> {
    const FAULT: &str = "malformed PROXY protocol header of version 1";
    let head = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if head.len() == V1_BYTES_MAX {
            Err(FAULT)
        } else {
            Ok(None)
        };
    };
    let line = head
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(FAULT)?;
    let length = end + 2;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(FAULT)?;
    if family == "UNKNOWN" {
        return Ok(Some((Announced::Local, length)));
    }
    let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok()).ok_or(FAULT);
    let (source, destination) = (address()?, address()?);
    let expected = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let mut port = || words.next().and_then(port_v1).ok_or(FAULT);
    let (source_port, _) = (port()?, port()?);
    if !expected || words.next().is_some() {
        return Err(FAULT);
    }
    Ok(Some((Announced::Client(SocketAddr::new(source, source_port)), length)))
}

/// Decimal, without sign and without leading zeros.
fn port_v1(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Announced, usize)>, &'static str> {
    const FAULT: &str = "malformed PROXY protocol header of version 2";
    let Some(&[version_command, family, length_high, length_low]) = bytes
        .get(V2_SIGNATURE.len()..V2_HEAD_BYTES)
        .and_then(|rest| rest.first_chunk::<4>())
    else {
        return Ok(None);
    };
    let payload_length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if version_command >> 4 != 2 || payload_length > V2_PAYLOAD_BYTES_MAX {
        return Err(FAULT);
    }
    let length = V2_HEAD_BYTES + payload_length;
    let Some(payload) = bytes.get(V2_HEAD_BYTES..length) else {
        return Ok(None);
    };
    let announced = match (version_command & 0x0f, family) {
        // LOCAL: whatever family follows is to be skipped.
        (0, _) => Announced::Local,
        (1, 0x11) => {
            let block = payload.first_chunk::<12>().ok_or(FAULT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
            client(Ipv4Addr::new(a, b, c, d).into(), high, low)
        }
        (1, 0x21) => {
            let block = payload.first_chunk::<36>().ok_or(FAULT)?;
            let source = block.first_chunk::<16>().ok_or(FAULT)?;
            client(Ipv6Addr::from(*source).into(), block[32], block[33])
        }
        // UNSPEC: the sender does not know.
        (1, 0x00) => Announced::Local,
        // Datagrams and Unix sockets are no clients of an HTTP gateway.
        _ => return Err(FAULT),
    };
    Ok(Some((announced, length)))
}

fn client(address: IpAddr, port_high: u8, port_low: u8) -> Announced {
    Announced::Client(SocketAddr::new(address, u16::from_be_bytes([port_high, port_low])))
}
