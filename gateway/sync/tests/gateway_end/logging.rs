//! What goes wrong is said once, not at each attempt, and without the token.

use crate::control_end::{ControlEnd, TOKEN, at};
use crate::gateway::Setup;
use parking_lot::Mutex;
use std::fmt::Write;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps what is logged as a warning or worse, with the thread that logged it: each test has one of its own.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(ThreadId, String)>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        assert!(!text.0.contains(TOKEN), "{}", text.0);
        if *event.metadata().level() <= Level::WARN && event.metadata().target().starts_with("portcullis") {
            self.0.lock().push((std::thread::current().id(), text.0));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_cause_is_logged_when_it_is_new_and_when_it_comes_back() {
    let log = Log::default();
    // For the whole process: what other tests log must not turn off what this one waits for.
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let mut control = ControlEnd::start().await;
    control.answer_watches(401);
    let setup = Setup {
        stale_max: Duration::from_millis(100),
        ..Setup::new(control.url())
    };
    let gateway = setup.start();
    gateway.until_status(|status| status.reconnects >= 4).await;
    control.answer_watches(404);
    let seen = gateway.handle.status().reconnects;
    gateway.until_status(|status| status.reconnects >= seen + 4).await;
    control.answer_watches(200);
    let mut watch = control.watch().await;
    watch.welcome().await;
    watch.reset(at(1)).await;
    watch.until_acknowledged(at(1)).await;
    gateway.handle.synchronised().await.unwrap();
    control.answer_watches(404);
    let seen = gateway.handle.status().reconnects;
    watch.break_off().await;
    gateway.until_status(|status| status.reconnects >= seen + 4).await;
    let here = std::thread::current().id();
    let logged = log.0.lock();
    let logged: Vec<&String> = logged
        .iter()
        .filter_map(|(thread, line)| (*thread == here).then_some(line))
        .collect();
    let count = |cause: &str| logged.iter().filter(|line| line.contains(cause)).count();
    assert_eq!(count("unknown or was revoked"), 1, "{logged:?}");
    assert_eq!(count("knows no gateways"), 2, "{logged:?}");
    assert_eq!(count("broke"), 1, "{logged:?}");
    assert_eq!(
        count("read again before it is used"),
        0,
        "nothing was held yet: {logged:?}"
    );
    assert_eq!(logged.len(), 4, "{logged:?}");
}
