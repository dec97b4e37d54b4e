//! Rate-limit schemes: create, get, list, update, delete, with every unit and mode that this version of the crate knows.

use crate::connection::{client, fresh};
use wacht::WachtClient;
use wacht::api::api_keys::{
    CreateRateLimitSchemeRequest, RateLimit, RateLimitMode, RateLimitScheme, RateLimitUnit,
    UpdateRateLimitSchemeRequest,
};

/// A rule per key over `duration` units.
pub(crate) fn rule(unit: RateLimitUnit, duration: i32, max_requests: i32) -> RateLimit {
    RateLimit {
        unit,
        duration,
        max_requests,
        mode: Some(RateLimitMode::PerKey),
        endpoints: None,
        priority: 0,
    }
}

/// Creates a scheme of `rules`.
pub(crate) async fn new_scheme(client: &WachtClient, stem: &str, rules: Vec<RateLimit>) -> RateLimitScheme {
    let request = CreateRateLimitSchemeRequest {
        slug: fresh(stem),
        name: "A scheme".to_owned(),
        description: None,
        rules,
    };
    client
        .api_keys()
        .create_rate_limit_scheme(request)
        .send()
        .await
        .expect("the scheme is created")
}

/// `rules` as JSON, since the crate's type cannot be compared.
fn text(rules: &[RateLimit]) -> serde_json::Value {
    serde_json::to_value(rules).expect("rules are JSON")
}

#[tokio::test]
async fn every_unit_is_read_back_as_it_was_written() {
    let client = client();
    let units = [
        (RateLimitUnit::Millisecond, 60_000),
        (RateLimitUnit::Second, 1_800),
        (RateLimitUnit::Minute, 1_440),
        (RateLimitUnit::Hour, 720),
        (RateLimitUnit::Day, 30),
        (RateLimitUnit::CalendarDay, 1),
        (RateLimitUnit::Month, 1),
        (RateLimitUnit::CalendarMonth, 1),
    ];
    let rules: Vec<_> = units
        .into_iter()
        .map(|(unit, longest)| rule(unit, longest, i32::MAX))
        .collect();
    let scheme = new_scheme(&client, "units", rules.clone()).await;
    assert_eq!(text(&scheme.rules), text(&rules));
    let read = client
        .api_keys()
        .get_rate_limit_scheme(&scheme.slug)
        .send()
        .await
        .expect("read back");
    assert_eq!(text(&read.rules), text(&rules));
}

#[tokio::test]
async fn every_mode_is_read_back_as_it_was_written() {
    let client = client();
    let modes = [
        None,
        Some(RateLimitMode::PerApp),
        Some(RateLimitMode::PerKey),
        Some(RateLimitMode::PerKeyAndIp),
        Some(RateLimitMode::PerAppAndIp),
    ];
    let rules: Vec<_> = modes
        .into_iter()
        .enumerate()
        .map(|(at, mode)| RateLimit {
            mode,
            endpoints: (at % 2 == 0).then(|| vec!["/v1/*".to_owned(), "/health".to_owned()]),
            priority: i32::try_from(at).expect("few rules"),
            ..rule(RateLimitUnit::Second, 1, 10)
        })
        .collect();
    let scheme = new_scheme(&client, "modes", rules.clone()).await;
    assert_eq!(text(&scheme.rules), text(&rules));
}

#[tokio::test]
async fn a_scheme_is_created_listed_updated_and_deleted() {
    let client = client();
    let request = CreateRateLimitSchemeRequest {
        slug: fresh("scheme"),
        name: "Burst and day".to_owned(),
        description: Some("Two rules".to_owned()),
        rules: vec![rule(RateLimitUnit::Second, 10, 5), rule(RateLimitUnit::Day, 1, 1_000)],
    };
    let created = client
        .api_keys()
        .create_rate_limit_scheme(request.clone())
        .send()
        .await
        .expect("created");
    assert!(created.id.parse::<i64>().expect("an id is a number") > 0);
    assert!(created.deployment_id.parse::<i64>().expect("an id is a number") > 0);
    assert_eq!((&created.slug, &created.name), (&request.slug, &request.name));
    assert_eq!(created.description.as_deref(), Some("Two rules"));
    assert!(created.created_at <= created.updated_at);

    let listed = client
        .api_keys()
        .list_rate_limit_schemes()
        .send()
        .await
        .expect("listed");
    assert_eq!(listed.iter().filter(|scheme| scheme.slug == request.slug).count(), 1);

    // The crate sends null for what is left out: that must change nothing.
    let nothing = UpdateRateLimitSchemeRequest::default();
    let same = client
        .api_keys()
        .update_rate_limit_scheme(&request.slug, nothing)
        .send()
        .await
        .expect("unchanged");
    assert_eq!(
        (same.name.as_str(), same.description.as_deref()),
        ("Burst and day", Some("Two rules"))
    );
    assert_eq!(text(&same.rules), text(&request.rules));

    let changes = UpdateRateLimitSchemeRequest {
        name: Some("Hour".to_owned()),
        description: Some("One rule".to_owned()),
        rules: Some(vec![rule(RateLimitUnit::Hour, 1, 7)]),
    };
    let changed = client
        .api_keys()
        .update_rate_limit_scheme(&request.slug, changes)
        .send()
        .await
        .expect("updated");
    assert_eq!(
        (changed.name.as_str(), changed.description.as_deref()),
        ("Hour", Some("One rule"))
    );
    assert_eq!(text(&changed.rules), text(&[rule(RateLimitUnit::Hour, 1, 7)]));

    client
        .api_keys()
        .delete_rate_limit_scheme(&request.slug)
        .send()
        .await
        .expect("deleted");
    let error = client
        .api_keys()
        .get_rate_limit_scheme(&request.slug)
        .send()
        .await
        .expect_err("it is gone");
    assert_eq!(error.status_code().map(|status| status.as_u16()), Some(404));
}
