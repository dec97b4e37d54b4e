use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

/// The trusted network of every case.
const TRUSTED: &[&str] = &["10.0.0.0/8", "fd00::/8"];

fn trusted() -> Vec<IpNet> {
    TRUSTED.iter().map(|text| text.parse().unwrap()).collect()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn check(peer: &str, lines: &[(&str, &str)], expect: &str) {
    let resolved = resolve(peer.parse().unwrap(), &trusted(), &headers(lines));
    assert_eq!(resolved.to_string(), expect, "peer {peer}, {lines:?}");
}

const XFF: &str = "X-Forwarded-For";
const FWD: &str = "Forwarded";

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_sends() {
    check("203.0.113.9", &[], "203.0.113.9");
    check("203.0.113.9", &[(XFF, "1.1.1.1")], "203.0.113.9");
    check("203.0.113.9", &[(FWD, "for=1.1.1.1")], "203.0.113.9");
    check("2001:db8::7", &[(XFF, "10.0.0.1")], "2001:db8::7");
}

#[test]
fn the_right_most_untrusted_address_is_the_client() {
    check("10.0.0.1", &[], "10.0.0.1");
    check("10.0.0.1", &[(XFF, "198.51.100.7")], "198.51.100.7");
    // What stands left of the client was written by the client.
    check("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.7")], "198.51.100.7");
    check(
        "10.0.0.1",
        &[(XFF, "1.1.1.1, 198.51.100.7, 10.0.0.2, 10.9.9.9")],
        "198.51.100.7",
    );
    // Every hop is trusted: the farthest of them is the client.
    check("10.0.0.1", &[(XFF, "10.0.0.3,10.0.0.2")], "10.0.0.3");
    check("10.0.0.1", &[(XFF, "fd00::3, 10.0.0.2")], "fd00::3");
}

#[test]
fn several_lines_are_one_list_in_their_order() {
    check(
        "10.0.0.1",
        &[(XFF, "1.1.1.1"), (XFF, "198.51.100.7, 10.0.0.2"), (XFF, "10.0.0.3")],
        "198.51.100.7",
    );
    check(
        "10.0.0.1",
        &[(FWD, "for=1.1.1.1"), (FWD, "for=198.51.100.7"), (FWD, "for=10.0.0.3")],
        "198.51.100.7",
    );
    check("10.0.0.1", &[(XFF, "198.51.100.7"), (XFF, "")], "198.51.100.7");
}

#[test]
fn mapped_addresses_are_ipv4_everywhere() {
    check("::ffff:203.0.113.9", &[(XFF, "1.1.1.1")], "203.0.113.9");
    check("::ffff:10.0.0.1", &[(XFF, "::ffff:198.51.100.7")], "198.51.100.7");
    check("10.0.0.1", &[(XFF, "1.1.1.1, ::ffff:10.0.0.2")], "1.1.1.1");
    check("10.0.0.1", &[(FWD, "for=\"[::ffff:198.51.100.7]:80\"")], "198.51.100.7");
    assert_eq!(canonical("::ffff:1.2.3.4".parse().unwrap()).to_string(), "1.2.3.4");
    assert!(is_trusted("::ffff:10.1.1.1".parse().unwrap(), &trusted()));
    assert!(!is_trusted("11.1.1.1".parse().unwrap(), &trusted()));
}

#[test]
fn an_address_may_come_with_a_port_or_in_brackets() {
    for (text, expect) in [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        (" \t198.51.100.7 ", "198.51.100.7"),
        (",, 198.51.100.7 , ,", "198.51.100.7"),
    ] {
        check("10.0.0.1", &[(XFF, text)], expect);
    }
}

#[test]
fn the_walk_ends_where_nobody_can_be_named() {
    for text in [
        "unknown",
        "_hidden",
        "localhost",
        "198.51.100",
        "198.51.100.7.8",
        "198.51.100.7:",
        "198.51.100.7:x",
        "198.51.100.7:65536",
        "198.51.100.7:+1",
        "[198.51.100.7]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]x",
        "[2001:db8::1]80",
        "fe80::1%eth0",
        "\"198.51.100.7\"",
        "198.51.100.7 198.51.100.8",
        "198.51.100.7\u{a0}",
        "é",
    ] {
        check("10.0.0.1", &[(XFF, text)], "10.0.0.1");
        // The hop before it was named by a trusted peer and still is.
        check("10.0.0.1", &[(XFF, &format!("1.1.1.1, {text}, 10.0.0.2"))], "10.0.0.2");
        // A client's own rubbish does not matter.
        check("10.0.0.1", &[(XFF, &format!("{text}, 198.51.100.7"))], "198.51.100.7");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_spells_it() {
    for (text, expect) in [
        ("for=198.51.100.7", "198.51.100.7"),
        ("For=198.51.100.7", "198.51.100.7"),
        ("FOR=\"198.51.100.7:4711\"", "198.51.100.7"),
        ("for=198.51.100.7;proto=http;by=203.0.113.43", "198.51.100.7"),
        ("proto=http; for=198.51.100.7 ;host=\"a,b;for=1.1.1.1\"", "198.51.100.7"),
        ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=[2001:db8:cafe::17]", "2001:db8:cafe::17"),
        ("for=\"198.51.100.7:_port\"", "198.51.100.7"),
        (
            "for=1.1.1.1, for=198.51.100.7, for=10.0.0.4;by=10.0.0.3",
            "198.51.100.7",
        ),
        ("for=198.51.100.7;;", "198.51.100.7"),
        ("for=198.51.100.7;secret=\"x\\\"y,\"", "198.51.100.7"),
        // Nobody is named.
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("for=\"_gazonk\", for=10.0.0.2", "10.0.0.2"),
        ("proto=http", "10.0.0.1"),
        ("for", "10.0.0.1"),
        ("for=", "10.0.0.1"),
        ("for =198.51.100.7", "10.0.0.1"),
        ("for=\"198.51.100.7", "10.0.0.1"),
        ("for=198.51.100.7\"", "10.0.0.1"),
        ("for=198.51.100.7;for=198.51.100.8", "10.0.0.1"),
        ("for=198.51.100.7;for=198.51.100.7", "10.0.0.1"),
        ("198.51.100.7", "10.0.0.1"),
    ] {
        check("10.0.0.1", &[(FWD, text)], expect);
    }
}

#[test]
fn a_quote_left_open_by_the_client_swallows_nothing() {
    for forged in [
        "for=\"",
        "for=\"1.1.1.1",
        "a=\"\\",
        "for=1.1.1.1, for=\"x",
        "\"",
        "host=\"a, for=1.1.1.1;b=\"c\"",
    ] {
        check(
            "10.0.0.1",
            &[(FWD, &format!("{forged}, for=198.51.100.7"))],
            "198.51.100.7",
        );
        check(
            "10.0.0.1",
            &[(FWD, &format!("{forged}, for=\"[2001:db8::1]\";proto=http"))],
            "2001:db8::1",
        );
        check(
            "10.0.0.1",
            &[(FWD, forged), (FWD, "for=198.51.100.7;host=\"x,for=9.9.9.9;y=\"")],
            "198.51.100.7",
        );
    }
}

#[test]
fn two_headers_that_disagree_name_nobody() {
    check(
        "10.0.0.1",
        &[(XFF, "198.51.100.7"), (FWD, "for=198.51.100.7")],
        "198.51.100.7",
    );
    // Either of them may be the client's own.
    check("10.0.0.1", &[(XFF, "198.51.100.7"), (FWD, "for=1.1.1.1")], "10.0.0.1");
    check("10.0.0.1", &[(XFF, "1.1.1.1"), (FWD, "for=198.51.100.7")], "10.0.0.1");
    check("10.0.0.1", &[(XFF, "198.51.100.7"), (FWD, "for=unknown")], "10.0.0.1");
    check("10.0.0.1", &[(XFF, "198.51.100.7"), (FWD, "")], "10.0.0.1");
}

proptest! {
    /// Whatever stands left of what the trusted peer appended, the answer is what the peer appended.
    #[test]
    fn nothing_a_client_writes_changes_its_address(forged in "[ -~]{0,60}", standard in any::<bool>()) {
        let (name, line) = if standard {
            (FWD, format!("{forged}, for=198.51.100.7"))
        } else {
            (XFF, format!("{forged}, 198.51.100.7"))
        };
        check("10.0.0.1", &[(name, &line)], "198.51.100.7");
    }

    /// The answer is the peer or an address that is spelled in the headers; strange bytes do not upset it.
    #[test]
    fn strange_bytes_name_nobody_new(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..80)) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        for name in [XFF, FWD] {
            let mut headers = HeaderMap::new();
            headers.append(name.parse::<HeaderName>().unwrap(), value.clone());
            let peer: IpAddr = "10.0.0.1".parse().unwrap();
            let resolved = resolve(peer, &trusted(), &headers);
            prop_assert!(resolved == peer || bytes.windows(2).any(|pair| pair.contains(&b'.') || pair == b"::" || pair.contains(&b':')));
        }
    }
}
