//! Files that are not what was written: refused, whatever is wrong with them, and without a panic.

use super::super::format::{FOOTER_BYTES, HEADER_BYTES, RECORD_BYTES, VERSION};
use super::*;
use proptest::prelude::*;

/// A file with a floor, a log and a calendar count.
fn small() -> Vec<u8> {
    let table = CounterTable::new(10);
    let [first, .., day, _, _] = rules();
    assert!(day.charge(&table, 3, after(noon(), 0)));
    assert!(first.charge(&table, 1, noon()));
    for _ in 0..SWEEPS_PER_ROUND {
        table.sweep(after(noon(), DAY));
    }
    assert!(first.charge(&table, 1, after(noon(), DAY)));
    assert!(first.charge(&table, 1, after(noon(), DAY + 1)));
    assert!(day.charge(&table, 2, after(noon(), DAY)));
    let bytes = saved(&table, THIS_BOOT, after(noon(), DAY + 2));
    assert!(
        bytes.len() >= HEADER_BYTES + 3 * RECORD_BYTES + FOOTER_BYTES,
        "{}",
        bytes.len()
    );
    bytes
}

fn read(bytes: &[u8]) -> Result<(CounterTable, Taken), Unfit> {
    restored(bytes, 10, THIS_BOOT, after(noon(), DAY + 3))
}

#[test]
fn every_flipped_byte_is_noticed() {
    let whole = small();
    assert_eq!(read(&whole).unwrap().1.counters, 2);
    for at in 0..whole.len() {
        for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            assert!(read(&bytes).is_err(), "byte {at} with {flip:#x}");
        }
    }
}

#[test]
fn every_cut_and_every_surplus_is_noticed() {
    let whole = small();
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut after {length}");
    }
    let mut longer = whole.clone();
    for _ in 0..=RECORD_BYTES {
        longer.push(0);
        assert!(read(&longer).is_err(), "{} bytes", longer.len());
    }
    // Whole records that were lost or doubled.
    let record = HEADER_BYTES..HEADER_BYTES + RECORD_BYTES;
    let mut without = whole.clone();
    without.drain(record.clone());
    assert!(matches!(read(&without), Err(Unfit::Checksum)));
    let mut twice = whole.clone();
    twice.splice(HEADER_BYTES..HEADER_BYTES, whole[record].to_vec());
    assert!(matches!(read(&twice), Err(Unfit::Checksum)));
}

#[test]
fn a_file_says_why_it_is_refused() {
    let check = |bytes: &[u8], expect: &str| {
        let why = read(bytes).unwrap_err().to_string();
        assert_eq!(why, expect);
    };
    let whole = small();
    check(b"", "it is not a file of saved counters");
    check(&[b'x'; 5_000], "it is not a file of saved counters");
    check(b"SQLite format 3\0", "it is not a file of saved counters");
    check(&whole[..HEADER_BYTES - 1], "it is not a file of saved counters");
    check(&whole[..HEADER_BYTES], "it is cut off or too long: 84 bytes");
    let mut newer = whole.clone();
    newer[16..20].copy_from_slice(&(VERSION + 1).to_le_bytes());
    check(
        &newer,
        "it is of format 4, and this version of Portcullis reads format 3",
    );
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    check(&flipped, "its checksum does not match");
    let mut elsewhere = whole;
    elsewhere[HEADER_BYTES..HEADER_BYTES + 2].copy_from_slice(&10_000_u16.to_le_bytes());
    check(&elsewhere, "record 0 of it makes no sense");
}

/// A file's bytes under a checksum that fits them, whatever they are.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - blake3::OUT_LEN;
    let hash = blake3::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(hash.as_bytes());
    bytes
}

/// Uses every counter that came out of a file.
fn exercise(table: &CounterTable) {
    for later_us in [0, SECOND, 2 * DAY] {
        let now = after(noon(), DAY + 3 + later_us);
        for rule in rules() {
            for owner in 0..5 {
                rule.remaining(table, owner, now);
                rule.charge(table, owner, now);
                let edited = Rule {
                    quota: if owner % 2 == 0 {
                        rolling(50, 60 * SECOND)
                    } else {
                        calendar(4, Period::Month)
                    },
                    ..rule
                };
                edited.wait_us(table, owner, now);
                edited.charge(table, owner, now);
            }
        }
        let bytes = saved(table, THIS_BOOT, now);
        // Times that no clock shows may be refused.
        if let Ok((again, _)) = restored(&bytes, 3, NEXT_BOOT, now) {
            again.sweep(now);
        }
        for _ in 0..SWEEPS_PER_ROUND {
            table.sweep(now);
        }
    }
}

/// Bytes of the body that are changed, and to what.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80), Just(1)];
    prop::collection::vec((any::<prop::sample::Index>(), byte), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A checksum keeps accidents out, not people. Whoever may write the file can set counters, but not end the process.
    #[test]
    fn bytes_under_a_good_checksum_never_panic(changes in changes(), is_this_boot: bool, uptime_us in 0..200 * DAY) {
        let mut bytes = small();
        let body = 20..bytes.len() - FOOTER_BYTES;
        for (index, byte) in changes {
            let at = body.start + index.index(body.len());
            bytes[at] = byte;
        }
        let clock = if is_this_boot { THIS_BOOT } else { NEXT_BOOT };
        let now = Moment {
            monotonic_us: if is_this_boot { noon().monotonic_us + DAY + 3 } else { uptime_us },
            ..after(noon(), DAY + 3)
        };
        if let Ok((table, _)) = restored(&sealed(bytes), 10, clock, now) {
            exercise(&table);
        }
    }

    #[test]
    fn strange_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes).is_err());
        let mut marked = small()[..HEADER_BYTES].to_vec();
        marked.extend(&bytes);
        prop_assert!(read(&marked).is_err());
    }
}

#[test]
fn the_format_is_what_its_version_says() {
    // Whoever changes one of these makes files of this version mean something else: give the format a new version.
    let hasher = crate::subject::SubjectHasher::of_keys([1, 2]);
    let rule = RuleDigest([0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978]);
    let hashes = [
        Subject::anywhere(rule, 7),
        Subject::at(rule, 7, Network::V4(0xc000_0201)),
        Subject::at(rule, 7, Network::V6(0x2001_0db8_0000_0001)),
    ]
    .map(|subject| hasher.hash(&subject));
    assert_eq!(
        (VERSION, HEADER_BYTES, RECORD_BYTES, FOOTER_BYTES, hashes),
        (
            3,
            84,
            128,
            40,
            [
                13_807_766_864_325_946_647,
                13_251_218_214_050_444_288,
                9_837_846_178_534_413_676
            ]
        )
    );
    // A model has fewer shards, and nobody's files.
    if cfg!(feature = "shuttle") {
        return;
    }
    assert_eq!(CounterTable::new(0).shards().count(), 768);
    let table = CounterTable::with_hasher(10, hasher);
    for rule in rules() {
        for step in 0..30 {
            rule.charge(&table, 4, after(noon(), step * SECOND));
        }
    }
    let bytes = saved(&table, THIS_BOOT, after(noon(), 30 * SECOND));
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "73f4e6cea09c6886eb6eed17d231190c0e0ef10c39fe658555fea63aa39af8c6"
    );
}
