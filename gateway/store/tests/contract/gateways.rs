use crate::{Fresh, SECOND_US, fresh, refused};
use jiff::{SignedDuration, Timestamp};
use portcullis_store::GatewayRow;
use portcullis_store::entity::TokenKind;
use portcullis_verify::Version;

/// A fresh store with a gateway token, whose id is answered.
async fn with_token() -> (Fresh, i64) {
    let it = fresh().await;
    let token = it
        .store
        .create_token(it.deployment, TokenKind::Gateway, "edge", &[], [1; 32])
        .await
        .unwrap();
    (it, token.value.id)
}

fn after(it: &Fresh, seconds: i64) -> Timestamp {
    it.now() + SignedDuration::from_secs(seconds)
}

/// A gateway that was welcomed and seen now, and counts for so many seconds.
fn row(it: &Fresh, token_id: i64, gateway_id: &str, control_id: &str, counts_s: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: gateway_id.into(),
        deployment_id: it.deployment,
        token_id,
        name: "edge-1".into(),
        version: "0.1.0".into(),
        address: "192.0.2.1:5000".into(),
        control_id: control_id.into(),
        applied: Version { epoch: 5, revision: 7 },
        staleness_ms: 3,
        stale_max_ms: 30_000,
        serves_stale: true,
        is_connected: true,
        welcomed_at: it.now(),
        seen_at: it.now(),
        counts_until: after(it, counts_s),
    }
}

async fn listed(it: &Fresh) -> Vec<GatewayRow> {
    it.store.list_gateways(it.deployment, it.now()).await.unwrap()
}

#[tokio::test]
async fn what_is_noted_is_listed_and_takes_no_revision() {
    let (it, token) = with_token().await;
    let version = it.store.current_version().await.unwrap();
    let committed = *it.store.committed().borrow();
    let mut one = row(&it, token, "a", "c1", 40);
    let two = GatewayRow {
        applied: Version { epoch: 0, revision: 0 },
        serves_stale: false,
        ..row(&it, token, "b", "c1", 40)
    };
    it.store.note_gateways(&[two.clone(), one.clone()]).await.unwrap();
    it.store.note_gateways(&[]).await.unwrap();
    assert_eq!(listed(&it).await, [one.clone(), two.clone()]);

    // A renewal says all of it anew; what a stranger calls himself does no harm.
    it.time.advance_us(SECOND_US);
    one.applied.revision = 8;
    one.name = "nul\0led".into();
    one.seen_at = it.now();
    one.counts_until = after(&it, 40);
    it.store.note_gateways(std::slice::from_ref(&one)).await.unwrap();
    one.name = "nulled".into();
    assert_eq!(listed(&it).await, [one, two]);
    assert_eq!(it.store.current_version().await.unwrap(), version);
    assert_eq!(*it.store.committed().borrow(), committed);

    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    assert_eq!(it.store.list_gateways(tenant, it.now()).await.unwrap(), []);
}

#[tokio::test]
async fn what_no_gateway_reports_is_refused_whole() {
    let (it, token) = with_token().await;
    let good = row(&it, token, "a", "c1", 40);
    let bad = GatewayRow {
        staleness_ms: u64::MAX,
        ..row(&it, token, "b", "c1", 40)
    };
    let refusal = it.store.note_gateways(&[good, bad]).await;
    refused(refusal, "a gateway reports a number past 2^63");
    assert_eq!(listed(&it).await, []);
}

#[tokio::test]
async fn only_the_end_of_its_own_connection_shortens_how_long_a_gateway_counts() {
    let (it, token) = with_token().await;
    let check = async |noted: &[GatewayRow], is_connected: bool, counts_s: i64| {
        it.store.note_gateways(noted).await.unwrap();
        let [seen] = &listed(&it).await[..] else {
            panic!("{:?}", listed(&it).await)
        };
        let counts_for = seen.counts_until.duration_since(it.now()).as_secs();
        assert_eq!((seen.is_connected, counts_for), (is_connected, counts_s));
    };
    let connected = |counts_s| row(&it, token, "a", "c1", counts_s);
    let ended = |counts_s| GatewayRow {
        is_connected: false,
        ..connected(counts_s)
    };
    let later = |row: GatewayRow| GatewayRow {
        welcomed_at: after(&it, 1),
        ..row
    };
    check(&[connected(40)], true, 40).await;
    // A renewal that was slower than the next one.
    check(&[connected(30)], true, 40).await;
    check(&[connected(50)], true, 50).await;
    // Its last pong was sent a while ago.
    check(&[ended(20)], false, 20).await;
    // It came back, and only then the end of the first connection is noted.
    check(&[later(connected(45)), ended(10)], true, 45).await;
    check(&[ended(10)], true, 45).await;
    check(&[later(ended(15))], false, 15).await;
    // Whatever another control process says of its own connection.
    let other = |row: GatewayRow| GatewayRow {
        control_id: "c2".into(),
        seen_at: after(&it, 2),
        ..row
    };
    check(&[other(connected(60)), ended(5)], true, 60).await;
    check(&[other(ended(5))], false, 15).await;
}

#[tokio::test]
async fn of_several_control_processes_the_one_that_saw_it_last_is_listed() {
    let (it, token) = with_token().await;
    let check = async |earlier: (u64, u64), latest: (u64, u64), applied: (u64, u64)| {
        let version = |(epoch, revision)| Version { epoch, revision };
        let earlier = GatewayRow {
            applied: version(earlier),
            ..row(&it, token, "a", "c1", 90)
        };
        let latest = GatewayRow {
            applied: version(latest),
            seen_at: after(&it, 3),
            address: "198.51.100.1:7".into(),
            ..row(&it, token, "a", "c2", 40)
        };
        it.store
            .note_gateways(&[latest.clone(), earlier.clone()])
            .await
            .unwrap();
        let merged = GatewayRow {
            applied: version(applied),
            counts_until: earlier.counts_until,
            ..latest
        };
        assert_eq!(listed(&it).await, [merged]);
    };
    check((1, 5), (1, 7), (1, 7)).await;
    // It has applied what it has applied, whoever heard of it.
    check((1, 7), (1, 5), (1, 7)).await;
    check((2, 9), (1, 5), (1, 5)).await;
}

#[tokio::test]
async fn who_neither_was_seen_nor_counts_is_not_listed_and_later_forgotten() {
    let (it, token) = with_token().await;
    let rows = [
        row(&it, token, "long", "c1", 20_000),
        row(&it, token, "moved", "c1", 40),
        GatewayRow {
            seen_at: after(&it, 1),
            ..row(&it, token, "moved", "c2", 20_000)
        },
        row(&it, token, "short", "c1", 40),
    ];
    it.store.note_gateways(&rows).await.unwrap();
    let ids = async |seen_after| -> Vec<String> {
        let rows = it.store.list_gateways(it.deployment, seen_after).await.unwrap();
        rows.into_iter().map(|row| row.gateway_id).collect()
    };
    assert_eq!(ids(after(&it, 40)).await, ["long", "moved", "short"]);
    assert_eq!(ids(after(&it, 41)).await, ["long", "moved"]);

    // Nobody who may still count, by any clock, is forgotten.
    assert_eq!(it.store.forget_gateways(after(&it, 30_000)).await.unwrap(), 0);
    it.time.advance_us(7_200 * SECOND_US);
    // The row that another one has superseded is of no use, whenever it was seen.
    assert_eq!(it.store.forget_gateways(Timestamp::MIN).await.unwrap(), 1);
    assert_eq!(ids(Timestamp::MIN).await, ["long", "moved", "short"]);
    assert_eq!(it.store.forget_gateways(it.now()).await.unwrap(), 1);
    assert_eq!(ids(Timestamp::MIN).await, ["long", "moved"]);
}

#[tokio::test]
async fn thousands_are_noted_at_once() {
    let (it, token) = with_token().await;
    let rows: Vec<GatewayRow> = (0..3_000)
        .map(|number| row(&it, token, &format!("{number:04}"), "c1", 40))
        .collect();
    for _ in 0..2 {
        it.store.note_gateways(&rows).await.unwrap();
        assert_eq!(listed(&it).await, rows);
    }
}
