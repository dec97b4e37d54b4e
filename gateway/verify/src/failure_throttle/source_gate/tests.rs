use super::*;
use crate::{ManualClock, Moment};
use std::collections::HashSet;

const SETTINGS: FailureSettings = FailureSettings {
    burst: 50,
    per_minute: 60,
    addresses_max: 100,
};
const SECOND_US: u64 = 1_000_000;

fn gate(settings: FailureSettings) -> (SourceGate, ManualClock) {
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 5_000_000,
        wall_us: 0,
    });
    (SourceGate::new(settings, clock), hand)
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn key(number: u64) -> KeyHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    KeyHash(hash)
}

/// Asks for a key that there is not. Whether the source was asked.
fn guess(gate: &SourceGate, address: Option<IpAddr>, key: &KeyHash) -> bool {
    match gate.ask(address, key) {
        Ok(leave) => {
            leave.failed(key);
            true
        }
        Err(_) => false,
    }
}

/// Has an address fail until it is throttled.
fn exhaust(gate: &SourceGate, address: Option<IpAddr>) {
    let asked = (0..SETTINGS.burst + 50).filter(|number| guess(gate, address, &key(u64::from(*number) << 40)));
    assert_eq!(asked.count(), 50);
}

#[test]
fn a_key_comes_through_at_its_second_try_however_fast_a_neighbour_guesses() {
    let (gate, _hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    exhaust(&gate, home);
    let mut guesses = 1..;
    let mut flood = |count| {
        for number in guesses.by_ref().take(count) {
            assert!(!guess(&gate, home, &key(number)), "no guess reaches the source");
        }
    };
    for own in 0..1_000_u64 {
        let own = key(own << 20 | 1 << 60);
        flood(20);
        assert_eq!(
            gate.ask(home, &own).err(),
            Some(SECOND_US),
            "the first try cannot be told from a guess"
        );
        flood(20);
        assert!(
            gate.ask(home, &own).is_ok(),
            "the second can, and takes nothing from anybody"
        );
    }
    // The clock stood still all the while: no allowance has come back.
}

/// However long the first allowance takes to come back.
#[test]
fn who_is_turned_away_is_told_when_a_try_may_help() {
    let (gate, hand) = gate(FailureSettings {
        per_minute: 1,
        ..SETTINGS
    });
    let home = address("192.0.2.1");
    exhaust(&gate, home);
    assert_eq!(gate.ask(home, &key(1)).err(), Some(SECOND_US), "a second try");
    assert!(gate.ask(home, &key(1)).is_ok());
    // A neighbour who repeats himself takes the second allowance too.
    (1..60).for_each(|number| {
        guess(&gate, home, &key(number << 20));
        guess(&gate, home, &key(number << 20));
    });
    hand.advance_us(SECOND_US);
    for _ in 0..2 {
        assert_eq!(gate.ask(home, &key(2)).err(), Some(59 * SECOND_US));
    }
    assert_eq!(
        gate.ask(home, &key(1 << 20)).err(),
        Some(59 * SECOND_US),
        "there is no such key"
    );
    hand.advance_us(59 * SECOND_US);
    assert!(gate.ask(home, &key(2)).is_ok());
}

#[test]
fn a_second_try_is_one_from_the_same_place() {
    #[track_caller]
    fn check(first: &str, second: &str, is_second: bool) {
        let (gate, _hand) = gate(SETTINGS);
        for place in [first, second] {
            exhaust(&gate, address(place));
        }
        let own = key(1);
        assert!(gate.ask(address(first), &own).is_err());
        assert_eq!(gate.ask(address(second), &own).is_ok(), is_second, "{first} {second}");
    }
    check("192.0.2.1", "192.0.2.2", false);
    let (gate, _hand) = gate(SETTINGS);
    exhaust(&gate, address("2001:db8:1:2::1"));
    assert!(gate.ask(address("2001:db8:1:2::7"), &key(1)).is_err());
    assert!(
        gate.ask(address("2001:db8:1:2:ffff::9"), &key(1)).is_ok(),
        "one /64 is one place"
    );
}

#[test]
fn what_the_source_is_known_to_have_passes_until_it_is_gone() {
    let (gate, _hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    exhaust(&gate, home);
    gate.has(&key(1));
    for _ in 0..1_000 {
        assert!(gate.ask(home, &key(1)).is_ok());
    }
    assert!(guess(&gate, home, &key(1)), "the source has lost it");
    assert!(!guess(&gate, home, &key(1)), "and it is a guess like any other");
}

/// What is known is bounded; a key that was forgotten over newer ones comes again as any other, whatever was said of it once.
#[test]
fn a_key_that_was_forgotten_gets_in_at_its_second_try() {
    let (gate, _hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    let early = key(1 << 60);
    assert!(guess(&gate, home, &early), "asked for before there was such a key");
    gate.has(&early);
    (0..8 * u64::try_from(KNOWN_KEYS).unwrap()).for_each(|newer| gate.has(&key(newer)));
    (1..60).for_each(|number| {
        guess(&gate, home, &key(number << 40));
    });
    assert!(gate.ask(home, &early).is_err());
    assert!(gate.ask(home, &early).is_ok());
}

#[test]
fn an_answer_that_never_came_is_nobodys_failure() {
    let (gate, _hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    for number in 0..1_000 {
        drop(
            gate.ask(home, &key(number))
                .unwrap_or_else(|_| panic!("nothing was charged")),
        );
    }
    exhaust(&gate, home);
    assert!(gate.ask(home, &key(1)).is_err());
    for _ in 0..1_000 {
        drop(
            gate.ask(home, &key(1))
                .unwrap_or_else(|_| panic!("nothing was charged")),
        );
    }
}

/// Somebody who knows all of this and repeats every guess gets a quarter more, and then as little as before.
#[test]
fn guesses_that_are_repeated_are_bounded_too() {
    let (gate, hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    let mut asked = 0_u32;
    let mut number = 0;
    const MINUTES: u32 = 10;
    for _ in 0..MINUTES * 60 {
        for _ in 0..20 {
            number += 1;
            let tries = (0..3).filter(|_| guess(&gate, home, &key(number)));
            asked += u32::try_from(tries.count()).unwrap();
        }
        hand.advance_us(SECOND_US);
    }
    let first = SETTINGS.burst + MINUTES * SETTINGS.per_minute;
    assert!(asked > first, "the second allowance is there");
    assert!(asked <= first + first / SECOND_PART + 1, "{asked}");
}

/// Forgotten clients that go on with keys that are no more, behind an address that is throttled: each is asked for once.
#[test]
fn stale_keys_do_not_use_up_what_good_ones_need() {
    let (gate, hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    exhaust(&gate, home);
    let stale = 1_000..1_010;
    for round in 0..60 {
        // The first allowance has come back, and a neighbour takes it.
        (0..20).for_each(|number| {
            guess(&gate, home, &key(round << 8 | number | 1 << 50));
        });
        for number in stale.clone() {
            let asked = guess(&gate, home, &key(number));
            assert_eq!(asked, round == 1, "round {round}");
        }
        let good = key(round | 1 << 60);
        assert!(gate.ask(home, &good).is_err());
        assert!(gate.ask(home, &good).is_ok(), "round {round}");
        hand.advance_us(10 * SECOND_US);
    }
    // One of them is a key after all, from now on.
    (0..20).for_each(|number| {
        guess(&gate, home, &key(number | 1 << 51));
    });
    gate.has(&key(1_000));
    assert!(gate.ask(home, &key(1_000)).is_ok());
}

/// Leave that was given to many at once cannot overdraw the second allowance.
#[test]
fn repeats_under_way_are_as_few_as_their_allowance() {
    let (gate, _hand) = gate(SETTINGS);
    let home = address("192.0.2.1");
    exhaust(&gate, home);
    for number in 1..501 {
        assert!(gate.ask(home, &key(number)).is_err());
    }
    let under_way: Vec<_> = (1..501)
        .filter_map(|number| gate.ask(home, &key(number)).ok())
        .collect();
    assert_eq!(under_way.len(), 12);
    drop(under_way);
    assert!(gate.ask(home, &key(1)).is_ok(), "a place is given back");
    assert_eq!(
        gate.under_way
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum::<u32>(),
        0
    );
    for number in 1..13 {
        assert!(guess(&gate, home, &key(number)));
    }
    assert!(!guess(&gate, home, &key(100)), "twelve failures are all of it");
}

/// A million addresses, a million keys: nothing grows, and who comes late is throttled all the same.
#[test]
fn a_flood_of_addresses_and_keys_grows_nothing() {
    let (gate, hand) = gate(SETTINGS);
    std::thread::scope(|scope| {
        for thread in 0..2_u32 {
            let gate = &gate;
            scope.spawn(move || {
                for number in 0..500_000_u32 {
                    let client = IpAddr::from((number * 2 + thread).to_be_bytes());
                    let asked = key(u64::from(number) * 2 + u64::from(thread));
                    guess(gate, Some(client), &asked);
                    assert!(gate.addresses() <= 100);
                }
            });
        }
    });
    assert_eq!(gate.addresses(), 100);
    let late = address("203.0.113.9");
    assert!((0..60).any(|number| !guess(&gate, late, &key(1 << 50 | number))));
    // One network of IPv6 is one address, however many it holds.
    hand.advance_us(3_600 * SECOND_US);
    gate.sweep();
    let network = |host: u64| {
        Some(IpAddr::from(
            (0x2001_0db8_0000_0001_u128 << 64 | u128::from(host)).to_be_bytes(),
        ))
    };
    let asked: HashSet<u64> = (0..100_000)
        .filter(|host| guess(&gate, network(*host), &key(1 << 51 | host)))
        .collect();
    assert_eq!((gate.addresses(), asked.len()), (1, 50));
}

#[test]
fn an_unknown_address_is_never_turned_away() {
    let (gate, _hand) = gate(SETTINGS);
    assert!((0..1_000).all(|number| guess(&gate, None, &key(number))));
    assert_eq!(gate.addresses(), 0);
}
