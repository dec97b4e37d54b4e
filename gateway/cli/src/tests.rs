//! Whole commands, from what is typed to what is printed, against an HTTP server that plays the control API.
//!
//! A played API is what makes it possible to show every failure and every odd answer; that the real one understands
//! these requests is shown with the real binary.

mod commands;
mod failures;
mod limits;
mod text;

use crate::surroundings::Surroundings;
use crate::{Command, execute};
use clap::Parser;
use portcullis_config::Clock;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;

const TOKEN: &str = "pmt_hunter2";

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What the person typed and what is around them.
struct Typed<'a> {
    line: &'a [&'a str],
    input: &'a str,
    at_terminal: bool,
    token: Option<&'a str>,
    url: Option<String>,
}

/// What came of it.
struct Outcome {
    code: u8,
    out: String,
    err: String,
    /// `METHOD PATH BODY` of every request.
    requests: Vec<String>,
}

fn typed<'a>(line: &'a [&'a str]) -> Typed<'a> {
    Typed {
        line,
        input: "",
        at_terminal: false,
        token: Some(TOKEN),
        url: None,
    }
}

/// Runs a command against an API that gives these answers, one a request.
async fn run(typed: Typed<'_>, answers: &[&str]) -> Outcome {
    let mut out = Vec::new();
    let mut outcome = run_into(typed, answers, &mut out).await;
    outcome.out = String::from_utf8(out).unwrap();
    assert!(
        !outcome.out.contains(TOKEN) && !outcome.err.contains(TOKEN),
        "the token was printed"
    );
    outcome
}

async fn run_into(typed: Typed<'_>, answers: &[&str], out: &mut dyn Write) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = typed
        .url
        .unwrap_or_else(|| format!("http://{}", listener.local_addr().unwrap()));
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let api = tokio::spawn(play(listener, answers, told));
    let mut line = [["portcullis"].as_slice(), typed.line].concat();
    if typed.line[0] != "check" {
        // Before the rest, so that `verify` takes it for an option.
        line.splice(2..2, ["--url", &url]);
    }
    let command = Line::try_parse_from(line)
        .unwrap_or_else(|error| panic!("{error}"))
        .command;
    let mut err = Vec::new();
    let mut input = typed.input.as_bytes();
    let start = Clock::system().now();
    let noon = "2026-11-21T12:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_microsecond();
    let (clock, mover) = Clock::manual(start);
    mover.set_wall_us(noon);
    let mut surroundings = Surroundings::of_test((out, &mut err, &mut input), typed.at_terminal, typed.token, clock);
    let code = execute(command, &mut surroundings).await;
    api.abort();
    let mut requests = Vec::new();
    while let Some(request) = asked.recv().await {
        requests.push(request);
    }
    Outcome {
        code,
        out: String::new(),
        err: String::from_utf8(err).unwrap(),
        requests,
    }
}

/// Answers one request a connection and tells what it was asked.
async fn play(listener: TcpListener, answers: Vec<String>, told: UnboundedSender<String>) {
    for answer in answers {
        let (stream, _) = listener.accept().await.unwrap();
        exchange(stream, &answer, &told).await;
    }
}

async fn exchange(mut stream: TcpStream, answer: &str, told: &UnboundedSender<String>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "the request ended early");
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    assert!(
        head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")),
        "{head}"
    );
    let (method_and_path, _) = head.split_once(" HTTP/1.1").unwrap();
    told.send(format!("{method_and_path} {body}").trim_end().to_owned())
        .unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// An HTTP answer.
fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn json(status: u16, body: &str) -> String {
    answer(status, "content-type: application/json\r\n", body)
}
