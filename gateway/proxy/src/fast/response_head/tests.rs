use super::*;
use portcullis_http::request_id;

fn answer(head: &str, to_head: bool, limits: &str) -> Result<(AnswerHead, String), Unfit> {
    let id = request_id::accept("r1").unwrap();
    let told = if limits.is_empty() { Told::NOTHING } else { told() };
    let ours = OurFields {
        limits: limits.as_bytes(),
        told,
        request_id: &id,
        closes: false,
    };
    let mut out = Vec::new();
    let head = rewrite(
        head.as_bytes(),
        to_head,
        ours,
        |out| out.extend_from_slice(b"date: now\r\n"),
        &mut out,
    )?;
    Ok((head, String::from_utf8(out).unwrap()))
}

/// What is said when one rule of the draft's was told.
fn told() -> Told {
    use portcullis_verify::{Charge, ChargeOutcome, Rule, RuleSet, RuleState, Unit};
    let rule = Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests: 5,
        mode: None,
        endpoints: None,
        priority: None,
    };
    let state = RuleState {
        rule: 0,
        limit: 5,
        remaining: 4,
        grows_in_us: 1,
    };
    let charge = Charge {
        outcome: ChargeOutcome::Admitted,
        states: [state].into_iter().collect(),
    };
    portcullis_http::rate_limit_headers::write(&RuleSet::compile(None, &[rule]), &charge, false, &mut Vec::new())
}

const OURS: &str = "x-request-id: r1\r\ndate: now\r\nconnection: keep-alive\r\n\r\n";

#[test]
fn the_connections_own_is_taken_out_and_ours_put_in() {
    let check = |fields: &str, expected: &str| {
        let (_, out) = answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), false, "").unwrap();
        assert_eq!(out, format!("HTTP/1.1 200 OK\r\n{expected}{OURS}"), "{fields:?}");
    };
    check("Content-Length: 5\r\n", "Content-Length: 5\r\n");
    check("Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n");
    check("Content-Length: 5, 5\r\n", "Content-Length: 5\r\n");
    check("Transfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n");
    check(
        "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n",
        "Transfer-Encoding: chunked\r\n",
    );
    check("", "Transfer-Encoding: chunked\r\n");
    check(
        "Content-Length: 0\r\nConnection: X-Hop, close\r\nX-Hop: a\r\nKeep-Alive: b\r\nTE: c\r\nTrailer: d\r\nUpgrade: e\r\nProxy-Connection: f\r\n",
        "Content-Length: 0\r\n",
    );
    check(
        "Content-Length: 0\r\nX-Request-Id: theirs\r\nX-Own : kept\r\n",
        "X-Own: kept\r\nContent-Length: 0\r\n",
    );
    check(
        "Content-Length: 0\r\nX-Folded: a\r\n b\r\n",
        "X-Folded: a b\r\nContent-Length: 0\r\n",
    );
    check(
        "Content-Length: 0\r\nRateLimit: theirs\r\n",
        "RateLimit: theirs\r\nContent-Length: 0\r\n",
    );
}

#[test]
fn what_they_say_of_limits_does_not_stand_beside_ours() {
    let head =
        "HTTP/1.1 200 OK\r\nDate: then\r\nRateLimit: theirs\r\nX-RateLimit-Limit: 9\r\nContent-Length: 0\r\n\r\n";
    let (_, out) = answer(head, false, "ratelimit: ours\r\n").unwrap();
    assert_eq!(
        out,
        "HTTP/1.1 200 OK\r\nDate: then\r\nX-RateLimit-Limit: 9\r\nContent-Length: 0\r\nratelimit: ours\r\nx-request-id: r1\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn where_an_answer_ends() {
    let check = |head: &str, to_head: bool, body: AnswerBody, is_kept: bool| {
        let (read, _) = answer(&format!("{head}\r\n\r\n"), to_head, "").unwrap();
        assert_eq!((read.body, read.is_kept), (body, is_kept), "{head:?}");
    };
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5",
        false,
        AnswerBody::Exactly(5),
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5",
        true,
        AnswerBody::Exactly(0),
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close",
        false,
        AnswerBody::Exactly(5),
        false,
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 5",
        false,
        AnswerBody::Exactly(5),
        false,
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive",
        false,
        AnswerBody::Exactly(5),
        true,
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        false,
        AnswerBody::Chunked,
        true,
    );
    check("HTTP/1.1 200 OK", false, AnswerBody::UntilClose, false);
    check("HTTP/1.1 200 OK", true, AnswerBody::Exactly(0), true);
    check(
        "HTTP/1.1 204 No Content\r\nContent-Length: 5",
        false,
        AnswerBody::Exactly(0),
        true,
    );
    check(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5",
        false,
        AnswerBody::Exactly(0),
        true,
    );
    check("HTTP/1.1 100 Continue", false, AnswerBody::Exactly(0), true);
}

#[test]
fn an_answer_whose_end_others_could_see_elsewhere_is_not_passed_on() {
    let check = |fields: &str| {
        let found = answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"), false, "");
        assert!(matches!(found, Err(Unfit::Fault(_))), "{fields:?}: {found:?}");
    };
    check("Content-Length: 5\r\nContent-Length: 6");
    check("Content-Length: 5, 6");
    check("Content-Length: +5");
    check("Content-Length: ");
    check("Content-Length: 99999999999999999999");
    check("Transfer-Encoding: gzip, chunked");
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    check("Transfer-Encoding: identity");
    check("X-Nul: a\0");
    assert!(matches!(
        answer("HTTP/1.1 101 Switching Protocols\r\n\r\n", false, ""),
        Err(Unfit::Fault(_))
    ));
    assert!(matches!(answer("garbage\r\n\r\n", false, ""), Err(Unfit::Fault(_))));
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-", false, ""), Err(Unfit::Partial));
}

#[test]
fn an_informational_answer_says_nothing_of_ours() {
    let (head, out) = answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Request-ID: b\r\nConnection: c\r\nC: d\r\n\r\n",
        false,
        "ratelimit: ours\r\n",
    )
    .unwrap();
    assert!(head.is_informational());
    assert_eq!(out, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}
