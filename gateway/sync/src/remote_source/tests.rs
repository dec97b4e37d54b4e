use super::*;
use crate::scripted_reader::{Script, record, scripted};
use portcullis_verify::{KeyId, Moment, Version};

const AS_OF: Version = Version { epoch: 7, revision: 3 };
const START: Moment = Moment {
    monotonic_us: 1_000_000,
    wall_us: 0,
};

fn hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
}

fn source(calls_max: usize) -> (Arc<RemoteSource>, Script) {
    let (reader, script) = scripted();
    let settings = RemoteSourceSettings {
        calls_max,
        ..RemoteSourceSettings::default()
    };
    let (clock, _) = Clock::manual(START);
    (Arc::new(RemoteSource::over(reader, settings, clock)), script)
}

type Asking = tokio::task::JoinHandle<Result<Fetched, SourceError>>;

fn ask(source: &Arc<RemoteSource>, number: u8) -> Asking {
    let source = Arc::clone(source);
    tokio::spawn(async move { source.fetch(&hash(number)).await })
}

#[tokio::test]
async fn look_ups_that_come_together_are_asked_together_and_answered_each() {
    let (source, script) = source(1);
    let first = ask(&source, 1);
    let call = script.look_up().await;
    assert_eq!(call.hashes, [hash(1)]);
    // The only place is taken: these gather.
    let later: Vec<Asking> = (2..=6).map(|number| ask(&source, number)).collect();
    while source.stats().look_ups < 6 {
        tokio::task::yield_now().await;
    }
    call.answer(AS_OF, |_| None);
    assert!(first.await.unwrap().unwrap().record.is_none());
    let call = script.look_up().await;
    assert_eq!(call.hashes, (2..=6).map(hash).collect::<Vec<_>>());
    call.answer(AS_OF, |hash| (hash.0[0] % 2 == 0).then(|| record(i64::from(hash.0[0]))));
    for (number, asking) in (2..=6_u8).zip(later) {
        let fetched = asking.await.unwrap().unwrap();
        assert_eq!(fetched.as_of, AS_OF);
        let expected = (number % 2 == 0).then(|| KeyId(i64::from(number)));
        assert_eq!(fetched.record.map(|record| record.key_id), expected);
    }
    assert_eq!(source.stats().calls, 2);
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_may_be() {
    let (source, script) = source(2);
    let mut asking = Vec::new();
    let mut under_way = Vec::new();
    for number in [1, 2] {
        asking.push(ask(&source, number));
        under_way.push(script.look_up().await);
    }
    asking.extend([ask(&source, 3), ask(&source, 4)]);
    while source.stats().look_ups < 4 {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(script.try_look_up().is_none(), "both places are taken");
    under_way.remove(1).answer(AS_OF, |_| None);
    let call = script.look_up().await;
    assert_eq!(call.hashes, [hash(3), hash(4)]);
    call.answer(AS_OF, |_| None);
    under_way.remove(0).answer(AS_OF, |_| None);
    for asking in asking {
        asking.await.unwrap().unwrap();
    }
    assert_eq!(source.stats().calls, 3);
}

#[tokio::test]
async fn who_has_left_is_not_asked_for() {
    let (source, script) = source(1);
    let first = ask(&source, 1);
    let call = script.look_up().await;
    let (leaving, staying) = (ask(&source, 2), ask(&source, 3));
    while source.stats().look_ups < 3 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    call.answer(AS_OF, |_| None);
    let call = script.look_up().await;
    assert_eq!(call.hashes, [hash(3)]);
    call.answer(AS_OF, |_| None);
    first.await.unwrap().unwrap();
    staying.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_in_halves() {
    let (source, script) = source(1);
    let first = ask(&source, 9);
    let call = script.look_up().await;
    let asking: Vec<Asking> = (1..=4).map(|number| ask(&source, number)).collect();
    while source.stats().look_ups < 5 {
        tokio::task::yield_now().await;
    }
    call.answer(AS_OF, |_| None);
    first.await.unwrap().unwrap();
    script.look_up().await.fail(LinkError::TooLong);
    for half in [[1, 2], [3, 4]] {
        let call = script.look_up().await;
        assert_eq!(call.hashes, half.map(hash));
        call.answer(AS_OF, |hash| Some(record(i64::from(hash.0[0]))));
    }
    for (number, asking) in (1..=4).zip(asking) {
        let found = asking.await.unwrap().unwrap().record.unwrap();
        assert_eq!(found.key_id, KeyId(number));
    }
    // One key alone that is too long is an error, not a loop.
    let alone = ask(&source, 5);
    script.look_up().await.fail(LinkError::TooLong);
    assert!(alone.await.unwrap().is_err());
}

#[tokio::test]
async fn a_dead_control_api_costs_a_miss_no_wait_and_its_return_is_noticed() {
    let (reader, script) = scripted();
    let (clock, hands) = Clock::manual(START);
    let source = Arc::new(RemoteSource::over(reader, RemoteSourceSettings::default(), clock));
    for _ in 0..3 {
        let asking = ask(&source, 1);
        script.look_up().await.fail(LinkError::Connect("refused".to_owned()));
        assert!(asking.await.unwrap().unwrap_err().cause.contains("refused"));
    }
    assert!(source.stats().is_shut);
    let turned_away = source.fetch(&hash(1)).await.unwrap_err();
    assert!(turned_away.cause.contains("refused"), "{turned_away}");
    assert!(script.try_look_up().is_none());
    assert_eq!(source.stats().turned_away, 1);
    // After a while one may try for all.
    hands.advance_us(1_000_000);
    let asking = ask(&source, 2);
    let call = script.look_up().await;
    assert!(source.fetch(&hash(3)).await.is_err());
    call.answer(AS_OF, |_| None);
    asking.await.unwrap().unwrap();
    let asking = ask(&source, 3);
    script.look_up().await.answer(AS_OF, |_| None);
    asking.await.unwrap().unwrap();
    assert!(!source.stats().is_shut);
    assert_eq!(source.stats().failed_calls, 3);
}

#[tokio::test]
async fn look_ups_that_wait_are_bounded() {
    let (source, script) = source(1);
    let first = ask(&source, 1);
    let _call = script.look_up().await;
    let waiting: Vec<Asking> = (0..WAITING_MAX + 10).map(|_| ask(&source, 2)).collect();
    while source.stats().look_ups < u64::try_from(WAITING_MAX + 11).unwrap() {
        tokio::task::yield_now().await;
    }
    // One of them is out of the queue already, waiting for the place.
    let mut refused = 0;
    for asking in waiting {
        if asking.is_finished() {
            let error = asking.await.unwrap().unwrap_err();
            assert!(error.cause.contains("too many"), "{error}");
            refused += 1;
        } else {
            asking.abort();
        }
    }
    assert!((9..=10).contains(&refused), "{refused}");
    first.abort();
}
