//! What a person is told when it does not work, and the exit code.

use super::{Line, Typed, answer, json, run, run_into, typed};
use clap::CommandFactory;
use std::io::{Error, ErrorKind, Write};

const LIST: [&str; 2] = ["apps", "list"];

/// Holds the messages after a played answer against their lines.
async fn check(http: &str, expected: &[&str]) {
    let outcome = run(typed(&LIST), &[http]).await;
    let told: Vec<&str> = outcome
        .err
        .lines()
        .map(|line| line.strip_prefix("portcullis: ").unwrap_or(line))
        .collect();
    // The port of the played API is another one each time.
    let told: Vec<String> = told.iter().map(|line| without_port(line)).collect();
    assert_eq!(
        (outcome.code, told, outcome.out.as_str()),
        (1, expected.iter().map(ToString::to_string).collect(), "")
    );
}

fn without_port(line: &str) -> String {
    match line.split_once("http://127.0.0.1:") {
        Some((before, after)) => {
            format!(
                "{before}URL{}",
                after
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .trim_start_matches('/')
            )
        }
        None => line.to_owned(),
    }
}

#[tokio::test]
async fn refusals_are_sentences_with_advice() {
    let body = |message: &str, code: u32| {
        format!(r#"{{"errors":[{{"message":"{message}","code":{code}}}],"message":"{message}"}}"#)
    };
    check(
        &json(401, &body("The management token is not known.", 40_100)),
        &[
            "The management token is not known.",
            "PORTCULLIS_TOKEN (or the file of --token-file) must hold a management token of this control API; \
         `portcullis tokens create` makes one",
        ],
    )
    .await;
    check(
        &json(403, &body("Needs growth.", 40_300)),
        &[
            "Needs growth.",
            "`portcullis deployments set-plan DEPLOYMENT growth` allows it",
        ],
    )
    .await;
    check(
        &json(404, &body("No app.", 40_401)),
        &["No app.", "`portcullis apps list` shows the apps there are"],
    )
    .await;
    check(
        &json(404, &body("No key.", 40_402)),
        &["No key.", "`portcullis keys list APP --all` shows the keys there are"],
    )
    .await;
    check(&json(409, &body("Taken.", 40_900)), &["Taken."]).await;
    check(
        &answer(429, "retry-after: 7\r\n", &body("Too many.", 42_900)),
        &["Too many.", "try again in 7 s"],
    )
    .await;
    check(
        &answer(503, "x-request-id: r1\r\n", &body("Away.", 50_300)),
        &["Away.", "the server's log has the cause under the request id r1"],
    )
    .await;
    let two = r#"{"errors":[{"message":"`name` is missing.","code":40002},{"message":"`x` is \u001b[31mwrong.","code":40003}],"message":"both"}"#;
    check(&json(400, two), &["`name` is missing.", r"`x` is \u{1b}[31mwrong."]).await;
    check(&json(400, r#"{"message":"Only this."}"#), &["Only this."]).await;
}

#[tokio::test]
async fn something_else_behind_the_url_is_told() {
    let gateway = "is the URL that of the control API (port 7070 by default), and not of the gateway?";
    check(
        &answer(200, "", "<html>"),
        &["URL answered 200, but not as a control API does", gateway],
    )
    .await;
    check(
        &answer(502, "", "Bad Gateway"),
        &["URL answered 502, but not as a control API does", gateway],
    )
    .await;
    check(
        &answer(404, "", "{}"),
        &["URL answered 404, but not as a control API does", gateway],
    )
    .await;
    check(
        &answer(301, "location: http://example.com/\r\n", ""),
        &["URL answered with a redirect (301): give the URL it ends at with --url"],
    )
    .await;
    let outcome = run(typed(&LIST), &[&json(200, r#"{"apps":[{}]}"#)]).await;
    assert!(
        outcome.code == 1
            && outcome
                .err
                .contains("another shape than this version knows: missing field"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn nobody_listening_is_told() {
    // Port 1 is privileged and has no service here, so nothing else can take it while this runs.
    let outcome = run(
        Typed {
            url: Some("http://127.0.0.1:1".to_owned()),
            ..typed(&LIST)
        },
        &[],
    )
    .await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.err,
        "portcullis: the control API at http://127.0.0.1:1/ cannot be reached: Connection refused (os error 111)\n\
         portcullis: is `portcullis serve` running there? --url or PORTCULLIS_URL names another place\n"
    );
}

#[tokio::test]
async fn a_url_is_checked_and_its_password_not_repeated() {
    for (url, expected) in [
        ("127.0.0.1:7070", "the URL is not one"),
        ("ftp://host", "the URL is neither http nor https"),
        ("http://u:hunter2@host", "the URL holds credentials"),
        ("http://host/?token=hunter2", "the URL has a query or fragment"),
    ] {
        let outcome = run(
            Typed {
                url: Some(url.to_owned()),
                ..typed(&LIST)
            },
            &[],
        )
        .await;
        assert!(
            outcome.code == 2 && outcome.err.contains(expected),
            "{url}: {}",
            outcome.err
        );
        assert!(!outcome.err.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_token_is_needed_and_may_come_from_a_file() {
    for (token, expected) in [
        (
            None,
            "there is no management token: set PORTCULLIS_TOKEN, or name a file with --token-file.",
        ),
        (Some(" "), "PORTCULLIS_TOKEN is empty"),
        (Some("a b"), "PORTCULLIS_TOKEN does not hold a token"),
    ] {
        let outcome = run(Typed { token, ..typed(&LIST) }, &[]).await;
        assert!(outcome.code == 2 && outcome.err.contains(expected), "{}", outcome.err);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", super::TOKEN)).unwrap();
    let line = ["apps", "list", "--token-file", file.path().to_str().unwrap()];
    // The played API checks the token.
    let outcome = run(
        Typed {
            token: Some("another"),
            ..typed(&line)
        },
        &[&json(200, r#"{"apps":[]}"#)],
    )
    .await;
    assert_eq!((outcome.code, outcome.requests.len()), (0, 1));
    let outcome = run(typed(&["apps", "list", "--token-file", "/nowhere"]), &[]).await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (
            2,
            "portcullis: --token-file /nowhere: No such file or directory (os error 2)\n"
        )
    );
}

#[tokio::test]
async fn verify_needs_a_key_on_standard_input() {
    let long = "x".repeat(20_000);
    for (input, expected) in [
        ("", "standard input is empty: it should hold the key"),
        ("\n", "standard input is empty: it should hold the key"),
        (long.as_str(), "standard input holds more than any key"),
    ] {
        let outcome = run(
            Typed {
                input,
                ..typed(&["verify"])
            },
            &[],
        )
        .await;
        assert_eq!((outcome.code, outcome.err), (2, format!("portcullis: {expected}\n")));
    }
}

/// A pipe whose reader has left.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(Error::from(ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_who_leaves_is_no_failure_unless_a_secret_is_lost() {
    let outcome = run_into(
        typed(&["apps", "list", "--output", "json"]),
        &[&json(200, r#"{"apps":[]}"#)],
        &mut Closed,
    )
    .await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    let deny = json(200, r#"{"decision":"deny"}"#);
    assert_eq!(
        run_into(
            Typed {
                input: "k",
                ..typed(&["verify"])
            },
            &[&deny],
            &mut Closed
        )
        .await
        .code,
        1
    );
    let made = r#"{"secret":"sk_live_s3cr3t","key":{"id":"42","app_slug":"a","name":"n","key_prefix":"sk","key_suffix":"x","is_active":true,"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z"}}"#;
    let outcome = run_into(
        typed(&["keys", "create", "a", "--name", "n"]),
        &[&json(201, made)],
        &mut Closed,
    )
    .await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .err
            .ends_with("portcullis: the key 42 exists, but its secret is lost: rotate or revoke it\n"),
        "{}",
        outcome.err
    );
    assert!(!outcome.err.contains("s3cr3t"));
}

#[test]
fn what_cannot_be_typed_is_refused_with_words() {
    Line::command().debug_assert();
    let help = <Line as clap::Parser>::try_parse_from(["portcullis", "verify", "--help"])
        .unwrap_err()
        .to_string();
    assert!(
        help.contains("Exit codes: 0 the key is good") && help.contains("portcullis verify < key.txt"),
        "{help}"
    );
    for (line, expected) in [
        (vec!["apps", "show", "../keys"], "a slug is 1 to 64"),
        (vec!["apps", "show", ".."], "a slug is 1 to 64"),
        (
            vec!["keys", "create", "a", "--name", "n", "--metadata", "[1]"],
            "must be a JSON object",
        ),
        (
            vec!["keys", "rotate", "a", "1", "--grace", "1"],
            "is not a span of time",
        ),
        (
            vec!["schemes", "create", "s", "--name", "n", "--rule", "100"],
            "is not a rate",
        ),
        (
            vec!["apps", "update", "a", "--active", "--inactive"],
            "cannot be used with",
        ),
        (vec!["apps", "list", "--token", "x"], "unexpected argument '--token'"),
    ] {
        let line = [["portcullis"].as_slice(), &line].concat();
        let message = <Line as clap::Parser>::try_parse_from(line).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
