//! The promise that the checker of the fleet's histories is worth something: every rule passes a good history and fails a bad one, a
//! real fleet that breaks a promise is found out, and a link does to bytes what it was told and nothing else.

mod fleet;
mod support;

use fleet::checker::{self, GatewayTerms, Judged, Rule, Terms};
use fleet::dice::Dice;
use fleet::fault_proxy::{Direction, Flow, Link};
use fleet::history::{Act, Answer, AppNo, Event, GatewayNo, KeyNo, Outcome, Span, Us};
use fleet::run::Run;
use fleet::setup::{GatewaySetup, Setup};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOFT: Us = 300;
const MAX: Us = 2_000;
const APP: AppNo = AppNo(0);
const KEY: KeyNo = KeyNo(0);

/// Gateway 0 asks for what it does not know, gateway 1 holds all, gateway 2 serves however stale it is.
fn terms() -> Terms {
    let gateway = |serves_stale, preloads| GatewayTerms { serves_stale, preloads };
    Terms {
        stale_soft: SOFT,
        stale_max: MAX,
        gateways: vec![gateway(false, false), gateway(false, true), gateway(true, false)],
    }
}

fn check(what: &str, events: &[Event], broken: &[Rule]) -> Judged {
    let mut history = events.to_vec();
    history.sort_by_key(Event::start);
    let (found, judged) = checker::check(&history, &terms());
    let mut rules: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    assert_eq!(rules, broken, "{what}: {found:#?}");
    judged
}

fn call(start: Us, end: Us, act: Act, outcome: Outcome) -> Event {
    let span = Span { start, end };
    Event::Call { span, act, outcome }
}

fn done(revision: u64) -> Outcome {
    Outcome::Done { revision, fleet: false }
}

fn create(start: Us, end: Us, key: usize, revision: u64) -> Event {
    call(
        start,
        end,
        Act::Create {
            key: KeyNo(key),
            app: APP,
        },
        done(revision),
    )
}

fn revoke(start: Us, end: Us, outcome: Outcome) -> Event {
    call(start, end, Act::Revoke { key: KEY }, outcome)
}

fn asked(gateway: usize, start: Us, end: Us, key: usize, status: u16) -> Event {
    Event::Request {
        span: Span { start, end },
        gateway: GatewayNo(gateway),
        life: 0,
        key: KeyNo(key),
        answer: Answer::Status(status, "key_invalid".to_owned()),
        is_last: false,
    }
}

fn last(gateway: usize, start: Us, status: u16) -> Event {
    match asked(gateway, start, start + 1, 0, status) {
        Event::Request {
            span,
            gateway,
            life,
            key,
            answer,
            ..
        } => Event::Request {
            span,
            gateway,
            life,
            key,
            answer,
            is_last: true,
        },
        other => other,
    }
}

fn reported(gateway: usize, at: Us, applied: u64) -> Event {
    told(gateway, 0, at, applied, 5)
}

fn told(gateway: usize, life: u32, at: Us, applied: u64, staleness: Us) -> Event {
    Event::Report {
        span: Span {
            start: at,
            end: at + 10,
        },
        gateway: GatewayNo(gateway),
        life,
        applied: Some(applied),
        staleness: Some(staleness),
    }
}

#[test]
fn what_was_applied_must_be_enforced() {
    let rules = [Rule::AppliedMeansEnforced];
    let ended = [create(0, 10, 0, 1), revoke(100, 110, done(2))];
    let table: &[(&str, &[Event], &[Rule])] = &[
        (
            "asked before the report",
            &[reported(0, 120, 2), asked(0, 129, 140, 0, 200)],
            &[],
        ),
        (
            "asked with the report in hand",
            &[reported(0, 120, 2), asked(0, 130, 140, 0, 200)],
            &rules,
        ),
        ("refused", &[reported(0, 120, 2), asked(0, 130, 140, 0, 403)], &[]),
        (
            "a later revision covers it",
            &[reported(0, 120, 9), asked(0, 130, 140, 0, 200)],
            &rules,
        ),
        (
            "an earlier one does not",
            &[reported(0, 120, 1), asked(0, 130, 140, 0, 200)],
            &[],
        ),
        (
            "another gateway's report says nothing",
            &[reported(1, 120, 2), asked(0, 130, 140, 0, 200)],
            &[],
        ),
        (
            "after a restart as well",
            &[told(0, 0, 120, 2, 5), told(0, 1, 150, 2, 5), asked(0, 170, 180, 0, 200)],
            &rules,
        ),
        (
            "however stale it serves",
            &[reported(2, 120, 2), asked(2, 130, 140, 0, 200)],
            &rules,
        ),
        (
            "asked while the end was not yet answered",
            &[reported(0, 101, 2), asked(0, 109, 140, 0, 200)],
            &[],
        ),
    ];
    for (what, events, broken) in table {
        check(what, &[&ended[..], events].concat(), broken);
    }
}

#[test]
fn what_was_answered_must_be_enforced_within_the_bound() {
    let rules = [Rule::EnforcedWithinStaleMax];
    let at = 110 + MAX;
    for (what, outcome, event, broken) in [
        ("at the bound", done(2), asked(0, at, at + 5, 0, 200), &[][..]),
        ("past it", done(2), asked(0, at + 1, at + 5, 0, 200), &rules),
        (
            "one that holds all keys",
            done(2),
            asked(1, at + 1, at + 5, 0, 200),
            &rules,
        ),
        ("one that serves stale", done(2), asked(2, at + 1, at + 5, 0, 200), &[]),
        (
            "it was so already",
            Outcome::Already,
            asked(0, at + 1, at + 5, 0, 200),
            &rules,
        ),
        ("nobody knows", Outcome::Unknown, asked(0, at + 1, at + 5, 0, 200), &[]),
        (
            "it was not done",
            Outcome::NotDone,
            asked(0, at + 1, at + 5, 0, 200),
            &[],
        ),
        ("no answer", done(2), asked(0, at + 1, at + 5, 0, 503), &[]),
    ] {
        check(what, &[create(0, 10, 0, 1), revoke(100, 110, outcome), event], broken);
    }
}

#[test]
fn an_end_counts_for_whom_it_ends_and_until_it_is_taken_back() {
    let rules = [Rule::EnforcedWithinStaleMax];
    let (at, later) = (110 + MAX + 1, 110 + 3 * MAX);
    let on = |start| call(start, start + 10, Act::AppOn(APP), done(3));
    let rotate = Act::Rotate {
        old: KEY,
        new: Some(KeyNo(1)),
        app: APP,
    };
    let table: &[(&str, Act, &[Event], &[Rule])] = &[
        ("rotated: the old", rotate, &[asked(0, at, at + 1, 0, 200)], &rules),
        ("rotated: the new", rotate, &[asked(0, at, at + 1, 1, 200)], &[]),
        (
            "rotated: the new is none",
            rotate,
            &[asked(0, at, at + 1, 1, 403)],
            &[Rule::ValidIsNeverUnknown],
        ),
        (
            "switched off",
            Act::AppOff(APP),
            &[asked(0, at, at + 1, 0, 200)],
            &rules,
        ),
        (
            "another app switched off",
            Act::AppOff(AppNo(7)),
            &[asked(0, at, at + 1, 0, 200)],
            &[],
        ),
        (
            "on again before",
            Act::AppOff(APP),
            &[on(200), asked(0, at, at + 1, 0, 200)],
            &[],
        ),
        (
            "on again while under way",
            Act::AppOff(APP),
            &[on(at + 1), asked(0, at, at + 2, 0, 200)],
            &[],
        ),
        (
            "on again after",
            Act::AppOff(APP),
            &[on(later), asked(0, at, at + 1, 0, 200)],
            &rules,
        ),
        (
            "deleted",
            Act::AppDelete(APP),
            &[on(200), asked(0, at, at + 1, 0, 200)],
            &rules,
        ),
    ];
    for (what, act, events, broken) in table {
        let ended = [create(0, 10, 0, 1), call(100, 110, *act, done(2))];
        check(what, &[&ended[..], events].concat(), broken);
    }
}

#[test]
fn who_waited_for_the_fleet_waited_for_all() {
    for (what, fleet, event, broken) in [
        (
            "asked afterwards",
            true,
            asked(1, 110, 120, 0, 200),
            &[Rule::FleetMeansAll][..],
        ),
        ("asked before", true, asked(1, 109, 120, 0, 200), &[]),
        ("refused", true, asked(1, 110, 120, 0, 403), &[]),
        ("one that serves stale", true, asked(2, 110, 120, 0, 200), &[]),
        ("nobody waited", false, asked(1, 110, 120, 0, 200), &[]),
    ] {
        let outcome = Outcome::Done { revision: 2, fleet };
        check(what, &[create(0, 10, 0, 1), revoke(100, 110, outcome), event], broken);
    }
}

#[test]
fn a_valid_key_is_no_unknown_key() {
    let rules = [Rule::ValidIsNeverUnknown];
    let off = call(100, 110, Act::AppOff(APP), done(2));
    let on = call(200, 210, Act::AppOn(APP), done(3));
    let (off2, on2) = (off.clone(), on.clone());
    let table: &[(&str, &[Event], &[Rule])] = &[
        ("served", &[asked(0, 11, 20, 0, 200)], &[]),
        ("no news", &[asked(0, 11, 20, 0, 503)], &[]),
        ("denied by one that asks", &[asked(0, 11, 20, 0, 403)], &rules),
        (
            "denied by one that cannot have heard",
            &[asked(1, 10 + SOFT, 320, 0, 403)],
            &[],
        ),
        (
            "denied by one that must have heard",
            &[asked(1, 11 + SOFT, 320, 0, 403)],
            &rules,
        ),
        ("denied before it was made", &[asked(0, 9, 20, 0, 403)], &[]),
        (
            "its end is under way",
            &[revoke(100, 200, Outcome::Unknown), asked(0, 90, 101, 0, 403)],
            &[],
        ),
        (
            "denied before its end began",
            &[revoke(100, 200, Outcome::Unknown), asked(0, 90, 99, 0, 403)],
            &rules,
        ),
        (
            "its end was not done",
            &[revoke(100, 110, Outcome::NotDone), asked(0, 120, 130, 0, 403)],
            &[],
        ),
        (
            "off and on, unheard of",
            &[off.clone(), on.clone(), asked(0, 210 + MAX, 3_000, 0, 403)],
            &[],
        ),
        (
            "off and on, long since",
            &[off.clone(), on.clone(), asked(0, 211 + MAX, 3_000, 0, 403)],
            &rules,
        ),
        (
            "off and on, serving stale",
            &[off, on, asked(2, 211 + MAX, 3_000, 0, 403)],
            &[],
        ),
        (
            "made while its app was off",
            &[
                off2.clone(),
                create(150, 160, 1, 3),
                on2.clone(),
                asked(0, 211, 220, 1, 403),
            ],
            &[],
        ),
        (
            "made while its app was off, on long since",
            &[off2, create(150, 160, 1, 3), on2, asked(0, 211 + MAX, 3_000, 1, 403)],
            &rules,
        ),
        (
            "something else",
            &[asked(0, 11, 20, 0, 502)],
            &[Rule::NothingElseIsAnswered],
        ),
    ];
    for (what, events, broken) in table {
        check(what, &[&[create(0, 10, 0, 1)][..], events].concat(), broken);
    }
}

#[test]
fn what_is_applied_goes_forward_without_gaps() {
    let back = [Rule::AppliedNeverGoesBack];
    let complaint = Event::Complaint {
        at: 100,
        who: "gateway 0".to_owned(),
        line: "changes are missing".to_owned(),
    };
    let restore = [Event::BackedUp { at: 5 }, Event::Restored { at: 115 }];
    let table: &[(&str, &[Event], &[Rule])] = &[
        (
            "forward",
            &[reported(0, 100, 5), reported(0, 120, 5), reported(0, 140, 7)],
            &[],
        ),
        ("back", &[reported(0, 100, 5), reported(0, 120, 4)], &back),
        ("two gateways", &[reported(0, 100, 5), reported(1, 120, 4)], &[]),
        ("two lives", &[told(0, 0, 100, 5, 5), told(0, 1, 120, 4, 5)], &[]),
        (
            "back after a restore",
            &[&restore[..], &[reported(0, 100, 5), reported(0, 120, 4)]].concat(),
            &[],
        ),
        (
            "twice back after a restore",
            &[
                &restore[..],
                &[reported(0, 100, 5), reported(0, 120, 4), reported(0, 140, 3)],
            ]
            .concat(),
            &back,
        ),
        (
            "back before a restore",
            &[&restore[..], &[reported(0, 80, 5), reported(0, 90, 4)]].concat(),
            &back,
        ),
        (
            "two reports at once, in any order",
            &[reported(0, 100, 5), reported(0, 105, 4), reported(0, 120, 5)],
            &[],
        ),
        (
            "back to what was under way before",
            &[reported(0, 100, 5), reported(0, 105, 4), reported(0, 120, 3)],
            &back,
        ),
        (
            "two reports at once after a restore",
            &[
                &restore[..],
                &[
                    reported(0, 100, 9),
                    reported(0, 120, 5),
                    reported(0, 125, 4),
                    reported(0, 140, 5),
                ],
            ]
            .concat(),
            &[],
        ),
        ("a complaint", &[complaint], &[Rule::NoComplaints]),
    ];
    for (what, events, broken) in table {
        check(what, events, broken);
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let rules = [Rule::NothingAcknowledgedIsLost];
    let table: &[(&str, &[Event], &[Rule])] = &[
        ("made", &[last(0, 900, 200)], &[]),
        (
            "made and gone",
            &[last(0, 900, 403)],
            &[Rule::ValidIsNeverUnknown, rules[0]],
        ),
        ("made and unavailable", &[last(0, 900, 503)], &rules),
        ("revoked", &[revoke(100, 110, done(2)), last(0, 900, 403)], &[]),
        (
            "revoked and back",
            &[revoke(100, 110, done(2)), last(0, 900, 200)],
            &rules,
        ),
        (
            "perhaps revoked",
            &[revoke(100, 110, Outcome::Unknown), last(0, 900, 403), last(1, 910, 403)],
            &[],
        ),
        (
            "perhaps not",
            &[revoke(100, 110, Outcome::Unknown), last(0, 900, 200), last(1, 910, 200)],
            &[],
        ),
        (
            "both",
            &[revoke(100, 110, Outcome::Unknown), last(0, 900, 200), last(1, 910, 403)],
            &[Rule::AllSeeTheSame],
        ),
        (
            "off and perhaps on",
            &[
                call(100, 110, Act::AppOff(APP), done(2)),
                call(120, 130, Act::AppOn(APP), Outcome::Unknown),
                last(0, 900, 200),
            ],
            &[],
        ),
    ];
    for (what, events, broken) in table {
        check(what, &[&[create(0, 10, 0, 1)][..], events].concat(), broken);
    }
}

#[test]
fn a_copy_of_the_store_brings_back_what_it_held() {
    let copy = [
        create(0, 10, 0, 1),
        Event::BackedUp { at: 50 },
        Event::Restored { at: 500 },
    ];
    let at = 500 + MAX;
    let table: &[(&str, &[Event], &[Rule])] = &[
        (
            "revoked after the copy, served again",
            &[revoke(100, 110, done(2)), last(0, at, 200)],
            &[],
        ),
        (
            "revoked after the copy, refused for good",
            &[revoke(100, 110, done(2)), last(0, at + 1, 403)],
            &[Rule::ValidIsNeverUnknown, Rule::NothingAcknowledgedIsLost],
        ),
        (
            "revoked before the copy, served again",
            &[revoke(20, 30, done(2)), last(0, at, 200)],
            &[Rule::EnforcedWithinStaleMax, Rule::NothingAcknowledgedIsLost],
        ),
        (
            "revoked before the copy, served past the bound",
            &[revoke(20, 30, done(2)), asked(0, 31 + MAX, at, 0, 200)],
            &[Rule::EnforcedWithinStaleMax],
        ),
        (
            "a key made after the copy is gone",
            &[create(60, 70, 1, 3), asked(0, 600, 610, 1, 403)],
            &[],
        ),
        (
            "applied in the new history",
            &[
                revoke(510, 520, done(2)),
                reported(0, 530, 2),
                asked(0, 550, 560, 0, 200),
            ],
            &[Rule::AppliedMeansEnforced],
        ),
        (
            "applied in the old history",
            &[
                revoke(510, 520, done(2)),
                told(0, 0, 530, 9, 60),
                asked(0, 550, 560, 0, 200),
            ],
            &[],
        ),
    ];
    for (what, events, broken) in table {
        check(what, &[&copy[..], events].concat(), broken);
    }
}

#[test]
fn what_was_judged_is_counted() {
    let events = [
        create(0, 10, 0, 1),
        asked(0, 20, 30, 0, 200),
        asked(0, 40, 50, 0, 503),
        revoke(100, 110, done(2)),
        reported(0, 120, 2),
        asked(0, 140, 150, 0, 403),
        last(0, 900, 403),
    ];
    let judged = check("a run", &events, &[]);
    let expected = Judged {
        admitted: 1,
        refused_ended: 2,
        forbidden: 2,
        protected: 2,
        unavailable: 1,
        calls: 2,
        unknown: 0,
        last: 1,
    };
    assert_eq!(judged, expected);
}

/// The gateway goes on serving however stale it is, and is judged as one that must refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_breaks_its_promises_is_found_out() {
    let serves_stale = GatewaySetup {
        serves_stale: true,
        ..GatewaySetup::default()
    };
    let mut run = Run::start("found-out", 31, Setup::with(vec![serves_stale])).await;
    let mut terms = run.cluster.setup.terms();
    terms.gateways[0].serves_stale = false;
    // It gets to know keys, and then hears of nothing any more.
    run.until_enough().await;
    let app = run.caller.make_app().await;
    let key = run.caller.make_key(app).await.expect("the app was just made");
    run.until_available(0, key).await;
    run.cluster.links[0].set_both(Flow::Lose);
    run.caller.revoke(key, true).await;
    let place = run.cluster.places.gateway(0).expect("it runs");
    assert!(run.asker.ask(0, place, key, false).await.admitted());
    run.outlast_trust().await;
    let (found, _) = run.judge(&terms).await;
    for rule in [Rule::EnforcedWithinStaleMax, Rule::FleetMeansAll] {
        assert!(
            found.iter().any(|violation| violation.rule == rule),
            "{rule:?}: {found:#?}"
        );
    }
    let others: Vec<_> = found
        .iter()
        .filter(|violation| ![Rule::EnforcedWithinStaleMax, Rule::FleetMeansAll].contains(&violation.rule))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn one_seed_is_one_run() {
    let throws = |seed| {
        let dice = Dice::new(seed);
        let fork = dice.fork();
        [dice.throw(), fork.throw(), dice.within(3..9), fork.throw()]
    };
    assert_eq!(throws(7), throws(7));
    assert_ne!(throws(7), throws(8));
    let dice = Dice::new(1);
    assert!((0..1_000).all(|_| (3..9).contains(&dice.within(3..9))));
}

/// A link to a far end that this test holds, and one connection through it.
struct Wire {
    link: Link,
    far: TcpListener,
    near: TcpStream,
    end: TcpStream,
}

async fn wire() -> Wire {
    let far = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let link = Link::start(far.local_addr().expect("an address"), Dice::new(3)).await;
    let (near, end) = connect(link.address, &far).await;
    Wire { link, far, near, end }
}

async fn connect(to: SocketAddr, far: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(to).await.expect("the link takes it");
    let (end, _) = far.accept().await.expect("the link leads on");
    (near, end)
}

/// What can be read until nothing comes for a while; true when the connection is over.
async fn read(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match tokio::time::timeout(Duration::from_millis(150), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(count)) => all.extend(&buffer[..count]),
            Err(_) => return (all, false),
        }
    }
}

#[tokio::test]
async fn a_link_passes_all_bytes_in_order_and_the_end_of_them() {
    let mut wire = wire().await;
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        wire.near.write_all(&sent).await.expect("it takes all");
        wire.near.shutdown().await.expect("it hears the end");
        wire.near
    });
    let mut came = Vec::new();
    wire.end.read_to_end(&mut came).await.expect("all comes");
    assert!(came == expected, "every byte in its place");
    assert_eq!(wire.link.passed(Direction::ToControl), 400_000);
    wire.end.write_all(b"bye").await.expect("the other way is open");
    drop(wire.end);
    let mut near = writing.await.expect("written");
    assert_eq!(read(&mut near).await, (b"bye".to_vec(), true));
}

#[tokio::test]
async fn a_link_fails_as_it_is_told() {
    let mut wire = wire().await;
    let Wire { link, far, near, end } = &mut wire;

    link.set(Direction::ToGateway, Flow::Keep);
    end.write_all(b"kept").await.expect("taken");
    near.write_all(b"the other way").await.expect("taken");
    assert_eq!(read(end).await, (b"the other way".to_vec(), false));
    assert_eq!(read(near).await, (Vec::new(), false));
    link.heal();
    assert_eq!(read(near).await, (b"kept".to_vec(), false));

    link.set(Direction::ToGateway, Flow::Slow(100));
    end.write_all(&[b'x'; 200]).await.expect("taken");
    let (some, over) = read(near).await;
    assert!(!over);
    assert!(some.len() < 200 || link.passed(Direction::ToGateway) >= 204);
    link.heal();
    let (rest, _) = read(near).await;
    assert_eq!(some.len() + rest.len(), 200);

    link.set(Direction::ToGateway, Flow::CutAfter(3));
    end.write_all(b"abcdef").await.expect("taken");
    assert_eq!(read(near).await, (b"abc".to_vec(), true));
    assert!(read(end).await.1, "the far end is reset too");
    link.heal();
    (*near, *end) = connect(link.address, far).await;

    link.set_both(Flow::Lose);
    end.write_all(b"lost").await.expect("taken");
    near.write_all(b"lost too").await.expect("taken");
    assert_eq!(read(near).await, (Vec::new(), false));
    assert_eq!(read(end).await, (Vec::new(), false));
    link.heal();
    assert_eq!(read(near).await, (Vec::new(), true), "what lost bytes goes no further");

    (*near, *end) = connect(link.address, far).await;
    link.refuse();
    let mut refused = TcpStream::connect(link.address).await.expect("the port is there");
    assert!(read(&mut refused).await.1, "no new connection");
    near.write_all(b"old").await.expect("taken");
    assert_eq!(read(end).await, (b"old".to_vec(), false), "the old one stays");
    link.cut();
    assert!(read(near).await.1);
    assert!(read(end).await.1);

    link.heal();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (*near, *end) = connect(link.address, far).await;
    link.lead_to(elsewhere.local_addr().expect("an address"));
    assert!(read(near).await.1, "it is cut");
    let (mut near, mut end) = connect(link.address, &elsewhere).await;
    near.write_all(b"there").await.expect("taken");
    assert_eq!(read(&mut end).await, (b"there".to_vec(), false));
}
