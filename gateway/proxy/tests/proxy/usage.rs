//! What each key was used for is counted, by how it ended; what has no known key is not.

use crate::client::ask;
use crate::gateway::{get_with, start_with};
use crate::upstream::upstream;
use portcullis_record::usage::UsageOutcome;

#[tokio::test]
async fn each_decision_on_a_known_key_is_counted_once_by_how_it_ended() {
    let gateway = start_with(&[upstream().await.address], |setup| setup.allowance = 2).await;
    let second = gateway.issue(|_| {});
    let revoked = gateway.issue(|record| record.revoked_at_us = Some(0));
    let before_us = gateway.verifier.clock().now().wall_us;
    let unknown = portcullis_verify::Secret::generate("sk_test").unwrap();
    for (key, status) in [
        (gateway.key.as_str(), 200),
        (&second, 200),
        (&second, 429),
        (&second, 429),
        (&revoked, 403),
        (unknown.expose(), 403),
        ("junk", 403),
    ] {
        let answer = ask(gateway.address, get_with(key, "/", "")).await;
        assert_eq!(answer.status, status, "{}", answer.head);
    }
    // No route, so no decision.
    let elsewhere = start_with(&[upstream().await.address], |setup| setup.routes.clear()).await;
    ask(elsewhere.address, elsewhere.get("/", "")).await;
    elsewhere.usage.gather();
    assert_eq!(elsewhere.usage.take(usize::MAX), []);

    let after_us = gateway.verifier.clock().now().wall_us;
    gateway.usage.gather();
    let mut counts = Vec::new();
    for row in gateway.usage.take(usize::MAX) {
        assert!((before_us..=after_us).contains(&row.last_at_us), "{row:?}");
        assert_eq!(row.minute, row.last_at_us.div_euclid(60_000_000));
        counts.push((row.key_id.0, format!("{:?}", row.outcome), row.count));
    }
    counts.sort();
    let named = |outcome: UsageOutcome| format!("{outcome:?}");
    assert_eq!(
        counts,
        [
            (1, named(UsageOutcome::Allowed), 1),
            (2, named(UsageOutcome::Allowed), 1),
            (2, named(UsageOutcome::RateLimited("per_key-60s".into())), 2),
            (3, named(UsageOutcome::Denied("key_revoked".into())), 1),
        ]
    );
}
