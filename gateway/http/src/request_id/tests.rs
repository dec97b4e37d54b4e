use super::*;
use std::collections::HashSet;

#[test]
fn generated_ids_are_distinct_across_threads() {
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| (0..50_000).map(|_| generate().to_string()).collect::<Vec<_>>()))
        .collect();
    let ids: HashSet<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 200_000);
}

#[test]
fn a_generated_id_is_26_characters_that_need_no_escaping() {
    for _ in 0..1_000 {
        let id = generate();
        assert_eq!(id.as_str().len(), 26);
        assert!(id.as_str().bytes().all(|byte| ALPHABET.contains(&byte)), "{id}");
        assert_eq!(id.header_value().as_bytes(), id.as_str().as_bytes());
        check_written(&id);
        assert_eq!(accept(id.as_str()).unwrap().as_str(), id.as_str());
    }
}

/// A generator that got stuck in part of its range would still be unique for long.
#[test]
fn every_position_takes_every_character_it_can() {
    let ids: Vec<_> = (0..4_000).map(|_| generate().to_string()).collect();
    for position in 0..GENERATED_BYTES {
        let seen: HashSet<u8> = ids.iter().map(|id| id.as_bytes()[position]).collect();
        // The first character of each half holds four bits.
        let expect = if position % 13 == 0 { 16 } else { 32 };
        assert_eq!(seen.len(), expect, "position {position}");
    }
}

#[test]
fn a_peers_id_is_kept_when_it_is_sane() {
    let check = |text: &str, kept: bool| {
        let id = accept(text);
        assert_eq!(id.as_ref().map(RequestId::as_str), kept.then_some(text), "{text:?}");
        id.iter().for_each(check_written);
    };
    check("a", true);
    check("4bf92f3577b34da6a3ce929d0e0e4736", true);
    check("7c9e6679-7425-40de-944b-e07fc1f90ae7", true);
    check("Root=1-67891233-abcdef012345678912345678", true);
    check(&"x".repeat(128), true);
    check(&"x".repeat(129), false);
    check("", false);
    check("two words", false);
    check("tab\t", false);
    check("line\r\nfeed", false);
    check("quote\"", false);
    check("back\\slash", false);
    check("<script>", false);
    check("{\"a\":1}", false);
    check("naïve", false);
    check("a;b", false);
    check("a,b", false);
}

fn check_written(id: &RequestId) {
    let mut out = b"before ".to_vec();
    id.write(&mut out);
    assert_eq!(out, format!("before x-request-id: {id}\r\n").into_bytes());
}
