use super::*;
use portcullis_config::settings::Gateway;

fn hall(connections_max: usize, per_address: usize) -> Arc<Occupancy> {
    Occupancy::new(&Gateway {
        connections_max,
        connections_per_address_max: per_address,
        trusted_proxies: vec!["10.9.0.0/16".parse().unwrap()],
        ..Gateway::default()
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A connection whose task holds its place until it is ended.
async fn connect(hall: &Arc<Occupancy>, from: &str) -> (Arc<Seat>, tokio::task::JoinHandle<()>) {
    let mut place = hall.enter(Some(address(from))).unwrap();
    place.settle().await;
    let seat = Arc::clone(place.seat());
    let task = tokio::spawn(async move {
        let _place = place;
        std::future::pending::<()>().await;
    });
    seat.is_served_by(task.abort_handle());
    (seat, task)
}

fn check_address_cap(from: &[&str], admitted: usize) {
    let hall = hall(100, 2);
    let places: Vec<Place> = from
        .iter()
        .filter_map(|peer| hall.enter(Some(address(peer))).ok())
        .collect();
    assert_eq!(places.len(), admitted, "{from:?}");
    drop(places);
    assert!(
        hall.taken().addresses.is_empty() && hall.taken().seats.is_empty(),
        "everything was given back"
    );
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    check_address_cap(&["192.0.2.1", "192.0.2.1"], 2);
    check_address_cap(&["192.0.2.1", "192.0.2.1", "192.0.2.1"], 2);
    check_address_cap(&["192.0.2.1", "192.0.2.1", "192.0.2.2"], 3);
    check_address_cap(&["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], 2);
    check_address_cap(&["2001:db8::1", "2001:db8::2", "2001:db8::3"], 2);
    check_address_cap(&["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], 3);
    // Peers that stand for others are not counted.
    check_address_cap(&["10.9.0.1", "10.9.0.1", "10.9.0.1"], 3);
}

#[test]
fn whoever_is_named_late_counts_from_then_on() {
    let hall = hall(100, 1);
    let (first, second) = (hall.enter(None).unwrap(), hall.enter(None).unwrap());
    assert_eq!(first.belongs_to(address("192.0.2.1")), Ok(()));
    assert_eq!(second.belongs_to(address("192.0.2.1")), Err(AddressFull));
    drop(first);
    assert_eq!(second.belongs_to(address("192.0.2.1")), Ok(()));
}

#[tokio::test]
async fn the_longest_waiting_makes_room() {
    let hall = hall(3, 0);
    let (_, first) = connect(&hall, "192.0.2.1").await;
    let (_, second) = connect(&hall, "192.0.2.2").await;
    let (_, third) = connect(&hall, "192.0.2.3").await;
    connect(&hall, "192.0.2.4").await;
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(!second.is_finished() && !third.is_finished());
}

#[tokio::test]
async fn whoever_has_many_makes_room_before_whoever_has_one() {
    let hall = hall(9, 0);
    let (_, alone) = connect(&hall, "192.0.2.1").await;
    let mut many = Vec::new();
    for _ in 0..8 {
        many.push(connect(&hall, "192.0.2.2").await.1);
    }
    connect(&hall, "192.0.2.3").await;
    assert!(!alone.is_finished(), "one that waited longer, but by itself");
    assert!(many.remove(0).await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn whoever_has_just_come_is_given_time_to_ask() {
    let hall = hall(16, 0);
    let mut busy = Vec::new();
    for _ in 0..15 {
        busy.push(connect(&hall, "192.0.2.1").await);
    }
    let requests: Vec<_> = busy.iter().map(|(seat, _)| seat.begins().unwrap()).collect();
    let (_, new) = connect(&hall, "192.0.2.2").await;
    assert_eq!(hall.clear(), 0, "it has just come, and nobody else waits");
    let _elsewhere = (hall.enter(None), hall.enter(None));
    assert_eq!(hall.clear(), 1, "now it had its time");
    assert!(new.await.unwrap_err().is_cancelled());
    drop(requests);
}

#[tokio::test]
async fn a_request_under_way_is_never_cleared() {
    let hall = hall(2, 0);
    let (busy, task) = connect(&hall, "192.0.2.1").await;
    let under_way = busy.begins().unwrap();
    let (_, idle) = connect(&hall, "192.0.2.2").await;
    connect(&hall, "192.0.2.3").await;
    assert!(idle.await.unwrap_err().is_cancelled());
    assert!(!task.is_finished());
    // Its last request ends: it waits from now on, shorter than others.
    drop(under_way);
    let again = busy.begins();
    assert!(again.is_some());
}

#[tokio::test]
async fn a_newcomer_gets_in_as_soon_as_somebody_stops_being_busy() {
    let hall = hall(1, 0);
    let (busy, task) = connect(&hall, "192.0.2.1").await;
    let under_way = busy.begins().unwrap();
    let newcomer = {
        let hall = Arc::clone(&hall);
        tokio::spawn(async move { drop(connect(&hall, "192.0.2.2").await) })
    };
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!newcomer.is_finished(), "there is no room");
    drop(under_way);
    newcomer.await.unwrap();
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_request_that_comes_while_its_connection_is_cleared_is_not_begun() {
    let hall = hall(2, 0);
    let (seat, _task) = connect(&hall, "192.0.2.1").await;
    let streams = (seat.begins().unwrap(), seat.begins().unwrap());
    drop(streams.0);
    assert_eq!(hall.clear(), 0, "one stream is left");
    drop(streams.1);
    assert_eq!(hall.clear(), 1);
    assert!(seat.begins().is_none());
    assert_eq!(hall.clear(), 0, "nobody goes twice");
}
