//! Whether two observations of one scene are alike, and where they may differ.
//!
//! [`ACCEPTED`] is the whole list of what is not held against either gateway, each with its reason. None of it is anything that a
//! client or an upstream could make use of.

use super::observation::{Message, Observation};
use super::scene::{Ending, Scene, Then};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A difference that is accepted.
pub(crate) struct Accepted {
    pub(crate) what: &'static str,
    pub(crate) reason: &'static str,
    /// Takes it out of what was observed: through pingora, and of the own loop.
    neutralize: fn(&Scene, &mut Observation, &mut Observation),
}

/// Every difference that is accepted.
pub(crate) const ACCEPTED: &[Accepted] = &[
    Accepted {
        what: "how much of a request that did not come to its end had reached the upstream",
        reason: "its bytes are passed on as they come, so that it depends on when the fault came; the upstream sees that the \
                 request broke off, and a whole request is never made of it",
        neutralize: |_, pingora, own| {
            for seen in [pingora, own] {
                seen.reached.retain(|request| request.is_whole);
            }
        },
    },
    Accepted {
        what: "whether an answer with a malformed chunk is passed on as if it had come to its end",
        reason: "pingora ends it properly where its data is longer than the chunk says, the own loop breaks it off; the upstream's \
                 connection is given up by both, so that nothing of what follows is taken for an answer",
        neutralize: |_, pingora, own| {
            let is_faulty = pingora.counted.keys().any(|series| series.contains("upstream_errors"));
            let broken = own.answers.iter().position(|answer| !answer.is_whole);
            if let (true, Some(index)) = (is_faulty, broken) {
                pingora.answers.truncate(index);
                own.answers.truncate(index);
            }
        },
    },
    Accepted {
        what: "whether a request is served that came so early behind a chunked one that both were read at once",
        reason: "pingora reads past the end of a chunked body, and gives the connection up rather than take what it has read for a \
                 request; so it depends on how the bytes arrive, whichever setting the gateway has, and nothing is answered wrongly",
        neutralize: |scene, pingora, own| {
            let is_chunked = scene
                .request
                .concat()
                .to_ascii_lowercase()
                .windows(7)
                .any(|word| word == b"chunked");
            if is_chunked && (pingora.is_closed != own.is_closed || pingora.answers.len() != own.answers.len()) {
                let answered = pingora.answers.len().min(own.answers.len());
                let reached = pingora.reached.len().min(own.reached.len());
                for seen in [pingora, own] {
                    seen.answers.truncate(answered);
                    seen.reached.truncate(reached);
                    seen.is_closed = true;
                    seen.counted.clear();
                }
            }
        },
    },
    Accepted {
        what: "how much of an answer that did not come to its end was passed on, if anything",
        reason: "likewise: the client sees that it broke off, because the connection is closed without the end that was announced",
        neutralize: |_, pingora, own| {
            for seen in [pingora, own] {
                seen.answers.retain(|answer| answer.is_whole);
            }
        },
    },
    Accepted {
        what: "whether a client is still answered that has closed its half of the connection",
        reason: "pingora takes the end of what the client sends for its leaving when it sees it before the answer; either is allowed, \
                 and which of them happens depends on how fast the upstream is",
        neutralize: |scene, pingora, own| {
            if scene.ending == Ending::Closed && pingora.answers.len() != own.answers.len() {
                for seen in [pingora, own] {
                    seen.answers.clear();
                    seen.reached.clear();
                    seen.counted.clear();
                }
            }
        },
    },
    Accepted {
        what: "whether a kept connection that its upstream closes at that moment is tried once more",
        reason: "both make the request again on a new connection where it may be made twice; whether the end was seen before the \
                 connection was taken is a race that either may lose",
        neutralize: |scene, pingora, own| {
            if scene.replies.iter().any(|reply| reply.then == Then::Close) && pingora.answers == own.answers {
                for seen in [pingora, own] {
                    seen.counted.retain(|series, _| !series.contains("kind=\"reset\""));
                }
            }
        },
    },
    Accepted {
        what: "a length with leading zeros, a coding in capitals",
        reason: "both are of one hop only and mean the same; the own loop spells them anew",
        neutralize: |_, pingora, own| {
            for answer in pingora.answers.iter_mut().chain(&mut own.answers) {
                for value in answer.fields.get_mut("content-length").into_iter().flatten() {
                    let digits = value.trim_start_matches('0');
                    *value = if digits.is_empty() { "0" } else { digits }.to_owned();
                }
                for value in answer.fields.get_mut("transfer-encoding").into_iter().flatten() {
                    value.make_ascii_lowercase();
                }
            }
        },
    },
];

/// What is different, in words; `None` if nothing is.
pub(crate) fn difference(scene: &Scene, through_pingora: &Observation, own_loop: &Observation) -> Option<String> {
    let [mut through_pingora, mut own_loop] = [through_pingora.clone(), own_loop.clone()];
    for accepted in ACCEPTED {
        (accepted.neutralize)(scene, &mut through_pingora, &mut own_loop);
    }
    if through_pingora == own_loop {
        return None;
    }
    let mut words = format!("\n== {} ({:?}, {:?})\n", scene.name, scene.setting, scene.ending);
    for piece in &scene.request {
        let _ = writeln!(words, "   sent      {}", shortened(&piece.escape_ascii().to_string()));
    }
    for reply in &scene.replies {
        let _ = writeln!(
            words,
            "   answered  {} {:?}",
            shortened(&reply.pieces.concat().escape_ascii().to_string()),
            reply.then
        );
    }
    let mut row = |what: &str, pingora: &str, own: &str| {
        if pingora != own {
            let _ = writeln!(
                words,
                "   {what}:\n      pingora   {}\n      own loop  {}",
                shortened(pingora),
                shortened(own)
            );
        }
    };
    for (what, pingora, own) in [
        ("reached the upstream", &through_pingora.reached, &own_loop.reached),
        ("answered the client", &through_pingora.answers, &own_loop.answers),
    ] {
        for index in 0..pingora.len().max(own.len()) {
            let [pingora, own] = [pingora.get(index), own.get(index)];
            let (Some(pingora), Some(own)) = (pingora, own) else {
                row(
                    &format!("{what} [{index}]"),
                    &format!("{pingora:?}"),
                    &format!("{own:?}"),
                );
                continue;
            };
            messages(&format!("{what} [{index}]"), pingora, own, &mut row);
        }
    }
    row("is no answer", &through_pingora.rest, &own_loop.rest);
    row(
        "closed",
        &through_pingora.is_closed.to_string(),
        &own_loop.is_closed.to_string(),
    );
    let series: BTreeSet<&String> = through_pingora.counted.keys().chain(own_loop.counted.keys()).collect();
    for series in series {
        let [pingora, own] = [&through_pingora, &own_loop].map(|seen| format!("{:?}", seen.counted.get(series)));
        row(series, &pingora, &own);
    }
    Some(words)
}

fn messages(what: &str, pingora: &Message, own: &Message, row: &mut impl FnMut(&str, &str, &str)) {
    row(what, &pingora.line, &own.line);
    let names: BTreeSet<&String> = pingora.fields.keys().chain(own.fields.keys()).collect();
    for name in names {
        let [pingora, own] = [pingora, own].map(|message| format!("{:?}", message.fields.get(name)));
        row(&format!("{what} {name}"), &pingora, &own);
    }
    row(&format!("{what} body"), &pingora.body, &own.body);
    row(
        &format!("{what} whole"),
        &pingora.is_whole.to_string(),
        &own.is_whole.to_string(),
    );
}

fn shortened(text: &str) -> String {
    if text.len() <= 900 {
        return text.to_owned();
    }
    format!(
        "{}...{} ({} bytes)",
        &text[..500],
        &text[text.len() - 300..],
        text.len()
    )
}
