use super::*;
use crate::RequestId;
use portcullis_verify::SourceError;
use serde_json::{Value, json};

fn denial(reason: DenialReason) -> Denial {
    Denial {
        reason,
        key: None,
        charge: None,
    }
}

fn check(refusal: &Refusal, status: u16, reason: &str, retry_after_s: Option<u64>) {
    assert_eq!((refusal.status.as_u16(), refusal.reason), (status, reason));
    assert_eq!(refusal.retry_after_s, retry_after_s, "{reason}");
    assert_eq!(
        refusal.code / 100,
        u32::from(status),
        "the code of {reason} starts with its status"
    );
    assert!(
        refusal.message.ends_with('.') && refusal.message.len() > 10,
        "{reason} needs a sentence"
    );
    let body: Value = serde_json::from_slice(&refusal.body("req-1")).unwrap();
    let expect = json!({
        "errors": [{"message": refusal.message, "code": refusal.code}],
        "message": refusal.message,
        "reason": reason,
        "request_id": "req-1",
    });
    assert_eq!(body, expect);
    check_written(refusal, &crate::request_id::generate());
}

/// What is written as bytes is what the headers and the body say.
fn check_written(refusal: &Refusal, id: &RequestId) {
    for (close, head_only) in [(false, false), (false, true), (true, false), (true, true)] {
        for extra in ["", "date: today\r\nratelimit: \"x\";r=0\r\n", "Retry-After: 9\r\n"] {
            let mut out = b"before".to_vec();
            refusal.write_http1(id, extra.as_bytes(), close, head_only, &mut out);
            let answer = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let text = refusal.body(id.as_str());
            assert_eq!(body.as_bytes(), if head_only { b"" } else { text.as_ref() });

            let (line, lines) = head.split_once("\r\n").unwrap();
            assert_eq!(line, format!("HTTP/1.1 {}", refusal.status));
            let mut found: Vec<String> = lines.split("\r\n").map(str::to_owned).collect();
            let mut expect: Vec<String> = extra.lines().map(str::to_owned).collect();
            for (name, value) in refusal
                .headers()
                .filter(|(name, _)| *name != RETRY_AFTER || !extra.contains("Retry"))
            {
                expect.push(format!("{name}: {}", value.to_str().unwrap()));
            }
            expect.push(format!("x-request-id: {id}"));
            expect.push(format!("content-length: {}", text.len()));
            expect.push(format!("connection: {}", if close { "close" } else { "keep-alive" }));
            found.sort();
            expect.sort();
            assert_eq!(found, expect);
        }
    }
}

#[test]
fn every_denial_has_its_public_face() {
    for (reason, status, public, retry_after_s) in [
        (DenialReason::KeyMissing, 403, "key_missing", None),
        (DenialReason::AmbiguousCredentials, 403, "ambiguous_credentials", None),
        (DenialReason::KeyMalformed, 403, "key_invalid", None),
        (
            DenialReason::TooManyFailures {
                retry_after_us: 1_500_000,
            },
            429,
            "too_many_failures",
            Some(2),
        ),
        (DenialReason::KeyUnknown, 403, "key_invalid", None),
        (DenialReason::KeyRevoked, 403, "key_invalid", None),
        (DenialReason::AppInactive, 403, "key_invalid", None),
        (DenialReason::KeyExpired, 403, "key_invalid", None),
        (DenialReason::AppNotAllowed, 403, "key_invalid", None),
        (DenialReason::ResourceDenied, 403, "resource_denied", None),
        (DenialReason::PermissionDenied, 403, "permission_denied", None),
        (
            DenialReason::RateLimited {
                blocked_rule: 0,
                retry_after_us: 16_000_001,
            },
            429,
            "rate_limited",
            Some(17),
        ),
    ] {
        for challenge in [false, true] {
            let refusal = Refusal::of_denial(&denial(reason), challenge);
            if challenge && reason == DenialReason::KeyMissing {
                check(&refusal, 401, public, retry_after_s);
            } else {
                check(&refusal, status, public, retry_after_s);
                assert!(!refusal.challenge, "{public}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_key_cannot_be_told_from_outside() {
    let secrets = [
        DenialReason::KeyMalformed,
        DenialReason::KeyUnknown,
        DenialReason::KeyRevoked,
        DenialReason::AppInactive,
        DenialReason::KeyExpired,
        DenialReason::AppNotAllowed,
    ];
    for challenge in [false, true] {
        for reason in secrets {
            assert_eq!(
                Refusal::of_denial(&denial(reason), challenge),
                Refusal::key_invalid(),
                "{reason:?}"
            );
        }
    }
}

#[test]
fn a_challenge_is_a_401_with_its_header() {
    let refusal = Refusal::of_denial(&denial(DenialReason::KeyMissing), true);
    let headers: http::HeaderMap = refusal.headers().collect();
    assert_eq!(headers["www-authenticate"], "Bearer");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["cache-control"], "no-store");
    let plain: http::HeaderMap = Refusal::of_denial(&denial(DenialReason::KeyMissing), false)
        .headers()
        .collect();
    assert!(!plain.contains_key("www-authenticate"));
}

#[test]
fn our_own_faults_have_theirs() {
    let source = VerifyError::Source(SourceError {
        cause: "postgres://user:password@host is away".into(),
    });
    let refusal = Refusal::of_error(&source);
    check(&refusal, 503, "control_unavailable", Some(1));
    for staleness in [None, Some(std::time::Duration::from_secs(31))] {
        let refusal = Refusal::of_error(&VerifyError::TooStale { staleness });
        check(&refusal, 503, "control_unavailable", Some(1));
        assert!(
            !String::from_utf8_lossy(&refusal.body("r")).contains("31"),
            "how stale is for the log"
        );
    }
    assert!(
        !String::from_utf8_lossy(&refusal.body("r")).contains("postgres"),
        "the cause is private"
    );
    check(
        &Refusal::bad_request("A sentence for a person."),
        400,
        "bad_request",
        None,
    );
    check(&Refusal::no_route(), 404, "no_route", None);
    check(&Refusal::request_timeout(), 408, "request_timeout", None);
    check(&Refusal::payload_too_large(), 413, "payload_too_large", None);
    check(&Refusal::uri_too_long(), 414, "uri_too_long", None);
    check(&Refusal::header_too_large(), 431, "header_too_large", None);
    check(&Refusal::upstream_unreachable(), 502, "upstream_unreachable", None);
    check(&Refusal::upstream_timeout(), 504, "upstream_timeout", None);
    check(&Refusal::shutting_down(), 503, "shutting_down", Some(1));
}

#[test]
fn no_two_reasons_share_a_code() {
    let refusals = [
        Refusal::of_denial(&denial(DenialReason::KeyMissing), false),
        Refusal::of_denial(&denial(DenialReason::KeyMissing), true),
        Refusal::key_invalid(),
        Refusal::of_denial(&denial(DenialReason::AmbiguousCredentials), false),
        Refusal::of_denial(&denial(DenialReason::PermissionDenied), false),
        Refusal::of_denial(&denial(DenialReason::ResourceDenied), false),
        Refusal::of_denial(&denial(DenialReason::TooManyFailures { retry_after_us: 1 }), false),
        Refusal::of_denial(
            &denial(DenialReason::RateLimited {
                blocked_rule: 0,
                retry_after_us: 1,
            }),
            false,
        ),
        Refusal::bad_request("."),
        Refusal::no_route(),
        Refusal::request_timeout(),
        Refusal::payload_too_large(),
        Refusal::uri_too_long(),
        Refusal::header_too_large(),
        Refusal::upstream_unreachable(),
        Refusal::upstream_timeout(),
        Refusal::shutting_down(),
        Refusal::of_error(&VerifyError::Source(SourceError { cause: String::new() })),
    ];
    let codes: std::collections::HashSet<_> = refusals.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes.len(), refusals.len());
}

#[test]
fn a_request_id_cannot_break_the_body() {
    let body: Value = serde_json::from_slice(&Refusal::no_route().body("a\"b\\c")).unwrap();
    assert_eq!(body["request_id"], "a\"b\\c");
}

#[test]
fn what_needs_escaping_is_escaped_in_bytes_too() {
    for message in [
        "",
        "plain",
        "a \"quoted\" word",
        "back\\slash",
        "line\r\nfeed\u{1}",
        "é ☕ \u{7f}",
        "\"",
        "\"\"",
    ] {
        for code in [0, 40_050, u32::MAX] {
            let refusal = Refusal {
                message: Cow::Borrowed(message),
                code,
                ..Refusal::no_route()
            };
            check_written(&refusal, &crate::request_id::accept("Root=1-67891233").unwrap());
        }
    }
}
