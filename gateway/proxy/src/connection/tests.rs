use super::*;

/// A connection of HTTP/2 keeps the first of these for its whole life, one of HTTP/1.1 both.
#[test]
fn a_connection_that_waits_holds_no_room_for_what_it_does_not_do() {
    fn bytes<Given, F: Future>(_: impl Fn(Given) -> F) -> usize {
        size_of::<F>()
    }
    type Server = &'static ConnectionServer;
    type Beginning = (Server, TcpStream, SocketAddr, &'static ListenerProfile, Place);
    let check = |what: &str, bytes: usize, at_most: usize| assert!(bytes <= at_most, "{what}: {bytes}");
    check(
        "a connection",
        bytes(|(server, socket, peer, profile, place): Beginning| server.serve(socket, peer, profile, place)),
        1024,
    );
    check(
        "its requests over HTTP/1.1",
        bytes(|(server, stream, seat): (Server, Box<ClientStream>, &'static Seat)| server.serve_http1(stream, seat)),
        2560,
    );
}
