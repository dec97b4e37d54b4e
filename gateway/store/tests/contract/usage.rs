use crate::{Fresh, HOUR, SECOND_US, fresh, new_key, refused};
use portcullis_record::usage::{USAGE_ROWS_MAX, UsageOutcome, UsageRow};
use portcullis_store::KeyUsage;
use portcullis_verify::{DeploymentId, KeyId};
use std::time::Duration;

const MINUTE_US: i64 = 60_000_000;

fn minute(it: &Fresh) -> i64 {
    it.now().as_microsecond() / MINUTE_US
}

fn used(it: &Fresh, key_id: KeyId, count: u64) -> UsageRow {
    UsageRow {
        key_id,
        minute: minute(it),
        outcome: UsageOutcome::Allowed,
        count,
        last_at_us: it.now().as_microsecond(),
    }
}

/// Everything that is known of a key, as minutes before now, outcomes and counts.
async fn usage(it: &Fresh, key_id: KeyId) -> Vec<(i64, UsageOutcome, u64)> {
    let now = minute(it);
    let rows = it
        .store
        .usage_of_key(it.deployment, key_id, 0..=i64::MAX)
        .await
        .unwrap();
    rows.into_iter()
        .map(|KeyUsage { minute, outcome, count }| (now - minute, outcome, count))
        .collect()
}

async fn last_used_us(it: &Fresh, id: KeyId) -> Option<i64> {
    let key = it.store.get_key(it.deployment, id).await.unwrap();
    key.last_used_at.map(|at| at.as_microsecond())
}

#[tokio::test]
async fn a_batch_counts_once_however_often_it_comes() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let version = it.store.current_version().await.unwrap();
    let rows = [used(&it, key, 3)];
    for (batch, is_new, count) in [(1, true, 3), (1, false, 3), (2, true, 6), (1, false, 6)] {
        let recorded = it.store.record_usage(it.deployment, [batch; 16], &rows).await.unwrap();
        assert_eq!(recorded, is_new);
        assert_eq!(usage(&it, key).await, [(0, UsageOutcome::Allowed, count)]);
    }
    // Another tenant's batch of the same id is another batch.
    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    assert!(it.store.record_usage(tenant, [1; 16], &[]).await.unwrap());
    let head = it.store.current_version().await.unwrap();
    assert_eq!(head.revision, version.revision + 1, "only the tenant is a change");
}

#[tokio::test]
async fn counts_are_kept_by_minute_and_outcome() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let row = |minutes_ago, outcome: &UsageOutcome, count| UsageRow {
        minute: minute(&it) - minutes_ago,
        outcome: outcome.clone(),
        count,
        ..used(&it, key, 1)
    };
    let limited = UsageOutcome::RateLimited("per_key-60s".into());
    let denied = UsageOutcome::Denied("permission: denied".into());
    let rows = [
        row(0, &denied, 1),
        row(1, &UsageOutcome::Allowed, 2),
        row(0, &limited, 4),
        // Said twice in one batch, it adds up.
        row(0, &denied, 8),
        // From a clock that is ahead: now.
        row(-5, &limited, 16),
    ];
    it.store.record_usage(it.deployment, [1; 16], &rows).await.unwrap();
    assert_eq!(
        usage(&it, key).await,
        [
            (1, UsageOutcome::Allowed, 2),
            (0, denied.clone(), 9),
            (0, limited.clone(), 20)
        ]
    );
    let now = minute(&it);
    let of = async |minutes| it.store.usage_of_key(it.deployment, key, minutes).await.unwrap().len();
    assert_eq!(of(now..=now).await, 2);
    assert_eq!(of(now - 1..=now - 1).await, 1);
    assert_eq!(of(now + 1..=now).await, 0);
}

#[tokio::test]
async fn last_used_only_rises_and_never_past_now() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let now_us = it.now().as_microsecond();
    let mut batch = 0;
    let mut check = async |outcome, last_at_us, known_us| {
        batch += 1;
        let row = UsageRow {
            outcome,
            last_at_us,
            ..used(&it, key, 1)
        };
        it.store.record_usage(it.deployment, [batch; 16], &[row]).await.unwrap();
        assert_eq!(last_used_us(&it, key).await, Some(known_us));
    };
    let denied = || UsageOutcome::Denied("revoked".into());
    check(denied(), now_us - 9, now_us - 9).await;
    check(UsageOutcome::Allowed, now_us - 20, now_us - 9).await;
    check(UsageOutcome::Allowed, now_us - 5, now_us - 5).await;
    check(denied(), now_us + 60 * MINUTE_US, now_us).await;
}

#[tokio::test]
async fn no_tenant_counts_for_another() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    let rows = [used(&it, key, 3), used(&it, KeyId(7), 3)];
    assert!(it.store.record_usage(tenant, [1; 16], &rows).await.unwrap());
    assert_eq!(usage(&it, key).await, []);
    assert_eq!(last_used_us(&it, key).await, None);
    it.store.record_usage(it.deployment, [1; 16], &rows).await.unwrap();
    assert_eq!(usage(&it, key).await.len(), 1);
    assert_eq!(it.store.usage_of_key(tenant, key, 0..=i64::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn a_process_that_decides_for_all_tenants_counts_for_all() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    it.store.create_app(tenant, crate::new_app("it")).await.unwrap();
    let theirs = it.store.create_key(tenant, "it", new_key(2)).await.unwrap().value.id;
    let rows = [used(&it, key, 3), used(&it, theirs, 4), used(&it, KeyId(7), 5)];
    for is_new in [true, false] {
        assert_eq!(it.store.record_usage_of_all([1; 16], &rows).await.unwrap(), is_new);
    }
    let of = async |deployment, key| {
        let rows = it.store.usage_of_key(deployment, key, 0..=i64::MAX).await.unwrap();
        rows.into_iter().map(|row| row.count).collect::<Vec<_>>()
    };
    assert_eq!(
        (of(it.deployment, key).await, of(tenant, theirs).await),
        (vec![3], vec![4])
    );
}

#[tokio::test]
async fn what_no_gateway_sends_is_refused_whole() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let good = || used(&it, key, 1);
    let check = async |bad: UsageRow, message: &str| {
        refused(
            it.store.record_usage(it.deployment, [1; 16], &[good(), bad]).await,
            message,
        );
        assert_eq!(usage(&it, key).await, []);
    };
    check(UsageRow { count: 0, ..good() }, "rows: no minute has 0 requests").await;
    check(
        UsageRow {
            count: u64::MAX,
            ..good()
        },
        "rows: no minute has 18446744073709551615 requests",
    )
    .await;
    for rule in ["x".repeat(200), "\0".into()] {
        let outcome = UsageOutcome::RateLimited(rule);
        check(
            UsageRow { outcome, ..good() },
            "rows: an outcome is at most 200 bytes of text",
        )
        .await;
    }
    let many = vec![good(); USAGE_ROWS_MAX + 1];
    refused(
        it.store.record_usage(it.deployment, [1; 16], &many).await,
        "rows: a batch has at most 5000 rows",
    );
    // The id was not used up.
    assert!(it.store.record_usage(it.deployment, [1; 16], &many[1..]).await.unwrap());
    let all = u64::try_from(USAGE_ROWS_MAX).unwrap();
    assert_eq!(usage(&it, key).await, [(0, UsageOutcome::Allowed, all)]);
}

#[tokio::test]
async fn old_counts_and_batches_are_compacted() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let first_minute = minute(&it);
    it.store
        .record_usage(it.deployment, [1; 16], &[used(&it, key, 3)])
        .await
        .unwrap();
    it.time.advance_us(u64::try_from(HOUR.as_micros()).unwrap() * 24 * 7);
    it.store
        .record_usage(it.deployment, [2; 16], &[used(&it, key, 5)])
        .await
        .unwrap();
    assert_eq!(it.store.compact_usage(first_minute).await.unwrap(), 0);
    assert_eq!(usage(&it, key).await.len(), 2);
    // Both the minute and the batch.
    it.time.advance_us(SECOND_US);
    assert_eq!(it.store.compact_usage(first_minute + 1).await.unwrap(), 2);
    assert_eq!(usage(&it, key).await.len(), 1);
    let again = async |batch| {
        let row = [used(&it, key, 1)];
        it.store.record_usage(it.deployment, [batch; 16], &row).await.unwrap()
    };
    assert_eq!((again(1).await, again(2).await), (true, false));
}

/// As after an error half-way: the pieces that were recorded are not recorded again, and those that were not are.
#[tokio::test]
async fn a_large_batch_that_was_cut_short_is_completed() {
    let it = fresh().await;
    it.app("it").await;
    let key = it.key("it", 1).await.id;
    let rows = vec![used(&it, key, 1); 1_234];
    let record = async |rows: &[UsageRow]| it.store.record_usage(it.deployment, [1; 16], rows).await.unwrap();
    assert!(record(&rows[..500]).await);
    assert_eq!(usage(&it, key).await, [(0, UsageOutcome::Allowed, 500)]);
    for is_new in [true, false] {
        assert_eq!(record(&rows).await, is_new);
        assert_eq!(usage(&it, key).await, [(0, UsageOutcome::Allowed, 1_234)]);
    }
}

/// Batches of the same keys from several gateways, through several processes, and keys that change meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_whoever_reports() {
    const REPORTERS: u8 = 4;
    const BATCHES: u8 = 10;
    let it = fresh().await;
    it.app("it").await;
    let mut keys = vec![];
    for number in 1..=40 {
        keys.push(it.key("it", number).await.id);
    }
    let mut tasks = vec![];
    for reporter in 0..REPORTERS {
        let store = if reporter % 2 == 0 {
            it.store.clone()
        } else {
            it.open_again().await
        };
        let mut rows: Vec<UsageRow> = keys.iter().map(|key| used(&it, *key, 1)).collect();
        if reporter > 1 {
            rows.reverse();
        }
        let deployment: DeploymentId = it.deployment;
        tasks.push(tokio::spawn(async move {
            for batch in 0..BATCHES {
                // Each twice, as after an answer that was lost.
                for is_new in [true, false] {
                    let id = [16 * reporter + batch; 16];
                    assert_eq!(store.record_usage(deployment, id, &rows).await.unwrap(), is_new);
                }
            }
        }));
    }
    for number in 41..=60 {
        it.store.create_key(it.deployment, "it", new_key(number)).await.unwrap();
        let revoked = keys[usize::from(number) - 41];
        it.store
            .revoke_key(it.deployment, None, revoked, None, it.now())
            .await
            .unwrap();
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .unwrap()
            .unwrap();
    }
    for key in keys {
        let total = u64::from(REPORTERS) * u64::from(BATCHES);
        assert_eq!(usage(&it, key).await, [(0, UsageOutcome::Allowed, total)]);
    }
}
