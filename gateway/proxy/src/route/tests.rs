use super::RouteTable;

fn check(entries: &[(&str, &str)], cases: &[(&str, &str, Option<usize>)]) {
    let entries = entries.iter().enumerate();
    let table = RouteTable::new(entries.map(|(index, (host, path))| ((*host).to_owned(), (*path).to_owned(), index)));
    for (host, path, expect) in cases {
        assert_eq!(table.find(host, path).copied(), *expect, "{host} {path}");
    }
}

#[test]
fn the_longest_prefix_on_a_segment_boundary_wins() {
    check(
        &[("*", "/"), ("*", "/api"), ("*", "/api/v1"), ("*", "/files/")],
        &[
            ("a", "/", Some(0)),
            ("a", "/apis", Some(0)),
            ("a", "/api", Some(1)),
            ("a", "/api/", Some(1)),
            ("a", "/api/v10", Some(1)),
            ("a", "/api/v1", Some(2)),
            ("a", "/api/v1/x", Some(2)),
            ("a", "/files", Some(0)),
            ("a", "/files/", Some(3)),
            ("a", "/files/x", Some(3)),
        ],
    );
    check(
        &[("*", "/api")],
        &[("a", "/", None), ("a", "/ap", None), ("a", "/API", None)],
    );
}

#[test]
fn the_most_specific_host_that_has_the_path_wins() {
    check(
        &[
            ("*", "/"),
            ("*.example.com", "/"),
            ("*.eu.example.com", "/"),
            ("shop.example.com", "/cart"),
            ("*", "/a/long/path"),
        ],
        &[
            ("other.org", "/", Some(0)),
            ("example.com", "/", Some(0)),
            ("notexample.com", "/", Some(0)),
            ("a.example.com", "/", Some(1)),
            ("a.b.example.com", "/", Some(1)),
            ("a.eu.example.com", "/", Some(2)),
            ("shop.example.com", "/cart/1", Some(3)),
            ("shop.example.com", "/cartoon", Some(1)),
            ("a.example.com", "/a/long/path", Some(1)),
            ("other.org", "/a/long/path", Some(4)),
        ],
    );
}

#[test]
fn the_first_of_two_equal_routes_holds() {
    check(&[("a", "/"), ("A", "/")], &[("a", "/", Some(0))]);
}

#[test]
fn a_host_without_a_route_finds_none() {
    check(
        &[("a.example", "/")],
        &[("b.example", "/", None), ("*", "/", None), ("", "/", None)],
    );
    check(&[], &[("a", "/", None)]);
}
